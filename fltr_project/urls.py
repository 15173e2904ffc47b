from __future__ import annotations

from django.contrib import admin
from django.urls import path

from .views import health

admin.site.site_header = "Clean Slate"
admin.site.site_title = "Clean Slate"
admin.site.index_title = "FLTR databases"
# There is no other page to view.
admin.site.site_url = None

urlpatterns = [
    path("admin/", admin.site.urls),
    path("health", health, name="health"),
]
