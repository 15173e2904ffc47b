"""The embedded server on TCP: a port and a password that stay, for the programs that know no sockets."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
import sqlalchemy
from psycopg.rows import TupleRow

from fltr_project.errors import CannotRun
from fltr_project.postgres.embedded.server import EmbeddedServer
from fltr_project.postgres.errors import PortTaken, RunsOnAnotherPort
from tests import memory
from tests.conftest import Outcome

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """Where one server's data stay from one test to the next."""
    with tempfile.TemporaryDirectory(prefix="cs", dir=memory.directory()) as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def server(root: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(root, listens=True)
    yield server
    server.leave()
    server.stop()


@pytest.fixture
def postgres(root: Path, manage: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """Run `manage.py postgres` as in a new clone, with that server."""
    environment = {"DJANGO_SETTINGS_MODULE": "tests.listening", "TESTS_EMBEDDED_ROOT": str(root)}
    return lambda *arguments: manage("postgres", *arguments, **environment)


def connect(server: EmbeddedServer, password: str) -> psycopg.Connection[TupleRow]:
    return psycopg.connect(
        host="127.0.0.1", port=server.port, user="postgres", dbname="postgres", password=password
    )


def test_data_made_before_it_listened_let_nobody_in_without_the_password(root: Path) -> None:
    """Those directories have rules that trust everybody on 127.0.0.1."""
    before = EmbeddedServer(root)
    before.join()
    assert "trust" in (before.data / "pg_hba.conf").read_text()
    before.leave()
    server = EmbeddedServer(root, listens=True)
    server.join()
    host, port, password = server.address()
    assert (host, port) == ("127.0.0.1", server.port)
    connect(server, password).close()
    for wrong in ("", "wrong", password[:-1]):
        with pytest.raises(psycopg.OperationalError, match="password"):
            connect(server, wrong)
    with psycopg.connect(f"host={server.socket_directory} port={port} user=postgres") as inside:
        assert inside.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        hidden = inside.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'")
        assert hidden.fetchone()[0].startswith("SCRAM-SHA-256$")  # type: ignore[index]
    for file in ("password", "port", "pg_hba.conf"):
        assert (server.home / file).stat().st_mode & 0o077 == 0
    assert password not in server.log.read_text()
    server.leave()


def test_port_and_password_stay(server: EmbeddedServer) -> None:
    """After a stop, after a kill, and after somebody has changed the password in psql."""
    server.join()
    address = server.address()
    with connect(server, address[2]) as connection:
        connection.execute("ALTER ROLE postgres PASSWORD 'another'")
    server.leave()
    server.join()
    assert server.address() == address
    connect(server, address[2]).close()
    pid = server.status().pid
    assert pid is not None
    children = psutil.Process(pid).children()
    os.kill(pid, signal.SIGKILL)
    # They hold the shared memory, and end when they notice.
    psutil.wait_procs(children, timeout=10)
    assert not server.status().running
    server.join()
    assert server.address() == address
    connect(server, address[2]).close()


def test_error_the_port_is_taken(
    server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands of this project go on by the socket; the other programs are told."""
    server.join()
    port = server.port
    server.leave()
    with socket.create_server(("127.0.0.1", port)):
        server.join()
        sentence = f"Port {port} of 127.0.0.1 was in use by another program"
        assert sentence in capsys.readouterr().err
        psycopg.connect(f"host={server.socket_directory} port={port} user=postgres").close()
        assert server.status().port is None
        with pytest.raises(PortTaken, match=sentence):
            server.address()
        with pytest.raises(RunsOnAnotherPort):
            server.keep(port)
        server.leave()
        with pytest.raises(PortTaken, match="is in use"):
            server.keep(port)
    server.join()
    assert server.status().port == port


def test_two_projects_have_a_port_each_and_one_can_be_chosen(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    server.join()
    with tempfile.TemporaryDirectory(prefix="cs", dir=memory.directory()) as directory:
        Path(directory).chmod(0o755)
        other = EmbeddedServer(Path(directory), listens=True)
        try:
            other.join()
            first, second = server.address(), other.address()
            assert first[1] != second[1]
            assert first[2] != second[2]
            with pytest.raises(psycopg.OperationalError, match="password"):
                connect(other, first[2])
            other.leave()
            with socket.create_server(("127.0.0.1", 0)) as finder:
                free = finder.getsockname()[1]
            other.keep(free)
            assert other.address() == ("127.0.0.1", free, second[2])
        finally:
            other.leave()
            other.stop()
            other.remove()


def test_error_a_port_file_that_somebody_has_edited(server: EmbeddedServer) -> None:
    server.join()
    server.leave()
    file = server.home / "port"
    port = file.read_text()
    file.write_text("http\n")
    with pytest.raises(CannotRun, match="holds no port"):
        server.join()
    file.write_text(port)


def test_the_url_is_one_for_any_program(postgres: Callable[..., Outcome]) -> None:
    assert postgres("start").code == 0
    try:
        url = postgres("url", "--database", "fltr")
        assert (url.err, url.code) == ("", 0)
        parts = urlsplit(url.out.strip())
        assert (parts.scheme, parts.hostname, parts.path) == ("postgresql", "127.0.0.1", "/fltr")
        assert parts.query == ""
        assert parts.port
        assert parts.password
        with psycopg.connect(url.out.strip()) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == ("fltr",)
        engine = sqlalchemy.create_engine(url.out.strip().replace("://", "+psycopg://"))
        with engine.connect() as opened:
            assert opened.execute(sqlalchemy.text("SHOW TimeZone")).scalar_one() == "UTC"
        engine.dispose()

        auth = url.out.replace("/fltr\n", "/fltr_auth")
        lines = postgres("url", "--format", "env").out.splitlines()
        assert lines == [f"AUTH_DATABASE_URL={auth}", f"FLTR_DATABASE_URL={url.out.strip()}"]
        one = postgres("url", "--database", "auth", "--format", "env")
        assert one.out == f"DATABASE_URL={auth}\n"
        status = postgres("status")
        assert f"127.0.0.1:{parts.port}" in status.out
        assert parts.password not in status.out

        # The password is that of this machine's own server; no error shows it.
        refused = postgres("start", "--port", "80")
        assert refused.code == 2
        assert "1024 to 65535" in refused.err
        moved = postgres("start", "--port", "20000")
        assert moved.code == 2
        assert "cannot move to port 20000. Run `manage.py postgres stop`" in moved.err
    finally:
        postgres("stop")
