"""Foreign keys as Drizzle and SQLAlchemy write them: checked at once, under Drizzle's names."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from django.db import (
    IntegrityError,
    OperationalError,
    connections,
    migrations,
    models,
    transaction,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from fltr_project.postgres import sessions
from tests.conftest import Databases

KEYS = """
    SELECT conname, condeferrable, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE contype = 'f' AND connamespace = 'public'::regnamespace ORDER BY 1
"""
Apply = Callable[..., None]


@pytest.fixture
def apply(databases: Databases) -> Apply:
    """Run migration operations, one after the other, on database ``fltr``."""
    state = ProjectState()

    def run(*operations: Operation) -> None:
        nonlocal state
        for operation in operations:
            after = state.clone()
            operation.state_forwards("data_app", after)
            with connections["fltr"].schema_editor() as editor:
                operation.database_forwards("data_app", editor, state, after)
            state = after

    return run


def model(name: str, *fields: tuple[str, models.Field]) -> migrations.CreateModel:  # type: ignore[type-arg]
    number = ("id", models.IntegerField(primary_key=True))
    return migrations.CreateModel(name, [number, *fields], {"db_table": f"{name.lower()}s"})


def key(to: str, on_delete: object = models.DB_CASCADE) -> models.ForeignKey:  # type: ignore[type-arg]
    return models.ForeignKey(to, on_delete)  # type: ignore[arg-type]


def keys(databases: Databases) -> list[tuple[str, bool, str]]:
    product = ("documents", "processing_jobs")
    found = databases.execute("fltr", KEYS)
    return [
        (name, deferrable, rule) for name, deferrable, rule in found if not name.startswith(product)
    ]


ITEM_KEY = (
    "items_maker_id_makers_id_fk",
    False,
    "FOREIGN KEY (maker_id) REFERENCES makers(id) ON DELETE CASCADE",
)


def test_a_new_table_has_it(databases: Databases, apply: Apply) -> None:
    apply(model("Maker"), model("Item", ("maker", key("data_app.maker"))))
    assert keys(databases) == [ITEM_KEY]


@pytest.mark.parametrize("rows", [0, 1])
def test_an_added_column_has_it(databases: Databases, apply: Apply, rows: int) -> None:
    apply(model("Maker"), model("Item"))
    databases.execute("fltr", "INSERT INTO items SELECT generate_series(1, %s)", rows)
    field = models.ForeignKey("data_app.maker", models.DB_CASCADE, null=True)
    apply(migrations.AddField("item", "maker", field))
    assert keys(databases) == [ITEM_KEY]


def test_it_is_changed_and_removed_in_one_transaction(databases: Databases, apply: Apply) -> None:
    apply(model("Maker"), model("Item", ("maker", key("data_app.maker"))))
    apply(migrations.AlterField("item", "maker", key("data_app.maker", models.DO_NOTHING)))
    assert keys(databases) == [(*ITEM_KEY[:2], ITEM_KEY[2].removesuffix(" ON DELETE CASCADE"))]
    plain = models.ForeignKey("data_app.maker", models.DO_NOTHING, db_constraint=False)
    apply(migrations.AlterField("item", "maker", plain))
    assert keys(databases) == []
    apply(migrations.AlterField("item", "maker", key("data_app.maker")))
    assert keys(databases) == [ITEM_KEY]
    apply(migrations.RemoveField("item", "maker"))
    assert keys(databases) == []


def test_a_self_reference_and_a_table_with_an_odd_name(databases: Databases, apply: Apply) -> None:
    apply(
        migrations.CreateModel(
            "Odd",
            [
                ("id", models.IntegerField(primary_key=True)),
                ("parent", models.ForeignKey("data_app.odd", models.DO_NOTHING, null=True)),
            ],
            {"db_table": "An Odd; name"},
        )
    )
    ((name, deferrable, _),) = keys(databases)
    assert (name, deferrable) == ("An Odd; name_parent_id_An Odd; name_id_fk", False)


def test_a_long_name_is_cut_as_postgresql_cuts_drizzles(databases: Databases, apply: Apply) -> None:
    long = "a_table_whose_name_alone_has_more_than_forty_letters"
    options = {"db_table": long}
    apply(
        model("Maker"),
        migrations.CreateModel(
            "Long",
            [("id", models.IntegerField(primary_key=True)), ("maker", key("data_app.maker"))],
            options,
        ),
    )
    ((name, _, _),) = keys(databases)
    assert name == f"{long}_maker_id_makers_id_fk"[:63]


def test_a_wrong_row_is_refused_at_once(databases: Databases, apply: Apply) -> None:
    apply(model("Maker"), model("Item", ("maker", key("data_app.maker"))))
    with pytest.raises(IntegrityError), connections["fltr"].cursor() as cursor:
        cursor.execute("INSERT INTO items VALUES (1, 404)")


def test_a_migration_waits_for_a_lock_as_long_as_it_says(
    databases: Databases, apply: Apply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sessions.SETTINGS, "lock_timeout", "50")
    apply(model("Maker"))
    with databases.connect("fltr") as reader, reader.transaction():
        reader.execute("SELECT FROM makers")
        with pytest.raises(OperationalError, match="lock timeout"):
            apply(migrations.AddField("maker", "name", models.TextField(null=True)))


def test_a_timeout_of_the_caller_counts(databases: Databases) -> None:
    with transaction.atomic(using="fltr"), connections["fltr"].cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '123ms'")
        with connections["fltr"].schema_editor():
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("123ms",)


PEOPLE = """
    INSERT INTO users (id, name, email) VALUES ('owner', 'o', 'o@example.org'), ('member', 'm', 'm@example.org');
    INSERT INTO teams (id, name, owner_id) VALUES ('team', 't', 'owner');
    UPDATE user_credits SET team_id = 'team' WHERE user_id = 'owner'
"""


def test_a_user_whose_account_names_the_users_own_team_is_deletable(databases: Databases) -> None:
    databases.execute("auth", PEOPLE)
    databases.execute("auth", "DELETE FROM users WHERE id = 'owner'")
    left = "SELECT (SELECT count(*) FROM teams), (SELECT array_agg(user_id) FROM user_credits)"
    assert databases.execute("auth", left) == [(0, ["member"])]


@pytest.mark.parametrize(
    "statement", ["DELETE FROM teams WHERE id = 'team'", "DELETE FROM users WHERE id = 'owner'"]
)
def test_a_team_with_members_stays(databases: Databases, statement: str) -> None:
    databases.execute("auth", PEOPLE)
    databases.execute("auth", "UPDATE user_credits SET team_id = 'team' WHERE user_id = 'member'")
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="user_credits_team_id_teams_id"):
        databases.execute("auth", statement)


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE users SET id = 'tmp' WHERE id = 'owner'", "_id_users_id_fk"),
        ("UPDATE teams SET id = 'tmp' WHERE id = 'team'", "_team_id_teams_id_fk"),
    ],
)
def test_an_id_cannot_be_moved_away_under_its_history(
    databases: Databases, statement: str, constraint: str
) -> None:
    """At the statement, even where the transaction asks for the end of it; and without the guard that comes first."""
    databases.execute("auth", PEOPLE)
    for table in ("users", "teams"):
        databases.execute("auth", f"ALTER TABLE {table} DISABLE TRIGGER USER")
    with databases.connect("auth") as connection, connection.transaction():
        connection.execute("SET CONSTRAINTS ALL DEFERRED")
        with (
            pytest.raises(psycopg.errors.ForeignKeyViolation, match=constraint),
            connection.transaction(),
        ):
            connection.execute(statement)
        rows = connection.execute("SELECT count(*) FROM credit_transactions").fetchone()
    assert rows == (2,)
