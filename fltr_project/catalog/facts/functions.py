"""Functions and procedures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .base import PUBLIC, Fact, Rows, Source


@dataclass(frozen=True, slots=True)
class Function(Fact):
    """A function, or a procedure: one that returns nothing."""

    kind, plural = "function", "functions"
    key = ("name", "arguments")
    name: str
    arguments: str
    returns: str
    language: str
    body: str
    security_definer: bool = False
    settings: tuple[str, ...] = ()
    volatility: str = "volatile"
    strict: bool = False
    parallel: str = "unsafe"
    leakproof: bool = False
    # The arguments with their defaults, where there are any.
    defaults: str = ""
    # An SQL body as the server parsed it, rather than a string it keeps.
    parsed: bool = False
    owner: str = ""

    @property
    def object(self) -> str:
        return f"function {self.name}({self.arguments})"

    def is_in(self, on: str) -> bool:
        """Whether rights on ``on``, as ``Grants`` has it, are those on this function."""
        kind = "FUNCTION" if self.returns else "PROCEDURE"
        quoted = self.name.replace('"', '""')
        return on in {
            f"{kind} public.{word}({self.arguments})" for word in (self.name, f'"{quoted}"')
        }


QUERY = f"""
    SELECT p.oid, p.proname AS name, pg_get_function_identity_arguments(p.oid) AS arguments,
           CASE p.prokind WHEN 'p' THEN ''
                ELSE coalesce(pg_get_function_result(p.oid), '') END AS returns,
           l.lanname AS language, coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) AS body,
           p.prosecdef AS security_definer, p.proconfig AS settings, p.provolatile AS volatility,
           p.proisstrict AS strict, p.proparallel AS parallel, p.proleakproof AS leakproof,
           CASE WHEN p.pronargdefaults > 0 THEN pg_get_function_arguments(p.oid) ELSE '' END AS defaults,
           p.prosqlbody IS NOT NULL AS parsed, pg_get_userbyid(p.proowner) AS owner
    FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
    WHERE p.pronamespace = {PUBLIC} AND p.prokind IN ('f', 'p')
      -- A range type brings its constructors along.
      AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = 'pg_proc'::regclass
                      AND i.objid = p.oid AND i.deptype = 'i')
"""
VOLATILITY = {"i": "immutable", "s": "stable", "v": "volatile"}
PARALLEL = {"u": "unsafe", "r": "restricted", "s": "safe"}


def read(rows: Rows) -> Iterator[Function]:
    for row in rows["functions"]:
        yield Function(
            table="",
            name=row.name,
            arguments=row.arguments,
            returns=row.returns,
            language=row.language,
            body=row.body.strip(),
            security_definer=row.security_definer,
            settings=tuple(sorted(row.settings or ())),
            volatility=VOLATILITY[row.volatility],
            strict=row.strict,
            parallel=PARALLEL[row.parallel],
            leakproof=row.leakproof,
            defaults=row.defaults,
            parsed=row.parsed,
            owner=rows.role(row.owner),
        )


SOURCE = Source("functions", lambda major: QUERY, read, "pg_proc")
