"""What hung on the objects of an emptied schema, written down in its comment until migrations have made them again."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from fltr_project.catalog import contract, granting
from fltr_project.postgres.search_path import pinned

from . import attachments, schema_properties
from .attachments import Attachment
from .put_back import put_back
from .schema_properties import SCHEMA

logger = logging.getLogger(__name__)


def write_down(connection: BaseDatabaseWrapper, hung: Sequence[Attachment]) -> None:
    """Add these to what is written down, in the caller's transaction; what stands there of others stays."""
    with pinned(connection) as cursor:
        found = schema_properties.properties(cursor, SCHEMA)
        if found is None or not hung:
            return
        new = {(each.kind, each.on) for each in hung}
        before = attachments.kept(found.comment)
        stays = [each for each in before if (each.kind, each.on) not in new]
        comment = attachments.with_kept(found.comment, [*stays, *hung])
        schema_properties.set_comment(cursor, SCHEMA, comment)


def put_back_written(connection: BaseDatabaseWrapper, alias: str) -> None:
    """Put back what is written down and can hang on what is there by now; the rest stays written down.

    One transaction. What cannot be put back once all tables are there is logged, not raised: a migration does
    not need it.
    """
    with transaction.atomic(using=connection.alias):
        with pinned(connection) as cursor:
            found = schema_properties.properties(cursor, SCHEMA)
            written = attachments.kept(found.comment) if found else ()
            if found is None or not written:
                return
            passed_over = frozenset(granting.remembered(cursor))
        views = [each.name[0] for each in written if each.kind == attachments.VIEWS]
        names = attachments.of_contract(alias, views)
        result = put_back(connection, written, names, passed_over)
        with pinned(connection) as cursor:
            there = {on[1][0] for on in attachments.read(cursor, names).objects if len(on[1]) == 1}
            is_whole = there >= set(contract.own_tables(alias))
            left = {each for each, _ in result.left}
            waiting = [each for each in written if each in left or each.name[0] not in there]
            for each, reason in result.left if is_whole else ():
                logger.warning("%s of %s: not put back: %s", each.kind, each.object, reason)
            comment = attachments.with_kept(found.comment, () if is_whole else waiting)
            schema_properties.set_comment(cursor, SCHEMA, comment)
