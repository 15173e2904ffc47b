from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from auth_app.api_keys import masked
from auth_app.ledger import reconcile
from fltr_project.catalog import contract
from fltr_project.management.base import SchemaCommand
from fltr_project.postgres.target import connect, identify
from fltr_project.words import counted

WORDS = {"user": "user", "team": "team", "api_key": "API key"}


class Command(SchemaCommand):
    help = (
        "Compares every balance (users, teams, API keys) with the sum of its ledger and lists those "
        "that drift, and users without a credit account. Reads only, unless --repair or "
        "--release-expired is given. "
        "Exits 0 when all agree or were repaired, 1 when some do not, 2 when it could not look."
    )
    examples = """\
  manage.py reconcile_credits              only look, at fltr_auth, which holds the credits
  manage.py reconcile_credits --repair     write a correcting row for each balance that drifts
  manage.py reconcile_credits --release-expired   for a timer: give back what nobody settled in time
  manage.py reconcile_credits --format json
"""
    difference = "drift"

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_format(parser)
        parser.add_argument(
            "--repair",
            action="store_true",
            help="write one correcting transaction for each balance that drifts, and open missing "
            "accounts; never edits a balance or a row",
        )

        parser.add_argument(
            "--release-expired",
            action="store_true",
            help="first give back what expired holds have that nobody settled",
        )

    def handle(self, repair: bool, release_expired: bool, **options: Any) -> None:
        target = identify(connect("auth"))
        contract.require_built(target)
        accounts = reconcile.count_accounts()
        self.say(f"Credits of {target}")
        released = 0
        if release_expired:
            released = sum(1 for _ in reconcile.release_expired())
            self.say(f"{counted(released, 'expired holds')} given back.")
        unopened = []
        for user_id in reconcile.open_accounts() if repair else reconcile.users_without_account():
            unopened.append(user_id)
            opened = "opened now" if repair else "so every consume is refused"
            self.say(f"{self.style.WARNING('no account')} user {user_id!r}, {opened}")
        found = []
        for drift in reconcile.repair() if repair else reconcile.drifts():
            found.append(drift)
            self.say(f"{self.style.ERROR('drift')} {_sentence(drift, repair)}")
        left = [drift for drift in found if drift.repaired_by is None]
        exit_code = 1 if left or (unopened and not repair) else 0
        if self.format == "json":
            self.print_json(
                {
                    **self.outcome(exit_code),
                    "database": target.as_json(),
                    "accounts": accounts,
                    "users_without_account": unopened,
                    "released": released,
                    "repaired": repair and (bool(unopened) or len(left) < len(found)),
                    "drifts": [_json(drift) for drift in found],
                }
            )
        else:
            agree = accounts + (len(unopened) if repair else 0) - len(left)
            verdict = (
                f"{agree} of {agree + len(left)} balances agree with their ledgers."
                if agree or left
                else "There is no balance yet."
            )
            self.say((self.style.ERROR if exit_code else self.style.SUCCESS)(verdict))
            work = ["open the missing accounts"] if unopened else []
            if any(drift.owner is not None for drift in found):
                work.append("write the correcting rows")
            if work and not repair:
                self.say(
                    f"{' and '.join(work).capitalize()} with `manage.py reconcile_credits --repair`."
                )
        self.exit_with(exit_code)


def _sentence(drift: reconcile.Drift, repair: bool) -> str:
    account = repr(drift.account)
    if drift.payer == "api_key":
        # Short keys look alike; whose they are helps to find them.
        account = f"{masked(drift.account)} of user {drift.owner!r}"
    text = (
        f"{WORDS[drift.payer]} {account}: balance {drift.balance}, ledger {drift.ledger}, "
        f"difference {drift.difference:+d}"
    )
    if drift.repaired_by is not None:
        return f"{text}, corrected by {drift.repaired_by}"
    if drift.owner is None:
        return (
            f"{text}, not repaired: no user owns it. Give the {WORDS[drift.payer]} an owner first"
        )
    return text


def _json(drift: reconcile.Drift) -> dict[str, Any]:
    account = masked(drift.account) if drift.payer == "api_key" else drift.account
    return {**asdict(drift), "account": account, "difference": drift.difference}
