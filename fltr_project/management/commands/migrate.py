from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands.migrate import Command as DjangoMigrate
from django.db import Error as DatabaseError
from django.db import connections

from fltr_project.drift.live import verify_live
from fltr_project.errors import CleanSlateError
from fltr_project.management import advice
from fltr_project.management.base import show_examples
from fltr_project.postgres.target import ALIASES, Target, identify
from fltr_project.postgres.turns import in_turn
from fltr_project.rebuild import adoption
from fltr_project.words import harmless

EXAMPLES = """\
  manage.py migrate --database auth
  manage.py migrate --database fltr
  manage.py migrate                            Django's own tables: staff accounts, the admin's log
"""


class Command(DjangoMigrate):
    help = (
        "Updates database schema, as Django does. On auth and fltr it waits for other releases, and looks first at "
        "tables that another program has built: those that are as the contract says are recorded as migrated."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return show_examples(super().create_parser(prog_name, subcommand, **kwargs), EXAMPLES)

    def handle(self, *args: Any, **options: Any) -> None:
        only_looks = options["plan"] or options["check_unapplied"] or options["prune"]
        if options["database"] not in ALIASES or only_looks:
            super().handle(*args, **options)
            return
        connection = connections[options["database"]]
        connection.prepare_database()
        target = identify(connection)
        with _in_a_sentence(target), in_turn(target):
            if not options["fake"] and not options["migration_name"]:
                options["fake"] = self._look(target, options["verbosity"])
            super().handle(*args, **options)

    def _look(self, target: Target, verbosity: int) -> bool:
        """Whether what is there was made by another program and is as migrations make it.

        Raises BuiltByOthers where it is not.
        """
        connection = connections[target.alias]
        built = adoption.look(connection)
        if built.is_left_over:
            adoption.build_beside_record(connection)
            self._say(f"Built {target} beside Drizzle's record, which was there before.", verbosity)
        if not built.by_others:
            return False
        verified = verify_live(connection, target)
        if not adoption.is_as_built(verified):
            raise adoption.refusal(target, built, verified)
        self._say(
            f"Another program has built {target} as the contract says: its migrations are recorded.",
            verbosity,
        )
        return True

    def _say(self, sentence: str, verbosity: int) -> None:
        if verbosity:
            self.stdout.write(harmless(sentence))


@contextmanager
def _in_a_sentence(target: Target) -> Iterator[None]:
    try:
        yield
    except CleanSlateError as error:
        sentence = harmless(advice.sentence(error))
        raise CommandError(sentence, returncode=error.exit_code) from error
    except DatabaseError as error:
        meanwhile = adoption.built_meanwhile(error, target)
        if meanwhile is None:
            raise
        sentence = harmless(advice.sentence(meanwhile))
        raise CommandError(sentence, returncode=meanwhile.exit_code) from error
