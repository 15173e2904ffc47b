"""Statements for functions and procedures, and for what runs or is asked on its own: triggers, rules, policies."""

from __future__ import annotations

from collections.abc import Iterator

from fltr_project.catalog.facts import Fact, Function, Grants, Policy, Rule, Table, Trigger

from .columns import count_rows
from .context import Context, change_owner
from .keys import enable_trigger
from .names import PUBLIC, dollar_quoted, literal, name, public
from .others import rights_of_new
from .statement import Stage, Statement, Thing, dropping


def repair_function(
    want: Function | None, have: Function | None, here: Context
) -> Iterator[Statement]:
    if want is None:
        if have:
            yield dropping(Stage.CLEAN, f"DROP {signature(have)};", _dependants(have))
        return
    if have is None or not here.differs("owner"):
        # What CREATE OR REPLACE refuses to change. Fails where something depends on it.
        anew = have is None or (have.returns, have.defaults) != (want.returns, want.defaults)
        if have and anew:
            disturbed = Thing("function", have.name, have.arguments)
            drop = f"DROP {signature(have)};"
            # After the triggers and policies that are dropped because they are changed too.
            yield Statement(Stage.DETACH, drop, disturbs=disturbed, place=1)
        yield Statement(_stage(want, here), create_function(want))
        if anew:
            yield from _rights(want, here)
    if have:
        yield from change_owner(signature(want), want, have, here)


def _rights(made: Function, here: Context) -> Iterator[Statement]:
    """The contract's rights on a new function, whatever default privileges give or take; other roles keep
    what they had on the one that it replaces."""
    kept = [
        grants
        for catalog, everybody in ((here.expected, True), (here.found, False))
        for grants in catalog.of(Grants)
        if (grants.role in {"PUBLIC", ""}) is everybody and made.is_in(grants.on)
    ]
    if not any(grants.role == "PUBLIC" and "EXECUTE" in grants.revoked for grants in kept):
        yield Statement(Stage.RIGHTS, f"GRANT EXECUTE ON {signature(made)} TO PUBLIC;")
    for grants in kept:
        yield from rights_of_new(grants, here.owner)


def repair_trigger(
    want: Trigger | None, have: Trigger | None, here: Context
) -> Iterator[Statement]:
    if want and have and here.differs("enabled"):
        yield enable_trigger(want.table, have.name, want.enabled)
        return
    if have:
        yield _drop("TRIGGER", want, have)
    if want:
        yield from create_trigger(want)


def repair_rule(want: Rule | None, have: Rule | None, here: Context) -> Iterator[Statement]:
    if have:
        yield _drop("RULE", want, have)
    if want:
        yield Statement(Stage.ATTACH, f"{want.definition};")


def repair_policy(want: Policy | None, have: Policy | None, here: Context) -> Iterator[Statement]:
    if have:
        yield _drop("POLICY", want, have)
    if want:
        yield create_policy(want)


def create_function(function: Function) -> str:
    settings = []
    for setting in function.settings:
        key, _, value = setting.partition("=")
        settings.append(f"SET {key} = {value or literal('')}")
    words = [
        f"LANGUAGE {function.language}",
        function.volatility.upper(),
        *(["STRICT"] if function.strict else []),
        *(["SECURITY DEFINER"] if function.security_definer else []),
        *(["LEAKPROOF"] if function.leakproof else []),
        f"PARALLEL {function.parallel.upper()}",
        *settings,
    ]
    # A procedure returns nothing and has no other of these words.
    kind, returns = "FUNCTION", f" RETURNS {function.returns}"
    if not function.returns:
        kind, returns = "PROCEDURE", ""
        words = [words[0], *(["SECURITY DEFINER"] if function.security_definer else []), *settings]
    body = function.body
    if not function.parsed:
        body = f"AS {dollar_quoted(f'\n{body}\n', 'function')}"
    return (
        f"CREATE OR REPLACE {kind} {public(function.name)}"
        f"({function.defaults or function.arguments}){returns}\n" + "\n".join(words) + f"\n{body};"
    )


def create_trigger(trigger: Trigger) -> Iterator[Statement]:
    word = "CONSTRAINT TRIGGER" if trigger.constraint else "TRIGGER"
    yield Statement(Stage.ATTACH, f"CREATE {word} {name(trigger.name)} {trigger.definition};")
    if trigger.enabled != "enabled":
        yield enable_trigger(trigger.table, trigger.name, trigger.enabled)


def create_policy(policy: Policy) -> Statement:
    on = f"{name(policy.name)} ON {public(policy.table)}"
    return Statement(Stage.ATTACH, f"CREATE POLICY {on} {policy.definition};")


def signature(function: Function) -> str:
    kind = "FUNCTION" if function.returns else "PROCEDURE"
    return f"{kind} {public(function.name)}({function.arguments})"


def _stage(want: Function, here: Context) -> Stage:
    """Before the tables, whose defaults may call it, unless it takes or returns their rows."""
    types = f"{want.arguments} {want.returns}"
    # The server prints a name bare where it can.
    rows = (
        f"public.{word}"
        for each in here.expected.of(Table)
        for word in (each.table, name(each.table))
    )
    return Stage.ROW_FUNCTION if any(row in types for row in rows) else Stage.MAKE


def _dependants(have: Function) -> str:
    return (
        "SELECT count(*) FROM pg_depend JOIN pg_proc p ON p.oid = refobjid "
        f"WHERE refclassid = 'pg_proc'::regclass AND p.proname = {literal(have.name)} "
        f"AND p.pronamespace = '{PUBLIC}'::regnamespace "
        f"AND pg_get_function_identity_arguments(p.oid) = {literal(have.arguments)};"
    )


def _drop(word: str, want: Fact | None, have: Trigger | Rule | Policy) -> Statement:
    sql = f"DROP {word} {name(have.name)} ON {public(have.table)};"
    if want:
        return Statement(Stage.DETACH, sql)
    return dropping(Stage.DETACH, sql, count_rows(have.table))
