"""A role that tries everything it can think of: random statements over our tables, functions and triggers.

As SQLsmith does it, but with the objects, values and tricks that matter here. ``Attack`` makes and runs the statements as
the role; ``State`` is what the owner sees, and says what has changed that must not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import pq

from fltr_project.catalog import contract
from fltr_project.catalog.facts import Column, Function, Trigger

CATALOG = contract.load("auth")
TABLES = CATALOG.tables
COLUMNS: dict[str, dict[str, str]] = {table: {} for table in TABLES}
for _column in CATALOG.of(Column):
    COLUMNS[_column.table][_column.name] = _column.type
FUNCTIONS = CATALOG.of(Function)
TRIGGERS = CATALOG.of(Trigger)
# What an INSERT has to name.
REQUIRED = {
    table: [
        column.name
        for column in CATALOG.of(Column)
        if column.table == table and not column.nullable and column.default is None
    ]
    for table in TABLES
}
# Those that programs call.
CALLED = tuple(each for each in FUNCTIONS if each.security_definer and each.returns != "trigger")
PEOPLE = ("u1", "u2", "u3")
# Values for each type, the strange ones included.
VALUES: dict[str, tuple[str, ...]] = {
    "text": (
        *(f"'{user}'" for user in PEOPLE), "'t1'", "'t2'", "'k1'", "'new'", "'usage'", "'bonus'", "'purchase'",
        "'refund'", "'user'", "'team'", "'api_key'", "'signup'", "'reconcile'", "'rollover'", "'chat'", "''", "NULL",
        "repeat('x', 300)", "current_user", "gen_random_uuid()::text", "(SELECT max(id) FROM public.users)",
        "(SELECT max(id) FROM public.credit_transactions)",
        "(SELECT min(id) FROM public.credit_transactions WHERE amount < 0)",
        "E'\\'; DROP TABLE users; --'",
    ),
    "integer": ("1", "5", "0", "-1", "-100", "1000000", "2147483647", "-2147483648", "NULL", "(SELECT 7)"),
    "bigint": ("1", "0", "-1", "9223372036854775807", "NULL"),
    "boolean": ("true", "false", "NULL"),
    "jsonb": (
        "'{}'", "'[]'", "NULL", "to_jsonb(repeat('m', 20000))",
        "'[{\"user_id\": \"u1\", \"amount\": 5, \"operation\": \"chat\"}]'",
        "'[{\"user_id\": \"u2\", \"amount\": -5, \"operation\": \"chat\"}, 7, null]'",
    ),
    "timestamp without time zone": ("now()", "'infinity'", "'-infinity'", "NULL", "'2000-01-01'"),
    "interval": ("'1 hour'", "'-1 hour'", "'0'", "'100 years'", "NULL"),
    "date": ("now()::date", "'infinity'", "NULL"),
    "public.credit_transactions": ("NULL", "(SELECT t FROM public.credit_transactions t LIMIT 1)"),
    "bigint[]": ("'{1,2}'", "NULL"),
}  # fmt: skip
SETTINGS = (
    "SET session_replication_role = replica",
    "SET fltr.loading = on",
    "SET fltr.signup_bonus_credits = 1000000",
    "SET search_path = pg_temp, public",
    "SET search_path = public, pg_catalog",
    "SET row_security = off",
    "SET check_function_bodies = off",
    "SET default_transaction_isolation = 'repeatable read'",
    "SET ROLE {owner}",
    "SET SESSION AUTHORIZATION {owner}",
    "RESET ALL",
    "SET allow_system_table_mods = on",
)
# Each on its own: what owners and superusers do, and traps for those who run it with more rights.
TRICKS = (
    "CREATE TEMP TABLE {table} (LIKE public.{table} INCLUDING ALL)",
    "CREATE TEMP VIEW bait{n} AS SELECT * FROM public.{table}",
    "CREATE RULE r{n} AS ON INSERT TO pg_temp.{table} DO ALSO DELETE FROM public.{table}",
    "CREATE TYPE pg_temp.e{n} AS ENUM ('u1')",
    "CREATE FUNCTION pg_temp.spring(pg_temp.e{n}) RETURNS text LANGUAGE plpgsql AS $$ BEGIN"
    " UPDATE public.user_credits SET credits = 424242; RETURN 'u1'; END $$",
    "CREATE CAST (pg_temp.e{n} AS text) WITH FUNCTION pg_temp.spring(pg_temp.e{n}) AS IMPLICIT",
    "CREATE TABLE pg_temp.v{n} (id pg_temp.e{n}, user_id pg_temp.e{n}, team_id pg_temp.e{n}, refund_of pg_temp.e{n},"
    " payer pg_temp.e{n}, operation pg_temp.e{n}, amount integer)",
    "CREATE TRIGGER g{n} BEFORE INSERT ON pg_temp.v{n} FOR EACH ROW EXECUTE FUNCTION public.{trigger}()",
    "INSERT INTO pg_temp.v{n} (id, user_id, refund_of) VALUES ('u1', 'u1', 'u1')",
    "CREATE TRIGGER g{n} AFTER INSERT ON public.{table} FOR EACH ROW EXECUTE FUNCTION public.{trigger}()",
    "CREATE FUNCTION pg_temp.mine(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
    " UPDATE public.user_credits SET credits = 424242; RETURN true; END $$",
    "SELECT * FROM public.{table} WHERE pg_temp.mine('x')",
    "CREATE OPERATOR pg_temp.= (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.mine)",
    "CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz'",
    "CREATE FUNCTION public.{function}() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION public.signup_bonus_credits() RETURNS integer LANGUAGE sql AS 'SELECT 9999'",
    "ALTER FUNCTION public.{function} OWNER TO CURRENT_USER",
    "ALTER FUNCTION public.{function} SET search_path = public",
    "DROP FUNCTION public.{function} CASCADE",
    "ALTER TABLE public.{table} DISABLE TRIGGER ALL",
    "ALTER TABLE public.{table} ADD COLUMN c{n} integer",
    "ALTER TABLE public.{table} OWNER TO CURRENT_USER",
    "ALTER TABLE public.{table} INHERIT pg_temp.v{n}",
    "CREATE TEMP TABLE child{n} () INHERITS (public.{table})",
    "CREATE TEMP TABLE key{n} (x text REFERENCES public.{table} ON DELETE CASCADE)",
    "DROP TABLE public.{table} CASCADE",
    "TRUNCATE public.{table} CASCADE",
    "DROP TRIGGER {name} ON public.{table}",
    "GRANT ALL ON public.{table} TO CURRENT_USER",
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC",
    "REVOKE ALL ON public.{table} FROM {owner}",
    "GRANT {owner} TO CURRENT_USER",
    "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT ALL ON TABLES TO PUBLIC",
    "COMMENT ON SCHEMA public IS 'access: {{\"x\": \"writer\"}}'",
    "COMMENT ON TABLE public.{table} IS 'x'",
    "SECURITY LABEL ON TABLE public.{table} IS 'x'",
    "CREATE POLICY p{n} ON public.{table} USING (true)",
    "CREATE INDEX ON public.{table} ((pg_temp.mine('x')))",
    "CREATE STATISTICS s{n} ON id, created_at FROM public.{table}",
    "CREATE EVENT TRIGGER e{n} ON ddl_command_end EXECUTE FUNCTION public.{trigger}()",
    "CREATE SCHEMA s{n}",
    "ALTER SCHEMA public RENAME TO s{n}",
    "COPY public.{table} FROM PROGRAM 'true'",
    "COPY public.{table} TO '/tmp/stolen'",
    "UPDATE pg_catalog.pg_proc SET prosecdef = true",
    "DELETE FROM pg_catalog.pg_trigger",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE {owner} PASSWORD 'x'",
    "ALTER DATABASE {database} SET fltr.environment = 'test'",
    "COMMENT ON DATABASE {database} IS 'x'",
    "ALTER SYSTEM SET fsync = off",
    "SELECT pg_catalog.lo_import('/etc/passwd')",
    "SELECT pg_catalog.pg_read_file('PG_VERSION')",
    "LOCK TABLE public.{table} IN ACCESS EXCLUSIVE MODE",
    "VACUUM public.{table}",
    "SELECT setval('public.__drizzle_migrations_id_seq', 1000)",
    "SELECT nextval('public.__drizzle_migrations_id_seq')",
    "REINDEX TABLE public.{table}",
    "CREATE PUBLICATION p{n} FOR TABLE public.{table}",
    "PREPARE TRANSACTION 'p{n}'",
    "SELECT query_to_xml('DELETE FROM public.{table}', true, false, '')",
    "DO $$ BEGIN EXECUTE 'DELETE FROM public.{table}'; END $$",
    "MERGE INTO public.{table} a USING public.{table} b ON false WHEN NOT MATCHED THEN INSERT DEFAULT VALUES",
)  # fmt: skip


@dataclass
class Attack:
    """Random statements of one role; the same seed makes the same ones."""

    connect: Callable[[], psycopg.Connection[Any]]
    owner: str
    seed: int
    sent: int = 0
    # Statements that the server accepted.
    accepted: int = 0
    # Those since the last look at the state.
    recent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311
        self.connection = self.connect()

    def run(self, count: int) -> None:
        """Send so many statements, one after the other, in transactions of some."""
        self.recent.clear()
        for _ in range(count):
            self._send(self.statement())
            status = self.connection.info.transaction_status
            if self.connection.closed:
                self.connection = self.connect()
            elif status == pq.TransactionStatus.INERROR or self.random.random() < 0.2:
                self._send(self.random.choice(("ROLLBACK", "COMMIT")))
        self._send("ROLLBACK")
        self._send("RESET ALL")

    def _send(self, statement: str) -> None:
        self.sent += 1
        self.recent.append(statement)
        try:
            self.connection.execute(statement.encode())
            self.accepted += 1
        except psycopg.Error:
            if self.connection.closed:
                self.connection = self.connect()

    def close(self) -> None:
        self.connection.close()

    def statement(self) -> str:
        makers: Sequence[tuple[Callable[[], str], int]] = (
            (self._call, 6),
            (self._insert, 3),
            (self._update, 3),
            (self._delete, 1),
            (self._select, 2),
            (self._trick, 5),
            (self._setting, 1),
            (lambda: "BEGIN", 1),
            (lambda: "SAVEPOINT s", 1),
        )
        kinds = [maker for maker, weight in makers for _ in range(weight)]
        text = self.random.choice(kinds)()
        if self.random.random() < 0.1 and text.startswith(("INSERT", "UPDATE", "DELETE")):
            return f"WITH w AS ({text} RETURNING 1) SELECT count(*) FROM w"
        return text

    def _value(self, type_: str) -> str:
        return self.random.choice(VALUES.get(type_, ("NULL",)))

    def _table(self) -> str:
        return self.random.choice(TABLES)

    def _columns(self, table: str) -> list[str]:
        names = list(COLUMNS[table])
        return self.random.sample(names, self.random.randint(1, min(5, len(names))))

    def _where(self, table: str) -> str:
        column = self.random.choice(list(COLUMNS[table]))
        return self.random.choice(
            (
                "true",
                f'"{column}" IS NOT NULL',
                f'"{column}" = {self._value(COLUMNS[table][column])}',
            )
        )

    def _call(self) -> str:
        function = self.random.choice(FUNCTIONS if self.random.random() < 0.4 else CALLED)
        types = [
            each.strip().split(" ", 1)[1]
            for each in function.arguments.split(",")
            if each.strip() and not each.strip().startswith("OUT ")
        ]
        arguments = [self._value(type_) for type_ in types]
        # Some that would be right, so that what is behind the check of arguments is reached.
        if "p_user_id" in function.arguments and self.random.random() < 0.6:
            arguments[:3] = [f"'{self.random.choice(PEOPLE)}'", "3", "'chat'"][: len(arguments)]
        if function.arguments.startswith(("p_transaction_id", "p_purchase_id", "p_hold_id")):
            arguments[0] = "(SELECT id FROM public.credit_transactions ORDER BY random() LIMIT 1)"
        kept = (
            arguments[: self.random.randint(max(1, len(arguments) - 6), len(arguments))]
            if arguments
            else []
        )
        call = f"public.{function.name}({', '.join(kept)})"
        return self.random.choice((f"SELECT {call}", f"SELECT * FROM {call}"))

    def _insert(self) -> str:
        table = self._table()
        columns = list(dict.fromkeys([*REQUIRED[table], *self._columns(table)]))
        values = ", ".join(self._value(COLUMNS[table][column]) for column in columns)
        names = ", ".join(f'"{column}"' for column in columns)
        ending = self.random.choice(
            ("", "", " ON CONFLICT DO NOTHING", f" RETURNING {names}", " OVERRIDING SYSTEM VALUE")
        )
        if ending.startswith(" OVERRIDING"):
            return f'INSERT INTO public."{table}" DEFAULT VALUES'
        return f'INSERT INTO public."{table}" ({names}) VALUES ({values}){ending}'

    def _update(self) -> str:
        table = self._table()
        changes = ", ".join(
            f'"{column}" = {self._value(COLUMNS[table][column])}' for column in self._columns(table)
        )
        return f'UPDATE public."{table}" SET {changes} WHERE {self._where(table)}'

    def _delete(self) -> str:
        table = self._table()
        return f'DELETE FROM public."{table}" WHERE {self._where(table)}'

    def _select(self) -> str:
        table = self._table()
        names = ", ".join(f'"{column}"' for column in self._columns(table))
        lock = self.random.choice(("", "", " FOR UPDATE", " FOR KEY SHARE SKIP LOCKED"))
        return f'SELECT {names} FROM public."{table}" WHERE {self._where(table)}{lock}'

    def _trick(self) -> str:
        trigger = self.random.choice(TRIGGERS)
        return self.random.choice(TRICKS).format(
            table=self._table(),
            function=self.random.choice(FUNCTIONS).name,
            trigger=self.random.choice(
                [each.name for each in FUNCTIONS if each.returns == "trigger"]
            ),
            name=trigger.name,
            owner=self.owner,
            database=self.connection.info.dbname,
            n=self.random.randint(1, 3),
        )

    def _setting(self) -> str:
        return self.random.choice(SETTINGS).format(owner=self.owner)


@dataclass(frozen=True)
class State:
    """What the owner sees: who may what, what runs, and all rows."""

    objects: list[tuple[Any, ...]]
    # By table, each row as text.
    rows: dict[str, list[str]]

    @classmethod
    def of(cls, connection: psycopg.Connection[Any]) -> State:
        rows = {}
        for table in TABLES:
            found = connection.execute(
                f'SELECT t::text FROM public."{table}" t ORDER BY 1'.encode()
            )
            rows[table] = [text for (text,) in found.fetchall()]
        return cls(connection.execute(OBJECTS).fetchall(), rows)


def changed(before: State, after: State) -> Iterator[str]:
    """What is otherwise, for a role that may change nothing at all."""
    if before.objects != after.objects:
        difference = set(map(repr, before.objects)) ^ set(map(repr, after.objects))
        yield f"rights, functions or triggers: {sorted(difference)[:2]}"
    for table in TABLES:
        if before.rows[table] != after.rows[table]:
            yield f"rows of {table}: {sorted(set(before.rows[table]) ^ set(after.rows[table]))[:2]}"


def forged(before: State, after: State, connection: psycopg.Connection[Any]) -> Iterator[str]:
    """What an application has changed that it may not: rights, history, and where credits come from."""
    if before.objects != after.objects:
        difference = set(map(repr, before.objects)) ^ set(map(repr, after.objects))
        yield f"rights, functions or triggers: {sorted(difference)[:2]}"
    for table in ("credit_transactions", "__drizzle_migrations"):
        lost = set(before.rows[table]) - set(after.rows[table])
        if lost:
            yield f"{table} lost or changed {sorted(lost)[:2]}"
    if set(before.rows["__drizzle_migrations"]) != set(after.rows["__drizzle_migrations"]):
        yield "__drizzle_migrations"
    for what, query in FORGED.items():
        rows = connection.execute(query.encode()).fetchall()
        if rows:
            yield f"{what}: {rows[:2]}"


# Each finds what must not be, whatever an application has done.
FORGED = {
    "a balance is not the sum of its ledger": """
        SELECT a.user_id, a.credits FROM public.user_credits a
        WHERE a.credits <> (SELECT coalesce(sum(t.amount), 0) FROM public.credit_transactions t
                            WHERE t.payer = 'user' AND t.user_id = a.user_id)
        UNION ALL
        SELECT a.id, a.credits FROM public.teams a
        WHERE a.credits <> (SELECT coalesce(sum(t.amount), 0) FROM public.credit_transactions t
                            WHERE t.payer = 'team' AND t.team_id = a.id)
        UNION ALL
        SELECT a.api_key, a.credits FROM public.api_key_credits a
        WHERE a.credits <> (SELECT coalesce(sum(t.amount), 0) FROM public.credit_transactions t
                            WHERE t.payer = 'api_key' AND t.api_key_id = a.api_key)
    """,
    "credits from nowhere": """
        SELECT id, type, amount, operation FROM public.credit_transactions t
        WHERE t.amount > 0 AND t.type <> 'refund'
          AND NOT (t.type = 'bonus' AND t.operation = 'signup' AND t.amount = 100)
          AND NOT starts_with(coalesce(t.idempotency_key, ''), 'granted by the owner')
    """,
    "a second bonus": """
        SELECT user_id FROM public.credit_transactions WHERE operation = 'signup' AND type = 'bonus'
        GROUP BY 1 HAVING count(*) > 1
    """,
    "more is refunded than was used": """
        SELECT u.id FROM public.credit_transactions u JOIN public.credit_transactions r ON r.refund_of = u.id
        GROUP BY u.id, u.amount HAVING sum(r.amount) > -u.amount
    """,
}
OBJECTS = """
    SELECT 'function', p.oid::regprocedure::text,
           md5((p.prosrc, p.prosecdef, p.proconfig, p.proowner)::text),
           coalesce(p.proacl::text, '')
    FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'relation', c.relname, (c.relkind, c.relowner, c.relrowsecurity, c.relhastriggers, c.relhasrules)::text,
           coalesce(c.relacl::text, '') FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'column', attrelid::regclass::text || '.' || attname, format_type(atttypid, atttypmod),
           coalesce(attacl::text, '')
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT 'trigger', tgname, tgenabled::text, pg_get_triggerdef(t.oid)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = 'public'::regnamespace AND NOT tgisinternal
    UNION ALL
    SELECT 'constraint', conname, convalidated::text, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'schema', nspname, coalesce(obj_description(oid, 'pg_namespace'), ''), coalesce(nspacl::text, '')
    FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'
    UNION ALL
    SELECT 'role', r.rolname, (r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolbypassrls)::text,
           array(SELECT m.roleid::regrole::text FROM pg_auth_members m WHERE m.member = r.oid ORDER BY 1)::text
    FROM pg_roles r WHERE r.rolname NOT LIKE 'pg\\_%'
      -- Other tests make and drop theirs on this server meanwhile.
      AND (r.rolname !~ 'cs_(auth|fltr)_' OR r.rolname ~ current_database())
    UNION ALL
    SELECT 'default', defaclrole::text, defaclobjtype::text, defaclacl::text FROM pg_default_acl
    UNION ALL
    SELECT 'setting', setdatabase::text, '', setconfig::text FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) AND setrole = 0
    UNION ALL
    SELECT 'database', datname, datdba::text, coalesce(shobj_description(oid, 'pg_database'), '')
    FROM pg_database WHERE datname = current_database()
    ORDER BY 1, 2, 3, 4
"""
SCENE = """
    INSERT INTO public.users (id, name, email) VALUES ('u1', 'A', 'a'), ('u2', 'B', 'b'), ('u3', 'C', 'c');
    INSERT INTO public.teams (id, name, owner_id) VALUES ('t1', 'T', 'u1'), ('t2', 'T', 'u2');
    UPDATE public.user_credits SET team_id = 't1' WHERE user_id = 'u3';
    INSERT INTO public.api_key_credits (api_key, user_id, team_id) VALUES ('k1', 'u1', NULL), ('k2', 'u2', 't2');
    SELECT public.grant_credits('u1', 100000, 'purchase', 'pack', p_idempotency_key => 'granted by the owner 1');
    SELECT public.grant_credits('u1', 100000, 'purchase', 'pack', p_team_id => 't1',
                                p_idempotency_key => 'granted by the owner 2');
    SELECT public.grant_credits('u1', 100000, 'bonus', 'gift', p_api_key => 'k1',
                                p_idempotency_key => 'granted by the owner 3');
    SELECT public.consume_credits('u1', 30, 'chat');
    SELECT public.hold_credits('u2', 30, 'chat');
    INSERT INTO public.sessions (id, user_id, token, expires_at) VALUES ('s1', 'u1', 'secret', now());
    INSERT INTO public.accounts (id, user_id, account_id, provider_id, password) VALUES ('a1', 'u1', 'x', 'y', 'hash');
    INSERT INTO public.verifications (id, identifier, value, expires_at) VALUES ('v1', 'x', 'secret', now());
    INSERT INTO public.subscriptions (id, plan, reference_id) VALUES ('p1', 'pro', 'u1');
    INSERT INTO public.__drizzle_migrations (hash) VALUES ('h');
"""
