"""No function or operator of another role is ever called by what this project sends.

A role with CREATE on schema ``public`` makes overloads there that fit a call better than the server's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.contrib import admin
from django.contrib.auth.models import User as StaffUser
from django.db import connections
from django.test import Client
from django.urls import reverse
from psycopg import sql

from auth_app import ledger
from fltr_project.postgres.search_path import PATH, pin, pinned, unpinned
from tests.admin.test_admin import make_one_of_each
from tests.conftest import Databases, Outcome
from tests.spy import Sent, spying

Run = Callable[..., Outcome]

# What migrations and the ORM send looks names up in public too. Their types are those of the columns,
# for which the server's own operator fits exactly, and it comes first; functions have their own path.
DJANGO = re.compile(
    r'(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE|ALTER TABLE|CREATE( UNIQUE)? INDEX) "'
    r"|(--[^\n]*\n)*CREATE OR REPLACE FUNCTION public\.\w+\(.*SET search_path = pg_catalog, pg_temp"
    r"|(--[^\n]*\n)*CREATE OR REPLACE FUNCTION public\.uuid7_text\(",
    re.DOTALL,
)
# The rest, each with the reason why none but the server's own is called.
BARE = (
    # The ledger's calls have all arguments with their types; its reads compare text with text.
    "SELECT verdict, balance, id, team_id, resource_id, metadata, created_at FROM public.try_",
    "SELECT credits FROM public.user_credits WHERE user_id = %(user)s",
)
# For a type of an argument, those that a call may have instead, which then fit exactly.
NEAR = {
    "text": ("name", "varchar", "text"),
    "bigint": ("integer", "smallint", "bigint"),
    "integer": ("smallint", "integer"),
    "numeric": ("integer", "bigint"),
    "double precision": ("integer", "numeric", "bigint"),
    "oid": ("integer", "bigint", "regclass", "oid"),
    "name": ("text", "varchar", "name"),
    "regclass": ("oid", "text"),
    "timestamp with time zone": ("timestamp", "date", "timestamp with time zone"),
    "timestamp without time zone": ("timestamptz", "date", "timestamp"),
    '"any"': ("text", "bigint", "oid", "name", "integer"),
    "anyelement": ("text", "bigint", "oid", "name", "integer", "boolean"),
    "anycompatible": ("text", "bigint", "oid", "name", "integer"),
    "anyarray": ("text[]", "name[]", "oid[]", "smallint[]", "integer[]"),
    "anycompatiblearray": ("text[]", "name[]", "oid[]", "smallint[]"),
    "anynonarray": ("text", "bigint", "oid", "name", "integer"),
    '"char"': ("text", '"char"'),
    "record": (),
    "internal": (),
}
OPERANDS = (
    "text", "name", "oid", "smallint", "integer", "bigint", '"char"', "regclass", "boolean", "timestamp",
    "timestamptz", "text[]", "name[]", "smallint[]",
)  # fmt: skip
SIGNATURES = """
    SELECT p.proname, p.provariadic <> 0,
           array(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, n) ORDER BY n)
    FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY(%s)
"""
ALARM = """
    CREATE FUNCTION public.alarm(text) RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'alarm: % ran as %', $1, current_user; END $$;
"""


def filled(databases: Databases) -> None:
    databases.execute(
        "auth",
        "INSERT INTO users (id, name, email) VALUES ('u', 'Ada', 'ada@example.org');"
        "INSERT INTO teams (id, name, owner_id) VALUES ('t', 'T', 'u');"
        "INSERT INTO api_key_credits (api_key, user_id) VALUES ('k', 'u')",
    )
    databases.execute("fltr", "INSERT INTO datasets (owner_id, name, slug) VALUES ('u', 'D', 'd')")
    for alias in ("auth", "fltr"):
        databases.mark(alias, "test")


def all_of_them(run: Run, folder: Path) -> Iterator[tuple[str, Outcome]]:
    """Every command that reads or writes one of the two databases, in an order that works."""
    backups = ("--backup-dir", str(folder))
    for arguments in (
        ("migrate", "--database", "auth", "--plan"),
        ("check", "--database", "auth", "--database", "fltr"),
        ("verify_schema", "--data"),
        ("verify_schema", "--sql"),
        ("smoke_credits",),
        ("smoke_credits", "--concurrency", "2"),
        ("reconcile_credits", "--repair"),
        ("mark_environment",),
        ("nuke_schema", "--database", "auth", "--plan"),
        ("clean_slate", "--plan"),
        ("backup_database", *backups),
        ("nuke_schema", "--database", "fltr", "--no-input", "--keep", *backups),
        ("nuke_schema", "--database", "fltr", "--undo", "--no-input"),
        ("clean_slate", "--no-input", "--keep", *backups),
        ("nuke_schema", "--database", "auth", "--undo", "--no-input"),
    ):
        yield " ".join(arguments), run(*arguments)


def wrong(outcomes: dict[str, Outcome]) -> dict[str, Outcome]:
    return {
        command: outcome
        for command, outcome in outcomes.items()
        if outcome.code or "alarm: " in outcome.out + outcome.err
    }


def bare(sent: list[Sent]) -> list[str]:
    """What named a function or an operator without its schema where ``public`` was searched too."""
    texts = {each.text for each in sent if not each.is_pinned and each.calls}
    lines = {" ".join(text.split()) for text in texts if not DJANGO.match(text.lstrip())}
    return sorted(line for line in lines if not line.startswith(BARE))


@pytest.mark.slow
def test_nothing_of_another_role_is_called(
    databases: Databases, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(databases)
    with spying(monkeypatch) as sent:
        outcomes = dict(all_of_them(run, tmp_path / "first"))
    assert wrong(outcomes) == {}
    assert len(sent) > 500
    assert bare(sent) == []

    # And the proof: the same again, where an overload stands ready for each of those names.
    called = sorted({name for each in sent for name in each.calls})
    for alias in ("auth", "fltr"):
        planted = plant(databases, alias, called)
        assert planted > 1_000
        with (
            databases.connect(alias) as connection,
            pytest.raises(psycopg.errors.RaiseException, match="alarm: concat_ws"),
        ):
            connection.execute("SELECT concat_ws(',', 1::bigint, 2::bigint, 3::bigint, 4::oid)")
    assert wrong(dict(all_of_them(run, tmp_path / "second"))) == {}
    user = str(databases.execute("auth", "SELECT id FROM users")[0][0])
    used = ledger.consume(user, 5, operation="x", idempotency_key="k")
    ledger.refund(used.id, 2)
    ledger.grant(user, 5, operation="x")
    assert ledger.balance(user) == 102
    assert ledger.usage_summary(user).refunded == 2


def test_a_function_beside_one_of_the_ledger_s_is_named_and_not_called(
    databases: Databases, run: Run
) -> None:
    """A call that leaves out arguments would reach it."""
    databases.execute(
        "auth",
        ALARM + "CREATE FUNCTION public.consume_credits(text, integer, text) RETURNS boolean"
        " LANGUAGE sql AS $$SELECT public.alarm('consume_credits')$$",
    )
    smoke = run("smoke_credits")
    assert smoke.code == 1
    assert "consume_credits(text, integer, text) stands beside the ledger's own" in smoke.out
    assert "alarm: " not in smoke.out + smoke.err
    verified = run("verify_schema", "--database", "auth")
    assert verified.code == 1
    assert "A call of consume_credits may reach it in place of the contract's." in verified.out


@pytest.mark.django_db(databases=["default", "auth", "fltr"])
@pytest.mark.slow
def test_the_admin_calls_nothing_of_another_role(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Django asks fits the server's own functions and operators exactly, or prefers them."""
    client.force_login(StaffUser.objects.create_superuser("root", "root@example.org", "password"))
    make_one_of_each()

    def visit() -> list[int]:
        codes = []
        for model, pages in admin.site._registry.items():
            if model._meta.app_label not in {"auth_app", "data_app"}:
                continue
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
            addresses = [
                reverse(f"{name}_changelist"),
                f"{reverse(f'{name}_changelist')}?q=a&p=0&o=1",
                reverse(f"{name}_change", args=[model._default_manager.all()[0].pk]),
            ]
            if not pages.search_fields:
                del addresses[1]
            codes += [client.get(address, follow=True).status_code for address in addresses]
        return codes

    with spying(monkeypatch) as sent:
        before = visit()
    # A key's page is nobody's.
    assert before.count(200) > 20
    called = sorted({name for each in sent for name in each.calls})
    for alias in ("auth", "fltr"):
        raw = connections[alias].connection
        assert _plant(raw, called) > 500
        with pytest.raises(psycopg.errors.RaiseException, match="alarm: "), raw.transaction():
            raw.execute("SELECT concat_ws(',', 1::bigint, 2::bigint, 3::bigint, 4::oid)")
    assert visit() == before


def plant(databases: Databases, alias: str, called: list[str]) -> int:
    """Make overloads of what is called, as a role that may create things in public; how many."""
    role = sql.Identifier(f"hostile_{databases.names[alias]}")
    with databases.connect(alias) as connection:
        connection.execute(sql.SQL("CREATE ROLE {}").format(role))
        connection.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(role))
        return _plant(connection, called, role)


def _plant(
    connection: psycopg.Connection[Any], called: list[str], role: sql.Identifier | None = None
) -> int:
    signatures = connection.execute(SIGNATURES, [called]).fetchall()
    wanted: set[tuple[str, tuple[str, ...]]] = {
        ("concat_ws", ("text", "bigint", "bigint", "bigint", "oid"))
    }
    for name, variadic, types in signatures:
        for arguments in _arguments(types, variadic):
            choices = product(*(NEAR.get(each, (each,)) for each in arguments))
            wanted |= {(name, each) for each in islice(choices, 40)}
    connection.execute(ALARM)
    if role:
        connection.execute(sql.SQL("SET ROLE {}").format(role))
    script = [
        f"CREATE FUNCTION public.{name}({', '.join(types)}) RETURNS boolean LANGUAGE sql"
        f" AS $f$SELECT public.alarm('{name}')$f$"
        for name, types in sorted(wanted)
    ]
    for operator in (each for each in called if not each[0].isalpha() and each[0] != "_"):
        for number, (left, right) in enumerate(product(OPERANDS, OPERANDS)):
            function = f"public.op_{operator.encode().hex()}_{number}"
            script += [
                f"CREATE FUNCTION {function}({left}, {right}) RETURNS boolean LANGUAGE sql"
                f" AS $f$SELECT public.alarm('operator {operator}')$f$",
                f"CREATE OPERATOR public.{operator} (LEFTARG = {left}, RIGHTARG = {right},"
                f" FUNCTION = {function})",
            ]
    # Some types fit no function of the name; those are left out.
    connection.execute(
        "DO $do$ DECLARE s text; BEGIN FOREACH s IN ARRAY ARRAY["
        + ", ".join(sql.Literal(each).as_string() for each in script)
        + "] LOOP BEGIN EXECUTE s; EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $do$"
    )
    row = connection.execute(
        "SELECT count(*) FROM pg_catalog.pg_proc WHERE pronamespace = 'public'::regnamespace"
    ).fetchone()

    return int(row[0]) if row else 0


def _arguments(types: list[str], variadic: bool) -> Iterator[list[str]]:
    if not variadic:
        yield types
        return
    element = types[-1].removesuffix("[]") if types[-1] != '"any"' else '"any"'
    for count in range(1, 6):
        yield [*types[:-1], *[element] * count]


@pytest.mark.django_db(databases=["auth"])
def test_a_pinned_cursor_leaves_the_path_of_the_transaction_as_it_was() -> None:
    connection = connections["auth"]

    def path() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SHOW search_path")
            return str(cursor.fetchone()[0])

    before = path()
    with pinned(connection) as cursor:
        assert path() == PATH
        with pinned(connection):
            assert path() == PATH
        assert path() == PATH
        with unpinned(connection):
            assert path() == "public, pg_temp"
        assert path() == PATH
        cursor.execute("SELECT 1")
    assert path() == before
    with pytest.raises(ValueError, match="of the block"), pinned(connection):
        raise ValueError("of the block")
    assert path() == before


def test_a_pinned_cursor_leaves_the_session_alone(databases: Databases) -> None:
    """Behind a pooler the session is somebody else's a moment later."""
    connection = connections["auth"]
    with pinned(connection) as cursor:
        cursor.execute("SELECT 1")
    with connection.cursor() as cursor:
        cursor.execute("SHOW search_path")
        assert cursor.fetchone() == ('"$user", public',)
        cursor.execute("BEGIN")
        pin(cursor)
        cursor.execute("COMMIT")
        cursor.execute("SHOW search_path")
        assert cursor.fetchone() == ('"$user", public',)
