"""What can go wrong between a plan and its act, one class per cause; each says facts and no command.

In a module of their own, because what tells them to a person needs nothing else of this room.

Refused             WrongName, DeadToken, BackupRequired, ContentChanged, PublishedTables,
                    LossNotAccepted, HangsOnOldSchema, WrittenSince
└── Unconfirmed     NoTerminal, NameMissing, TokenMissing
CannotRun           NotAtomic, ChangesWithoutMigration, PurgeBegun, CommitUnknown, HalfRebuilt, BuiltByOthers
Blocked             BuiltMeanwhile
RolledBack          ContractNotMet, NothingRebuilt
KeyboardInterrupt   RebuildInterrupted, PurgeInterrupted
"""

from __future__ import annotations

from collections.abc import Sequence

from fltr_project.errors import Blocked, CannotRun, Refused, RolledBack

from .endings import Standing, ending


class WrongName(Refused):
    """The operator has confirmed a database that this is not about."""


class DeadToken(Refused):
    """The token is none, or not of these plans, or too old, or of another content."""


class BackupRequired(Refused):
    """A protected database is never emptied without a backup."""


class ContentChanged(Refused):
    """A protected database holds something else than the plan that was consented to says."""


class PublishedTables(Refused):
    """Publications carry tables that nothing would make again."""


class LossNotAccepted(Refused):
    """A protected database holds what will not come back, and the operator has not said that it may go."""

    def __init__(self, sentence: str, kinds: tuple[str, ...]) -> None:
        super().__init__(sentence)
        self.kinds = kinds


class HangsOnOldSchema(Refused):
    """What is outside a schema that was set aside would be lost with it."""


class WrittenSince(Refused):
    """A schema that was set aside holds what the backup may lack."""


class Unconfirmed(Refused):
    """Something is missing that protected databases need before an act on them."""

    def __init__(
        self, sentence: str, *, databases: tuple[str, ...], lacks_token: bool, unmarked: bool
    ) -> None:
        super().__init__(sentence)
        # The names that have to be confirmed, and whether the token of a plan has to be given too.
        self.databases, self.lacks_token = databases, lacks_token
        # Whether one of them is protected only because nobody has said what it is.
        self.unmarked = unmarked


class NoTerminal(Unconfirmed):
    """The operator wants to be asked, and there is no terminal to ask on."""


class NameMissing(Unconfirmed):
    """The operator does not want to be asked, and has not named a protected database."""


class TokenMissing(Unconfirmed):
    """A protected database was named, but nobody has looked at its plan."""


class NotAtomic(CannotRun):
    """A migration runs outside a transaction, so the rebuild could not be one."""


class ChangesWithoutMigration(CannotRun):
    """The models say something that no migration makes."""


class PurgeBegun(CannotRun):
    """A schema cannot be brought back, because some of it has been dropped."""


class CommitUnknown(CannotRun):
    """The connection was lost during the commit, and the server does not say what came of it."""

    def __init__(self, sentence: str, alias: str) -> None:
        super().__init__(sentence)
        self.alias = alias


class ContractNotMet(RolledBack):
    """The migrations build something else than the contract says."""


class NothingRebuilt(RolledBack):
    """The rebuild failed, and no database shows it."""

    def __init__(self, reason: str, standings: Sequence[Standing]) -> None:
        self.standings = standings
        super().__init__(f"{reason} {ending(standings).value}")


class HalfRebuilt(CannotRun):
    """The rebuild failed between its commits, and a database could not be brought back or asked."""

    def __init__(self, reason: str, standings: Sequence[Standing]) -> None:
        self.standings = standings
        super().__init__(f"{reason} {ending(standings).value}")


class RebuildInterrupted(KeyboardInterrupt):
    """Ctrl-C after every database had committed."""

    def __init__(self, standings: Sequence[Standing]) -> None:
        self.standings = standings
        super().__init__(f"Interrupted. {ending(standings).value}")


class PurgeInterrupted(KeyboardInterrupt):
    """Ctrl-C during the purge: the operation itself has committed before."""

    def __init__(self, database: str, alias: str, name: str) -> None:
        super().__init__(
            f"Interrupted while the old schema of {database}, {name}, was being dropped. "
            "What came before has been committed and stands."
        )
        self.alias = alias


class BuiltByOthers(CannotRun):
    """Another program has made tables of the contract, not all of them as the contract has them."""

    def __init__(self, sentence: str, alias: str) -> None:
        super().__init__(sentence)
        self.alias = alias


class BuiltMeanwhile(Blocked):
    """Another program was making the same tables while a migration ran."""
