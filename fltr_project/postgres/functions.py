"""SQL functions of an app: a living text, and the frozen copies that its migrations install.

The living text of each function, with its triggers, is a file of its own in the app, named after the
function. A migration installs the copies in the folder ``sql/<migration>/`` beside it, which never
change, so that a history runs the same for ever. A function is changed in its living file and frozen
again by a new migration.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from django.db.migrations import RunSQL

TRIGGER = re.compile(r"CREATE OR REPLACE TRIGGER (\w+)[^;]* ON (public\.\w+)")
TEMPLATE = """from __future__ import annotations

from django.db import migrations

from fltr_project.postgres.functions import install


class Migration(migrations.Migration):
    dependencies = [("{app}", "{before}")]

    operations = install(__file__)
"""


def install(migration: str) -> list[RunSQL]:
    """The operations that install what is frozen for the migration whose ``__file__`` is given.

    Reversed, they bring back the text that an earlier migration has frozen, or drop the function.
    """
    path = Path(migration)
    operations = []
    for file in sorted(_frozen_for(path).glob("*.sql")):
        earlier = _latest(path.parent, before=path.stem).get(file.name)
        text = file.read_text(encoding="utf-8")
        reverse = _drop(file.stem, text) if earlier is None else earlier.read_text(encoding="utf-8")
        operations.append(RunSQL(text, reverse))
    return operations


def unfrozen(living: Path, migrations: Path) -> list[Path]:
    """The living files that say something else than the last migration that has frozen them."""
    latest = _latest(migrations)
    return [
        file
        for file in sorted(living.glob("*.sql"))
        if file.name not in latest or latest[file.name].read_bytes() != file.read_bytes()
    ]


def freeze(app: str, living: Path, migrations: Path, name: str) -> Path | None:
    """Write the next migration of the app, with what is not frozen yet; None if all of it is.

    Raises FileExistsError rather than change a folder that is there.
    """
    changed = unfrozen(living, migrations)
    if not changed:
        return None
    before = sorted(migrations.glob("[0-9]*.py"))[-1].stem
    path = migrations / f"{int(before[:4]) + 1:04}_{name}.py"
    _frozen_for(path).mkdir(parents=True)
    for file in changed:
        shutil.copyfile(file, _frozen_for(path) / file.name)
    path.write_text(TEMPLATE.format(app=app, before=before), encoding="utf-8")
    return path


def _frozen_for(migration: Path) -> Path:
    return migration.parent / "sql" / migration.stem


def _latest(migrations: Path, before: str | None = None) -> dict[str, Path]:
    """The last frozen copy of each file, of migrations earlier than ``before``."""
    # A folder without its migration was left by a freeze that was killed: nothing installs it.
    folders = sorted(
        each
        for each in (migrations / "sql").iterdir()
        if (migrations / f"{each.name}.py").is_file()
    )
    return {
        file.name: file
        for folder in folders
        if before is None or folder.name < before
        for file in sorted(folder.glob("*.sql"))
    }


def _drop(function: str, text: str) -> str:
    """What undoes the first text of a function: its triggers first, as they hang on it."""
    triggers = [f"DROP TRIGGER {name} ON {table};" for name, table in TRIGGER.findall(text)]
    return "\n".join([*triggers, f"DROP FUNCTION public.{function};"])
