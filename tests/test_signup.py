"""Whoever inserts a user, the user has one credit account and the ledger adds up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connections
from django.test import override_settings

from auth_app.models import Team, User, UserCredits
from tests.conftest import Databases, Outcome
from tests.factories import TeamFactory, UserFactory

TABLES = ("users", "user_credits", "credit_transactions", "sessions", "accounts", "teams")


def sign_up_by_raw_sql(databases: Databases) -> None:
    databases.execute("auth", "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.org')")


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
    databases: Databases, sign_up: Callable[[Databases], None]
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
    ("stored", "expected"),
    [("25", 25), ("0", 0), ("plenty", 100), ("-5", 100), ("99999999999", 100)],
)
def test_it_takes_the_bonus_from_the_database_and_no_setting_stops_a_sign_up(
    databases: Databases, stored: str, expected: int
) -> None:
    name = databases.names["auth"]
    databases.execute("auth", f"ALTER DATABASE {name} SET fltr.signup_bonus_credits = '{stored}'")
    with databases.connect("auth") as connection:
        # What a session says for itself does not count: the bonus is the same for every client.
        connection.execute("SET fltr.signup_bonus_credits = '1000000'")
        connection.execute("INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.org')")
    assert databases.execute("auth", "SELECT credits FROM user_credits") == [(expected,)]
    bonus_rows = databases.execute("auth", "SELECT amount FROM credit_transactions")
    assert bonus_rows == ([(expected,)] if expected else [])


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
