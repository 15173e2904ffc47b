"""Whoever inserts a user, the user has one credit account and the ledger adds up."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from django.db import connections
from django.test import override_settings

from auth_app import bonus, ledger
from auth_app.models import Team, User, UserCredits
from tests.conftest import Databases, Outcome
from tests.factories import TeamFactory, UserFactory

TABLES = ("users", "user_credits", "credit_transactions", "sessions", "accounts", "teams")


def sign_up_by_raw_sql(databases: Databases) -> str:
    ((user_id,),) = databases.execute(
        "auth", "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.org') RETURNING id"
    )
    return str(user_id)


def sign_up_by_copy(databases: Databases) -> None:
    with (
        databases.connect("auth") as connection,
        connection.cursor() as cursor,
        cursor.copy("COPY users (name, email) FROM STDIN") as copy,
    ):
        copy.write_row(("Ada", "ada@example.org"))


def sign_up_by_bulk_create(databases: Databases) -> None:
    User.objects.bulk_create([User(name="Ada", email="ada@example.org")])


def sign_up_by_create(databases: Databases) -> None:
    User.objects.create(name="Ada", email="ada@example.org")


def sign_up_by_create_without_the_trigger(databases: Databases) -> None:
    """Without the trigger the signal alone must do it."""
    databases.execute("auth", "ALTER TABLE users DISABLE TRIGGER users_open_credit_account")
    sign_up_by_create(databases)


@pytest.mark.parametrize(
    "sign_up",
    [
        sign_up_by_raw_sql,
        sign_up_by_copy,
        sign_up_by_bulk_create,
        sign_up_by_create,
        sign_up_by_create_without_the_trigger,
    ],
)
def test_it_opens_exactly_one_account(
    databases: Databases, sign_up: Callable[[Databases], object]
) -> None:
    sign_up(databases)
    rows = databases.execute(
        "auth",
        "SELECT c.credits, c.total_credits_purchased, t.type, t.amount, t.operation FROM users u"
        " LEFT JOIN user_credits c ON c.user_id = u.id"
        " LEFT JOIN credit_transactions t ON t.user_id = u.id",
    )
    assert rows == [(100, 0, "bonus", 100, "signup")]

    databases.execute("auth", "DELETE FROM users")
    for table in TABLES:
        assert databases.execute("auth", f"SELECT count(*) FROM {table}") == [(0,)], table


@pytest.mark.parametrize(
    ("text", "expected"), [("25", 25), ("0", 0), ("-5", 0), ("NULL::integer", 0)]
)
def test_it_takes_the_bonus_from_the_database_and_no_text_stops_a_sign_up(
    databases: Databases, text: str, expected: int
) -> None:
    with databases.connect("auth") as connection:
        # What a session says for itself does not count: the bonus is the same for every client.
        connection.execute("SET fltr.signup_bonus_credits = '1000000'")
        connection.execute("INSERT INTO users (name, email) VALUES ('Eve', 'eve@example.org')")
        connection.execute("DELETE FROM users")
        set_bonus(databases, text)
        # Also for a session that has signed somebody up with the other number.
        connection.execute("INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.org')")
    assert databases.execute("auth", "SELECT credits FROM user_credits") == [(expected,)]
    bonus_rows = databases.execute("auth", "SELECT amount FROM credit_transactions")
    assert bonus_rows == ([(expected,)] if expected else [])


def set_bonus(databases: Databases, text: str) -> None:
    databases.execute(
        "auth",
        "CREATE OR REPLACE FUNCTION public.signup_bonus_credits() RETURNS integer"
        f" LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT {text}'",
    )


@pytest.mark.parametrize(("text", "drifts"), [("25", False), ("0", False), ("-5", True)])
def test_another_number_is_no_drift_and_another_text_is(
    databases: Databases, run: Callable[..., Outcome], text: str, *, drifts: bool
) -> None:
    set_bonus(databases, text)
    outcome = run("verify_schema", "--database", "auth")
    assert ("signup_bonus_credits" in outcome.out, outcome.code) == (drifts, int(drifts))


def test_another_volatility_is_drift_with_another_number_too(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    set_bonus(databases, "25")
    databases.execute("auth", "ALTER FUNCTION public.signup_bonus_credits() VOLATILE")
    assert run("verify_schema", "--database", "auth").code == 1


def test_a_rebuild_keeps_the_bonus_unless_the_setting_says_another(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    set_bonus(databases, "25")
    databases.mark("auth", "development")
    assert run("clean_slate", "--database", "auth", "--no-input", "--no-backup").code == 0
    sign_up_by_raw_sql(databases)
    assert databases.execute("auth", "SELECT credits FROM user_credits") == [(25,)]
    with override_settings(SIGNUP_BONUS_CREDITS=7):
        outcome = run("clean_slate", "--database", "auth", "--no-input", "--no-backup")
    assert outcome.code == 0, outcome
    sign_up_by_raw_sql(databases)
    assert databases.execute("auth", "SELECT credits FROM user_credits") == [(7,)]


def test_a_role_that_owns_nothing_migrates_and_is_told(
    databases: Databases, caplog: pytest.LogCaptureFixture
) -> None:
    role = f"plain_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {role}")
    try:
        with connections["auth"].cursor() as cursor, override_settings(SIGNUP_BONUS_CREDITS=7):
            cursor.execute(f"SET ROLE {role}")
            bonus.write_configured("auth")
            cursor.execute("RESET ROLE")
        assert "New users get 100 still, not 7" in caplog.text
        assert bonus.stored(connections["auth"]) == 100
    finally:
        databases.execute("auth", f"DROP ROLE {role}")


# --- once


def test_an_account_that_was_deleted_opens_with_what_the_ledger_says(databases: Databases) -> None:
    user_id = sign_up_by_raw_sql(databases)
    ledger.consume(user_id, 30, operation="q")
    ledger.grant(user_id, 50, operation="stripe")
    for _ in range(3):
        databases.execute("auth", "DELETE FROM user_credits")
        databases.execute("auth", "SELECT open_credit_account(%s)", user_id)
    assert databases.execute(
        "auth", "SELECT credits, total_credits_purchased FROM user_credits"
    ) == [(120, 50)]
    assert databases.execute(
        "auth", "SELECT count(*) FROM credit_transactions WHERE operation = 'signup'"
    ) == [(1,)]


@pytest.mark.parametrize("payer", ["user", "team"])
def test_a_key_of_the_users_own_that_is_called_signup_gives_no_bonus(
    databases: Databases, payer: str
) -> None:
    """Where there was no bonus at the sign-up: neither a second one later nor an error."""
    set_bonus(databases, "0")
    user_id = sign_up_by_raw_sql(databases)
    databases.execute(
        "auth",
        "INSERT INTO credit_transactions (user_id, amount, type, payer, idempotency_key)"
        " VALUES (%s, 5, 'bonus', %s, 'signup')",
        *(user_id, payer),
    )
    databases.execute("auth", "DELETE FROM user_credits")
    set_bonus(databases, "100")
    databases.execute("auth", "SELECT open_credit_account(%s)", user_id)
    assert databases.execute("auth", "SELECT credits FROM user_credits") == [
        (5 if payer == "user" else 0,)
    ]


def test_the_bonus_key_is_taken(databases: Databases) -> None:
    user_id = sign_up_by_raw_sql(databases)
    with pytest.raises(ledger.KeyReused):
        ledger.consume(user_id, 1, operation="q", idempotency_key="signup")
    with pytest.raises(psycopg.errors.UniqueViolation, match="user_id_idempotency_key_unique"):
        databases.execute(
            "auth",
            "INSERT INTO credit_transactions (user_id, amount, type, idempotency_key)"
            " VALUES (%s, 100, 'bonus', 'signup')",
            user_id,
        )


def test_it_stores_the_configured_bonus_when_migrating(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    with override_settings(SIGNUP_BONUS_CREDITS=7):
        first, again = (run("migrate", "--database", "auth") for _ in range(2))
    assert (first.code, again.code) == (0, 0)
    assert "New users get 7 credits from now on" in first.out
    assert "New users" not in again.out
    sign_up_by_raw_sql(databases)
    assert databases.execute("auth", "SELECT credits FROM user_credits") == [(7,)]


def test_it_lets_a_role_sign_users_up_that_may_not_touch_credits(databases: Databases) -> None:
    role = f"signup_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {role}")
    try:
        databases.execute("auth", f"GRANT SELECT, INSERT ON users TO {role}")
        with databases.connect("auth") as connection:
            connection.execute(f"SET ROLE {role}")
            connection.execute("INSERT INTO users (name, email) VALUES ('Ada', 'a@example.org')")
        # The ORM's signal asks for the account once more, with the same rights.
        with connections["auth"].cursor() as cursor:
            cursor.execute(f"SET ROLE {role}")
            try:
                User.objects.create(name="Bob", email="b@example.org")
            finally:
                cursor.execute("RESET ROLE")
        assert databases.execute("auth", "SELECT credits FROM user_credits") == [(100,)] * 2
    finally:
        databases.execute("auth", f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_it_deletes_a_user_whose_credits_name_the_users_own_team(databases: Databases) -> None:
    team = TeamFactory.create()
    owner = team.owner
    assert owner is not None
    UserCredits.objects.filter(user=owner).update(team=team)
    owner.delete()
    assert not Team.objects.exists()
    assert not UserCredits.objects.exists()


@pytest.mark.django_db(databases=["auth"])
def test_it_gives_every_user_of_the_factory_an_account() -> None:
    users = UserFactory.create_batch(3)
    assert UserCredits.objects.filter(user__in=users, credits=100).count() == 3
