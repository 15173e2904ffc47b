"""Every command that README and docs/ show, typed as it stands by a role that owns its databases and nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.auth_app.drizzle_folders import journal
from tests.auth_app.ledger.test_loads import client_programs
from tests.conftest import ROOT, Databases

from .examples.servers import free_port, serving
from .plain_owner import PlainOwner, plain_owner

pytestmark = pytest.mark.slow

# What is not typed here, and why.
ELSEWHERE = {
    "make test": "these are the tests",
    "make demo": "installs the example applications: tests/examples and tests/clients",
    "source .venv/bin/activate": "done by PATH",
    "python -m pip install --require-hashes --no-deps -r requirements.lock": "needs a network",
    "python manage.py postgres start": "the embedded server's own: tests/test_postgres_command.py",
    "python manage.py postgres status": "the embedded server's own: tests/test_postgres_command.py",
    "python manage.py postgres stop": "the embedded server's own: tests/test_postgres_command.py",
    "python manage.py postgres url --format env >> ../web/.env": "the embedded server's own",
    "python manage.py postgres url --format env": "the embedded server's own",
    "python manage.py COMMAND": "a pattern",
    "python manage.py help COMMAND": "a pattern: tests/test_documents.py",
    "python manage.py collectstatic": "asks no database",
    "python manage.py restore_database": "a name, with options elsewhere",
    "python manage.py flush --database auth": "is said to be refused: tests/auth_app",
    "python manage.py verify_schema --write-contract": "makes a database: for developers",
    "export FLTR_CONTRACT_EXTRAS=notes": "for developers: tests/plugins",
    "python manage.py makemigrations notes": "for developers: tests/plugins",
    "python manage.py verify_schema --database fltr --write-contract": "for developers: tests/plugins",
    # Another database must be in a state of its own for these: tests/clients types them as this role.
    **dict.fromkeys(
        (
            "python manage.py adopt --database auth",
            "python manage.py adopt --database fltr --allow rewrite-tables --allow block-writers",
            "python manage.py smoke_apps --web https://fltr.example --api https://api.fltr.example",
            "python manage.py smoke_apps --web http://localhost:3000 --api http://localhost:8000",
            "python manage.py smoke_apps --web http://localhost:3000 --api http://localhost:8000"
            """ --spend 'POST /api/v1/datasets {"name": "smoke_apps"}'""",
        ),
        "tests/clients/test_existing.py",
    ),
    # Only a superuser makes a subscription on 15: tests/auth_app/ledger/test_loads.py.
    'psql "$SOURCE_URL" --command="CREATE PUBLICATION people FOR TABLE users, sessions, accounts, verifications,'
    ' subscriptions, teams, user_credits, credit_transactions, api_key_credits"': "replication",
    """psql "$TARGET_URL" --command="CREATE SUBSCRIPTION people CONNECTION '$SOURCE_URL' PUBLICATION people\"""": "replication",
}
LOADS = (
    'pg_dump "$SOURCE_URL" --data-only',
    "PGOPTIONS='-c fltr.loading=on' pg_restore",
    'AUTH_DATABASE_URL="$SOURCE_URL" python manage.py dumpdata',
)


def documented() -> set[str]:
    """The commands of all documents, without what is said of them behind ``#``."""
    found = set()
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        found |= {
            re.split(r"\s+# ", line)[0].strip()
            for line in re.findall(r"^ *\$ (.+)$", text, re.MULTILINE)
        }
        found |= set(re.findall(r"`(python manage\.py [^`]+)`", text))
    return found


@dataclass
class Shell:
    """Types commands in the project's directory, with the placeholders of the documents filled in."""

    owner: PlainOwner
    folder: Path
    typed: set[str] = field(default_factory=set)
    token: str = ""

    @property
    def backups(self) -> Path:
        return self.folder / "backups"

    def fill_in(self, command: str) -> str:
        owner = self.owner
        newest = max(self.backups.glob(f"{owner.names['auth']}-*.dump"), default="none")
        for pattern, value in (
            (r"\S*/fltr_auth-\S+\.dump", newest),
            (r"\bmake clean-slate", f"make clean-slate ARGS='--backup-dir {self.backups}'"),
            (r" ((backup|restore)_database|clean_slate|nuke_schema)\b", rf" \1 --backup-dir {self.backups}"),
            (r"--confirm fltr_auth --confirm fltr", " ".join(f"--confirm {owner.names[alias]}" for alias in ("auth", "fltr"))),
            (r"--token \S+", f"--token {self.token}"),
            (r"\bweb_rt\b", owner.application),
            (r"\.\./(web|api)\b", f"{self.folder}/\\1"),
            (r"\bpeople\.(?=dump|xml)", f"{self.folder}/people."),
            (r"> repair\.sql", f"> {self.folder}/repair.sql"),
            (r"postgresql://reader@production/fltr_auth", f"'{owner.url('auth')}'"),
            (r"\bexec the-program", "echo it may start"),
        ):  # fmt: skip
            command = re.sub(pattern, str(value), command)
        return command

    def type(self, command: str, *, answer: str = "", **environment: str) -> str:
        """Run it, with ``answer`` typed at a terminal; what it says, where it succeeds."""
        self.typed.add(command)
        controller, terminal = os.openpty()
        try:
            os.write(controller, f"{answer}\n".encode())
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", self.fill_in(command)],
                cwd=ROOT,
                env={**self.environment(), **environment},
                stdin=terminal if answer else subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        finally:
            os.close(controller)
            os.close(terminal)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        folder = client_programs(self.owner.url("auth"))
        assert folder is not None, "no pg_restore that fits the server is installed here"
        path = (str(folder), str(Path(sys.executable).parent), inherited["PATH"])
        return {
            **inherited,
            **self.owner.environment(),
            "SOURCE_URL": self.owner.url("auth"),
            "TARGET_URL": self.owner.url("target"),
            "DJANGO_SETTINGS_MODULE": "fltr_project.settings",
            "PATH": os.pathsep.join(path),
        }

    def look_at_the_plan(self) -> None:
        plan = self.type("python manage.py clean_slate --plan --format json")
        self.token = json.loads(plan)["token"]


@pytest.fixture
def shell(databases: Databases, tmp_path: Path) -> Iterator[Shell]:
    with plain_owner(databases) as owner:
        (tmp_path / "api").mkdir()
        (tmp_path / "web" / "src" / "db").mkdir(parents=True)
        journal(tmp_path / "web" / "drizzle")
        yield Shell(owner, tmp_path)


def test_a_plain_owner_types_all_of_them(shell: Shell) -> None:
    run, owner = shell.type, shell.owner

    # README, from empty databases on.
    run("make clean-slate")
    run("python manage.py migrate")
    run("python manage.py first_staff")
    run("python manage.py postgres psql --database auth", answer="\\q")
    port = free_port()
    serve = [sys.executable, "manage.py", "runserver", str(port)]
    with serving(serve, ROOT, f"http://localhost:{port}/health", shell.environment()):
        shell.typed.add("python manage.py runserver 8001")
    run("python manage.py nuke_schema --database auth --no-input")
    run("python manage.py migrate --database auth")
    run("python manage.py verify_schema")
    run("python manage.py release")
    run("python manage.py verify_schema --wait 120 && exec the-program")
    run("python manage.py check --deploy")
    run("python manage.py adopt --database auth --plan")

    # The other programs.
    for line in sorted(documented()):
        if " export_schema " in line and " --check" not in line:
            run(line)
    run(
        "python manage.py export_schema --to drizzle --database auth --output ../web/src/db/schema.ts --check"
    )
    run("python manage.py adopt_drizzle ../web/drizzle --sql > ../web/adopt.sql")
    run("python manage.py adopt_drizzle ../web/drizzle")

    # Roles: to make one takes more than to own tables.
    shell.typed.add(
        """python manage.py postgres psql --database auth -- -c "CREATE ROLE web_rt LOGIN PASSWORD '...'\""""
    )
    run("python manage.py grant_access --role web_rt --as app")
    run("python manage.py grant_access --role web_rt --as app --sql")
    run("python manage.py grant_access --role web_rt --revoke")

    # People, and what is looked at afterwards.
    run("python manage.py mark_environment")
    run("python manage.py mark_environment test --database auth --no-input")
    run("python manage.py mark_environment development --no-input")
    run("python manage.py sample_data --users 500")
    run("python manage.py smoke_credits")
    run("python manage.py reconcile_credits")
    run("python manage.py reconcile_credits --release-expired")
    run("python manage.py reconcile_credits --repair")
    run("python manage.py verify_schema --database auth -v2")
    run("python manage.py verify_schema --strict")
    run("python manage.py verify_schema --data")
    run("python manage.py verify_schema --database auth --sql > repair.sql")
    run("python manage.py verify_schema --database auth --apply")
    run(
        "python manage.py verify_schema --database auth --against postgresql://reader@production/fltr_auth"
    )
    run("python manage.py check --database auth")

    # Loads.
    target = {"AUTH_DATABASE_URL": owner.url("target")}
    lines = documented()
    dump, restore, dumpdata = (next(x for x in lines if x.startswith(load)) for load in LOADS)
    (loaddata,) = (line for line in lines if "loaddata" in line)
    run("python manage.py mark_environment development --database auth --no-input", **target)
    for save, load in ((dump, restore), (dumpdata, loaddata)):
        run("python manage.py nuke_schema --database auth --no-input --no-backup", **target)
        run("python manage.py migrate --database auth", **target)
        run(save)
        run(load)
        run('AUTH_DATABASE_URL="$TARGET_URL" python manage.py reconcile_credits')
        assert _people(owner, "target") == _people(owner, "auth") != []

    # Backups.
    run("python manage.py backup_database --proof")
    run("python manage.py backup_database --rotate 30 --keep-days 90")
    run("python manage.py backup_database --list")
    run("python manage.py backup_database --prove latest")
    (line,) = (x for x in lines if "--prove /mnt" in x)
    run(line)
    run("python manage.py restore_database --database auth --from latest --plan")
    for line in sorted(x for x in lines if ".dump" in x and " restore_database " in x):
        run(line, answer=owner.names["auth"])

    # Production.
    run("python manage.py mark_environment production --no-input")
    run("python manage.py clean_slate --plan")
    shell.look_at_the_plan()
    (line,) = (x for x in lines if "--token" in x)
    run(line)

    # Parts.
    extras = {"FLTR_CONTRACT_EXTRAS": "better-auth-admin,better-auth-two-factor"}
    run("python manage.py release", **extras)
    run("python manage.py migrate better_auth_admin zero --database auth", **extras)

    assert documented() - shell.typed - set(ELSEWHERE) == set()
    assert set(ELSEWHERE) - documented() == set()


def _people(owner: PlainOwner, alias: str) -> list[tuple[object, ...]]:
    return owner.execute(
        alias,
        "SELECT u::text, c::text FROM users u JOIN user_credits c ON c.user_id = u.id ORDER BY 1",
    )
