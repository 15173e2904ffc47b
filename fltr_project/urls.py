from __future__ import annotations

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from .views import health

admin.site.site_header = "Clean Slate"
admin.site.site_title = "Clean Slate"
admin.site.index_title = "FLTR databases"
# There is no other page to view.
admin.site.site_url = None

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("health", health, name="health"),
]
