"""Rows that the schema alone cannot keep right: numbers, orphans, owners and balances.

Reads only, but reads whole tables: it is asked for with ``--data``, and needs SELECT on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from fltr_project.words import counted

from .compare import Finding, Severity
from .facts import Catalog, Column, DisabledTrigger, ForeignKey, Table
from .repair import Repair
from .statements import Stage, Statement, literal, name, names, public
from .verify import Entry

# Owners asked for in one statement.
BATCH = 10_000
# Identifiers named in a finding.
NAMED = 3
# Tables with balances, their keys, the ledger's columns with those, and who is its payer then.
ACCOUNTS = (
    ("user_credits", "user_id", "user_id", "user"),
    ("teams", "id", "team_id", "team"),
    ("api_key_credits", "api_key", "api_key_id", "api_key"),
)
OPEN_FROM_LEDGER = """\
INSERT INTO public.user_credits (user_id, credits, total_credits_purchased)
SELECT t.user_id, least(greatest(sum(t.amount), 0), 2147483647),
       least(coalesce(sum(t.amount) FILTER (WHERE t.type = 'purchase'), 0), 2147483647)
FROM public.credit_transactions AS t
WHERE t.payer = 'user' AND NOT EXISTS
      (SELECT FROM public.user_credits AS c WHERE c.user_id = t.user_id)
GROUP BY t.user_id;"""


def check(
    alias: str,
    catalog: Catalog,
    connections: Mapping[str, BaseDatabaseWrapper],
    catalogs: Mapping[str, Catalog],
) -> list[Entry]:
    """Findings about the rows of one database; ``connections`` reach the others for their ids.

    Raises django.db.Error when the role may not read a table.
    """
    connection = connections[alias]
    columns = {(column.table, column.name) for column in catalog.of(Column)}
    found = [*_sequences_behind(connection, catalog), *_orphans(connection, catalog)]
    if {("user_credits", "user_id"), ("users", "id")} <= columns:
        found += _users_without_credits(connection, catalog)
    if {("user_credits", "credits"), ("credit_transactions", "amount")} <= columns:
        found += _unbalanced(connection, columns)
    home = connections.get("auth")
    if ("datasets", "owner_id") in columns and home is not None:
        users = {column.name for column in catalogs["auth"].of(Column) if column.table == "users"}
        found += _unknown_owners(connection, home) if "id" in users else []
    return found


def _entry(
    id_: str, object_: str, expected: str, found: str, meaning: str, *statements: Statement
) -> Entry:
    finding = Finding(id_, Severity.ERROR, "data", object_, expected, found, meaning)
    return Entry(finding, Repair(statements), (object_,), (id_,), id_.partition(".")[0])


def _rows(connection: BaseDatabaseWrapper, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return list(cursor.fetchall())


def _sequences_behind(connection: BaseDatabaseWrapper, catalog: Catalog) -> Iterator[Entry]:
    """A sequence restored or inserted past: the next number is taken already."""
    for column in catalog.of(Column):
        if column.sequence_name is None:
            continue
        table, quoted = public(column.table), name(column.name)
        ((highest, next_number),) = _rows(
            connection,
            f"SELECT (SELECT max({quoted}) FROM {table}),"
            f" (SELECT last_value + CASE WHEN is_called THEN 1 ELSE 0 END FROM {column.sequence_name})",
        )
        if highest is not None and next_number <= highest:
            yield _entry(
                f"data-sequence-behind.{column.object}",
                column.object,
                f"the next number above {highest}",
                f"the next number is {next_number}",
                f"The next INSERT into {column.table} fails as a duplicate.",
                Statement(
                    Stage.AFTER,
                    f"SELECT setval({literal(column.sequence_name)}, "
                    f"(SELECT max({quoted}) FROM {table}));",
                ),
            )


def _orphans(connection: BaseDatabaseWrapper, catalog: Catalog) -> Iterator[Entry]:
    """Rows that point at nothing, under keys that did not or do not refuse them."""
    off = {trigger.constraint for trigger in catalog.of(DisabledTrigger)}
    tables = {table.table for table in catalog.of(Table)}
    for key in catalog.of(ForeignKey):
        if (key.valid and key.enforced and key.name not in off) or key.target not in tables:
            continue
        pairs = list(zip(key.columns, key.target_columns, strict=True))
        orphaned = (
            f"FROM {public(key.table)} AS child WHERE "
            + " AND ".join(f"child.{name(column)} IS NOT NULL" for column, _ in pairs)
            + f" AND NOT EXISTS (SELECT FROM {public(key.target)} AS parent WHERE "
            + " AND ".join(f"parent.{name(there)} = child.{name(here)}" for here, there in pairs)
            + ")"
        )
        ((count,),) = _rows(connection, f"SELECT count(*) {orphaned}")
        if not count:
            continue
        if key.on_delete.startswith("SET NULL"):
            cleared = ", ".join(f"{name(column)} = NULL" for column in key.columns)
            mend = f"UPDATE {public(key.table)} AS child SET {cleared} {orphaned.partition(' child ')[2]};"
        else:
            mend = f"DELETE {orphaned};"
        yield _entry(
            f"data-orphans.{key.object}",
            key.object,
            f"every row points at {key.target} ({names(key.target_columns)})",
            f"{counted(count, 'rows')} pointing at nothing",
            f"Joins lose {counted(count, 'rows')} of {key.table}, and the key cannot be validated.",
            Statement(Stage.LOSE, f"SELECT count(*) {orphaned};", destructive=True),
            Statement(Stage.LOSE, mend, destructive=True),
        )


def _users_without_credits(connection: BaseDatabaseWrapper, catalog: Catalog) -> Iterator[Entry]:
    missing = (
        "FROM public.users AS u WHERE NOT EXISTS"
        " (SELECT FROM public.user_credits AS c WHERE c.user_id = u.id)"
    )
    ((count,),) = _rows(connection, f"SELECT count(*) {missing}")
    if count:
        yield _entry(
            "data-users-without-credits",
            "users",
            "a row of user_credits for every user",
            f"{counted(count, 'users')} without one",
            "Such a user cannot spend or be given credits: every operation on the balance fails.",
            # As `reconcile_credits --repair` does: with what the ledger says, else with the bonus.
            Statement(Stage.AFTER, OPEN_FROM_LEDGER),
            Statement(Stage.AFTER, f"SELECT public.open_credit_account(u.id) {missing};"),
        )


def _unbalanced(connection: BaseDatabaseWrapper, columns: set[tuple[str, str]]) -> Iterator[Entry]:
    """Balances that are not the sum of what their own rows say: of users, teams and API keys."""
    for table, key, column, payer in ACCOUNTS:
        if payer != "user" and not {(table, key), (table, "credits")} <= columns:
            continue
        if ("credit_transactions", "payer") in columns:
            paid = f"WHERE payer = {literal(payer)}"
        elif payer == "user":
            # Before rows said who pays, users did.
            paid = ""
        else:
            continue
        rows = _rows(
            connection,
            f"""
            SELECT a.{key}, a.credits, coalesce(l.total, 0), count(*) OVER ()
            FROM public.{table} AS a
            LEFT JOIN (SELECT {column} AS account, sum(amount) AS total
                       FROM public.credit_transactions {paid} GROUP BY 1) AS l ON l.account = a.{key}
            WHERE a.credits <> coalesce(l.total, 0)
            ORDER BY a.{key} LIMIT %s
            """,
            NAMED,
        )
        if rows:
            count = rows[0][3]
            # A key is a secret.
            accounts = ("a key" if payer == "api_key" else account for account, *_ in rows)
            named = "; ".join(
                f"{account}: {has} against {total}"
                for account, (_, has, total, _) in zip(accounts, rows, strict=True)
            )
            more = ", ..." if count > NAMED else ""
            yield _entry(
                # Users' came first, and ids are for files of decisions.
                "data-balance-against-ledger" + ("" if payer == "user" else f".{table}"),
                f"{table}.credits",
                "the sum of its credit_transactions",
                f"another number in {counted(count, 'balances')} ({named}{more})",
                "Credits were changed without a transaction row, or the other way round: see "
                "`manage.py reconcile_credits`.",
            )


def _unknown_owners(connection: BaseDatabaseWrapper, home: BaseDatabaseWrapper) -> Iterator[Entry]:
    """Datasets whose owner is not, or no longer, in the other database."""
    unknown: list[str] = []
    last: str | None = None
    while True:
        batch = [
            owner
            for (owner,) in _rows(
                connection,
                "SELECT DISTINCT owner_id::text FROM public.datasets WHERE owner_id IS NOT NULL"
                " AND (%s::text IS NULL OR owner_id::text > %s::text) ORDER BY 1 LIMIT %s",
                last,
                last,
                BATCH,
            )
        ]
        if not batch:
            break
        known = {
            user
            for (user,) in _rows(
                home, "SELECT id::text FROM public.users WHERE id::text = ANY (%s)", batch
            )
        }
        unknown += [owner for owner in batch if owner not in known]
        last = batch[-1]
    if not unknown:
        return
    owners = ", ".join(map(literal, unknown))
    ((count,),) = _rows(
        connection,
        "SELECT count(*) FROM public.datasets WHERE owner_id::text = ANY (%s)",
        unknown,
    )
    listed = ", ".join(unknown[:NAMED]) + (", ..." if len(unknown) > NAMED else "")
    yield _entry(
        "data-datasets-without-owner",
        "datasets.owner_id",
        "a users.id of the database auth",
        f"{counted(count, 'datasets')} of {counted(len(unknown), 'owners')} not there ({listed})",
        "Nobody can manage or delete these datasets: their owner cannot sign in.",
        Statement(
            Stage.LOSE,
            f"SELECT count(*) FROM public.datasets WHERE owner_id IN ({owners});",
            destructive=True,
        ),
        Statement(
            Stage.LOSE,
            f"DELETE FROM public.datasets WHERE owner_id IN ({owners});",
            destructive=True,
        ),
    )
