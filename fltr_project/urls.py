from __future__ import annotations

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from fltr_project.admin_apps import register_pages
from fltr_project.web.health import details

register_pages()

# `/health` is answered by fltr_project.web.health, before any host name is looked at.
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("health/details", details),
]
