"""What every role may do with credits, whoever it is: nothing that changes them."""

from __future__ import annotations

from collections.abc import Callable

from fltr_project.catalog import contract
from fltr_project.catalog.facts import Function

from .context import Live, Wrong
from .guards import credit_tables

# PostgreSQL's rights that change rows, or have code of the holder's run when others do (TRIGGER).
WRITES = "INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER"
OF_EVERYBODY = """
    SELECT pg_catalog.format('%%I is writable by PUBLIC', c.relname)
    FROM pg_catalog.pg_class c
    WHERE c.relnamespace = 'public'::pg_catalog.regnamespace AND c.relname = ANY (%(tables)s)
      AND (pg_catalog.has_table_privilege('public', c.oid, %(writes)s)
           OR pg_catalog.has_any_column_privilege('public', c.oid, 'INSERT, UPDATE'))
    UNION ALL
    SELECT pg_catalog.format('%%s may be called by PUBLIC and runs as its owner', p.oid::pg_catalog.regprocedure)
    FROM pg_catalog.pg_proc p
    WHERE p.pronamespace = 'public'::pg_catalog.regnamespace AND p.proname = ANY (%(functions)s)
      AND p.prosecdef AND pg_catalog.has_function_privilege('public', p.oid, 'EXECUTE')
    ORDER BY 1
"""


def _of_everybody(live: Live) -> str:
    catalog = contract.load("auth")
    functions = sorted({fact.name for fact in catalog.of(Function)})
    found = live.query(
        OF_EVERYBODY,
        {"tables": sorted(credit_tables(catalog)), "writes": WRITES, "functions": functions},
    )
    if found:
        raise Wrong("; ".join(what for (what,) in found))
    return f"nothing to write, and none of {len(functions)} functions that runs as its owner"


CHECKS: dict[str, Callable[[Live], str]] = {"rights of PUBLIC": _of_everybody}
