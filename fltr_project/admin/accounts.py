from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from auth_app.api_keys import masked
from auth_app.models import (
    Account,
    ApiKeyCredits,
    DrizzleMigration,
    Session,
    Subscription,
    Team,
    User,
    UserCredits,
    Verification,
)

from . import keys
from .account_pages import account_page, grant_page
from .inspection import InspectionAdmin


@admin.register(User)
class UserAdmin(InspectionAdmin):
    list_display = ("email", "name", "email_verified", "balance", "created_at")
    balance_fields = ("balance",)
    list_filter = ("email_verified", "created_at")
    list_prefetch = ("credit_account",)
    ordering = ("-created_at",)

    @admin.display(description="credits", ordering="credit_account__credits", empty_value="none")
    def balance(self, user: User) -> int | None:
        account = getattr(user, "credit_account", None)
        return account.credits if account else None

    def change_view(
        self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        return account_page(request, "user", unquote(object_id))

    def get_urls(self) -> list[URLPattern]:
        grant = self.admin_site.admin_view(self.grant)
        return [
            path("<path:object_id>/grant/", grant, name="auth_app_user_grant"),
            *super().get_urls(),
        ]

    def grant(self, request: HttpRequest, object_id: str) -> HttpResponse:
        id_ = unquote(object_id)
        return grant_page(request, "user", id_, reverse("admin:auth_app_user_change", args=[id_]))


@admin.register(UserCredits)
class UserCreditsAdmin(InspectionAdmin):
    list_display = ("user", "credits", "total_credits_purchased", "team", "updated_at")
    list_prefetch = ("user", "team")
    # An index on what every consume changes would cost each of them more than this order is worth.
    ordering = ("-pk",)

    def change_view(
        self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        return account_page(request, "user", unquote(object_id))


@admin.register(Team)
class TeamAdmin(InspectionAdmin):
    list_display = ("name", "owner", "credits", "created_at")
    balance_fields = ("credits",)
    list_select_related = ("owner",)

    def change_view(
        self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        return account_page(request, "team", unquote(object_id))

    def get_urls(self) -> list[URLPattern]:
        grant = self.admin_site.admin_view(self.grant)
        return [
            path("<path:object_id>/grant/", grant, name="auth_app_team_grant"),
            *super().get_urls(),
        ]

    def grant(self, request: HttpRequest, object_id: str) -> HttpResponse:
        id_ = unquote(object_id)
        return grant_page(request, "team", id_, reverse("admin:auth_app_team_change", args=[id_]))


@admin.register(ApiKeyCredits)
class ApiKeyCreditsAdmin(InspectionAdmin):
    list_display = ("masked_key", "user", "team", "credits", "daily_limit", "monthly_limit")
    balance_fields = ("credits",)
    list_select_related = ("user", "team")
    list_display_links = None

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.page)
        return [
            path("of/<path:user_id>/<slug:digest>/", page, name="auth_app_apikeycredits_page"),
            path(
                "grant/<path:user_id>/<slug:digest>/",
                self.admin_site.admin_view(self.grant),
                name="auth_app_apikeycredits_grant",
            ),
            *super().get_urls(),
        ]

    def page(self, request: HttpRequest, user_id: str, digest: str) -> HttpResponse:
        """The page of a key, which the address names by a digest."""
        return account_page(request, "api_key", self._key(user_id, digest))

    def grant(self, request: HttpRequest, user_id: str, digest: str) -> HttpResponse:
        address = reverse("admin:auth_app_apikeycredits_page", args=[user_id, digest])
        return grant_page(request, "api_key", self._key(user_id, digest), address)

    def _key(self, user_id: str, digest: str) -> str:
        key = keys.find(user_id, digest)
        if key is None:
            raise Http404("This user has no such API key.")
        return str(key.pk)

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        # The primary key is the secret, and would stand in the page's address.
        raise PermissionDenied

    @admin.display(description="API key")
    def masked_key(self, key: ApiKeyCredits) -> str:
        # The whole key would let its reader spend.
        address = keys.address(key.user_id, key.api_key)
        return format_html('<a href="{}">{}</a>', address, masked(key.api_key))


@admin.register(Subscription)
class SubscriptionAdmin(InspectionAdmin):
    list_display = ("reference_id", "plan", "status", "period_end", "seats")
    list_filter = ("status", "plan")


@admin.register(Session)
class SessionAdmin(InspectionAdmin):
    list_display = ("user", "created_at", "expires_at", "ip_address")
    list_select_related = ("user",)
    exclude = ("token",)


@admin.register(Account)
class AccountAdmin(InspectionAdmin):
    list_display = ("user", "provider_id", "account_id", "created_at")
    list_filter = ("provider_id",)
    list_select_related = ("user",)
    exclude = ("access_token", "refresh_token", "id_token", "password")


@admin.register(Verification)
class VerificationAdmin(InspectionAdmin):
    list_display = ("purpose", "created_at", "expires_at")
    exclude = ("identifier", "value")

    @admin.display(description="purpose")
    def purpose(self, verification: Verification) -> str:
        # Better Auth's identifier of a password reset ends with its token.
        purpose, colon, _ = verification.identifier.partition(":")
        return purpose if colon else "…"


@admin.register(DrizzleMigration)
class DrizzleMigrationAdmin(InspectionAdmin):
    list_display = ("id", "hash", "created_at")
