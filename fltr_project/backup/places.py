"""Where an archive can be restored for a proof: each place in turn, until one can hold it.

A new database on the same server; else a server of our own for just this, of the same or a newer
version; else the server of ``PROOF_DATABASE_URL``. What a killed run leaves there, the next one removes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from fltr_project.errors import CannotRun, explain
from fltr_project.postgres import addresses, programs, scratch
from fltr_project.postgres.backend.base import DatabaseWrapper
from fltr_project.postgres.embedded.postmaster import SUPERUSER
from fltr_project.postgres.embedded.server import EmbeddedServer
from fltr_project.postgres.scratch import Like

# What is lost with a machine need not be written durably.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
# Of the database with which every server begins, to connect to.
MAINTENANCE = "postgres"


@dataclass(frozen=True)
class Place:
    """A place for a scratch database: in words, and how it is opened."""

    name: str
    # Gives the connection of an empty database, by its alias, for a block.
    open: Callable[[], AbstractContextManager[BaseDatabaseWrapper]]
    # Whether the roles of the archive are there, so that owners and grants can be compared.
    has_roles: bool


def places(alias: str, major: int, roles: Sequence[str]) -> Iterator[Place]:
    """The places for an archive of this alias from a server of that version, the best one first.

    ``roles`` are those that the archive names. Raises CannotRun while iterating only where the
    settings are wrong.
    """
    outside = connections[alias]
    like = scratch.encoding_and_locale(outside)
    if scratch.may_create(outside):
        yield Place(
            "a scratch database on the same server", lambda: scratch.scratch(alias, like), True
        )
    for newer in sorted(programs.SUPPORTED_MAJORS):
        if newer >= major and programs.server_bin(newer) is not None:
            yield Place(
                f"a server of its own, PostgreSQL {newer}",
                lambda newer=newer: _server(alias, newer, like, roles),  # type: ignore[misc]
                True,
            )
    if settings.PROOF_DATABASE_URL:
        yield Place(
            "a scratch database at PROOF_DATABASE_URL", lambda: _elsewhere(alias, like), False
        )


def remove_left_over() -> None:
    """Stop and remove the servers that runs have left which were killed."""
    with _locked(_root()):
        for left in sorted(_root().glob("*/*")):
            # A proof that is under way has it locked.
            with _locked(left.parent, waits=False) as is_left:
                if is_left and left.name.isdigit():
                    server = EmbeddedServer(left.parent, int(left.name), quiet=True)
                    server.stop()
                    _remove(server)


@contextmanager
def _locked(directory: Path, *, waits: bool = True) -> Iterator[bool]:
    """Hold the directory, as long as this process lives at most; whether it could be had."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


def _remove(server: EmbeddedServer) -> None:
    server.remove()
    shutil.rmtree(server.root, ignore_errors=True)


@contextmanager
def _server(
    alias: str, major: int, like: Like, roles: Sequence[str]
) -> Iterator[BaseDatabaseWrapper]:
    _root().mkdir(parents=True, mode=0o755, exist_ok=True)
    remove_left_over()
    root = _root() / uuid.uuid4().hex[:8]
    server = EmbeddedServer(root, major, quiet=True)
    with ExitStack() as held:
        with _locked(_root()):
            # The version too, by which the next run knows it, wherever its data have to be.
            (root / str(major)).mkdir(parents=True, mode=0o755)
            held.enter_context(_locked(root))
        yield from _proving(server, alias, like, roles)


def _proving(
    server: EmbeddedServer, alias: str, like: Like, roles: Sequence[str]
) -> Iterator[BaseDatabaseWrapper]:
    try:
        server.join()
        host = str(server.socket_directory)
        with psycopg.connect(host=host, user=SUPERUSER, dbname=MAINTENANCE, autocommit=True) as raw:
            for name, value in FAST.items():
                raw.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), value))
            raw.execute("SELECT pg_reload_conf()")
            for role in roles:
                if role != SUPERUSER:
                    raw.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
        yield from _scratch_at(alias, {"HOST": host, "USER": SUPERUSER, "NAME": MAINTENANCE}, like)
    finally:
        server.leave()
        _remove(server)


@contextmanager
def _elsewhere(alias: str, like: Like) -> Iterator[BaseDatabaseWrapper]:
    yield from _scratch_at(
        alias, addresses.parse("PROOF_DATABASE_URL", settings.PROOF_DATABASE_URL), like
    )


def _scratch_at(
    alias: str, address: dict[str, object], like: Like
) -> Iterator[BaseDatabaseWrapper]:
    """A scratch database on another server, which the alias reaches meanwhile."""
    if problem := address.get("PROBLEM"):
        raise CannotRun(str(problem))
    outside = connections[alias].copy()
    there = DatabaseWrapper(
        {**outside.settings_dict, "PASSWORD": "", "PORT": "", "OPTIONS": {}, **address}, alias
    )
    try:
        with scratch.reaching(there), scratch.scratch(alias, like) as inside:
            yield inside
    except DatabaseError as error:
        raise CannotRun(explain(error) or str(error)) from error
    finally:
        there.close()


def _root() -> Path:
    return Path(settings.PROOF_DIR)
