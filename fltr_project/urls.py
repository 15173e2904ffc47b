from __future__ import annotations

from django.contrib import admin
from django.urls import path

from .views import health

admin.site.site_header = "Clean Slate"
admin.site.site_title = "Clean Slate"
admin.site.index_title = "FLTR databases"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("health", health, name="health"),
]
