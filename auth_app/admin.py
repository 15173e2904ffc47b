from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from fltr_project.inspection import InspectionAdmin

from .api_keys import masked
from .models import (
    Account,
    ApiKeyCredits,
    CreditTransaction,
    DrizzleMigration,
    Session,
    Subscription,
    Team,
    User,
    UserCredits,
    Verification,
)


class UserCreditsInline(admin.StackedInline):  # type: ignore[type-arg]
    model = UserCredits
    can_delete = False
    fields = ("credits", "total_credits_purchased", "team", "updated_at")
    readonly_fields = fields


@admin.register(User)
class UserAdmin(InspectionAdmin):
    list_display = ("email", "name", "email_verified", "balance", "created_at")
    list_filter = ("email_verified", "created_at")
    list_select_related = ("credit_account",)
    search_fields = ("email", "name", "id", "stripe_customer_id")
    ordering = ("-created_at",)
    inlines = (UserCreditsInline,)

    @admin.display(description="credits", ordering="credit_account__credits", empty_value="none")
    def balance(self, user: User) -> int | None:
        account = getattr(user, "credit_account", None)
        return account.credits if account else None


@admin.register(UserCredits)
class UserCreditsAdmin(InspectionAdmin):
    list_display = ("user", "credits", "total_credits_purchased", "team", "updated_at")
    list_select_related = ("user", "team")
    search_fields = ("user__email", "user__id")
    ordering = ("-updated_at",)


@admin.register(CreditTransaction)
class CreditTransactionAdmin(InspectionAdmin):
    list_display = ("created_at", "user", "type", "amount", "operation", "resource_id", "team")
    list_filter = ("type", "created_at")
    list_select_related = ("user", "team")
    search_fields = ("id", "user__email", "user__id", "resource_id")
    # Ids are time-ordered, and the primary key is the index that every database has.
    ordering = ("-id",)
    exclude = ("api_key_id",)
    readonly_fields = ("masked_key",)

    @admin.display(description="API key")
    def masked_key(self, entry: CreditTransaction) -> str | None:
        return None if entry.api_key_id is None else masked(entry.api_key_id)


@admin.register(Team)
class TeamAdmin(InspectionAdmin):
    list_display = ("name", "owner", "credits", "created_at")
    list_select_related = ("owner",)
    search_fields = ("name", "id", "owner__email")


@admin.register(ApiKeyCredits)
class ApiKeyCreditsAdmin(InspectionAdmin):
    list_display = ("masked_key", "user", "team", "credits", "daily_limit", "monthly_limit")
    list_select_related = ("user", "team")
    search_fields = ("user__email", "user__id")
    list_display_links = None

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        # The primary key is the secret, and would stand in the page's address.
        raise PermissionDenied

    @admin.display(description="API key")
    def masked_key(self, key: ApiKeyCredits) -> str:
        # The whole key would let its reader spend.
        return masked(key.api_key)


@admin.register(Subscription)
class SubscriptionAdmin(InspectionAdmin):
    list_display = ("reference_id", "plan", "status", "period_end", "seats")
    list_filter = ("status", "plan")
    search_fields = ("reference_id", "stripe_customer_id", "stripe_subscription_id")


@admin.register(Session)
class SessionAdmin(InspectionAdmin):
    list_display = ("user", "created_at", "expires_at", "ip_address")
    list_select_related = ("user",)
    search_fields = ("user__email", "user__id")
    exclude = ("token",)


@admin.register(Account)
class AccountAdmin(InspectionAdmin):
    list_display = ("user", "provider_id", "account_id", "created_at")
    list_filter = ("provider_id",)
    list_select_related = ("user",)
    search_fields = ("user__email", "account_id")
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
