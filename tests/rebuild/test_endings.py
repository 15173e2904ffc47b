"""Every way from one state to another, struck at: what the last line says is what is there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from unittest.mock import patch

import pytest
from django.db import connections

from auth_app.smoke import run as smoke
from fltr_project.rebuild import endings
from fltr_project.rebuild.endings import NEW, OLD, TRANSITIONS, Ending, Standing, State, ending
from tests.conftest import ALIASES, Databases
from tests.conftest import Outcome as Ran
from tests.samples import read_plan

from .crash import terminate

USER = "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.com')"
DATASET = "INSERT INTO datasets (owner_id, name, slug) VALUES ('x', 'y', 'z')"
ROWS = {"auth": "SELECT count(*) FROM users", "fltr": "SELECT count(*) FROM datasets"}
CLEAN = ("clean_slate", "--no-input", "--no-backup", "--lock-timeout", "0.5")
NUKE = ("nuke_schema", "--database", "auth", "--no-input", "--no-backup")


def interrupt() -> None:
    raise KeyboardInterrupt


def end_by_signal() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def struck_at(number: int, how: Callable[[], None]) -> Iterator[list[State]]:
    """Strike when the databases have changed their state this many times; the states that were come to."""
    come_to: list[State] = []
    move = endings.Standings.move

    def moved(self: endings.Standings, alias: str, state: State, **known: str | None) -> None:
        move(self, alias, state, **known)
        come_to.append(state)
        if len(come_to) == number:
            how()

    with patch.object(endings.Standings, "move", moved):
        yield come_to


def what_is_there(databases: Databases) -> dict[str, bool]:
    """Whether each database is new: it has no schema, or one without the row of before."""
    found = {}
    for alias in ALIASES:
        connections[alias].close()
        table = ROWS[alias].rpartition(" ")[2]
        ((exists,),) = databases.execute(alias, "SELECT to_regclass(%s) IS NOT NULL", table)
        found[alias] = not exists or databases.execute(alias, ROWS[alias]) == [(0,)]
    return found


def make_as_before(databases: Databases, run: Callable[..., Ran]) -> None:
    for alias, row in (("auth", USER), ("fltr", DATASET)):
        if what_is_there(databases)[alias]:
            run("nuke_schema", "--database", alias, "--undo", "--no-input")
        if what_is_there(databases)[alias]:
            # A purge that had begun has left nothing to bring back.
            run("migrate", "--database", alias, "--verbosity", "0")
            databases.execute(alias, row)
        run("nuke_schema", "--database", alias, "--purge", "--no-input")


@pytest.mark.slow
@pytest.mark.parametrize("command", [CLEAN, NUKE])
def test_the_last_line_says_what_stands(
    databases: Databases,
    run: Callable[..., Ran],
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    monkeypatch.setattr(smoke, "run", lambda alias: smoke.Smoke(()))
    for alias, row in (("auth", USER), ("fltr", DATASET)):
        databases.mark(alias, "test")
        databases.execute(alias, row)
    passed: set[State] = set()
    # Each state is come to twice, or followed by one that is struck in the other way.
    for number, how in enumerate(cycle((interrupt, lambda: terminate(*ALIASES), end_by_signal)), 1):
        with struck_at(number, how) as come_to:
            outcome = run(*command)
        passed |= set(come_to)
        if len(come_to) < number:
            break
        assert "Traceback" not in outcome.err
        *_, last = (outcome.err or outcome.out).strip().splitlines()
        for alias, is_new in what_is_there(databases).items():
            name = databases.names[alias]
            if command is NUKE and alias == "fltr":
                assert not is_new
            elif outcome.code == 0:
                assert is_new
            else:
                said = f"{name} has its new schema" if is_new else f"{name} is as it was"
                unsaid = f"The server has not said whether {name}"
                assert said in last or unsaid in last, (number, come_to, outcome)
        make_as_before(databases, run)
    assert outcome.code == 0
    assert {State.OPEN, State.COMMITTING, State.COMMITTED, State.PURGED} <= passed


def test_the_last_line_of_an_undo_says_what_stands(
    databases: Databases, run: Callable[..., Ran]
) -> None:
    """A restore's is tested with its kills (tests/backup/test_kills.py)."""
    databases.mark("auth", "test")
    undo = ("nuke_schema", "--database", "auth", "--no-input", "--undo")
    name, codes = databases.names["auth"], []
    for number, how in enumerate(cycle((lambda: terminate("auth"), interrupt)), 1):
        assert run(*NUKE, "--keep").code == 0
        with struck_at(number, how) as come_to:
            outcome = run(*undo)
        codes.append(outcome.code)
        connections["auth"].close()
        ((is_back,),) = databases.execute("auth", "SELECT to_regclass('public.users') IS NOT NULL")
        *_, last = (outcome.err or outcome.out).strip().splitlines()
        said = f"schema public of {name}" if is_back else f"{name} is as it was"
        assert said in last, (come_to, outcome)
        if len(come_to) < number:
            break
        if not is_back:
            assert run(*undo).code == 0
    # While it is open, while it commits, when it has, and not at all.
    assert codes == [2, 130, 0, 0]


def test_every_state_has_its_sentence_and_a_way_to_it() -> None:
    reached = {State.AS_IT_WAS}
    for _ in State:
        reached |= {to for state in reached for to in TRANSITIONS[state]}
    assert reached == set(State) == set(TRANSITIONS)
    sentences = {str(Standing("auth", "fltr_auth", state, "public_aside_x")) for state in State}
    assert len(sentences) == len(State)
    assert all("fltr_auth" in sentence for sentence in sentences)
    assert set(State) - NEW - OLD == {
        *(State.COMMITTING, State.BRINGING_BACK, State.UNDOING, State.UNDONE)
    }


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((State.PURGED, State.PURGED), Ending.COMPLETE),
        ((State.COMMITTED, State.PURGING), Ending.COMPLETE),
        ((State.AS_IT_WAS, State.OPEN), Ending.ROLLED_BACK),
        ((State.BROUGHT_BACK, State.AS_IT_WAS), Ending.BROUGHT_BACK),
        ((State.COMMITTED, State.AS_IT_WAS), Ending.HALF),
        ((State.BROUGHT_BACK, State.COMMITTING), Ending.UNKNOWN),
        ((State.BRINGING_BACK, State.AS_IT_WAS), Ending.UNKNOWN),
    ],
)
def test_a_run_ends_as_its_databases_stand(states: tuple[State, State], expected: Ending) -> None:
    assert ending([Standing("auth", "fltr_auth", state) for state in states]) is expected


def test_error_a_way_that_there_is_not(databases: Databases) -> None:
    standings = endings.Standings()
    standings.begin([read_plan().target])
    with pytest.raises(ValueError, match="AS_IT_WAS is not followed by PURGED"):
        standings.move("auth", State.PURGED)
