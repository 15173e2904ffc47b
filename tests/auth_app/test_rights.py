"""No role gains anything from our functions: who may call them, and as whom they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from django.db import ProgrammingError, connections, transaction
from psycopg import sql

from auth_app.ledger.freeze import LIVING
from auth_app.models import User
from tests.conftest import Databases, Outcome, drop_role

# What an application calls itself. They write balances and the ledger, which it may not.
ENTRY_POINTS = {
    "consume_credits",
    "consume_credits_many",
    "grant_credits",
    "hold_credits",
    "refund_credits",
    "reinstate_credits",
    "release_credits",
    "reverse_credits",
    "settle_credits",
    "try_consume_credits",
    "try_grant_credits",
    "try_hold_credits",
    "try_refund_credits",
    "try_reinstate_credits",
    "try_release_credits",
    "try_reverse_credits",
    "try_settle_credits",
}
# Triggers that write or lock rows to which the writer of the table has no right.
TRIGGERS_AS_OWNER = {
    "credit_transactions_limit_refund",
    "users_delete_in_turn",
    "users_leave_pools",
    "users_open_credit_account",
}
FUNCTIONS = sorted(file.stem for file in LIVING.glob("*.sql"))
RIGHTS = """
    SELECT p.proname, p.prosecdef, p.prorettype = 'trigger'::regtype, p.proconfig,
           has_function_privilege('public', p.oid, 'EXECUTE')
    FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
"""
# A table with a column of the role's own type, whose cast says who runs it.
TRAP = """
    CREATE TYPE pg_temp.bait AS ENUM ('u1');
    CREATE TABLE pg_temp.seen (who text);
    GRANT INSERT ON pg_temp.seen TO PUBLIC;
    CREATE FUNCTION pg_temp.spring(pg_temp.bait) RETURNS text LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO pg_temp.seen VALUES (current_user);
        RETURN 'u1';
    END $$;
    CREATE CAST (pg_temp.bait AS text) WITH FUNCTION pg_temp.spring(pg_temp.bait) AS IMPLICIT;
    CREATE TABLE pg_temp.victim (
        id pg_temp.bait, user_id pg_temp.bait, team_id pg_temp.bait, payer pg_temp.bait,
        operation pg_temp.bait, refund_of pg_temp.bait, type pg_temp.bait, amount integer,
        refunded_before integer
    );
"""
CALL_FOR_EACH_EVENT = (
    ("BEFORE INSERT", "INSERT INTO pg_temp.victim VALUES ('u1','u1','u1','u1','u1','u1','u1',1,1)"),
    ("BEFORE UPDATE", "UPDATE pg_temp.victim SET team_id = NULL"),
    ("BEFORE DELETE", "DELETE FROM pg_temp.victim"),
)


@pytest.fixture
def stranger(databases: Databases) -> Iterator[str]:
    """A role without any grant."""
    role = f"stranger_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {role}")
    try:
        yield role
    finally:
        drop_role(databases, role)


def test_what_runs_as_the_owner_is_known_and_nobody_else_may_call_it(databases: Databases) -> None:
    rows = databases.execute("auth", RIGHTS)
    assert sorted(name for name, *_ in rows) == FUNCTIONS
    as_owner = {name for name, definer, *_ in rows if definer}
    assert as_owner == ENTRY_POINTS | TRIGGERS_AS_OWNER
    assert {name for name, *_, of_public in rows if of_public} == {"uuid7_text"}
    for name, _, _, settings, _ in rows:
        # Of expressions without a name to look up, which are inlined.
        inlined = name in {"uuid7_text", "signup_bonus_credits"}
        expected = None if inlined else ["search_path=pg_catalog, pg_temp"]
        assert settings == expected, name


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "uuid7_text"])
def test_a_role_without_any_grant_calls_none_of_them(
    databases: Databases, stranger: str, name: str
) -> None:
    with databases.connect("auth") as connection:
        ((arguments, is_trigger),) = connection.execute(
            "SELECT array(SELECT format_type(t, NULL) FROM unnest(proargtypes) t),"
            " prorettype = 'trigger'::regtype FROM pg_proc"
            " WHERE pronamespace = 'public'::regnamespace AND proname = %s",
            [name],
        ).fetchall()
        connection.execute(f"SET ROLE {stranger}")
        connection.execute(TRAP)
        if is_trigger:
            statements = [
                f"CREATE TRIGGER t {event} ON pg_temp.victim FOR EACH ROW EXECUTE FUNCTION public.{name}()"
                for event, _ in CALL_FOR_EACH_EVENT
            ]
        else:
            nulls = ", ".join(f"NULL::{type_}" for type_ in arguments)
            statements = [f"SELECT public.{name}({nulls})"]
        for statement in statements:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match=name):
                connection.execute(statement)
        assert connection.execute("SELECT * FROM pg_temp.seen").fetchall() == []


@pytest.mark.parametrize("name", sorted(TRIGGERS_AS_OWNER))
def test_a_trigger_function_touches_no_row_of_a_relation_that_is_not_its_own(
    databases: Databases, stranger: str, name: str
) -> None:
    """Even for a role that may call it, which the right to make triggers anywhere would give it to."""
    databases.execute("auth", f"GRANT EXECUTE ON FUNCTION public.{name}() TO {stranger}")
    with databases.connect("auth") as connection:
        connection.execute(f"SET ROLE {stranger}")
        connection.execute(TRAP)
        for event, statement in CALL_FOR_EACH_EVENT:
            connection.execute("TRUNCATE pg_temp.victim")
            connection.execute(CALL_FOR_EACH_EVENT[0][1])
            connection.execute(
                f"CREATE TRIGGER t {event} ON pg_temp.victim FOR EACH ROW EXECUTE FUNCTION public.{name}()"
            )
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="its own table only"):
                connection.execute(statement)
            connection.execute("DROP TRIGGER t ON pg_temp.victim")
        assert connection.execute("SELECT * FROM pg_temp.seen").fetchall() == []


def test_the_trap_would_be_sprung(databases: Databases, stranger: str) -> None:
    """The two tests above would see a cast that runs as another role."""
    with databases.connect("auth") as connection:
        connection.execute("CREATE TEMP TABLE before_role (x integer)")
        connection.execute(f"SET ROLE {stranger}")
        connection.execute(TRAP)
        connection.execute(CALL_FOR_EACH_EVENT[0][1])
        connection.execute("SELECT FROM pg_temp.victim WHERE id::text = 'u1'")
        assert connection.execute("SELECT who FROM pg_temp.seen").fetchall() == [(stranger,)]


def test_the_orm_signs_up_for_a_role_that_may_insert_users_and_nothing_else(
    databases: Databases, stranger: str
) -> None:
    databases.execute("auth", f"GRANT SELECT, INSERT ON users TO {stranger}")
    with connections["auth"].cursor() as cursor:
        cursor.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(stranger)))
        try:
            User.objects.create(name="Ada", email="ada@example.org")
        finally:
            cursor.execute("RESET ROLE")
    assert databases.execute("auth", "SELECT credits FROM user_credits") == [(100,)]


def test_without_the_trigger_such_a_role_is_refused_and_leaves_no_user_without_an_account(
    databases: Databases, stranger: str
) -> None:
    databases.execute(
        "auth",
        f"GRANT SELECT, INSERT ON users TO {stranger};"
        "ALTER TABLE users DISABLE TRIGGER users_open_credit_account",
    )
    with connections["auth"].cursor() as cursor:
        cursor.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(stranger)))
        try:
            with (
                pytest.raises(ProgrammingError, match="permission denied for function open_credit"),
                transaction.atomic(using="auth"),
            ):
                User.objects.create(name="Ada", email="ada@example.org")
        finally:
            cursor.execute("RESET ROLE")
    assert databases.execute("auth", "SELECT count(*) FROM users") == [(0,)]


def test_verify_wants_the_right_of_everybody_gone_and_mends_it(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    databases.execute("auth", "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC")
    found = run("verify_schema", "--database", "auth")
    assert found.code == 1
    assert "PUBLIC may EXECUTE there, which the contract does not say." in found.out
    held = run("verify_schema", "--database", "auth", "--sql")
    assert "\nREVOKE" not in held.out  # a program may live by a right: it is taken on demand only
    script = run("verify_schema", "--database", "auth", "--sql", "--allow", "take-rights")
    assert script.out.count("REVOKE EXECUTE ON FUNCTION") == len(FUNCTIONS) - 1
    databases.execute("auth", script.out)
    assert run("verify_schema", "--database", "auth", "--strict").code == 0
    rows = databases.execute("auth", RIGHTS)
    assert {name for name, *_, of_public in rows if of_public} == {"uuid7_text"}


def test_verify_says_nothing_of_what_other_roles_may(
    databases: Databases, stranger: str, run: Callable[..., Outcome]
) -> None:
    databases.execute(
        "auth",
        f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {stranger};"
        f"GRANT UPDATE (name) ON users TO {stranger} WITH GRANT OPTION;"
        f"GRANT EXECUTE ON FUNCTION consume_credits_many(jsonb) TO {stranger};"
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {stranger};"
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {stranger};"
        f"GRANT USAGE ON SCHEMA public TO {stranger}",
    )
    outcome = run("verify_schema", "--database", "auth", "--strict")
    assert (outcome.code, stranger in outcome.out) == (0, False)


def test_a_function_that_is_made_anew_keeps_its_rights(
    databases: Databases, stranger: str, run: Callable[..., Outcome]
) -> None:
    """Its DROP takes them, and CREATE gives everybody EXECUTE."""
    databases.execute(
        "auth",
        "DROP FUNCTION consume_credits_many(jsonb);"
        "CREATE FUNCTION consume_credits_many(p_items jsonb) RETURNS integer LANGUAGE sql"
        " AS 'SELECT 1'; REVOKE EXECUTE ON FUNCTION consume_credits_many(jsonb) FROM PUBLIC;"
        f"GRANT EXECUTE ON FUNCTION consume_credits_many(jsonb) TO {stranger};"
        "DROP FUNCTION raise_credit_refusal(text, integer, integer, text)",
    )
    databases.execute("auth", run("verify_schema", "--database", "auth", "--sql").out)
    may = "SELECT has_function_privilege(%s, 'public.' || %s::text, 'EXECUTE')"
    for role, function, expected in (
        ("public", "consume_credits_many(jsonb)", False),
        (stranger, "consume_credits_many(jsonb)", True),
        ("public", "raise_credit_refusal(text, integer, integer, text)", False),
    ):
        assert databases.execute("auth", may, role, function) == [(expected,)], function
    assert run("verify_schema", "--database", "auth", "--strict").code == 0
