"""Databases as others have made them: each a few statements, run as a superuser in database ``auth``.

{role} is a role that is made for the case, {other} one with a name that needs quotes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    name: str
    sql: str
    # The first PostgreSQL that knows the statements.
    since: int = 15
    # What stays in the database when ``public`` is emptied, and is told to be kept.
    kept: tuple[str, ...] = ()


CALLED = (
    "CREATE OR REPLACE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';"
    "CREATE OR REPLACE FUNCTION twice_plus(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE"
    " AS 'BEGIN RETURN twice(n) + 1; END';"
)
WORLDS = (
    # B1: a function that calls another by its bare name.
    World(
        "bare_name_in_generated_column",
        CALLED + "CREATE TABLE g (n int, m int GENERATED ALWAYS AS (twice_plus(n)) STORED);"
        "INSERT INTO g VALUES (1), (2)",
    ),
    World(
        "bare_name_in_check",
        CALLED + "CREATE TABLE g2 (n int CHECK (twice_plus(n) > 0)); INSERT INTO g2 VALUES (1)",
    ),
    World(
        "bare_name_in_domain",
        CALLED + "CREATE DOMAIN odd AS int CHECK (twice_plus(VALUE) % 2 = 1);"
        "CREATE TABLE g3 (n odd); INSERT INTO g3 VALUES (1)",
    ),
    World(
        "bare_table_in_function_of_check",
        "CREATE TABLE allowed (n int); INSERT INTO allowed VALUES (1);"
        "CREATE FUNCTION is_allowed(m int) RETURNS bool LANGUAGE sql AS"
        " 'SELECT EXISTS (SELECT FROM allowed WHERE n = m)';"
        "CREATE TABLE zz_uses (n int CHECK (is_allowed(n))); INSERT INTO zz_uses VALUES (1)",
    ),
    # B4: event triggers.
    World(
        "event_trigger_outside_public",
        "CREATE SCHEMA audit; CREATE FUNCTION audit.seen() RETURNS event_trigger LANGUAGE plpgsql"
        " AS 'BEGIN END'; CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION audit.seen()",
        kept=("event trigger watch", "schema audit"),
    ),
    World(
        "event_trigger_in_public",
        "CREATE FUNCTION seen() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE EVENT TRIGGER watch_drops ON sql_drop WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION seen();"
        "ALTER EVENT TRIGGER watch_drops DISABLE",
    ),
    # B5: bodies and comments that look like what pg_restore says itself.
    World(
        "settings_within_a_body",
        "SET check_function_bodies = off; CREATE FUNCTION quick() RETURNS void LANGUAGE plpgsql AS $$\nBEGIN\n"
        "SET statement_timeout = 0;\nSET lock_timeout = 0;\n\\restrict x\n--\n"
        "-- Name: users; Type: TABLE; Schema: public; Owner: -\n--\nCOMMIT;\nEND $$;"
        "COMMENT ON FUNCTION quick() IS E'SET statement_timeout = 0;\\n\\\\connect x\\n--\\n\\\\.\\n'",
    ),
    World(
        "quotes_within_quotes",
        "CREATE FUNCTION q() RETURNS text LANGUAGE sql AS $q$SELECT 'it''s \"$$\" \\' || $a$'$a$$q$;"
        "CREATE TABLE q (t text DEFAULT E'\\\\''; COMMIT; --', \"a\"\"'b$x$\" int);"
        "INSERT INTO q VALUES ('\\.', 1), (E'a\\n\\\\.\\nb', 2), ('', 3), (NULL, 4)",
    ),
    World(
        "begin_atomic",
        "CREATE TABLE t (a int); CREATE FUNCTION at() RETURNS SETOF int BEGIN ATOMIC"
        " INSERT INTO t VALUES (1); SELECT a FROM t; END",
    ),
    # B6: names.
    World(
        "role_with_a_space",
        'CREATE TABLE mine (a int); INSERT INTO mine VALUES (7); ALTER TABLE mine OWNER TO "{other}";'
        'GRANT SELECT ON users TO "{other}" WITH GRANT OPTION',
    ),
    World(
        "schemas_with_spaces",
        'CREATE SCHEMA "a b"; CREATE SCHEMA a; CREATE TABLE "a b".c (n int); CREATE TABLE a."b c" (n int);'
        'CREATE TABLE a."x\ny" (n int); INSERT INTO a."x\ny" VALUES (1); INSERT INTO "a b".c VALUES (2);'
        "CREATE SEQUENCE a.\"s'\n\"; SELECT nextval('a.\"s''\n\"'); COMMENT ON TABLE a.\"x\ny\" IS 'z'",
        kept=("schema a", "schema a b"),
    ),
    World(
        "names_that_look_like_kinds",
        'CREATE SCHEMA "DATA"; CREATE TABLE "DATA"."TABLE DATA public users" (n int);'
        'INSERT INTO "DATA"."TABLE DATA public users" VALUES (3);'
        'CREATE TABLE "; Type: ACL; Schema: x; Owner: y" (n int);'
        'INSERT INTO "; Type: ACL; Schema: x; Owner: y" VALUES (4)',
        kept=("schema DATA",),
    ),
    # B7: settings of the database.
    World(
        "settings_of_the_database",
        "ALTER DATABASE {database} SET DateStyle = 'German';"
        "ALTER DATABASE {database} SET IntervalStyle = 'sql_standard';"
        'ALTER DATABASE {database} SET search_path = "$user", public, "a b";'
        "ALTER DATABASE {database} SET bytea_output = 'escape';"
        "ALTER DATABASE {database} SET extra_float_digits = -5;"
        "ALTER DATABASE {database} SET custom.greeting = 'it''s; here';"
        "ALTER ROLE {role} IN DATABASE {database} SET work_mem = '5MB';"
        "CREATE TABLE odd (d date, i interval, b bytea, f float8);"
        "INSERT INTO odd VALUES ('2026-02-01', '1 mon 2 days 3:04', '\\x00ff', 0.1::float8 / 3)",
    ),
    # B8: timeouts.
    World(
        "timeouts",
        "ALTER DATABASE {database} SET idle_in_transaction_session_timeout = '20ms';"
        "ALTER DATABASE {database} SET lock_timeout = '1ms'",
    ),
    # B9: what a superuser owns beside what others own.
    World(
        "owned_by_several",
        "CREATE SCHEMA drizzle; CREATE TABLE drizzle.j (n int); ALTER TABLE drizzle.j OWNER TO {role};"
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';"
        "ALTER FUNCTION f() OWNER TO {role}; REVOKE ALL ON FUNCTION f() FROM PUBLIC;"
        "GRANT UPDATE (name) ON users TO {role}; GRANT USAGE ON SCHEMA drizzle TO PUBLIC;"
        "ALTER DEFAULT PRIVILEGES FOR ROLE {role} GRANT SELECT ON TABLES TO {role};"
        "ALTER DEFAULT PRIVILEGES FOR ROLE {role} IN SCHEMA public GRANT ALL ON SEQUENCES TO {role}",
        kept=("schema drizzle",),
    ),
    World(
        "grants_by_another",
        "GRANT SELECT ON users TO {role} WITH GRANT OPTION; SET ROLE {role};"
        'GRANT SELECT ON users TO "{other}"; RESET ROLE',
    ),
    # Expressions that the server prints otherwise once they have been read again.
    World(
        "varchar_in_a_list",
        "CREATE TABLE v (k varchar(9) CHECK (k IN ('a', 'b')), c char(2) DEFAULT 'x');"
        "INSERT INTO v VALUES ('a'); CREATE INDEX ON v (k) WHERE k IN ('a', 'c');"
        "CREATE VIEW vv AS SELECT k FROM v WHERE k IN ('a', 'z');"
        "CREATE POLICY p ON v USING (k IN ('a', 'b')); ALTER TABLE v ENABLE ROW LEVEL SECURITY",
    ),
    World(
        "kinds_of_types_and_tables",
        "CREATE TYPE mood AS ENUM ('sad', 'it''s'); CREATE TYPE pair AS (a int, b mood);"
        "CREATE TYPE span AS RANGE (subtype = float8); CREATE DOMAIN small AS int DEFAULT 3 CHECK (VALUE < 9);"
        "CREATE TABLE parts (d date, m mood DEFAULT 'sad') PARTITION BY RANGE (d);"
        "CREATE TABLE parts_26 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');"
        "INSERT INTO parts VALUES ('2026-05-05', 'it''s'); CREATE INDEX ON parts (d);"
        "CREATE TABLE parent (a int, s small); CREATE TABLE child (b pair) INHERITS (parent);"
        "INSERT INTO child VALUES (1, 2, (2, 'sad')); CREATE UNLOGGED TABLE fast (s span);"
        "INSERT INTO fast VALUES ('[1,2)'); CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES;"
        "CREATE TABLE keyed (a int, b int, UNIQUE NULLS NOT DISTINCT (a, b), EXCLUDE (a WITH =));"
        "ALTER TABLE keyed REPLICA IDENTITY FULL; ALTER TABLE keyed ALTER a SET STATISTICS 42;"
        "ALTER TABLE keyed ALTER b SET STORAGE PLAIN; ALTER TABLE keyed SET (fillfactor = 70)",
    ),
    World(
        "kinds_of_everything_else",
        "CREATE TABLE t (a int, b int); INSERT INTO t VALUES (1, 2);"
        "CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM t; CREATE UNIQUE INDEX ON mv (count);"
        "CREATE MATERIALIZED VIEW unfilled AS SELECT 1 AS one WITH NO DATA;"
        "CREATE VIEW checked AS SELECT a FROM t WHERE a > 0 WITH CHECK OPTION;"
        "CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING; CREATE STATISTICS st ON a, b FROM t;"
        "CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');"
        "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);"
        "CREATE SCHEMA types; CREATE TYPE types.heat AS (n int); CREATE FUNCTION types.heat(types.heat) RETURNS int"
        " LANGUAGE sql AS 'SELECT $1.n'; CREATE CAST (types.heat AS int) WITH FUNCTION types.heat(types.heat);"
        "CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple);"
        "CREATE PROCEDURE noop() LANGUAGE sql AS 'SELECT 1';"
        "CREATE PUBLICATION part FOR TABLE t (a) WHERE (a > 1); CREATE PUBLICATION whole FOR TABLES IN SCHEMA public;"
        "CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER far FOREIGN DATA WRAPPER nowhere;"
        "CREATE USER MAPPING FOR {role} SERVER far OPTIONS (secret 'x'); CREATE FOREIGN TABLE ft (a int) SERVER far",
        kept=(
            "schema types",
            "publication part",
            "publication whole",
            "foreign data wrapper nowhere",
            "server far",
            "user mapping {role} SERVER far",
        ),
    ),
    World(
        "sequences_and_large_objects",
        "CREATE SEQUENCE down INCREMENT -2 START 9 MAXVALUE 10 MINVALUE 1 CYCLE; SELECT nextval('down');"
        'CREATE SEQUENCE fresh; CREATE SEQUENCE "a.b" AS smallint; SELECT setval(\'"a.b"\', 32767, true);'
        "CREATE TABLE i (a int GENERATED ALWAYS AS IDENTITY, b bigserial); INSERT INTO i DEFAULT VALUES;"
        "SELECT lo_from_bytea(4242, '\\x00ff'::bytea || convert_to(repeat('x', 70000), 'UTF8'));"
        "SELECT lo_create(4343); COMMENT ON LARGE OBJECT 4242 IS 'it''s large';"
        "GRANT SELECT ON LARGE OBJECT 4242 TO {role}; ALTER LARGE OBJECT 4343 OWNER TO {role}",
    ),
    World(
        "policies_and_security",
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY; ALTER TABLE users FORCE ROW LEVEL SECURITY;"
        "INSERT INTO users (name, email) VALUES ('a', 'a@b');"
        'CREATE POLICY mine ON users AS RESTRICTIVE FOR UPDATE TO {role}, "{other}" USING (name = current_user)'
        " WITH CHECK (true)",
    ),
    World(
        "virtual_column",
        "CREATE TABLE v (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL NOT NULL,"
        " c int CONSTRAINT c_is_there NOT NULL); INSERT INTO v VALUES (1, DEFAULT, 2)",
        since=18,
    ),
)


# Those that go into one database, so that not each takes a round trip of its own.
TOGETHER = {
    "bodies": ("bare_name_in_generated_column", "bare_name_in_check", "bare_name_in_domain",
               "bare_table_in_function_of_check", "settings_within_a_body", "quotes_within_quotes",
               "begin_atomic", "varchar_in_a_list"),
    "names_and_owners": ("role_with_a_space", "schemas_with_spaces", "names_that_look_like_kinds",
                         "owned_by_several", "grants_by_another"),
    "types": ("kinds_of_types_and_tables", "sequences_and_large_objects"),
    "kinds": ("kinds_of_everything_else", "event_trigger_outside_public", "event_trigger_in_public",
              "policies_and_security"),
    "settings": ("settings_of_the_database",),
    "timeouts": ("timeouts",),
    "newest": ("virtual_column",),
}  # fmt: skip


def together(name: str) -> World:
    """The worlds of a group as one."""
    named = {world.name: world for world in WORLDS}
    parts = [named[each] for each in TOGETHER[name]]
    return World(
        name,
        ";".join(part.sql for part in parts),
        max(part.since for part in parts),
        tuple(kept for part in parts for kept in part.kept),
    )
