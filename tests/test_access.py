"""grant_access: what each kind of program may, and what it may not, as the role itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.db import connections
from psycopg import sql

from auth_app import access as auth_access
from auth_app import ledger
from auth_app.models import User
from data_app import access as data_access
from fltr_project.catalog import contract
from fltr_project.catalog.access import kinds
from fltr_project.catalog.access import tables as access_tables
from fltr_project.catalog.facts import Column, Function
from tests.conftest import ALIASES, ROOT, Databases, Outcome, drop_role

Run = Callable[..., Outcome]
KINDS = ("app", "billing", "auditor", "writer")
SECRETS = {
    "sessions": {"token"},
    "accounts": {"access_token", "refresh_token", "id_token", "password"},
    "verifications": {"value"},
}
DENIED = psycopg.errors.InsufficientPrivilege


@pytest.fixture
def role(databases: Databases) -> Iterator[str]:
    name = f"role_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {name} LOGIN")
    try:
        yield name
    finally:
        drop_role(databases, name)


@pytest.fixture
def acting(
    databases: Databases, role: str, run: Run
) -> Iterator[Callable[..., psycopg.Connection[Any]]]:
    """A connection as the role, once it has the rights of a kind; rows are there already."""
    open_: list[psycopg.Connection[Any]] = []

    def act(kind: str, alias: str = "auth") -> psycopg.Connection[Any]:
        if not open_:
            filled(databases)
        granted = run("grant_access", "--role", role, "--as", kind)
        assert granted.code == 0, granted
        connection = databases.connect(alias)
        open_.append(connection)
        connection.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(role)))
        return connection

    yield act
    for connection in open_:
        connection.close()


def filled(databases: Databases) -> None:
    databases.execute(
        "auth",
        "INSERT INTO users (id, name, email) VALUES ('u', 'Ada', 'ada@example.org');"
        "INSERT INTO teams (id, name, owner_id) VALUES ('t', 'T', 'u');"
        "INSERT INTO api_key_credits (api_key, user_id) VALUES ('k', 'u');"
        "INSERT INTO sessions (id, user_id, token, expires_at) VALUES ('s', 'u', 'secret', now());"
        "INSERT INTO accounts (id, user_id, account_id, provider_id, password)"
        " VALUES ('a', 'u', 'x', 'credential', 'hash');"
        "SELECT grant_credits('u', 50, 'purchase', 'pack')",
    )
    databases.execute("fltr", "INSERT INTO datasets (owner_id, name, slug) VALUES ('u', 'D', 'd')")


def refused(connection: psycopg.Connection[Any], *statements: str) -> None:
    for statement in statements:
        with pytest.raises(DENIED):
            connection.execute(statement)


FORGERIES = (
    "UPDATE user_credits SET credits = 1000",
    "UPDATE user_credits SET total_credits_purchased = 1000",
    "INSERT INTO user_credits (user_id, credits) VALUES ('u', 5)",
    "DELETE FROM user_credits",
    "UPDATE teams SET credits = 1000",
    "INSERT INTO teams (name, owner_id, credits) VALUES ('x', 'u', 1000)",
    "UPDATE api_key_credits SET credits = 1000",
    "UPDATE api_key_credits SET spent_that_day = 0",
    "INSERT INTO api_key_credits (api_key, user_id, credits) VALUES ('x', 'u', 1000)",
    "INSERT INTO credit_transactions (user_id, amount, type) VALUES ('u', 5, 'bonus')",
    "UPDATE credit_transactions SET amount = 1",
    "DELETE FROM credit_transactions",
    "TRUNCATE credit_transactions",
    "DELETE FROM users",
    "DELETE FROM teams",
    "SELECT open_credit_account('u')",
    "SELECT add_to_credit_account('user', 'u', NULL, NULL, 5)",
    "CREATE TRIGGER t AFTER INSERT ON users EXECUTE FUNCTION users_open_credit_account()",
    "ALTER TABLE users DISABLE TRIGGER ALL",
    "CREATE TABLE mine (x integer)",
    "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
)
GRANTS = (
    "SELECT grant_credits('u', 5, 'bonus', 'x')",
    "SELECT try_grant_credits('u', 5, 'bonus', 'x')",
    "SELECT reverse_credits('x')",
    "SELECT reinstate_credits('x')",
)


def test_an_app_signs_up_logs_in_spends_holds_and_refunds(
    acting: Callable[..., psycopg.Connection[Any]], databases: Databases
) -> None:
    connection = acting("app")
    # As Better Auth signs up, logs in and out.
    connection.execute(
        "INSERT INTO users (id, name, email, email_verified, created_at, updated_at)"
        " VALUES ('new', 'Bob', 'bob@example.org', false, now(), now()) RETURNING *"
    )
    connection.execute(
        "INSERT INTO accounts (id, user_id, account_id, provider_id, password)"
        " VALUES ('na', 'new', 'new', 'credential', 'hash') RETURNING *"
    )
    connection.execute(
        "INSERT INTO sessions (id, user_id, token, expires_at) VALUES ('ns', 'new', 't', now())"
    )
    connection.execute(
        "SELECT * FROM sessions s JOIN users u ON u.id = s.user_id WHERE token = 't'"
    )
    connection.execute("UPDATE sessions SET expires_at = now(), updated_at = now() WHERE id = 'ns'")
    connection.execute(
        "INSERT INTO verifications (identifier, value, expires_at) VALUES ('x', 'y', now())"
    )
    connection.execute("DELETE FROM verifications")
    connection.execute("UPDATE users SET email_verified = true, name = 'Bob B.' WHERE id = 'new'")
    connection.execute("DELETE FROM sessions WHERE id = 'ns'")
    # A team, its member, a key.
    connection.execute("INSERT INTO teams (id, name, owner_id) VALUES ('nt', 'T', 'new')")
    connection.execute("UPDATE user_credits SET team_id = 'nt' WHERE user_id = 'new'")
    connection.execute(
        "INSERT INTO api_key_credits (api_key, user_id, daily_limit) VALUES ('nk', 'new', 5)"
    )
    connection.execute("UPDATE api_key_credits SET daily_limit = 6 WHERE api_key = 'nk'")
    # Credits.
    used = one(connection, "SELECT (consume_credits('u', 30, 'chat')).id")
    assert one(connection, "SELECT (refund_credits(%s, 10)).balance_after", used) == 130
    held = one(connection, "SELECT (hold_credits('u', 20, 'chat')).id")
    connection.execute("SELECT settle_credits(%s, 5)", [held])
    assert one(connection, "SELECT credits FROM user_credits WHERE user_id = 'u'") == 125
    connection.execute("SELECT * FROM consume_credits_many('[]')")
    assert databases.execute("auth", "SELECT credits FROM user_credits WHERE user_id = 'new'") == [
        (100,)
    ]
    refused(connection, *FORGERIES, *GRANTS)


def test_an_app_works_by_the_orm_and_the_ledger_of_python(
    acting: Callable[..., psycopg.Connection[Any]], role: str
) -> None:
    acting("app")
    with connections["auth"].cursor() as cursor:
        cursor.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(role)))
        try:
            user = User.objects.create(name="Eve", email="eve@example.org")
            assert ledger.consume(user.pk, 30, operation="chat").balance_after == 70
            hold = ledger.hold(user.pk, 20, operation="chat")
            ledger.settle(hold, 5)
            assert list(ledger.consume_many([])) == []
            assert ledger.balance(user.pk) == 65
            with pytest.raises(Exception, match="permission denied for function try_grant_credits"):
                ledger.grant(user.pk, 5, operation="x")
        finally:
            cursor.execute("RESET SESSION AUTHORIZATION")


def test_billing_grants_and_reverses_and_nothing_else(
    acting: Callable[..., psycopg.Connection[Any]],
) -> None:
    connection = acting("billing")
    bought = one(connection, "SELECT (grant_credits('u', 70, 'purchase', 'pack')).id")
    connection.execute("SELECT reverse_credits(%s)", [bought])
    connection.execute("SELECT reinstate_credits(%s)", [bought])
    connection.execute("UPDATE users SET stripe_customer_id = 'cus_1' WHERE id = 'u'")
    connection.execute(
        "INSERT INTO subscriptions (plan, reference_id) VALUES ('pro', 'u') RETURNING id"
    )
    refused(
        connection,
        *FORGERIES,
        "SELECT consume_credits('u', 5, 'chat')",
        "INSERT INTO users (name, email) VALUES ('x', 'y')",
        "UPDATE users SET email = 'x'",
        "SELECT * FROM sessions",
        "SELECT password FROM accounts",
    )


def test_an_auditor_reads_all_but_the_secrets_and_writes_nothing(
    acting: Callable[..., psycopg.Connection[Any]], databases: Databases
) -> None:
    connection = acting("auditor")
    for table in contract.tables("auth"):
        columns = [
            column.name
            for column in contract.load("auth").of(Column)
            if column.table == table and column.name not in SECRETS.get(table, ())
        ]
        connection.execute(
            sql.SQL("SELECT {} FROM {}").format(
                sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(table)
            )
        )
        refused(
            connection,
            f'DELETE FROM "{table}"',
            f'UPDATE "{table}" SET "{columns[0]}" = NULL',
            f'INSERT INTO "{table}" DEFAULT VALUES',
            f'TRUNCATE "{table}" CASCADE',
        )
    refused(
        connection,
        *FORGERIES,
        *GRANTS,
        "SELECT consume_credits('u', 5, 'chat')",
        *(
            f"SELECT {column} FROM {table}"
            for table, columns in SECRETS.items()
            for column in columns
        ),
    )
    data = acting("auditor", "fltr")
    data.execute("SELECT * FROM datasets")
    refused(data, "DELETE FROM datasets", "UPDATE datasets SET name = 'x'")


def test_a_writer_writes_its_own_rows_as_programs_of_today_do(
    acting: Callable[..., psycopg.Connection[Any]],
) -> None:
    connection = acting("writer")
    with connection.transaction():
        connection.execute("UPDATE user_credits SET credits = credits - 30 WHERE user_id = 'u'")
        connection.execute(
            "INSERT INTO credit_transactions (user_id, amount, type, operation)"
            " VALUES ('u', -30, 'usage', 'chat')"
        )
    connection.execute(
        "INSERT INTO credit_transactions (user_id, amount, type) VALUES ('u', 1, 'bonus')"
    )
    connection.execute("INSERT INTO __drizzle_migrations (hash) VALUES ('x')")
    connection.execute("SELECT consume_credits('u', 5, 'chat')")
    connection.execute("SELECT grant_credits('u', 5, 'bonus', 'x')")
    connection.execute("DELETE FROM users WHERE id = 'u'")
    refused(
        connection,
        "UPDATE credit_transactions SET amount = 1",
        "DELETE FROM credit_transactions",
        "TRUNCATE users CASCADE",
        "SELECT open_credit_account('u')",
        "ALTER TABLE users DISABLE TRIGGER ALL",
        "CREATE TABLE mine (x integer)",
    )
    data = acting("writer", "fltr")
    data.execute("INSERT INTO datasets (owner_id, name, slug) VALUES ('u', 'E', 'e')")
    data.execute("DELETE FROM datasets")


def test_an_app_writes_datasets(acting: Callable[..., psycopg.Connection[Any]]) -> None:
    connection = acting("app", "fltr")
    connection.execute("INSERT INTO datasets (owner_id, name, slug) VALUES ('u', 'E', 'e')")
    connection.execute("UPDATE datasets SET name = 'F' WHERE slug = 'e'")
    connection.execute("DELETE FROM datasets WHERE slug = 'e'")
    refused(connection, "TRUNCATE datasets CASCADE", "CREATE TABLE mine (x integer)")


def test_it_says_what_it_did_and_again_changes_nothing(
    databases: Databases, role: str, run: Run
) -> None:
    first = run("grant_access", "--role", role, "--as", "app")
    assert first.code == 0, first
    assert f'GRANT SELECT, INSERT, UPDATE ON TABLE public.users TO "{role}";' in statements(first)
    assert f"{role} has the rights of app on {databases.names['auth']}" in first.out
    before = rights(databases)
    again = run("grant_access", "--role", role, "--as", "app")
    assert again.out.count("as before: nothing was changed.") == 2
    assert statements(again) == statements(first)
    assert rights(databases) == before


@pytest.mark.parametrize("kind", KINDS)
def test_another_kind_takes_what_is_too_much_and_revoke_takes_all(
    databases: Databases, role: str, run: Run, kind: str
) -> None:
    nothing = rights(databases)
    run("grant_access", "--role", role, "--as", kind)
    alone = rights(databases)
    assert alone != nothing
    databases.execute(
        "auth",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; GRANT CREATE ON SCHEMA public TO {role}",
    )
    run("grant_access", "--role", role, "--as", "writer" if kind != "writer" else "app")
    run("grant_access", "--role", role, "--as", kind)
    assert rights(databases) == alone
    taken = run("grant_access", "--role", role, "--revoke")
    assert (taken.code, rights(databases)) == (0, nothing)
    assert "has no rights of this command's left" in taken.out


def test_the_statements_do_the_same(databases: Databases, role: str, run: Run) -> None:
    nothing = rights(databases)
    for kind in KINDS:
        for alias in ALIASES:
            script = run("grant_access", "--role", role, "--as", kind, "--sql", "--database", alias)
            assert script.code == 0
            databases.execute(alias, script.out)
        by_hand = rights(databases)
        again = run("grant_access", "--role", role, "--as", kind)
        assert again.out.count("nothing was changed") == 2
        assert rights(databases) == by_hand != nothing


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ("--role", "nobody_here", "--as", "app"),
            "There is no role 'nobody_here' on the server of",
        ),
        (("--role", "pg_monitor", "--as", "app"), "There is no role 'pg_monitor' on the server of"),
        (
            ("--role", "x"),
            "Say what kind of program 'x' is: --as app or billing or auditor or writer.",
        ),
        (("--role", "x", "--as", "app", "--database", "nope"), "nope"),
        (
            ("--role", "x", "--as", "app", "--database", "default"),
            "which schema commands never touch",
        ),
    ],
)
def test_it_refuses_with_one_sentence(
    databases: Databases, run: Run, arguments: tuple[str, ...], error: str
) -> None:
    outcome = run("grant_access", *arguments)
    assert (outcome.out, outcome.code) == ("", 2)
    (line,) = outcome.err.splitlines()
    assert error in line


def test_it_refuses_a_role_that_rights_do_not_limit(
    databases: Databases, role: str, run: Run
) -> None:
    databases.execute("auth", f"ALTER ROLE {role} SUPERUSER")
    assert (
        "is a superuser, so rights do not limit it"
        in run("grant_access", "--role", role, "--as", "app").err
    )
    databases.execute("auth", f"ALTER ROLE {role} NOSUPERUSER; ALTER TABLE users OWNER TO {role}")
    outcome = run("grant_access", "--role", role, "--as", "app")
    assert (outcome.code, "owns parts of" in outcome.err) == (2, True)
    databases.execute("auth", "ALTER TABLE users OWNER TO CURRENT_USER")


def test_it_refuses_where_the_session_may_not_grant(
    databases: Databases, role: str, run: Run
) -> None:
    with connections["auth"].cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role}_2; SET SESSION AUTHORIZATION {role}_2")
    # At its end a command closes its connections.
    outcome = run("grant_access", "--role", role, "--as", "app", "--database", "auth")
    databases.execute("auth", f"DROP ROLE {role}_2")
    assert outcome.code == 2
    assert "may not grant rights on" in outcome.err
    assert "pg_database_owner" not in outcome.err
    assert "Connect as that role." in outcome.err


def test_it_names_what_the_role_may_besides(databases: Databases, role: str, run: Run) -> None:
    databases.execute("auth", "GRANT UPDATE ON user_credits TO PUBLIC")
    outcome = run("grant_access", "--role", role, "--as", "app")
    assert "It may more than that" in outcome.out
    assert "UPDATE on user_credits" in outcome.out


@pytest.mark.parametrize("how", ["clean_slate", "nuke_schema"])
def test_a_rebuild_keeps_the_rights(databases: Databases, role: str, run: Run, how: str) -> None:
    run("grant_access", "--role", role, "--as", "app")
    databases.execute("auth", "COMMENT ON SCHEMA public IS NULL")
    run("grant_access", "--role", role, "--as", "app")
    before = rights(databases)
    if how == "clean_slate":
        assert run("clean_slate", "--no-input", "--no-backup").code == 0
    else:
        for alias in ALIASES:
            assert run("nuke_schema", "--database", alias, "--no-input", "--no-backup").code == 0
            assert run("migrate", "--database", alias).code == 0
    assert rights(databases) == before
    assert run("verify_schema", "--strict").code == 0


def test_a_migration_does_not_fail_for_a_role_that_is_gone(
    databases: Databases, role: str, run: Run
) -> None:
    databases.execute(
        "auth", 'COMMENT ON SCHEMA public IS E\'ours\\naccess: {"gone": "app", "gone2": "what"}\''
    )
    assert run("migrate", "--database", "auth").code == 0
    run("grant_access", "--role", role, "--as", "auditor")
    ((comment,),) = databases.execute(
        "auth", "SELECT obj_description('public'::regnamespace, 'pg_namespace')"
    )
    assert comment.startswith("ours\naccess: {")
    run("grant_access", "--role", role, "--revoke")
    assert role not in str(
        databases.execute("auth", "SELECT obj_description('public'::regnamespace, 'pg_namespace')")
    )


def test_the_table_of_the_documentation_is_that_of_the_program() -> None:
    text = (ROOT / "docs" / "roles.md").read_text(encoding="utf-8")
    for alias in ALIASES:
        assert documented(alias) in text, f"write into docs/roles.md:\n{documented(alias)}"


def test_what_an_auditor_does_not_see_of_a_table_is_a_secret() -> None:
    models = {model._meta.db_table: model for model in apps.get_app_config("auth_app").get_models()}
    for table, privileges in auth_access.AUDITOR.tables.items():
        (privilege,) = privileges
        if "(" not in privilege:
            assert table not in SECRETS
            continue
        seen = set(re.findall(r"\w+", privilege)) - {"SELECT"}
        columns = {field.column for field in models[table]._meta.concrete_fields}
        assert columns - seen == SECRETS[table], table
    assert set(auth_access.kinds()) == set(data_access.kinds()) == set(KINDS)


def documented(alias: str) -> str:
    """The table of docs/roles.md: what each kind may on each table, and which functions it may call."""
    access = kinds(alias)
    lines = [f"| `{alias}` | {' | '.join(access)} |", "|---|" + "---|" * len(access)]
    for table in access_tables(alias):
        cells = ("; ".join(each.tables.get(table, ())) or "nothing" for each in access.values())
        lines.append(f"| {table} | {' | '.join(cells)} |")
    functions = sorted({name for each in access.values() for name in each.functions})
    for name in functions:
        cells = ("yes" if name in each.functions else "no" for each in access.values())
        lines.append(f"| {name}() | {' | '.join(cells)} |")
    sequences = sorted({name for each in access.values() for name in each.sequences})
    for name in sequences:
        cells = (", ".join(each.sequences.get(name, ())) or "nothing" for each in access.values())
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for things in ("tables", "sequences"):
        cells = (", ".join(each.new.get(things, ())) or "nothing" for each in access.values())
        lines.append(f"| new {things} | {' | '.join(cells)} |")
    return "\n".join(lines)


def rights(databases: Databases) -> list[Any]:
    """All access control lists, as sets, without the places that they stand in."""
    found = []
    for alias in ALIASES:
        found += databases.execute(
            alias,
            """
            SELECT c.relname::text, array(SELECT unnest(c.relacl)::text ORDER BY 1) FROM pg_class c
            WHERE c.relnamespace = 'public'::regnamespace AND cardinality(c.relacl) > 1
            UNION ALL SELECT format('%s.%s', attrelid::regclass, attname), array(SELECT unnest(attacl)::text ORDER BY 1)
            FROM pg_attribute WHERE cardinality(attacl) > 0 AND attrelid >= 16384
            UNION ALL SELECT oid::regprocedure::text, array(SELECT unnest(proacl)::text ORDER BY 1) FROM pg_proc
            WHERE pronamespace = 'public'::regnamespace AND cardinality(proacl) > 1
            UNION ALL SELECT nspname, array(SELECT unnest(nspacl)::text ORDER BY 1) FROM pg_namespace
            WHERE nspname = 'public'
            UNION ALL SELECT 'default', array(SELECT unnest(defaclacl)::text ORDER BY 1) FROM pg_default_acl
            ORDER BY 1, 2
            """,
        )
    return found


def statements(outcome: Outcome) -> list[str]:
    return [line for line in outcome.out.splitlines() if line.endswith(";")]


def one(connection: psycopg.Connection[Any], query: str, *parameters: Any) -> Any:
    row = connection.execute(query.encode(), parameters or None).fetchone()
    assert row is not None
    return row[0]


def test_every_function_that_a_program_may_call_acts_as_its_owner() -> None:
    """Another would act with the program's own rights, which it has not; and none of them is forgotten."""
    acting = {
        f.name
        for f in contract.load("auth").of(Function)
        if f.security_definer and f.returns != "trigger"
    }
    assert {name for each in kinds("auth").values() for name in each.functions} == acting
