"""Write the record of an operation into the comment of the schema that it set aside."""

from __future__ import annotations

from dataclasses import replace

from django.db.backends.utils import CursorWrapper

from fltr_project.catalog import aside
from fltr_project.catalog.aside import OperationRecord, State

from . import schema_properties


def write(cursor: CursorWrapper, name: str, record: OperationRecord) -> None:
    """Replace the comment of the schema ``name``, in the caller's transaction."""
    schema_properties.set_comment(cursor, name, record.as_comment())


def change_state(cursor: CursorWrapper, name: str, state: State) -> None:
    """Write the state into the record of a schema that was set aside, in the caller's transaction."""
    found = next((each for each in aside.waiting(cursor) if each.name == name), None)
    if found is None or (found.record and found.record.state is state):
        return
    record = found.record or OperationRecord("", "", (), "", State.KEPT)
    write(cursor, name, replace(record, state=state))
