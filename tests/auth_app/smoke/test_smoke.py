from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jsonschema
import pytest
from django.db import connections, transaction
from django.test import override_settings

from auth_app.smoke import race
from auth_app.smoke import run as smoke
from tests.conftest import ALIASES, ROOT, Databases, Outcome, assert_not_there


@pytest.fixture
def lived_in(databases: Databases) -> Databases:
    """Users, a team and a ledger, as in a database that people use."""
    databases.execute(
        "auth",
        "INSERT INTO public.users (id, name, email)"
        " SELECT 'u' || n, 'U', 'u' || n FROM generate_series(1, 50) n",
    )
    databases.execute("auth", "SELECT public.consume_credits(id, 3, 'q') FROM public.users")
    databases.execute("auth", "INSERT INTO public.__drizzle_migrations (hash) VALUES ('h')")
    return databases


def content(databases: Databases) -> dict[str, Any]:
    """Every row of both databases with its physical place, and every sequence's state."""
    found: dict[str, Any] = {}
    for alias in ALIASES:
        relations = databases.execute(
            alias,
            "SELECT relname::text, relkind::text FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')",
        )
        for name, kind in relations:
            columns = "ctid::text, xmin::text, t::text" if kind == "r" else "last_value, is_called"
            found[f"{alias}.{name}"] = databases.execute(
                alias, f'SELECT {columns} FROM public."{name}" t ORDER BY 1'
            )
        found[f"{alias} settings"] = databases.execute(
            alias,
            "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase"
            " WHERE d.datname = current_database()",
        )
    return found


def test_it_leaves_no_trace(lived_in: Databases, run: Callable[..., Outcome]) -> None:
    before = content(lived_in)
    start = time.process_time()
    outcome = run("smoke_credits")
    # Of work: how long a busy machine takes for it says nothing.
    assert time.process_time() - start < 5
    assert (outcome.err, outcome.code) == ("", 0)
    assert "[!!]" not in outcome.out
    assert "[--] not checked: TRUNCATE of credit_transactions" in outcome.out
    assert "[--] not checked: clients at once" in outcome.out
    assert "checks passed in" in outcome.out
    assert content(lived_in) == before


def test_clients_at_once_drain_an_account_and_leave_no_trace(
    lived_in: Databases, run: Callable[..., Outcome]
) -> None:
    before = content(lived_in)
    outcome = run("smoke_credits", "--concurrency", "8", "--format", "json")
    assert outcome.code == 0
    document = json.loads(outcome.out)
    jsonschema.validate(
        document,
        json.loads((ROOT / "docs" / "json" / "smoke_credits.schema.json").read_text("utf-8")),
    )
    assert document["checks"][-1]["detail"].startswith(
        "120 credits, 160 tries: 120 went through, 40 refused, balance 0; with commit p50 "
    )
    assert document["exit_code"] == 0
    assert content(lived_in) == before


def test_a_failing_check_fails_the_command(
    lived_in: Databases, run: Callable[..., Outcome]
) -> None:
    lived_in.execute("auth", "UPDATE public.user_credits SET credits = 5 WHERE user_id = 'u7'")
    outcome = run("smoke_credits")
    assert outcome.code == 1
    assert "1 balance drifting from the ledger" in outcome.out


def test_one_client_alone_drains_an_account(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    outcome = run("smoke_credits", "--concurrency", "1")
    assert outcome.code == 0
    assert "15 credits, 20 tries: 15 went through, 5 refused, balance 0" in outcome.out
    assert "[ok] 1 client alone" in outcome.out


@pytest.mark.parametrize("clients", ["0", "-1", "two", "1.5", ""])
def test_error_a_race_of_nobody(run: Callable[..., Outcome], clients: str) -> None:
    outcome = run("smoke_credits", f"--concurrency={clients}")
    assert (outcome.out, outcome.code) == ("", 2)
    assert f"argument --concurrency: {clients!r} is no number of clients; name 1 or more" in (
        outcome.err
    )


def test_error_a_race_of_more_clients_than_the_server_has_room_for(
    lived_in: Databases, run: Callable[..., Outcome]
) -> None:
    before = content(lived_in)
    ((most,),) = lived_in.execute("auth", "SELECT current_setting('max_connections')")
    outcome = run("smoke_credits", "--concurrency", most)
    assert (outcome.out, outcome.code) == ("", 2)
    assert f"--concurrency is {most}, but {lived_in.names['auth']} on PostgreSQL" in outcome.err
    assert "Use fewer clients, or raise max_connections." in outcome.err
    assert content(lived_in) == before


@pytest.mark.parametrize("option", [[], ["--concurrency", "2"]])
def test_error_an_empty_schema(
    databases: Databases, run: Callable[..., Outcome], option: list[str]
) -> None:
    databases.execute("auth", "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert_not_there(run("smoke_credits", *option), databases, "migrate")
    assert run("migrate", "--database", "auth", "--verbosity", "0").code == 0
    assert run("smoke_credits").code == 0


def test_error_no_schema_at_all(
    databases: Databases, run: Callable[..., Outcome], manage: Callable[..., Outcome]
) -> None:
    """Where `migrate` would not do, something else is named that does."""
    databases.execute("auth", "DROP SCHEMA public CASCADE")
    assert_not_there(run("smoke_credits"), databases, "clean_slate")
    outcome = manage("migrate", "--database", "auth", **databases.environment())
    assert outcome.code == 2
    assert outcome.err == (
        "There is no schema public: no schema has been selected to create in. "
        "Run `manage.py nuke_schema --database ALIAS`, which makes an empty one.\n"
    )
    assert run("clean_slate", "--database", "auth", "--no-input").code == 0
    assert run("smoke_credits").code == 0


def test_inside_a_transaction_it_is_a_savepoint(lived_in: Databases) -> None:
    with transaction.atomic(using="auth"), connections["auth"].cursor() as cursor:
        cursor.execute("INSERT INTO public.users (id, name, email) VALUES ('mine', 'M', 'm')")
        result = smoke.run("auth")
        assert result.ok, result.detail
        assert result.detail == f"{len(result.checks)} credit checks passed"
        cursor.execute("SELECT count(*) FROM public.users WHERE id = 'mine'")
        assert cursor.fetchone() == (1,)
        cursor.execute("SELECT count(*) FROM public.users")
        assert cursor.fetchone() == (51,)


def test_it_passes_with_another_bonus_and_with_none(databases: Databases) -> None:
    for bonus in ("0", "2147483647", "7"):
        databases.execute(
            "auth",
            "CREATE OR REPLACE FUNCTION public.signup_bonus_credits() RETURNS integer"
            f" LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT {bonus}'",
        )
        failed = {check.name for check in smoke.run("auth").checks if not check.ok}
        assert failed == set(), bonus


def test_it_fails_where_the_setting_says_another_bonus(databases: Databases) -> None:
    with override_settings(SIGNUP_BONUS_CREDITS=7):
        result = smoke.run("auth")
    assert not result.ok
    assert "SIGNUP_BONUS_CREDITS says 7: run `manage.py migrate --database auth`" in result.detail


def test_without_its_tables_it_fails_and_says_so(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    databases.execute("auth", "DROP TABLE public.credit_transactions CASCADE")
    outcome = run("smoke_credits")
    assert outcome.code == 1
    assert 'relation "public.credit_transactions" does not exist' in outcome.out


def test_ctrl_c_while_the_clients_are_started_hangs_nobody(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, started = ThreadPoolExecutor.submit, []

    def interrupted(pool: ThreadPoolExecutor, *arguments: Any, **options: Any) -> Any:
        started.append(1)
        if len(started) == 3:
            raise KeyboardInterrupt
        return submit(pool, *arguments, **options)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        race.drain(4)
    assert databases.execute("auth", "SELECT count(*) FROM users") == [(0,)]


@pytest.mark.parametrize("option", [(), ("--concurrency", "2")])
def test_error_where_nothing_can_be_written(
    databases: Databases, run: Callable[..., Outcome], option: tuple[str, ...]
) -> None:
    """As on a standby."""
    connections["auth"].ensure_connection()
    connections["auth"].connection.read_only = True
    outcome = run("smoke_credits", *option)
    assert (outcome.out, outcome.code) == ("", 2)
    (line,) = outcome.err.splitlines()
    assert "is read-only (a standby, or by its settings)" in line


@pytest.mark.parametrize(
    ("granted", "lacks"),
    [
        ("SELECT ON ALL TABLES IN SCHEMA public", "INSERT on "),
        ("SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public", "EXECUTE on "),
    ],
)
def test_error_for_a_role_that_may_not_write(
    databases: Databases, run: Callable[..., Outcome], granted: str, lacks: str
) -> None:
    role = f"reader_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {role}; GRANT {granted} TO {role}")
    with connections["auth"].cursor() as cursor:
        cursor.execute(f"SET ROLE {role}")
    outcome = run("smoke_credits")
    databases.execute("auth", f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert (outcome.out, outcome.code) == ("", 2)
    (line,) = outcome.err.splitlines()
    assert f"is read-only for role {role!r} in parts ({lacks}" in line
    assert "Connect as the owner of the tables." in line
