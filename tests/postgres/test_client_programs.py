"""pg_dump and psql reach what the connection has reached, and nobody reads a secret off the process list."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connections

from fltr_project.errors import CannotRun
from fltr_project.postgres import addresses, programs
from fltr_project.postgres.client_programs import ClientAddress, client_address
from fltr_project.postgres.target import connect, identify
from tests.conftest import Databases, Outcome

WHERE = """
    SELECT current_database(), current_setting('application_name'), current_setting('TimeZone'),
           current_setting('search_path')
"""


def psqls() -> list[Path]:
    """The psql of every version that is installed here, the oldest first."""
    folders = [
        Path(pattern.format(major=major))
        for major in sorted(programs.SUPPORTED_MAJORS)
        for pattern in programs.DISTRIBUTION_FOLDERS
    ]
    folders += [folder for major in programs.WHEEL_FOLDERS if (folder := programs.wheel_bin(major))]
    return [folder / "psql" for folder in folders if (folder / "psql").exists()]


def asked(psql: Path, address: ClientAddress, query: str = WHERE) -> str:
    result = subprocess.run(
        [psql, f"--dbname={address.conninfo}", "-XAtc", query],
        env=address.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    return result.stdout.strip()


def test_every_version_here_reaches_the_database(databases: Databases) -> None:
    # psycopg's libpq is newer than most of these, and knows parameters that they refuse.
    settings = {"TimeZone": "Asia/Kathmandu", "search_path": '"x \\y", public'}
    assert psqls()
    for psql in psqls():
        with client_address(connect("auth"), settings=settings) as address:
            assert asked(psql, address) == "|".join(
                [databases.names["auth"], "psql", *settings.values()]
            )
        elsewhere = databases.names["fltr"]
        with client_address(connect("auth"), database=elsewhere, application="me") as address:
            assert asked(psql, address) == f'{elsewhere}|me|UTC|"$user", public'


def test_the_servers_own_pg_dump_is_enough(
    databases: Databases,
    run: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    major = identify(connect("auth")).major
    with monkeypatch.context() as patch:
        patch.setattr(programs, "WHEEL", "no_such_package")
        if programs.find("pg_dump", at_least=major) is None:
            pytest.skip("the packages of this server's version are not installed")
        outcome = run("backup_database", "--database", "auth", "--backup-dir", str(tmp_path))
    assert (outcome.err, outcome.code) == ("", 0)


def test_the_users_own_options_stay_below_ours(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "SELECT current_setting('work_mem'), current_setting('DateStyle')"
    psql = psqls()[-1]
    connection = connect("auth")
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=77MB -c DateStyle=German")
    with client_address(connection, settings={"DateStyle": "ISO, MDY"}) as address:
        assert asked(psql, address, query) == "77MB|ISO, MDY"
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "options", "-c work_mem=78MB")
    with client_address(connection, settings={"DateStyle": "ISO, MDY"}) as address:
        assert asked(psql, address, query) == "78MB|ISO, MDY"


def test_secrets_are_in_no_argument_and_in_no_file_that_others_read(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connect("auth")
    with monkeypatch.context() as patch:
        patch.setitem(connection.settings_dict, "PASSWORD", "one'two")
        patch.setitem(connection.settings_dict["OPTIONS"], "sslpassword", "three four")
        with client_address(connection) as address:
            assert address.environment["PGPASSWORD"] == "one'two"
            file = Path(address.environment["PGSERVICEFILE"])
            assert "sslpassword=three four\n" in file.read_text()
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
            assert not {"one", "three"} & set(address.conninfo.replace("'", " ").split())
            # Without the file this libpq would say that it does not know the service.
            assert asked(psqls()[0], address).startswith(databases.names["auth"])
        assert not file.parent.exists()
        patch.setenv("PGSERVICE", "theirs")
        with (
            pytest.raises(
                CannotRun, match=r"sslpassword of the URL .* beside the service 'theirs'"
            ),
            client_address(connection),
        ):
            raise AssertionError


def test_a_service_of_the_user_is_theirs_to_name(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "services"
    settings = connect("auth").settings_dict
    file.write_text(f"[mine]\nhost={settings['HOST']}\nport={settings['PORT'] or 5432}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    url = f"postgresql://{settings['USER']}@/{databases.names['fltr']}?service=mine"
    there = connections["auth"].copy()
    there.settings_dict.update(addresses.parse("X", url))
    there.ensure_connection()
    try:
        with client_address(there) as address:
            assert "service=mine" in address.conninfo
            assert asked(psqls()[0], address).startswith(databases.names["fltr"])
    finally:
        there.close()
