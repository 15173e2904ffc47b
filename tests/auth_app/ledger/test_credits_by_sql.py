"""The ledger through the eyes of a foreign client: raw SQL, SQLSTATEs, rights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.conftest import Databases

INSERT = "INSERT INTO public.credit_transactions (user_id, amount, type) VALUES "


@pytest.fixture
def client(databases: Databases) -> Iterator[psycopg.Connection[Any]]:
    """A client in autocommit, with users u (100 credits, owner of team t) and v."""
    with databases.connect("auth") as connection:
        connection.execute(
            "INSERT INTO public.users (id, name, email) VALUES ('u', 'U', 'u'), ('v', 'V', 'v')"
        )
        connection.execute("INSERT INTO public.teams (id, name, owner_id) VALUES ('t', 'T', 'u')")
        connection.execute("SELECT public.grant_credits('u', 9, 'bonus', 'x', p_team_id => 't')")
        connection.execute("SELECT public.consume_credits('u', 4, 'x', p_team_id => 't')")
        yield connection


BAD_WRITES = [
    # The list of the facts.
    ("SELECT public.consume_credits('u', 0, 'x')", "LC007"),
    ("SELECT public.consume_credits('u', -5, 'x')", "LC007"),
    ("SELECT public.consume_credits('u', NULL, 'x')", "LC007"),
    ("SELECT public.consume_credits(NULL, 1, 'x')", "LC007"),
    ("SELECT public.consume_credits('u', 3000000000, 'x')", "42883"),
    ("SELECT public.consume_credits('u', 3000000000::bigint::integer, 'x')", "22003"),
    (INSERT + "('u', 5, 'usage')", "23514"),
    (INSERT + "('u', -1, 'bonus')", "23514"),
    (INSERT + "('u', 0, 'bonus')", "23514"),
    (INSERT + "('u', 0, 'usage')", "23514"),
    (INSERT + "('u', 1, 'gift')", "23514"),
    (INSERT + "('u', NULL, 'bonus')", "23502"),
    (INSERT + "('nobody', 1, 'bonus')", "23503"),
    (
        "WITH a AS (UPDATE public.user_credits SET credits = credits - -5"
        " WHERE user_id = 'u' AND credits >= -5 RETURNING user_id)"
        " INSERT INTO public.credit_transactions (user_id, amount, type)"
        " SELECT user_id, 5, 'usage' FROM a",
        "23514",
    ),
    ("UPDATE public.user_credits SET credits = credits - 101 WHERE user_id = 'u'", "23514"),
    ("UPDATE public.user_credits SET credits = 2147483647 + credits", "22003"),
    ("UPDATE public.user_credits SET total_credits_purchased = -1", "23514"),
    ("UPDATE public.teams SET credits = -1", "23514"),
    # The functions' own refusals.
    ("SELECT public.consume_credits('u', 101, 'x')", "LC001"),
    ("SELECT public.consume_credits('nobody', 1, 'x')", "LC002"),
    ("SELECT public.consume_credits('v', 1, 'x', p_team_id => 't')", "LC002"),
    ("SELECT public.grant_credits('nobody', 1, 'bonus', 'x')", "LC002"),
    ("SELECT public.grant_credits('u', 2147483600, 'bonus', 'x')", "22003"),
    ("SELECT public.grant_credits('u', 1, 'usage', 'x')", "LC007"),
    ("SELECT public.grant_credits('u', 0, 'bonus', 'x')", "LC007"),
    ("SELECT public.grant_credits('u', 5, 'bonus', 'x', p_balance_limit => 4)", "LC007"),
    ("SELECT public.refund_credits('none')", "LC005"),
    ("SELECT public.refund_credits('none', 0)", "LC007"),
    # History.
    ("UPDATE public.credit_transactions SET amount = amount - 1 WHERE type = 'usage'", "LC006"),
    ("UPDATE public.credit_transactions SET team_id = NULL", "LC006"),
    ("UPDATE public.credit_transactions SET created_at = now()", "LC006"),
    ("DELETE FROM public.credit_transactions", "LC006"),
    ("TRUNCATE public.credit_transactions", "LC006"),
    ("TRUNCATE public.users CASCADE", "LC006"),
    (
        "INSERT INTO public.credit_transactions (id, user_id, amount, type)"
        " SELECT id, user_id, 1, 'bonus' FROM public.credit_transactions LIMIT 1"
        " ON CONFLICT (id) DO UPDATE SET amount = 1000",
        "LC006",
    ),
    # Rows that other rows forbid.
    (
        "INSERT INTO public.credit_transactions (user_id, amount, type, refund_of)"
        " SELECT user_id, 5, 'refund', id FROM public.credit_transactions"
        " WHERE type = 'usage'",
        "LC005",
    ),
    (
        "INSERT INTO public.credit_transactions (user_id, amount, type, refund_of, payer)"
        " SELECT user_id, 3, 'refund', id, 'team' FROM public.credit_transactions,"
        " generate_series(1, 2) WHERE type = 'usage'",
        "LC005",
    ),
    (
        "INSERT INTO public.credit_transactions (user_id, amount, type, refund_of, payer)"
        " SELECT 'v', 1, 'refund', id, 'team' FROM public.credit_transactions"
        " WHERE type = 'usage'",
        "LC005",
    ),
    (
        "INSERT INTO public.credit_transactions (user_id, amount, type, idempotency_key)"
        " VALUES ('u', 1, 'bonus', 'k'), ('u', 1, 'bonus', 'k')",
        "23505",
    ),
]


def test_a_bad_write_is_refused_and_changes_nothing(client: psycopg.Connection[Any]) -> None:
    before = _content(client)
    for statement, sqlstate in BAD_WRITES:
        with pytest.raises(psycopg.Error) as refused:
            client.execute(statement.encode())
        assert (statement, refused.value.sqlstate) == (statement, sqlstate)
        assert _content(client) == before


def test_bulk_paths_do_not_skip_the_guards(client: psycopg.Connection[Any]) -> None:
    with (
        pytest.raises(psycopg.Error) as refused,
        client.cursor().copy(
            "COPY public.credit_transactions (user_id, amount, type) FROM STDIN"
        ) as copy,
    ):
        copy.write_row(("u", 5, "usage"))
    assert refused.value.sqlstate == "23514"
    client.execute("SET session_replication_role = replica")
    for statement in (
        b"DELETE FROM public.credit_transactions",
        b"TRUNCATE public.credit_transactions",
    ):
        with pytest.raises(psycopg.Error) as refused:
            client.execute(statement)
        assert refused.value.sqlstate == "LC006"


def test_copy_of_users_opens_their_accounts(client: psycopg.Connection[Any]) -> None:
    with client.cursor().copy("COPY public.users (id, name, email) FROM STDIN") as copy:
        for number in range(1000):
            copy.write_row((f"c{number}", "C", f"c{number}"))
    assert _one(
        client,
        "SELECT count(*), sum(c.credits), count(t.id), sum(t.balance_after)"
        " FROM public.user_credits c JOIN public.credit_transactions t USING (user_id)"
        " WHERE c.user_id LIKE 'c%'",
    ) == (1000, 100_000, 1000, 100_000)


def test_the_cascades_of_the_contract_still_work(client: psycopg.Connection[Any]) -> None:
    client.execute("UPDATE public.user_credits SET team_id = 't' WHERE user_id = 'u'")
    client.execute(
        "INSERT INTO public.credit_transactions (user_id, team_id, amount, type)"
        " VALUES ('v', 't', 1, 'bonus')"
    )
    client.execute("DELETE FROM public.users WHERE id = 'u'")
    assert _content(client)[1] == [("v", None, 100, "bonus"), ("v", None, 1, "bonus")]
    client.execute("DELETE FROM public.users")
    assert _content(client) == ([], [])


def test_an_application_that_writes_for_itself_still_may(client: psycopg.Connection[Any]) -> None:
    with client.transaction():
        client.execute("UPDATE public.user_credits SET credits = credits - 3 WHERE user_id = 'u'")
        client.execute(
            "INSERT INTO public.credit_transactions (user_id, amount, type, operation)"
            " VALUES ('u', -3, 'usage', 'query')"
        )
    assert _one(
        client,
        "SELECT credits, (SELECT sum(amount) FROM public.credit_transactions t"
        " WHERE t.user_id = c.user_id AND payer = 'user')"
        " FROM public.user_credits c WHERE user_id = 'u'",
    ) == (97, 97)


def test_a_refusal_tells_a_program_why(client: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.Error) as refused:
        client.execute("SELECT public.consume_credits('u', 101, 'x')")
    assert refused.value.diag.message_primary == "user 'u' has 100 credits, and 101 were asked for"
    assert json.loads(refused.value.diag.message_detail or "") == {
        "verdict": "insufficient",
        "balance": 100,
        "amount": 101,
        "subject": "user 'u'",
    }


def test_a_function_returns_the_row(client: psycopg.Connection[Any]) -> None:
    assert _one(
        client,
        "SELECT amount, type, balance_after FROM public.consume_credits('u', 3, 'x', p_metadata =>"
        """ '{"a": 1}')""",
    ) == (-3, "usage", 97)


def test_a_role_without_rights_cannot_mint_credits(
    client: psycopg.Connection[Any], databases: Databases
) -> None:
    role = sql.Identifier(f"cs_stranger_{databases.names['auth'][-8:]}")
    client.execute(sql.SQL("CREATE ROLE {}").format(role))
    try:
        client.execute(sql.SQL("SET ROLE {}").format(role))
        for call in (
            b"SELECT public.grant_credits('u', 5, 'bonus', 'x')",
            b"SELECT public.consume_credits('u', 5, 'x')",
            b"SELECT public.add_to_credit_account('user', 'u', NULL, NULL, 5)",
            b"INSERT INTO public.user_credits (user_id, credits) VALUES ('u', 5)",
            b"SELECT public.open_credit_account('u')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                client.execute(call)
        client.execute("RESET ROLE")
        assert _one(client, "SELECT credits FROM public.user_credits WHERE user_id = 'u'") == (100,)
    finally:
        client.execute("RESET ROLE")
        client.execute(sql.SQL("DROP ROLE {}").format(role))


def test_every_function_has_a_fixed_search_path(client: psycopg.Connection[Any]) -> None:
    rows = client.execute(
        "SELECT proname, proconfig FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    ).fetchall()
    # uuid7_text names everything with its schema instead, so that it can be inlined; the bonus is a
    # number.
    assert {name for name, settings in rows if not settings} == {
        "signup_bonus_credits",
        "uuid7_text",
    }


def _content(client: psycopg.Connection[Any]) -> tuple[list[Any], list[Any]]:
    return (
        client.execute("SELECT * FROM public.user_credits ORDER BY user_id").fetchall(),
        client.execute(
            "SELECT user_id, team_id, amount, type FROM public.credit_transactions ORDER BY id"
        ).fetchall(),
    )


def _one(client: psycopg.Connection[Any], query: str) -> tuple[Any, ...]:
    row = client.execute(query.encode()).fetchone()
    assert row is not None
    return tuple(row)
