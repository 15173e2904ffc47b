"""What each kind of program may in ``fltr``: the table of docs/roles.md, which a test compares."""

from __future__ import annotations

from fltr_project.catalog.access import Access

ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")
READ = ("SELECT",)
TABLES = ("datasets", "documents", "processing_jobs")
TRACKING = {"django_migrations": READ}

APP = Access({**dict.fromkeys(TABLES, ALL), **TRACKING})
# What is sold, and for how much.
BILLING = Access({"datasets": READ, **TRACKING})
AUDITOR = Access({**dict.fromkeys(TABLES, READ), **TRACKING}, new={"tables": READ})
WRITER = Access(
    {**dict.fromkeys(TABLES, ALL), **TRACKING},
    new={"tables": ALL, "sequences": ("SELECT", "USAGE")},
)


def kinds() -> dict[str, Access]:
    return {"app": APP, "billing": BILLING, "auditor": AUDITOR, "writer": WRITER}
