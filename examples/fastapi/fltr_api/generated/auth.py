"""The tables of auth, written by `manage.py export_schema --to sqlmodel --database auth`; edit nothing here.

Times are UTC without a zone, as all programs write them. What the database gives by itself may be left
out of a new row. Only Django's migrations make tables: call no `create_all`.
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Date, DateTime, ForeignKey, Index, Integer, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class Subscription(SQLModel, table=True):
    __tablename__ = "subscriptions"
    __table_args__ = (
        Index("subscriptions_reference_id_idx", "reference_id"),
        Index("subscriptions_stripe_customer_id_idx", "stripe_customer_id"),
        Index("subscriptions_stripe_subscription_id_idx", "stripe_subscription_id"),
    )

    id: str = Field(
        default=None,
        sa_column=Column("id", Text(), primary_key=True, server_default=text("(gen_random_uuid())::text")),
    )
    plan: str = Field(sa_column=Column("plan", Text(), nullable=False))
    reference_id: str = Field(sa_column=Column("reference_id", Text(), nullable=False))
    stripe_customer_id: str | None = Field(
        default=None,
        sa_column=Column("stripe_customer_id", Text(), nullable=True),
    )
    stripe_subscription_id: str | None = Field(
        default=None,
        sa_column=Column("stripe_subscription_id", Text(), nullable=True),
    )
    status: str = Field(
        default=None,
        sa_column=Column("status", Text(), nullable=False, server_default=text("'incomplete'::text")),
    )
    period_start: datetime | None = Field(
        default=None,
        sa_column=Column("period_start", DateTime(), nullable=True),
    )
    period_end: datetime | None = Field(
        default=None,
        sa_column=Column("period_end", DateTime(), nullable=True),
    )
    trial_start: datetime | None = Field(
        default=None,
        sa_column=Column("trial_start", DateTime(), nullable=True),
    )
    trial_end: datetime | None = Field(
        default=None,
        sa_column=Column("trial_end", DateTime(), nullable=True),
    )
    cancel_at_period_end: bool | None = Field(
        default=None,
        sa_column=Column("cancel_at_period_end", Boolean(), nullable=True, server_default=text("false")),
    )
    cancel_at: datetime | None = Field(
        default=None,
        sa_column=Column("cancel_at", DateTime(), nullable=True),
    )
    canceled_at: datetime | None = Field(
        default=None,
        sa_column=Column("canceled_at", DateTime(), nullable=True),
    )
    ended_at: datetime | None = Field(
        default=None,
        sa_column=Column("ended_at", DateTime(), nullable=True),
    )
    seats: int | None = Field(default=None, sa_column=Column("seats", Integer(), nullable=True))
    billing_interval: str | None = Field(
        default=None,
        sa_column=Column("billing_interval", Text(), nullable=True),
    )
    stripe_schedule_id: str | None = Field(
        default=None,
        sa_column=Column("stripe_schedule_id", Text(), nullable=True),
    )


class User(SQLModel, table=True):
    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("email", name="users_email_unique"),
        Index("users_created_at_idx", "created_at"),
        Index("users_email_idx", "email", postgresql_ops={"email": "text_pattern_ops"}),
        Index("users_stripe_customer_id_idx", "stripe_customer_id"),
    )

    id: str = Field(
        default=None,
        sa_column=Column("id", Text(), primary_key=True, server_default=text("(gen_random_uuid())::text")),
    )
    name: str = Field(sa_column=Column("name", Text(), nullable=False))
    email: str = Field(sa_column=Column("email", Text(), nullable=False))
    email_verified: bool = Field(
        default=None,
        sa_column=Column("email_verified", Boolean(), nullable=False, server_default=text("false")),
    )
    image: str | None = Field(default=None, sa_column=Column("image", Text(), nullable=True))
    avatar: str | None = Field(default=None, sa_column=Column("avatar", Text(), nullable=True))
    avatar_url: str | None = Field(
        default=None,
        sa_column=Column("avatar_url", Text(), nullable=True),
    )
    stripe_customer_id: str | None = Field(
        default=None,
        sa_column=Column("stripe_customer_id", Text(), nullable=True),
    )
    created_at: datetime = Field(
        default=None,
        sa_column=Column("created_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )
    updated_at: datetime = Field(
        default=None,
        sa_column=Column("updated_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )


class Verification(SQLModel, table=True):
    __tablename__ = "verifications"
    __table_args__ = (
        Index("verifications_identifier_idx", "identifier"),
    )

    id: str = Field(
        default=None,
        sa_column=Column("id", Text(), primary_key=True, server_default=text("(gen_random_uuid())::text")),
    )
    identifier: str = Field(sa_column=Column("identifier", Text(), nullable=False))
    value: str = Field(sa_column=Column("value", Text(), nullable=False))
    expires_at: datetime = Field(sa_column=Column("expires_at", DateTime(), nullable=False))
    created_at: datetime = Field(
        default=None,
        sa_column=Column("created_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )
    updated_at: datetime = Field(
        default=None,
        sa_column=Column("updated_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )


class Account(SQLModel, table=True):
    __tablename__ = "accounts"
    __table_args__ = (
        Index("accounts_user_id_idx", "user_id"),
    )

    id: str = Field(
        default=None,
        sa_column=Column("id", Text(), primary_key=True, server_default=text("(gen_random_uuid())::text")),
    )
    user_id: str = Field(
        sa_column=Column("user_id", Text(), ForeignKey("users.id", name="accounts_user_id_users_id_fk", ondelete="CASCADE"), nullable=False),
    )
    account_id: str = Field(sa_column=Column("account_id", Text(), nullable=False))
    provider_id: str = Field(sa_column=Column("provider_id", Text(), nullable=False))
    access_token: str | None = Field(
        default=None,
        sa_column=Column("access_token", Text(), nullable=True),
    )
    refresh_token: str | None = Field(
        default=None,
        sa_column=Column("refresh_token", Text(), nullable=True),
    )
    id_token: str | None = Field(default=None, sa_column=Column("id_token", Text(), nullable=True))
    scope: str | None = Field(default=None, sa_column=Column("scope", Text(), nullable=True))
    password: str | None = Field(default=None, sa_column=Column("password", Text(), nullable=True))
    access_token_expires_at: datetime | None = Field(
        default=None,
        sa_column=Column("access_token_expires_at", DateTime(), nullable=True),
    )
    refresh_token_expires_at: datetime | None = Field(
        default=None,
        sa_column=Column("refresh_token_expires_at", DateTime(), nullable=True),
    )
    created_at: datetime = Field(
        default=None,
        sa_column=Column("created_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )
    updated_at: datetime = Field(
        default=None,
        sa_column=Column("updated_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )


class Session(SQLModel, table=True):
    __tablename__ = "sessions"
    __table_args__ = (
        UniqueConstraint("token", name="sessions_token_unique"),
        Index("sessions_user_id_idx", "user_id"),
    )

    id: str = Field(
        default=None,
        sa_column=Column("id", Text(), primary_key=True, server_default=text("(gen_random_uuid())::text")),
    )
    user_id: str = Field(
        sa_column=Column("user_id", Text(), ForeignKey("users.id", name="sessions_user_id_users_id_fk", ondelete="CASCADE"), nullable=False),
    )
    token: str = Field(sa_column=Column("token", Text(), nullable=False))
    expires_at: datetime = Field(sa_column=Column("expires_at", DateTime(), nullable=False))
    ip_address: str | None = Field(
        default=None,
        sa_column=Column("ip_address", Text(), nullable=True),
    )
    user_agent: str | None = Field(
        default=None,
        sa_column=Column("user_agent", Text(), nullable=True),
    )
    created_at: datetime = Field(
        default=None,
        sa_column=Column("created_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )
    updated_at: datetime = Field(
        default=None,
        sa_column=Column("updated_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )


class Team(SQLModel, table=True):
    __tablename__ = "teams"
    __table_args__ = (
        Index("teams_name_idx", "name", postgresql_ops={"name": "text_pattern_ops"}),
        Index("teams_owner_id_idx", "owner_id"),
        CheckConstraint(text("(credits >= 0)"), name="teams_credits_check"),
    )

    id: str = Field(
        default=None,
        sa_column=Column("id", Text(), primary_key=True, server_default=text("(gen_random_uuid())::text")),
    )
    name: str = Field(sa_column=Column("name", Text(), nullable=False))
    credits: int = Field(
        default=None,
        sa_column=Column("credits", Integer(), nullable=False, server_default=text("0")),
    )
    owner_id: str | None = Field(
        default=None,
        sa_column=Column("owner_id", Text(), ForeignKey("users.id", name="teams_owner_id_users_id_fk", ondelete="CASCADE"), nullable=True),
    )
    holds_expire_from: datetime | None = Field(
        default=None,
        sa_column=Column("holds_expire_from", DateTime(), nullable=True),
    )
    created_at: datetime = Field(
        default=None,
        sa_column=Column("created_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )
    updated_at: datetime = Field(
        default=None,
        sa_column=Column("updated_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )


class ApiKeyCredits(SQLModel, table=True):
    __tablename__ = "api_key_credits"
    __table_args__ = (
        Index("api_key_credits_api_key_idx", text("\"right\"(api_key, 4)")),
        Index("api_key_credits_team_id_idx", "team_id"),
        Index("api_key_credits_user_id_idx", "user_id"),
        CheckConstraint(text("((spent_that_day >= 0) AND (spent_that_month >= 0))"), name="api_key_credits_spent_check"),
        CheckConstraint(text("(credits >= 0)"), name="api_key_credits_credits_check"),
        CheckConstraint(text("(daily_limit >= 0)"), name="api_key_credits_daily_limit_check"),
        CheckConstraint(text("(monthly_limit >= 0)"), name="api_key_credits_monthly_limit_check"),
    )

    api_key: str = Field(sa_column=Column("api_key", Text(), primary_key=True))
    user_id: str = Field(
        sa_column=Column("user_id", Text(), ForeignKey("users.id", name="api_key_credits_user_id_users_id_fk", ondelete="CASCADE"), nullable=False),
    )
    team_id: str | None = Field(
        default=None,
        sa_column=Column("team_id", Text(), ForeignKey("teams.id", name="api_key_credits_team_id_teams_id_fk", ondelete="CASCADE"), nullable=True),
    )
    credits: int = Field(
        default=None,
        sa_column=Column("credits", Integer(), nullable=False, server_default=text("0")),
    )
    daily_limit: int | None = Field(
        default=None,
        sa_column=Column("daily_limit", Integer(), nullable=True),
    )
    monthly_limit: int | None = Field(
        default=None,
        sa_column=Column("monthly_limit", Integer(), nullable=True),
    )
    spent_on: date | None = Field(default=None, sa_column=Column("spent_on", Date(), nullable=True))
    spent_that_day: int = Field(
        default=None,
        sa_column=Column("spent_that_day", BigInteger(), nullable=False, server_default=text("0")),
    )
    spent_that_month: int = Field(
        default=None,
        sa_column=Column("spent_that_month", BigInteger(), nullable=False, server_default=text("0")),
    )
    holds_expire_from: datetime | None = Field(
        default=None,
        sa_column=Column("holds_expire_from", DateTime(), nullable=True),
    )
    created_at: datetime = Field(
        default=None,
        sa_column=Column("created_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )
    updated_at: datetime = Field(
        default=None,
        sa_column=Column("updated_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )


class CreditTransaction(SQLModel, table=True):
    __tablename__ = "credit_transactions"
    __table_args__ = (
        Index("credit_transactions_api_key_id_idempotency_key_unique", "api_key_id", "idempotency_key", unique=True, postgresql_where=text("((type = ANY ('{purchase,bonus}'::text[])) AND (idempotency_key IS NOT NULL) AND (payer = 'api_key'::text))")),
        Index("credit_transactions_refund_of_refunded_before_unique", "refund_of", "refunded_before", unique=True, postgresql_where=text("(refund_of IS NOT NULL)")),
        Index("credit_transactions_team_id_idempotency_key_unique", "team_id", "idempotency_key", unique=True, postgresql_where=text("((type = ANY ('{purchase,bonus}'::text[])) AND (idempotency_key IS NOT NULL) AND (payer = 'team'::text))")),
        Index("credit_transactions_user_id_idempotency_key_unique", "user_id", "idempotency_key", unique=True, postgresql_where=text("(idempotency_key IS NOT NULL)")),
        Index("credit_transactions_holds_idx", text("COALESCE(api_key_id, team_id, user_id)"), "held_until", postgresql_where=text("((held_until IS NOT NULL) AND (amount < 0))")),
        Index("credit_transactions_created_at_idx", "created_at"),
        Index("credit_transactions_idempotency_key_idx", "idempotency_key", postgresql_ops={"idempotency_key": "text_pattern_ops"}, postgresql_where=text("(idempotency_key IS NOT NULL)")),
        Index("credit_transactions_operation_created_at_idx", "operation", "created_at"),
        Index("credit_transactions_team_id_idx", "team_id"),
        Index("credit_transactions_pool_idx", "team_id", "api_key_id", postgresql_where=text("(NOT (payer = 'user'::text))")),
        Index("credit_transactions_type_idx", "type"),
        Index("credit_transactions_type_created_at_idx", "type", "created_at", postgresql_where=text("(NOT (type = 'usage'::text))")),
        Index("credit_transactions_user_id_created_at_idx", "user_id", "created_at"),
        Index("credit_transactions_user_id_reversal_of_idx", "user_id", "reversal_of", postgresql_where=text("(reversal_of IS NOT NULL)")),
        CheckConstraint(text("((NOT (payer = 'api_key'::text)) OR (api_key_id IS NOT NULL))"), name="credit_transactions_payer_api_key_id_check"),
        CheckConstraint(text("((amount < 0) = (type = 'usage'::text))"), name="credit_transactions_amount_type_check"),
        CheckConstraint(text("((held_until IS NULL) OR (type = 'usage'::text) OR (refund_of IS NOT NULL))"), name="credit_transactions_held_until_type_check"),
        CheckConstraint(text("((refund_of IS NULL) OR (type = 'refund'::text))"), name="credit_transactions_refund_of_type_check"),
        CheckConstraint(text("(NOT (amount = 0))"), name="credit_transactions_amount_check"),
        CheckConstraint(text("(balance_after >= 0)"), name="credit_transactions_balance_after_check"),
        CheckConstraint(text("(idempotency_key > ''::text)"), name="credit_transactions_idempotency_key_check"),
        CheckConstraint(text("(payer = ANY ('{user,team,api_key}'::text[]))"), name="credit_transactions_payer_check"),
        CheckConstraint(text("(type = ANY ('{purchase,usage,refund,bonus}'::text[]))"), name="credit_transactions_type_check"),
    )

    id: str = Field(
        default=None,
        sa_column=Column("id", Text(), primary_key=True, server_default=text("uuid7_text()")),
    )
    user_id: str = Field(
        sa_column=Column("user_id", Text(), ForeignKey("users.id", name="credit_transactions_user_id_users_id_fk", ondelete="CASCADE"), nullable=False),
    )
    team_id: str | None = Field(
        default=None,
        sa_column=Column("team_id", Text(), ForeignKey("teams.id", name="credit_transactions_team_id_teams_id_fk", ondelete="SET NULL"), nullable=True),
    )
    amount: int = Field(sa_column=Column("amount", Integer(), nullable=False))
    type: str = Field(sa_column=Column("type", Text(), nullable=False))
    operation: str | None = Field(
        default=None,
        sa_column=Column("operation", Text(), nullable=True),
    )
    resource_id: str | None = Field(
        default=None,
        sa_column=Column("resource_id", Text(), nullable=True),
    )
    api_key_id: str | None = Field(
        default=None,
        sa_column=Column("api_key_id", Text(), nullable=True),
    )
    transaction_metadata: dict[str, Any] | None = Field(
        default=None,
        sa_column=Column("transaction_metadata", JSONB(), nullable=True),
    )
    refund_of: str | None = Field(
        default=None,
        sa_column=Column("refund_of", Text(), nullable=True),
    )
    refunded_before: int | None = Field(
        default=None,
        sa_column=Column("refunded_before", Integer(), nullable=True),
    )
    reversal_of: str | None = Field(
        default=None,
        sa_column=Column("reversal_of", Text(), nullable=True),
    )
    payer: str = Field(
        default=None,
        sa_column=Column("payer", Text(), nullable=False, server_default=text("'user'::text")),
    )
    balance_after: int | None = Field(
        default=None,
        sa_column=Column("balance_after", Integer(), nullable=True),
    )
    idempotency_key: str | None = Field(
        default=None,
        sa_column=Column("idempotency_key", Text(), nullable=True),
    )
    held_until: datetime | None = Field(
        default=None,
        sa_column=Column("held_until", DateTime(), nullable=True),
    )
    created_at: datetime = Field(
        default=None,
        sa_column=Column("created_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )


class UserCredits(SQLModel, table=True):
    __tablename__ = "user_credits"
    __table_args__ = (
        Index("user_credits_team_id_idx", "team_id"),
        CheckConstraint(text("(credits >= 0)"), name="user_credits_credits_check"),
        CheckConstraint(text("(total_credits_purchased >= 0)"), name="user_credits_total_credits_purchased_check"),
    )

    user_id: str = Field(
        sa_column=Column("user_id", Text(), ForeignKey("users.id", name="user_credits_user_id_users_id_fk", ondelete="CASCADE"), primary_key=True),
    )
    credits: int = Field(
        default=None,
        sa_column=Column("credits", Integer(), nullable=False, server_default=text("0")),
    )
    total_credits_purchased: int = Field(
        default=None,
        sa_column=Column("total_credits_purchased", Integer(), nullable=False, server_default=text("0")),
    )
    team_id: str | None = Field(
        default=None,
        sa_column=Column("team_id", Text(), ForeignKey("teams.id", name="user_credits_team_id_teams_id_fk"), nullable=True),
    )
    holds_expire_from: datetime | None = Field(
        default=None,
        sa_column=Column("holds_expire_from", DateTime(), nullable=True),
    )
    created_at: datetime = Field(
        default=None,
        sa_column=Column("created_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )
    updated_at: datetime = Field(
        default=None,
        sa_column=Column("updated_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )
