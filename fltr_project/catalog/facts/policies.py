"""What changes or hides rows behind a statement's back: rewrite rules and row security policies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .base import ENABLED, PUBLIC, Fact, Rows, Source, on_one_line


@dataclass(frozen=True, slots=True)
class Rule(Fact):
    kind, plural = "rule", "rules"
    key = ("table", "name")
    name: str
    definition: str
    enabled: str = "enabled"

    @property
    def object(self) -> str:
        return f"rule {self.name} of {self.table}"

    @property
    def description(self) -> str:
        return self.definition


@dataclass(frozen=True, slots=True)
class Policy(Fact):
    kind, plural = "policy", "policies"
    key = ("table", "name")
    name: str
    # As in CREATE POLICY after the table's name.
    definition: str

    @property
    def object(self) -> str:
        return f"policy {self.name} of {self.table}"

    @property
    def description(self) -> str:
        return self.definition


RULES = f"""
    SELECT c.relname AS of_table, r.rulename AS name, pg_get_ruledef(r.oid) AS statement,
           r.ev_enabled AS enabled
    FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
    WHERE r.rulename <> '_RETURN' AND c.relnamespace = {PUBLIC}
"""
POLICIES = f"""
    SELECT c.relname AS of_table, p.polname AS name, p.polcmd AS command,
           p.polpermissive AS permissive,
           array(SELECT CASE k.role WHEN 0 THEN 'PUBLIC'
                        ELSE quote_ident(pg_get_userbyid(k.role)) END
                 FROM unnest(p.polroles) AS k (role) ORDER BY 1) AS roles,
           pg_get_expr(p.polqual, p.polrelid) AS using_expression,
           pg_get_expr(p.polwithcheck, p.polrelid) AS check_expression
    FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    WHERE c.relnamespace = {PUBLIC}
"""
COMMANDS = {"*": "ALL", "r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE"}


def read_rules(rows: Rows) -> Iterator[Rule]:
    for row in rows["rules"]:
        yield Rule(row.of_table, row.name, on_one_line(row.statement), ENABLED[row.enabled])


def read_policies(rows: Rows) -> Iterator[Policy]:
    for row in rows["policies"]:
        words = [
            f"AS {'PERMISSIVE' if row.permissive else 'RESTRICTIVE'} FOR {COMMANDS[row.command]}",
            f"TO {', '.join(row.roles)}",
        ]
        if row.using_expression:
            words.append(f"USING ({row.using_expression})")
        if row.check_expression:
            words.append(f"WITH CHECK ({row.check_expression})")
        yield Policy(row.of_table, row.name, " ".join(words))


SOURCES = (
    Source("rules", lambda major: RULES, read_rules),
    Source("policies", lambda major: POLICIES, read_policies),
)
