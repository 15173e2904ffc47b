"""Parts of the contract that FLTR_CONTRACT_EXTRAS names are built, verified, repaired, exported and kept like the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Databases, Outcome

PLUGINS = ("admin", "jwt", "organization", "two-factor")
EVERY = ",".join(f"better-auth-{name}" for name in PLUGINS)
Manage = Callable[..., Outcome]

TEAM_APP = {
    "apps.py": """
from fltr_project import parts
class Notes(parts.ContractPart):
    name = "team_notes"
    database = "fltr"
    rights = {"app": {"notes": ("SELECT", "INSERT")}}
""",
    "models.py": """
from django.db import models
class Note(models.Model):
    text = models.TextField()
    class Meta:
        db_table = "notes"
""",
}


@pytest.fixture
def team(tmp_path: Path) -> dict[str, str]:
    """The environment in which a team's own app is a part."""
    folder = tmp_path / "team" / "team_notes"
    (folder / "migrations").mkdir(parents=True)
    for name in ("__init__.py", "migrations/__init__.py"):
        (folder / name).touch()
    for name, text in TEAM_APP.items():
        (folder / name).write_text(text, encoding="utf-8")
    return {"PYTHONPATH": str(tmp_path / "team"), "FLTR_CONTRACT_EXTRAS": "team_notes"}


@pytest.mark.parametrize("plugin", [*PLUGINS, EVERY])
def test_it_is_built_and_verified(databases: Databases, manage: Manage, plugin: str) -> None:
    extras = plugin if "," in plugin else f"better-auth-{plugin}"
    environment = {**databases.environment(), "FLTR_CONTRACT_EXTRAS": extras}
    # On people who are there already.
    databases.execute("auth", "INSERT INTO public.users (name, email) VALUES ('Ada', 'a@b.c')")
    lacking = manage("verify_schema", "--database", "auth", **environment)
    assert lacking.code == 1
    assert manage("migrate", "--database", "auth", "--verbosity", "0", **environment).code == 0
    verified = manage("verify_schema", "--strict", **environment)
    assert verified.code == 0, verified.out
    assert manage("smoke_credits", **environment).code == 0
    # Who does not have the part sees it as what it is: something that the contract does not know.
    without = manage("verify_schema", "--database", "auth", **databases.environment())
    assert without.code == 1
    # And back.
    for app in extras.split(","):
        label = app.replace("-", "_")
        undone = manage("migrate", label, "zero", "--database", "auth", **environment)
        assert undone.code == 0, undone
    assert manage("verify_schema", "--strict", **databases.environment()).code == 0


def test_it_is_kept_like_the_rest(databases: Databases, manage: Manage, tmp_path: Path) -> None:
    environment = {**databases.environment(), "FLTR_CONTRACT_EXTRAS": EVERY}

    def typed(*command: str, code: int = 0) -> str:
        outcome = manage(*command, **environment)
        assert outcome.code == code, outcome
        return outcome.out

    for alias in ("auth", "fltr"):
        databases.mark(alias, "test")
    role = f"role_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {role}")
    try:
        rebuilt = typed("clean_slate", "--no-input", "--backup-dir", str(tmp_path))
        assert "better_auth_two_factor.0001_initial" in rebuilt
        assert "16 tables and 14 foreign keys as the contract says" in rebuilt
        typed("release")
        granted = typed("grant_access", "--role", role, "--as", "auditor", "--database", "auth")
        assert "two_factors" in granted
        asked = "SELECT has_column_privilege(%s, 'public.two_factors', %s, 'SELECT')"
        assert databases.execute("auth", asked, role, "locked_until") == [(True,)]
        assert databases.execute("auth", asked, role, "secret") == [(False,)]
        databases.execute(
            "auth",
            "ALTER TABLE public.users DROP COLUMN ban_reason; DROP TABLE public.invitations;"
            " ALTER TABLE public.members DROP CONSTRAINT members_user_id_users_id_fk",
        )
        drift = typed("verify_schema", "--database", "auth", code=1)
        for name in ("users.ban_reason", "invitations", "members.user_id"):
            assert f"error {name}" in drift or f"error foreign key {name}" in drift, drift
        typed("verify_schema", "--database", "auth", "--apply", "--no-input")
        typed("verify_schema", "--strict")
        schema = typed("export_schema", "--to", "drizzle", "--database", "auth")
        for words in ("export const twoFactors = pgTable", "banReason: text", "export const jwkss"):
            assert words in schema
        assert "private_key: str" in typed(
            "export_schema", "--to", "sqlmodel", "--database", "auth"
        )
    finally:
        for alias in ("auth", "fltr"):
            databases.execute(alias, f"DROP OWNED BY {role}")
        databases.execute("auth", f"DROP ROLE {role}")


def test_a_team_has_tables_of_its_own(
    databases: Databases, manage: Manage, team: dict[str, str], tmp_path: Path
) -> None:
    environment = {**databases.environment(), **team}
    made = manage("makemigrations", "team_notes", **environment)
    assert made.code == 0, made
    unwritten = manage("verify_schema", "--database", "fltr", **environment)
    assert unwritten.code == 2
    assert "team_notes has no contract.json" in unwritten.err
    written = manage("verify_schema", "--database", "fltr", "--write-contract", **environment)
    assert written.code == 0, written
    contract = json.loads((tmp_path / "team" / "team_notes" / "contract.json").read_text())
    assert contract["facts"]["tables"] == [{"table": "notes", "type": "table"}]
    released = manage("release", **environment)
    assert released.code == 0, released
    assert "team_notes.0001_initial" in released.out
    assert manage("verify_schema", "--strict", **environment).code == 0


def test_a_part_changes_nothing(
    databases: Databases, manage: Manage, team: dict[str, str], tmp_path: Path
) -> None:
    environment = {**databases.environment(), **team}
    migration = (
        "from django.db import migrations\nclass Migration(migrations.Migration):\n"
        "    dependencies = [('data_app', '0001_initial')]\n"
        "    operations = [migrations.RunSQL('ALTER TABLE datasets ALTER name DROP NOT NULL')]\n"
    )
    folder = tmp_path / "team" / "team_notes"
    (folder / "models.py").unlink()
    (folder / "migrations" / "0001_initial.py").write_text(migration)
    refused = manage("verify_schema", "--database", "fltr", "--write-contract", **environment)
    assert refused.code == 2
    assert "team_notes changes what the contract of fltr says of" in refused.err
    assert not (folder / "contract.json").exists()


@pytest.mark.parametrize(
    ("extras", "sentence"),
    [
        ("better-auth-nothing", "'better-auth-nothing', which is neither a module nor one of"),
        ("better-auth-admin,,x", "FLTR_CONTRACT_EXTRAS has an empty part"),
        ("django.contrib.sites", "whose app configuration is no ContractPart"),
        ("..", "names '..', which is neither"),
    ],
)
def test_what_is_no_part_is_refused(
    databases: Databases, manage: Manage, extras: str, sentence: str
) -> None:
    outcome = manage("verify_schema", **databases.environment(), FLTR_CONTRACT_EXTRAS=extras)
    assert outcome.code == 2, outcome
    assert sentence in outcome.err
    assert "Traceback" not in outcome.err


def test_two_contracts_are_not_written_at_once(databases: Databases, manage: Manage) -> None:
    environment = {**databases.environment(), "FLTR_CONTRACT_EXTRAS": EVERY}
    refused = manage("verify_schema", "--database", "auth", "--write-contract", **environment)
    assert refused.code == 2
    assert "cannot be told apart" in refused.err


@pytest.mark.parametrize("plugin", PLUGINS)
def test_its_contract_is_what_its_migrations_make(
    databases: Databases, manage: Manage, plugin: str
) -> None:
    file = ROOT / "plugins" / f"better_auth_{plugin.replace('-', '_')}" / "contract.json"
    before = file.read_text(encoding="utf-8")
    environment = {**databases.environment(), "FLTR_CONTRACT_EXTRAS": f"better-auth-{plugin}"}
    written = manage("verify_schema", "--database", "auth", "--write-contract", **environment)
    assert written.code == 0, written
    after = file.read_text(encoding="utf-8")
    file.write_text(before, encoding="utf-8")
    assert after == before
    unmade = manage("makemigrations", "--check", "--dry-run", **environment)
    assert unmade.code == 0, unmade.out
