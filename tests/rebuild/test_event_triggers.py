"""Event triggers of others run on what a rebuild makes: named beforehand, and for what they did."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import Databases, Outcome

from .test_put_back import difference, dumped, plan_of

# On each new table of schema public.
ON_TABLES = """
    CREATE SCHEMA theirs;
    CREATE FUNCTION theirs.acts() RETURNS event_trigger LANGUAGE plpgsql AS $$
    DECLARE made record;
    BEGIN
        FOR made IN SELECT * FROM pg_event_trigger_ddl_commands()
                    WHERE object_type = 'table' AND schema_name = 'public' LOOP
            EXECUTE format('{}', made.object_identity);
        END LOOP;
    END $$;
    CREATE EVENT TRIGGER acting ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
        EXECUTE FUNCTION theirs.acts();
"""
REFUSES = """
    CREATE SCHEMA theirs;
    CREATE FUNCTION theirs.acts() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'not in office hours'; END $$;
    CREATE EVENT TRIGGER acting ON {0} EXECUTE FUNCTION theirs.acts();
    CREATE EVENT TRIGGER asleep ON {0} EXECUTE FUNCTION theirs.acts();
    ALTER EVENT TRIGGER asleep DISABLE;
"""
SECURE = "ALTER TABLE %s ENABLE ROW LEVEL SECURITY"
CLEAN = ("clean_slate", "--database", "auth", "--no-input", "--no-backup")
NUKE = ("nuke_schema", "--database", "auth", "--no-input", "--no-backup")


@pytest.mark.parametrize(
    ("does", "before"),
    [
        (SECURE, ""),
        # What was so before is so again.
        (SECURE, "ALTER TABLE users ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON users"),
        ("GRANT SELECT ON %s TO PUBLIC", "GRANT INSERT ON users TO PUBLIC"),
    ],
)
def test_what_hangs_on_the_tables_is_as_it_was_whatever_they_do(
    databases: Databases, run: Callable[..., Outcome], does: str, before: str
) -> None:
    databases.mark("auth", "test")
    databases.execute("auth", ON_TABLES.format(does) + before)
    assert plan_of(run)["firing"] == [
        "acting (at ddl_command_end, function theirs.acts() of role "
        f"{databases.execute('auth', 'SELECT current_user')[0][0]})"
    ]
    as_it_was = dumped(databases)
    outcome = run(*CLEAN)
    assert (outcome.err, outcome.code) == ("", 0)
    if does == SECURE:
        assert "row security of 11 tables turned off" in outcome.out
        assert "an event trigger turned on (acting)" in outcome.out
    assert difference(as_it_was, dumped(databases)) == []


def test_what_they_add_is_told(databases: Databases, run: Callable[..., Outcome]) -> None:
    databases.mark("auth", "test")
    adds = "CREATE INDEX ON %s ((1))"
    databases.execute("auth", ON_TABLES.format(adds))
    outcome = run(*CLEAN)
    assert (outcome.err, outcome.code) == ("", 0)
    assert "event triggers made besides: index " in outcome.out


def test_error_what_breaks_the_contract_is_told_with_who_may_have_done_it(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    databases.mark("auth", "test")
    databases.execute("auth", ON_TABLES.format("CREATE POLICY theirs ON %s"))
    outcome = run(*CLEAN)
    assert outcome.code == 7
    assert "policy theirs of " in outcome.err
    assert (
        "Event triggers run on what is made there, and may have done this: acting (" in outcome.err
    )


@pytest.mark.parametrize("event", ["ddl_command_start", "ddl_command_end", "sql_drop"])
def test_error_one_that_refuses_is_named(
    databases: Databases, run: Callable[..., Outcome], event: str
) -> None:
    databases.mark("auth", "test")
    databases.execute("auth", REFUSES.format(event))
    assert len(plan_of(run)["firing"]) == 1
    for words in (CLEAN, NUKE):
        outcome = run(*words)
        assert "The server refused: not in office hours, in function theirs.acts()." in (
            outcome.err + outcome.out
        )
        # Dropping the old schema is no part of what has been asked for.
        assert outcome.code == (0 if event == "sql_drop" else 7 if words is CLEAN else 2)
