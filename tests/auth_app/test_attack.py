"""A role without grants, an auditor and an application try everything: nothing changes that they may not change.

For some seconds each; `python -m bench.attack` does it for minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.conftest import Databases, Outcome, drop_role

from .attack import SCENE, Attack, State, changed, forged

Run = Callable[..., Outcome]
STATEMENTS = 4_000


@contextmanager
def attacking(databases: Databases, run: Run, kind: str | None) -> Iterator[Attack]:
    role = f"attacker_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {role} LOGIN")
    databases.execute("auth", SCENE)
    try:
        if kind:
            granted = run("grant_access", "--role", role, "--as", kind)
            assert granted.code == 0, granted
        ((owner,),) = databases.execute("auth", "SELECT current_user")
        attack = Attack(
            lambda: databases.connect("auth", user=role, options="-c statement_timeout=5s"),
            str(owner),
            seed=20260101,
        )
        try:
            yield attack
        finally:
            attack.close()
    finally:
        drop_role(databases, role)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [None, "auditor"])
def test_who_may_change_nothing_changes_nothing(
    databases: Databases, run: Run, kind: str | None
) -> None:
    with attacking(databases, run, kind) as attack, databases.connect("auth") as owner:
        before = State.of(owner)
        attack.run(STATEMENTS)
        assert list(changed(before, State.of(owner))) == []
        # It is not that everything was refused.
        assert attack.accepted > STATEMENTS / 20
        assert sum(map(len, before.rows.values())) > 20


@pytest.mark.slow
def test_an_application_forges_nothing(databases: Databases, run: Run) -> None:
    with attacking(databases, run, "app") as attack, databases.connect("auth") as owner:
        before = State.of(owner)
        assert list(forged(before, before, owner)) == []
        attack.run(STATEMENTS)
        after = State.of(owner)
        assert list(forged(before, after, owner)) == []
        # What it may, it did.
        assert len(after.rows["credit_transactions"]) > len(before.rows["credit_transactions"]) + 20
        assert after.rows["users"] != before.rows["users"]


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        ("GRANT UPDATE ON user_credits TO PUBLIC", "app"),
        ("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC", None),
        ("GRANT INSERT ON credit_transactions TO PUBLIC", "app"),
        ("GRANT CREATE ON SCHEMA public TO PUBLIC", None),
    ],
)
@pytest.mark.slow
def test_an_opening_would_be_found(
    databases: Databases, run: Run, harm: str, kind: str | None
) -> None:
    with attacking(databases, run, kind) as attack, databases.connect("auth") as owner:
        owner.execute(harm.encode())
        before = State.of(owner)
        found: list[str] = []
        for _ in range(20):
            attack.run(STATEMENTS // 8)
            try:
                after = State.of(owner)
            except psycopg.Error as error:
                found = [str(error)]
                break
            found = list(forged(before, after, owner) if kind else changed(before, after))
            if found:
                break
        assert found
