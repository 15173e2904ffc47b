"""History that stays: a role that may write every row of every table cannot rewrite what was spent."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from auth_app import ledger
from auth_app.ledger import reconcile
from tests.conftest import Databases

REFUSED = "LC006"


@pytest.fixture
def writer(databases: Databases) -> Iterator[str]:
    """A role that may do to every row what a program of today may, and make tables of its own."""
    role = f"writer_{uuid.uuid4().hex[:8]}"
    databases.execute("auth", f"CREATE ROLE {role} LOGIN")
    databases.execute(
        "auth",
        f"GRANT SELECT, INSERT, UPDATE, DELETE, REFERENCES, TRIGGER ON ALL TABLES IN SCHEMA public TO {role};"
        f"GRANT USAGE, CREATE ON SCHEMA public TO {role}",
    )
    yield role
    databases.execute("auth", f"DROP OWNED BY {role}")
    databases.execute("auth", f"DROP ROLE {role}")


@pytest.fixture
def ledger_of(databases: Databases) -> str:
    """User ``u`` with a team ``t`` and an API key ``k``, member ``m``, and rows of each payer."""
    with databases.connect("auth") as connection:
        for name in "um":
            connection.execute(
                "INSERT INTO public.users (id, name, email) VALUES (%s, 'U', %s)", [name, name]
            )
        connection.execute("INSERT INTO public.teams (id, name, owner_id) VALUES ('t', 'T', 'u')")
        connection.execute("UPDATE public.user_credits SET team_id = 't' WHERE user_id = 'm'")
        connection.execute(
            "INSERT INTO public.api_key_credits (api_key, user_id) VALUES ('k', 'u')"
        )
    ledger.grant("u", 100, operation="g", team_id="t")
    ledger.grant("u", 50, operation="g", api_key="k")
    ledger.consume("u", 10, operation="q")
    ledger.consume("u", 5, operation="q", team_id="t")
    ledger.consume("u", 5, operation="q", api_key="k")
    ledger.consume("m", 30, operation="q", team_id="t")
    return "u"


# What each of them does is undone or gone where it passes: what it must not do is lose a row of the ledger.
REWRITES = {
    "id moved away": """
        UPDATE public.users SET id = 'tmp' WHERE id = 'u';
        DELETE FROM public.credit_transactions WHERE user_id = 'u';
        UPDATE public.users SET id = 'u' WHERE id = 'tmp'
    """,
    "team's id moved away": """
        UPDATE public.teams SET id = 'tmp' WHERE id = 't';
        UPDATE public.credit_transactions SET team_id = NULL WHERE team_id = 't';
        UPDATE public.teams SET id = 't' WHERE id = 'tmp'
    """,
    "deferred": """
        SET CONSTRAINTS ALL DEFERRED;
        UPDATE public.users SET id = 'tmp' WHERE id = 'u';
        DELETE FROM public.credit_transactions WHERE user_id = 'u';
        UPDATE public.users SET id = 'u' WHERE id = 'tmp'
    """,
    "in one statement": """
        WITH moved AS (UPDATE public.users SET id = 'tmp' WHERE id = 'u'),
             gone AS (DELETE FROM public.credit_transactions WHERE user_id = 'u')
        SELECT 1
    """,
    "the row alone, in one statement": """
        WITH read AS (SELECT * FROM public.users WHERE id = 'u' FOR UPDATE)
        DELETE FROM public.credit_transactions t USING read WHERE t.user_id = read.id
    """,
    "by MERGE": """
        MERGE INTO public.credit_transactions t USING public.users u ON t.user_id = u.id
        WHEN MATCHED THEN DELETE
    """,
    "an id by MERGE": """
        MERGE INTO public.users u USING (VALUES ('u')) AS v (id) ON u.id = v.id
        WHEN MATCHED THEN UPDATE SET id = 'tmp'
    """,
    "an id by ON CONFLICT": """
        INSERT INTO public.users (id, name, email) VALUES ('u', 'U', 'x')
        ON CONFLICT (id) DO UPDATE SET id = 'tmp'
    """,
    "a row by ON CONFLICT": """
        INSERT INTO public.credit_transactions (id, user_id, amount, type)
        SELECT id, user_id, 1, 'bonus' FROM public.credit_transactions WHERE user_id = 'u'
        ON CONFLICT (id) DO UPDATE SET amount = excluded.amount, type = excluded.type
    """,
    "from a trigger of its own": """
        CREATE TABLE public.own (id int);
        CREATE FUNCTION public.own() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN DELETE FROM public.credit_transactions WHERE user_id = ''u''; RETURN NEW; END';
        CREATE TRIGGER own AFTER INSERT ON public.own FOR EACH ROW EXECUTE FUNCTION public.own();
        INSERT INTO public.own VALUES (1)
    """,
    "from a constraint trigger at the commit": """
        CREATE TABLE public.own (id int);
        CREATE FUNCTION public.own() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN DELETE FROM public.credit_transactions WHERE user_id = ''u''; RETURN NEW; END';
        CREATE CONSTRAINT TRIGGER own AFTER INSERT ON public.own DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION public.own();
        INSERT INTO public.own VALUES (1);
        SET CONSTRAINTS ALL IMMEDIATE
    """,
    "an id changed by a trigger on the users": """
        CREATE FUNCTION public.own() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN NEW.id := ''tmp''; RETURN NEW; END';
        CREATE TRIGGER aaa BEFORE UPDATE ON public.users FOR EACH ROW EXECUTE FUNCTION public.own();
        UPDATE public.users SET name = 'other' WHERE id = 'u'
    """,
    "while the deletion of another user cascades": """
        CREATE FUNCTION public.own() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN DELETE FROM public.credit_transactions WHERE user_id = ''u''; RETURN OLD; END';
        CREATE TABLE public.own (id text REFERENCES public.users (id) ON DELETE CASCADE);
        INSERT INTO public.own VALUES ('m');
        CREATE TRIGGER own AFTER DELETE ON public.own FOR EACH ROW EXECUTE FUNCTION public.own();
        DELETE FROM public.users WHERE id = 'm'
    """,
    "the team taken off the rows": """
        UPDATE public.credit_transactions SET team_id = NULL WHERE team_id = 't'
    """,
    "with the team's deletion in one statement": """
        WITH gone AS (DELETE FROM public.teams WHERE id = 't')
        UPDATE public.credit_transactions SET team_id = NULL, operation = 'other'
        WHERE team_id = 't'
    """,
    "a key renamed": "UPDATE public.api_key_credits SET api_key = 'other' WHERE api_key = 'k'",
    "a key renamed by ON CONFLICT": """
        INSERT INTO public.api_key_credits (api_key, user_id) VALUES ('k', 'u')
        ON CONFLICT (api_key) DO UPDATE SET api_key = 'other'
    """,
    "all of it": "TRUNCATE public.credit_transactions",
}  # fmt: skip


@pytest.mark.parametrize("rewrite", REWRITES.values(), ids=REWRITES)
@pytest.mark.parametrize("as_owner", [False, True], ids=["writer", "owner"])
def test_no_statement_rewrites_history(
    databases: Databases, ledger_of: str, writer: str, rewrite: str, *, as_owner: bool
) -> None:
    before = history(databases)
    options = {} if as_owner else {"user": writer}
    with (
        databases.connect("auth", **options) as connection,
        pytest.raises(psycopg.Error) as refused,
        connection.transaction(),
    ):
        connection.execute(rewrite.encode())
    # A foreign key may see the changed id first, and a role without the right TRUNCATE.
    assert refused.value.sqlstate in {REFUSED, "23503", "42501"}, refused.value
    assert history(databases) == before
    assert list(reconcile.drifts("auth")) == []


def test_what_is_refused_says_why(databases: Databases, ledger_of: str) -> None:
    with databases.connect("auth") as connection:
        for statement, subject in (
            ("UPDATE public.users SET id = 'tmp' WHERE id = 'u'", "users.id"),
            ("UPDATE public.api_key_credits SET api_key = 'tmp'", "api_key_credits.api_key"),
        ):
            with pytest.raises(psycopg.Error, match=f"^{subject} never changes") as refused:
                connection.execute(statement.encode())
            assert refused.value.sqlstate == REFUSED
        connection.execute("INSERT INTO public.teams (id, name) VALUES ('empty', 'E')")
        with pytest.raises(psycopg.Error, match=r"^teams\.id never changes"):
            connection.execute("UPDATE public.teams SET id = 'tmp' WHERE id = 'empty'")


def test_a_replica_role_does_not_switch_the_guards_off(
    databases: Databases, ledger_of: str
) -> None:
    before = history(databases)
    with databases.connect("auth") as connection:
        connection.execute("SET session_replication_role = replica")
        for statement in (
            "DELETE FROM public.credit_transactions",
            "UPDATE public.credit_transactions SET amount = amount - 1 WHERE type = 'usage'",
            "UPDATE public.users SET id = 'tmp' WHERE id = 'u'",
            "UPDATE public.teams SET id = 'tmp' WHERE id = 't'",
            "UPDATE public.api_key_credits SET api_key = 'tmp'",
        ):
            with pytest.raises(psycopg.Error) as refused:
                connection.execute(statement.encode())
            assert refused.value.sqlstate == REFUSED
    assert history(databases) == before


def test_rows_go_with_their_user_and_lose_their_team(
    databases: Databases, ledger_of: str, writer: str
) -> None:
    """What the guards have to let pass, for a client that owns nothing."""
    with databases.connect("auth", user=writer) as connection:
        connection.execute("UPDATE public.user_credits SET team_id = NULL")
        connection.execute("UPDATE public.users SET name = 'New', email = 'new' WHERE id = 'u'")
        connection.execute("DELETE FROM public.teams WHERE id = 't'")
        rows = connection.execute(
            "SELECT count(*), count(team_id) FROM public.credit_transactions"
            " WHERE user_id = 'u' AND payer = 'team'"
        ).fetchone()
        assert rows == (2, 0)
        connection.execute("DELETE FROM public.users WHERE id = 'u'")
    assert {user for _, user, *_ in history(databases)} == {"m"}
    assert list(reconcile.drifts("auth")) == []


# --- what a member's leaving leaves behind


def leave(databases: Databases, user_id: str) -> None:
    databases.execute("auth", "DELETE FROM public.users WHERE id = %s", user_id)


def departures(databases: Databases) -> list[tuple[Any, ...]]:
    return databases.execute(
        "auth",
        "SELECT user_id, payer, coalesce(team_id, api_key_id), type, amount, balance_after"
        " FROM public.credit_transactions WHERE operation = 'departure' ORDER BY id",
    )


def test_what_a_member_has_spent_stays_in_the_teams_ledger(
    databases: Databases, ledger_of: str
) -> None:
    leave(databases, "m")
    assert departures(databases) == [("u", "team", "t", "usage", -30, 65)]
    assert ledger.balance("u", team_id="t") == 65
    assert list(reconcile.drifts("auth")) == []
    # It is no use of the owner's, and nothing to refund.
    summary = ledger.usage_summary("u")
    assert (summary.spent, summary.corrected) == (20, -30)
    ((row,),) = databases.execute(
        "auth", "SELECT id FROM public.credit_transactions WHERE operation = 'departure'"
    )
    with pytest.raises(ledger.NothingToRefund):
        ledger.refund(row)
    with databases.connect("auth") as connection, pytest.raises(psycopg.Error) as refused:
        connection.execute(
            "INSERT INTO public.credit_transactions (user_id, team_id, payer, amount, type, refund_of)"
            " VALUES ('u', 't', 'team', 1, 'refund', %s)",
            [row],
        )
    assert refused.value.sqlstate == "LC005"


def test_what_a_member_holds_is_given_back(databases: Databases, ledger_of: str) -> None:
    databases.execute("auth", "UPDATE public.api_key_credits SET user_id = 'm'")
    for team_id, api_key in (("t", None), (None, "k")):
        hold = ledger.hold("m", 20, operation="q", team_id=team_id, api_key=api_key)
        ledger.settle(hold.id, 5)
        ledger.hold("m", 10, operation="q", team_id=team_id, api_key=api_key)
    databases.execute("auth", "UPDATE public.api_key_credits SET user_id = 'u'")
    leave(databases, "m")
    assert departures(databases) == [
        ("u", "team", "t", "usage", -35, 60),
        ("u", "api_key", "k", "usage", -5, 40),
    ]
    assert ledger.balance("u", team_id="t") == 60
    assert list(reconcile.drifts("auth")) == []


def test_what_a_former_owner_has_bought_stays(databases: Databases, ledger_of: str) -> None:
    databases.execute("auth", "UPDATE public.teams SET owner_id = 'm'")
    databases.execute("auth", "UPDATE public.api_key_credits SET user_id = 'm'")
    leave(databases, "u")
    assert departures(databases) == [
        ("m", "team", "t", "bonus", 95, 65),
        ("m", "api_key", "k", "bonus", 45, 45),
    ]
    assert ledger.balance("m", team_id="t") == 65
    assert list(reconcile.drifts("auth")) == []


def test_more_than_a_row_holds_is_several(databases: Databases, ledger_of: str) -> None:
    databases.execute(
        "auth",
        "INSERT INTO public.credit_transactions (user_id, team_id, payer, amount, type)"
        " SELECT u, 't', 'team', a, t FROM (VALUES ('m', -2147483647, 'usage'),"
        " ('u', 2147483647, 'bonus')) v (u, a, t), generate_series(1, 2)",
    )
    leave(databases, "m")
    assert [row[4] for row in departures(databases)] == [-2147483647, -2147483647, -30]
    assert list(reconcile.drifts("auth")) == []


def test_a_team_without_owner_has_it_of_whoever_is_left(
    databases: Databases, ledger_of: str
) -> None:
    databases.execute("auth", "UPDATE public.teams SET owner_id = NULL")
    # No member is left but the leaver: the next in the ledger is the former owner.
    leave(databases, "m")
    assert departures(databases) == [("u", "team", "t", "usage", -30, 65)]
    # Nobody is left: no program can spend it, and nothing says where it is from.
    leave(databases, "u")
    assert databases.execute("auth", "SELECT credits FROM public.teams") == [(0,)]
    assert list(reconcile.drifts("auth")) == []


def test_an_owner_takes_the_team_along(databases: Databases, ledger_of: str) -> None:
    databases.execute("auth", "UPDATE public.user_credits SET team_id = NULL")
    leave(databases, "u")
    assert departures(databases) == []
    databases.execute("auth", "INSERT INTO public.users (id, name, email) VALUES ('u', 'U', 'u')")
    # Owner and spender in one statement, in either order.
    for owner, spender in (("u", "m"), ("m", "u")):
        databases.execute(
            "auth",
            "INSERT INTO public.teams (id, name, owner_id) VALUES (%s, 'T', %s)",
            owner,
            owner,
        )
        databases.execute(
            "auth",
            "INSERT INTO public.credit_transactions (user_id, team_id, payer, amount, type)"
            " VALUES (%s, %s, 'team', 5, 'bonus')",
            *(spender, owner),
        )
    databases.execute("auth", "DELETE FROM public.users")
    for table in ("users", "teams", "credit_transactions"):
        assert databases.execute("auth", f"SELECT count(*) FROM public.{table}") == [(0,)]


def test_verify_data_finds_nothing_after_a_departure(
    databases: Databases, ledger_of: str, run: Any
) -> None:
    leave(databases, "m")
    outcome = run("verify_schema", "--database", "auth", "--data")
    assert outcome.code == 0, outcome
    assert run("reconcile_credits").code == 0


def history(databases: Databases) -> list[tuple[Any, ...]]:
    return databases.execute(
        "auth",
        "SELECT id, user_id, team_id, amount, type, operation, payer, api_key_id"
        " FROM public.credit_transactions ORDER BY id",
    )
