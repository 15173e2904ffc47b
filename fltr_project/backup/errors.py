"""Why a backup or a restore does not begin, with the facts that a command needs to say what to do.

Apart from the modules that raise them, so that who only tells them imports none of those.
"""

from __future__ import annotations

from pathlib import Path

from fltr_project.errors import BackupFailed, Refused


class DirectoryUnusable(BackupFailed):
    """Backups cannot be written to the directory that was named."""

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(
            f"Backups cannot be written to {directory}: {reason}. Nothing was touched."
        )


class OtherDatabasesBackup(Refused):
    """Guard 'backup': the backup is of another alias than the one to restore into."""

    def __init__(self, database: str, alias: str, target: str, target_alias: str) -> None:
        self.alias, self.target_alias = alias, target_alias
        super().__init__(
            f"Guard 'backup': this is a backup of {database} ({alias}), and its tables do not belong "
            f"in {target} ({target_alias})."
        )


class Unproven(Refused):
    """Guard 'proof': a protected database is not emptied on a backup that was not restored."""
