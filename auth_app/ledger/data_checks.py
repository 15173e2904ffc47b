"""What `verify_schema --data` looks at in the credit tables: accounts that are missing, and balances."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.backends.base.base import BaseDatabaseWrapper

from fltr_project.catalog.facts import Catalog, Column
from fltr_project.drift import data
from fltr_project.drift.repair.statement import Stage, Statement
from fltr_project.drift.report import FindingWithRepair
from fltr_project.words import counted

from .reconcile import ACCOUNT_TABLES, drifts

# Accounts named in a finding.
NAMED = 3
LEDGER = {"amount", "payer", "user_id", *(column for _, _, column in ACCOUNT_TABLES.values())}
# Without these there is nothing to add up; that they are not there is a finding about the schema.
NEEDED = frozenset(
    {("credit_transactions", column) for column in LEDGER}
    | {(table, key) for table, key, _ in ACCOUNT_TABLES.values()}
    | {(table, "credits") for table, _, _ in ACCOUNT_TABLES.values()}
    | {("teams", "owner_id"), ("user_credits", "team_id"), ("api_key_credits", "user_id")}
)


def check(connection: BaseDatabaseWrapper, catalog: Catalog) -> Iterator[FindingWithRepair]:
    """Read-only. Raises django.db.Error when the role may not read a table."""
    columns = {(column.table, column.name) for column in catalog.of(Column)}
    if {("user_credits", "user_id"), ("users", "id")} <= columns:
        yield from _users_without_account(connection)
    if columns >= NEEDED:
        yield from _unbalanced(connection)


def _users_without_account(connection: BaseDatabaseWrapper) -> Iterator[FindingWithRepair]:
    missing = (
        "FROM public.users AS u WHERE NOT EXISTS"
        " (SELECT FROM public.user_credits AS c WHERE c.user_id = u.id)"
    )
    ((count,),) = data.rows(connection, f"SELECT count(*) {missing}")
    if count:
        yield data.entry(
            "data-users-without-credits",
            "users",
            "a row of user_credits for every user",
            f"{counted(count, 'users')} without one",
            "Such a user cannot spend or be given credits: every operation on the balance fails.",
            # As `reconcile_credits --repair` does: with what the ledger says, else with the bonus.
            Statement(Stage.AFTER, f"SELECT public.open_credit_account(u.id) {missing};"),
        )


def _unbalanced(connection: BaseDatabaseWrapper) -> Iterator[FindingWithRepair]:
    """Balances that are not the sum of what their own rows say: of users, teams and API keys."""
    found: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    for drift in drifts(connection.alias):
        counts[drift.payer] = counts.get(drift.payer, 0) + 1
        if counts[drift.payer] <= NAMED:
            # A key is a secret.
            account = "a key" if drift.payer == "api_key" else drift.account
            found.setdefault(drift.payer, []).append(
                f"{account}: {drift.balance} against {drift.ledger}"
            )
    for payer, said in found.items():
        table = ACCOUNT_TABLES[payer][0]
        more = ", ..." if counts[payer] > NAMED else ""
        yield data.entry(
            "data-balance-against-ledger" + ("" if payer == "user" else f".{table}"),
            f"{table}.credits",
            "the sum of its credit_transactions",
            f"another number in {counted(counts[payer], 'balances')} ({'; '.join(said)}{more})",
            "Credits were changed without a transaction row, or the other way round: see "
            "`manage.py reconcile_credits`.",
        )
