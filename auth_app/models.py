"""People and money: the tables of ``fltr_auth``, as the other programs know them.

Other programs insert here directly, so every default, check and delete rule is the database's own.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce, Right
from django.db.models.lookups import Exact, LessThan

from fltr_project.fields import (
    Index,
    NewTextUuid,
    NewTimeOrderedId,
    OneOf,
    SerialField,
    TextKeyField,
    Timestamped,
    UtcNow,
    UtcTimestampField,
)


def new_id() -> Any:
    return TextKeyField(primary_key=True, db_default=NewTextUuid(), editable=False)


class User(Timestamped):
    id = new_id()
    name = models.TextField()
    email = models.TextField()
    email_verified = models.BooleanField(db_default=False)
    image = models.TextField(null=True, blank=True)
    avatar = models.TextField(null=True, blank=True)
    avatar_url = models.TextField(null=True, blank=True)
    stripe_customer_id = models.TextField(null=True, blank=True)

    class Meta:
        db_table = "users"
        constraints = [models.UniqueConstraint(fields=["email"], name="users_email_unique")]
        # For whoever types the beginning into the admin; the unique index goes by the database's collation.
        indexes = [
            Index(fields=["email"], opclasses=["text_pattern_ops"], name="users_email_idx"),
            Index(fields=["stripe_customer_id"], name="users_stripe_customer_id_idx"),
            Index(fields=["created_at"], name="users_created_at_idx"),
        ]

    def __str__(self) -> str:
        return self.email


class Session(Timestamped):
    id = new_id()
    user = models.ForeignKey(User, models.DB_CASCADE, db_index=False)
    token = models.TextField()
    expires_at = UtcTimestampField()
    ip_address = models.TextField(null=True, blank=True)
    user_agent = models.TextField(null=True, blank=True)

    class Meta:
        db_table = "sessions"
        constraints = [models.UniqueConstraint(fields=["token"], name="sessions_token_unique")]
        indexes = [Index(fields=["user"], name="sessions_user_id_idx")]

    def __str__(self) -> str:
        # Never the token: whoever reads it is logged in.
        return str(self.id)


class Account(Timestamped):
    id = new_id()
    user = models.ForeignKey(User, models.DB_CASCADE, db_index=False)
    account_id = models.TextField()
    provider_id = models.TextField()
    access_token = models.TextField(null=True, blank=True)
    refresh_token = models.TextField(null=True, blank=True)
    id_token = models.TextField(null=True, blank=True)
    scope = models.TextField(null=True, blank=True)
    password = models.TextField(null=True, blank=True)
    access_token_expires_at = UtcTimestampField(null=True, blank=True)
    refresh_token_expires_at = UtcTimestampField(null=True, blank=True)

    class Meta:
        db_table = "accounts"
        indexes = [Index(fields=["user"], name="accounts_user_id_idx")]

    def __str__(self) -> str:
        return f"{self.provider_id} {self.account_id}"


class Verification(Timestamped):
    id = new_id()
    identifier = models.TextField()
    value = models.TextField()
    expires_at = UtcTimestampField()

    class Meta:
        db_table = "verifications"
        indexes = [Index(fields=["identifier"], name="verifications_identifier_idx")]

    def __str__(self) -> str:
        # Not the identifier, which may hold the token of a password reset.
        return str(self.id)


class Subscription(models.Model):
    id = new_id()
    plan = models.TextField()
    reference_id = models.TextField()
    stripe_customer_id = models.TextField(null=True, blank=True)
    stripe_subscription_id = models.TextField(null=True, blank=True)
    status = models.TextField(db_default="incomplete")
    period_start = UtcTimestampField(null=True, blank=True)
    period_end = UtcTimestampField(null=True, blank=True)
    trial_start = UtcTimestampField(null=True, blank=True)
    trial_end = UtcTimestampField(null=True, blank=True)
    cancel_at_period_end = models.BooleanField(null=True, blank=True, db_default=False)
    cancel_at = UtcTimestampField(null=True, blank=True)
    canceled_at = UtcTimestampField(null=True, blank=True)
    ended_at = UtcTimestampField(null=True, blank=True)
    seats = models.IntegerField(null=True, blank=True)
    billing_interval = models.TextField(null=True, blank=True)
    stripe_schedule_id = models.TextField(null=True, blank=True)

    class Meta:
        db_table = "subscriptions"
        indexes = [
            Index(fields=["reference_id"], name="subscriptions_reference_id_idx"),
            Index(fields=["stripe_customer_id"], name="subscriptions_stripe_customer_id_idx"),
            Index(
                fields=["stripe_subscription_id"], name="subscriptions_stripe_subscription_id_idx"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan} of {self.reference_id}"


class Team(Timestamped):
    id = new_id()
    name = models.TextField()
    credits = models.IntegerField(db_default=0)
    owner = models.ForeignKey(User, models.DB_CASCADE, db_index=False, null=True, blank=True)
    # Beyond the contract's columns, as on the other accounts: no open hold expires before it, so that
    # looking for expired ones passes those that were settled long ago. NULL where none was made.
    holds_expire_from = UtcTimestampField(null=True, blank=True, editable=False)

    class Meta:
        db_table = "teams"
        constraints = [
            models.CheckConstraint(condition=Q(credits__gte=0), name="teams_credits_check")
        ]
        indexes = [
            Index(fields=["owner"], name="teams_owner_id_idx"),
            Index(fields=["name"], opclasses=["text_pattern_ops"], name="teams_name_idx"),
        ]

    def __str__(self) -> str:
        return self.name


class UserCredits(Timestamped):
    user = models.OneToOneField(
        User, models.DB_CASCADE, primary_key=True, related_name="credit_account"
    )
    credits = models.IntegerField(db_default=0)
    total_credits_purchased = models.IntegerField(db_default=0)
    # NO ACTION in the database: a team with members stays, while a user whose row names the team
    # that the user owns can still be deleted.
    team = models.ForeignKey(Team, models.DO_NOTHING, db_index=False, null=True, blank=True)
    holds_expire_from = UtcTimestampField(null=True, blank=True, editable=False)

    class Meta:
        db_table = "user_credits"
        verbose_name = verbose_name_plural = "user credits"
        constraints = [
            models.CheckConstraint(condition=Q(credits__gte=0), name="user_credits_credits_check"),
            models.CheckConstraint(
                condition=Q(total_credits_purchased__gte=0),
                name="user_credits_total_credits_purchased_check",
            ),
        ]
        indexes = [Index(fields=["team"], name="user_credits_team_id_idx")]

    def __str__(self) -> str:
        return f"{self.credits} credits of {self.user_id}"


class CreditTransaction(models.Model):
    class Type(models.TextChoices):
        PURCHASE = "purchase"
        USAGE = "usage"
        REFUND = "refund"
        BONUS = "bonus"

    class Payer(models.TextChoices):
        USER = "user"
        TEAM = "team"
        API_KEY = "api_key", "API key"

    id = TextKeyField(primary_key=True, db_default=NewTimeOrderedId(), editable=False)
    user = models.ForeignKey(User, models.DB_CASCADE, db_index=False)
    team = models.ForeignKey(Team, models.DB_SET_NULL, db_index=False, null=True, blank=True)
    amount = models.IntegerField()
    type = models.TextField(choices=Type)
    operation = models.TextField(null=True, blank=True)
    resource_id = models.TextField(null=True, blank=True)
    api_key_id = models.TextField(null=True, blank=True)
    transaction_metadata = models.JSONField(null=True, blank=True)
    created_at = UtcTimestampField(db_default=UtcNow(), editable=False)
    # Beyond the contract's columns. What a refund gives back, and how much of that was given back
    # before it (set by a trigger), so that nothing is refunded twice.
    refund_of = models.TextField(null=True, blank=True)
    refunded_before = models.IntegerField(null=True, blank=True)
    # The purchase whose payment was taken back: of what is reversed, reinstated, and owed of it.
    reversal_of = models.TextField(null=True, blank=True)
    # Which balance the amount is of; a row of a client that does not know is of the user's own.
    payer = models.TextField(choices=Payer, db_default="user")
    # That balance with this amount in it; unknown for rows that other clients wrote themselves.
    balance_after = models.IntegerField(null=True, blank=True)
    # What the caller calls this change, once for ever.
    idempotency_key = models.TextField(null=True, blank=True)
    # A usage with it is a hold, and the refund that ends a hold repeats it. Unless it has ended before,
    # whoever needs the credits gives them back from then on.
    held_until = UtcTimestampField(null=True, blank=True)

    class Meta:
        db_table = "credit_transactions"
        # Of staff in the admin; what programs may is what they may call (docs/roles.md).
        permissions = [
            ("grant_credits", "Can give credits to an account"),
            ("refund_usage", "Can give a usage back"),
            ("reverse_purchase", "Can take a purchase back"),
            ("release_hold", "Can end a hold"),
        ]
        constraints = [
            models.CheckConstraint(condition=~Q(amount=0), name="credit_transactions_amount_check"),
            models.CheckConstraint(
                condition=Exact(LessThan(F("amount"), 0), Exact(F("type"), "usage")),
                name="credit_transactions_amount_type_check",
            ),
            models.CheckConstraint(
                condition=OneOf("type", Value("{purchase,usage,refund,bonus}")),
                name="credit_transactions_type_check",
            ),
            models.CheckConstraint(
                condition=OneOf("payer", Value("{user,team,api_key}")),
                name="credit_transactions_payer_check",
            ),
            models.CheckConstraint(
                condition=~Q(payer="api_key") | Q(api_key_id__isnull=False),
                name="credit_transactions_payer_api_key_id_check",
            ),
            models.CheckConstraint(
                condition=Q(balance_after__gte=0), name="credit_transactions_balance_after_check"
            ),
            models.CheckConstraint(
                condition=Q(refund_of__isnull=True) | Q(type="refund"),
                name="credit_transactions_refund_of_type_check",
            ),
            models.CheckConstraint(
                condition=Q(held_until__isnull=True) | Q(type="usage") | Q(refund_of__isnull=False),
                name="credit_transactions_held_until_type_check",
            ),
            # An empty key would make strangers' changes replays of each other.
            models.CheckConstraint(
                condition=Q(idempotency_key__gt=""),
                name="credit_transactions_idempotency_key_check",
            ),
            models.UniqueConstraint(
                fields=["user", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="credit_transactions_user_id_idempotency_key_unique",
            ),
            # What is granted to a pool is granted once, also after the owner has changed.
            models.UniqueConstraint(
                fields=["team", "idempotency_key"],
                condition=Q(
                    OneOf("type", Value("{purchase,bonus}")),
                    idempotency_key__isnull=False,
                    payer="team",
                ),
                name="credit_transactions_team_id_idempotency_key_unique",
            ),
            models.UniqueConstraint(
                fields=["api_key_id", "idempotency_key"],
                condition=Q(
                    OneOf("type", Value("{purchase,bonus}")),
                    idempotency_key__isnull=False,
                    payer="api_key",
                ),
                name="credit_transactions_api_key_id_idempotency_key_unique",
            ),
            models.UniqueConstraint(
                fields=["refund_of", "refunded_before"],
                condition=Q(refund_of__isnull=False),
                name="credit_transactions_refund_of_refunded_before_unique",
            ),
        ]
        indexes = [
            Index(fields=["user", "created_at"], name="credit_transactions_user_id_created_at_idx"),
            Index(fields=["team"], name="credit_transactions_team_id_idx"),
            Index(fields=["type"], name="credit_transactions_type_idx"),
            Index(fields=["created_at"], name="credit_transactions_created_at_idx"),
            # Rows of teams' and API keys' pools, so that adding those up reads no user's rows.
            Index(
                fields=["team", "api_key_id"],
                condition=~Q(payer="user"),
                name="credit_transactions_pool_idx",
            ),
            # The holds of an account by their expiry.
            Index(
                Coalesce("api_key_id", "team", "user"),
                "held_until",
                condition=Q(held_until__isnull=False) & Q(amount__lt=0),
                name="credit_transactions_holds_idx",
            ),
            # For the admin: what is seldom by its type, everything by its operation, and the events of a
            # payment provider, whose customer is not known yet.
            Index(
                fields=["type", "created_at"],
                condition=~Q(type="usage"),
                name="credit_transactions_type_created_at_idx",
            ),
            Index(
                fields=["operation", "created_at"],
                name="credit_transactions_operation_created_at_idx",
            ),
            Index(
                fields=["idempotency_key"],
                opclasses=["text_pattern_ops"],
                condition=Q(idempotency_key__isnull=False),
                name="credit_transactions_idempotency_key_idx",
            ),
            Index(
                fields=["user", "reversal_of"],
                condition=Q(reversal_of__isnull=False),
                name="credit_transactions_user_id_reversal_of_idx",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.amount:+d} of {self.user_id}"


class ApiKeyCredits(Timestamped):
    api_key = TextKeyField(primary_key=True)
    user = models.ForeignKey(User, models.DB_CASCADE, db_index=False)
    team = models.ForeignKey(Team, models.DB_CASCADE, db_index=False, null=True, blank=True)
    credits = models.IntegerField(db_default=0)
    daily_limit = models.IntegerField(null=True, blank=True)
    monthly_limit = models.IntegerField(null=True, blank=True)
    # Beyond the contract's columns: what the limits count, of the last UTC day and month with a
    # consume. Wider than a balance, because a pool can be filled many times a month.
    spent_on = models.DateField(null=True, blank=True, editable=False)
    spent_that_day = models.BigIntegerField(db_default=0, editable=False)
    spent_that_month = models.BigIntegerField(db_default=0, editable=False)
    holds_expire_from = UtcTimestampField(null=True, blank=True, editable=False)

    class Meta:
        db_table = "api_key_credits"
        verbose_name = verbose_name_plural = "API key credits"
        constraints = [
            models.CheckConstraint(
                condition=Q(credits__gte=0), name="api_key_credits_credits_check"
            ),
            models.CheckConstraint(
                condition=Q(daily_limit__gte=0), name="api_key_credits_daily_limit_check"
            ),
            models.CheckConstraint(
                condition=Q(monthly_limit__gte=0), name="api_key_credits_monthly_limit_check"
            ),
            models.CheckConstraint(
                condition=Q(spent_that_day__gte=0, spent_that_month__gte=0),
                name="api_key_credits_spent_check",
            ),
        ]
        indexes = [
            Index(fields=["user"], name="api_key_credits_user_id_idx"),
            Index(fields=["team"], name="api_key_credits_team_id_idx"),
            # What a person knows of a key.
            Index(Right("api_key", 4), name="api_key_credits_api_key_idx"),
        ]

    def __str__(self) -> str:
        # The primary key is the secret itself.
        return f"{self.credits} credits of a key of {self.user_id}"


class DrizzleMigration(models.Model):
    """The record that `drizzle-kit migrate` looks at in a Next.js build."""

    id = SerialField(primary_key=True)
    hash = models.TextField()
    # Milliseconds since 1970, the `when` of Drizzle's journal.
    created_at = models.BigIntegerField(null=True, blank=True)

    class Meta:
        db_table = "__drizzle_migrations"

    def __str__(self) -> str:
        return self.hash
