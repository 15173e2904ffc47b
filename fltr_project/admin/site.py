"""The site of all admin pages: its names, its login, and the pages that belong to no table."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse

from fltr_project.web.health import PERMISSION
from fltr_project.web.throttle import ThrottledLoginForm

from . import dashboard, schemas
from .inspection import may_see_balances
from .observations import look_at_credits
from .search import search


class Site(AdminSite):
    site_header = site_title = "Clean Slate"
    index_title = "FLTR databases"
    # There is no other page to view.
    site_url = None
    login_form = ThrottledLoginForm
    # The box in the header finds more than a list of all tables, and the pages need the width.
    enable_nav_sidebar = False

    def get_urls(self) -> list[URLPattern | URLResolver]:
        return [
            path("search/", self.admin_view(search), name="search"),
            path("look/", self.admin_view(self.look_at_credits), name="look_at_credits"),
            path("schemas/", self.admin_view(schemas.page), name="schemas"),
            path("schemas/verify/", self.admin_view(schemas.look), name="verify_schemas"),
            *super().get_urls(),
        ]

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        may = request.user.has_perm
        return super().index(
            request,
            {
                **(extra_context or {}),
                "search_first": True,
                "board": dashboard.dashboard(),
                "low": dashboard.LOW,
                "see_ledger": may("auth_app.view_credittransaction"),
                "see_balances": may_see_balances(request),
                "see_schemas": may(PERMISSION),
            },
        )

    def look_at_credits(self, request: HttpRequest) -> HttpResponse:
        """Compare every balance with its ledger, when somebody asks."""
        if not may_see_balances(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        looked = look_at_credits(request.user.get_username())
        dashboard.forget()
        messages.info(request, f"{looked.found['summary']}.")
        return HttpResponseRedirect(reverse("admin:index"))
