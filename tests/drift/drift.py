"""What can drift, one statement each: what was done, and what verify_schema must say about it.

The statements are run against a freshly migrated database. ``SAME`` are those after which nothing
may be reported above a note.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Case:
    name: str
    alias: str
    # Statements before the last one only set the scene.
    sql: str
    severity: str
    kind: str
    # Part of the finding's object.
    object: str
    # The first PostgreSQL that knows the statement.
    since: int = 15
    # Repaired by a destructive statement, which is only ever printed as a comment.
    destructive: bool = False


@dataclass(frozen=True)
class Change:
    """A case whose expected side is made by statements as well."""

    name: str
    before: str
    after: str
    severity: str
    kind: str
    object: str
    since: int = 15


# A role is the server's, and through URLs the processes of the tests share one.
DRIFT_ROLE = f"cs_drift_role_{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
CREATE_ROLE = f"CREATE ROLE {DRIFT_ROLE}; "


def fk(table: str, column: str, clause: str, *, alias: str = "auth") -> str:
    """Replace the foreign key of a column in one statement."""
    name = FOREIGN_KEYS[alias][table, column]
    return (
        f'ALTER TABLE {table} DROP CONSTRAINT "{name}", '
        f'ADD CONSTRAINT "{name}" FOREIGN KEY ({column}) REFERENCES {clause}'
    )


FOREIGN_KEYS = {
    "auth": {
        ("accounts", "user_id"): "accounts_user_id_users_id_fk",
        ("api_key_credits", "user_id"): "api_key_credits_user_id_users_id_fk",
        ("api_key_credits", "team_id"): "api_key_credits_team_id_teams_id_fk",
        ("credit_transactions", "team_id"): "credit_transactions_team_id_teams_id_fk",
        ("credit_transactions", "user_id"): "credit_transactions_user_id_users_id_fk",
        ("sessions", "user_id"): "sessions_user_id_users_id_fk",
        ("teams", "owner_id"): "teams_owner_id_users_id_fk",
        ("user_credits", "team_id"): "user_credits_team_id_teams_id_fk",
    },
}
DEFERRED = "DEFERRABLE INITIALLY DEFERRED"
FK, KEY = "foreign key", "key"


def auth(name: str, sql: str, severity: str, kind: str, object_: str, **more: object) -> Case:
    return Case(name, "auth", sql, severity, kind, object_, **more)  # type: ignore[arg-type]


def fltr(name: str, sql: str, severity: str, kind: str, object_: str, **more: object) -> Case:
    return Case(name, "fltr", sql, severity, kind, object_, **more)  # type: ignore[arg-type]


SESSIONS_FK = FOREIGN_KEYS["auth"]["sessions", "user_id"]

# The foreign key of documents or processing_jobs
DROP_FLTR_FK = """DO $$ DECLARE name text; BEGIN
    SELECT conname INTO name FROM pg_constraint WHERE conrelid = '{0}'::regclass AND contype = 'f';
    EXECUTE format('ALTER TABLE {0} DROP CONSTRAINT %I', name); END $$; """


# Whichever extension the server has beside plpgsql.
EXTENSION = """DO $$ DECLARE name text; BEGIN
    SELECT e.name INTO STRICT name FROM pg_available_extensions e
    WHERE e.name IN ('vector', 'pg_trgm') ORDER BY 1 LIMIT 1;
    EXECUTE format('CREATE EXTENSION %I', name); END $$"""

# fmt: off
DRIFT = [
    # foreign keys
    auth('fk_dropped', f'ALTER TABLE sessions DROP CONSTRAINT {SESSIONS_FK}', ERROR, FK, 'sessions.user_id'),
    auth('fk_cascade_to_no_action', fk('sessions', 'user_id', 'users (id)'), ERROR, FK, 'sessions.user_id'),
    auth('fk_cascade_to_restrict', fk('accounts', 'user_id', 'users (id) ON DELETE RESTRICT'), ERROR, FK, 'accounts.user_id'),
    auth('fk_cascade_to_set_null', fk('teams', 'owner_id', 'users (id) ON DELETE SET NULL'), ERROR, FK, 'teams.owner_id'),
    auth('fk_cascade_to_set_default', fk('teams', 'owner_id', 'users (id) ON DELETE SET DEFAULT'), ERROR, FK, 'teams.owner_id'),
    auth('fk_set_null_to_cascade', fk('credit_transactions', 'team_id', 'teams (id) ON DELETE CASCADE'), ERROR, FK, 'credit_transactions.team_id'),
    auth('fk_no_action_to_cascade', fk('user_credits', 'team_id', 'teams (id) ON DELETE CASCADE'), ERROR, FK, 'user_credits.team_id'),
    auth('fk_no_action_to_restrict', fk('user_credits', 'team_id', 'teams (id) ON DELETE RESTRICT'), ERROR, FK, 'user_credits.team_id'),
    auth('fk_wrong_target', fk('credit_transactions', 'user_id', 'user_credits (user_id) ON DELETE CASCADE'), ERROR, FK, 'credit_transactions.user_id'),
    auth('fk_other_table', fk('api_key_credits', 'user_id', 'teams (id) ON DELETE CASCADE'), ERROR, FK, 'api_key_credits.user_id'),
    auth('fk_wrong_target_column', fk('sessions', 'user_id', 'users (email) ON DELETE CASCADE'), ERROR, FK, 'sessions.user_id'),
    auth('fk_to_stray_copy', 'CREATE TABLE datasets (id text PRIMARY KEY);' + fk('api_key_credits', 'team_id', 'datasets (id) ON DELETE CASCADE'), ERROR, FK, 'api_key_credits.team_id', destructive=True),
    auth('fk_on_update_cascade', fk('sessions', 'user_id', 'users (id) ON DELETE CASCADE ON UPDATE CASCADE'), ERROR, FK, 'sessions.user_id'),
    auth('fk_match_full', fk('sessions', 'user_id', 'users (id) MATCH FULL ON DELETE CASCADE'), ERROR, FK, 'sessions.user_id'),
    auth('fk_not_valid', fk('sessions', 'user_id', 'users (id) ON DELETE CASCADE NOT VALID'), ERROR, FK, 'sessions.user_id'),
    auth('fk_not_enforced', fk('sessions', 'user_id', 'users (id) ON DELETE CASCADE NOT ENFORCED'), ERROR, FK, 'sessions.user_id', since=18),
    auth('fk_deferrable', fk('sessions', 'user_id', f'users (id) ON DELETE CASCADE {DEFERRED}'), WARNING, FK, 'sessions.user_id'),
    auth('fk_initially_immediate', f'ALTER TABLE sessions ALTER CONSTRAINT {SESSIONS_FK} DEFERRABLE INITIALLY IMMEDIATE', WARNING, FK, 'sessions.user_id'),
    auth('fk_set_null_column_list', 'ALTER TABLE credit_transactions ADD UNIQUE (id, team_id), ADD COLUMN peer text;ALTER TABLE credit_transactions ADD FOREIGN KEY (peer, team_id) REFERENCES credit_transactions (id, team_id) ON DELETE SET NULL (peer)', ERROR, FK, 'credit_transactions.peer, team_id', destructive=True),
    auth('fk_set_null_columns_of_ours', fk('credit_transactions', 'team_id', 'teams (id) ON DELETE SET NULL (team_id)'), ERROR, FK, 'credit_transactions.team_id'),
    auth('fk_extra', 'ALTER TABLE subscriptions ADD FOREIGN KEY (reference_id) REFERENCES users (id)', ERROR, FK, 'subscriptions.reference_id'),
    auth('fk_second_on_column', 'ALTER TABLE sessions ADD FOREIGN KEY (user_id) REFERENCES user_credits (user_id)', ERROR, FK, 'sessions.user_id'),
    auth('fk_repeated', 'ALTER TABLE sessions ADD FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE', WARNING, FK, 'sessions.user_id'),
    auth('fk_triggers_disabled', 'ALTER TABLE sessions DISABLE TRIGGER ALL', ERROR, 'constraint trigger', 'of sessions'),
    auth('fk_triggers_replica', "DO $$ DECLARE name text; BEGIN SELECT tgname INTO name FROM pg_trigger WHERE tgrelid = 'users'::regclass AND tgisinternal ORDER BY 1 LIMIT 1; EXECUTE format('ALTER TABLE users ENABLE REPLICA TRIGGER %I', name); END $$", ERROR, 'constraint trigger', 'of users'),
    fltr('fltr_fk_dropped', DROP_FLTR_FK.format('documents'), ERROR, FK, 'documents.dataset_id'),
    fltr('fltr_fk_no_rule', DROP_FLTR_FK.format('documents') + 'ALTER TABLE documents ADD FOREIGN KEY (dataset_id) REFERENCES datasets (id)', ERROR, FK, 'documents.dataset_id'),
    fltr('fltr_fk_set_null', DROP_FLTR_FK.format('processing_jobs') + 'ALTER TABLE processing_jobs ADD FOREIGN KEY (dataset_id) REFERENCES datasets (id) ON DELETE SET NULL', ERROR, FK, 'processing_jobs.dataset_id'),
    fltr('fltr_fk_deferrable', DROP_FLTR_FK.format('processing_jobs') + f'ALTER TABLE processing_jobs ADD FOREIGN KEY (dataset_id) REFERENCES datasets (id) ON DELETE CASCADE {DEFERRED}', WARNING, FK, 'processing_jobs.dataset_id'),
    # tables
    auth('table_dropped', 'DROP TABLE verifications', ERROR, 'table', 'verifications'),
    auth('table_dropped_with_children', 'DROP TABLE teams CASCADE', ERROR, 'table', 'teams'),
    auth('table_extra', 'CREATE TABLE user_sessions (id text PRIMARY KEY, user_id text)', ERROR, 'table', 'user_sessions', destructive=True),
    auth('table_renamed', 'ALTER TABLE verifications RENAME TO verification', ERROR, 'table', 'verification'),
    auth('table_of_other_database', 'CREATE TABLE datasets (id uuid PRIMARY KEY)', ERROR, 'table', 'datasets', destructive=True),
    fltr('users_in_fltr', 'CREATE TABLE users (id text PRIMARY KEY, email text)', ERROR, 'table', 'users', destructive=True),
    fltr('django_tables_in_fltr', 'CREATE TABLE auth_user (id integer PRIMARY KEY)', ERROR, 'table', 'auth_user', destructive=True),
    fltr('fltr_table_dropped', 'DROP TABLE processing_jobs', ERROR, 'table', 'processing_jobs'),
    auth('table_unlogged', 'ALTER TABLE sessions SET UNLOGGED', ERROR, 'table', 'sessions'),
    auth('table_inherited', 'CREATE TABLE old_users () INHERITS (users)', ERROR, 'table', 'old_users', destructive=True),
    auth('table_partitioned', "DROP TABLE verifications; CREATE TABLE verifications (id text NOT NULL DEFAULT gen_random_uuid()::text, identifier text NOT NULL, value text NOT NULL, expires_at timestamp NOT NULL, created_at timestamp NOT NULL DEFAULT timezone('utc', now()), updated_at timestamp NOT NULL DEFAULT timezone('utc', now())) PARTITION BY HASH (identifier)", ERROR, 'table', 'verifications', destructive=True),
    auth('table_foreign', 'CREATE FOREIGN DATA WRAPPER cs_fdw; CREATE SERVER cs_server FOREIGN DATA WRAPPER cs_fdw; CREATE FOREIGN TABLE remote_users (id text) SERVER cs_server', ERROR, 'table', 'remote_users'),
    auth('table_is_view', 'ALTER TABLE verifications RENAME TO verifications_data; CREATE VIEW verifications AS SELECT * FROM verifications_data', ERROR, 'table', 'verifications'),
    auth('table_replica_identity', 'ALTER TABLE users REPLICA IDENTITY FULL', WARNING, 'table', 'users'),
    fltr('table_replica_nothing', 'ALTER TABLE datasets REPLICA IDENTITY NOTHING', WARNING, 'table', 'datasets'),
    fltr('table_replica_index', 'ALTER TABLE datasets REPLICA IDENTITY USING INDEX datasets_slug_unique', WARNING, 'table', 'datasets'),
    auth('table_options', 'ALTER TABLE sessions SET (autovacuum_enabled = off)', WARNING, 'table', 'sessions'),
    auth('table_owner', CREATE_ROLE + f'ALTER TABLE users OWNER TO {DRIFT_ROLE}', WARNING, 'table', 'users'),
    fltr('table_owner_fltr', CREATE_ROLE + f'ALTER TABLE documents OWNER TO {DRIFT_ROLE}', WARNING, 'table', 'documents'),
    auth('rls_on', 'ALTER TABLE users ENABLE ROW LEVEL SECURITY', ERROR, 'table', 'users'),
    auth('rls_forced', 'ALTER TABLE users FORCE ROW LEVEL SECURITY', ERROR, 'table', 'users'),
    auth('policy_extra', 'CREATE POLICY own ON sessions FOR SELECT TO PUBLIC USING (user_id = current_user)', ERROR, 'policy', 'sessions'),
    fltr('policy_restrictive', 'CREATE POLICY none ON datasets AS RESTRICTIVE FOR UPDATE USING (false) WITH CHECK (false)', ERROR, 'policy', 'datasets'),
    # columns
    auth('column_dropped', 'ALTER TABLE users DROP COLUMN avatar', ERROR, 'column', 'users.avatar'),
    auth('column_dropped_cascade', 'ALTER TABLE sessions DROP COLUMN user_id', ERROR, 'column', 'sessions.user_id'),
    auth('column_extra', 'ALTER TABLE users ADD COLUMN credits integer', ERROR, 'column', 'users.credits', destructive=True),
    auth('column_extra_not_null', 'ALTER TABLE users ADD COLUMN tenant text NOT NULL', ERROR, 'column', 'users.tenant', destructive=True),
    auth('column_extra_with_key', 'ALTER TABLE users ADD COLUMN team_id text REFERENCES teams (id)', ERROR, 'column', 'users.team_id', destructive=True),
    auth('column_renamed', 'ALTER TABLE users RENAME COLUMN image TO picture', ERROR, 'column', 'users.image'),
    fltr('fltr_column_dropped', 'ALTER TABLE datasets DROP COLUMN owner_id', ERROR, 'column', 'datasets.owner_id'),
    fltr('fltr_column_extra', "ALTER TABLE documents ADD COLUMN content text DEFAULT ''", ERROR, 'column', 'documents.content', destructive=True),
    # types
    auth('int_to_bigint', 'ALTER TABLE teams ALTER credits TYPE bigint', ERROR, 'column', 'teams.credits'),
    auth('int_to_smallint', 'ALTER TABLE subscriptions ALTER seats TYPE smallint', ERROR, 'column', 'subscriptions.seats'),
    fltr('bigint_to_int', 'ALTER TABLE documents ALTER file_size TYPE integer', ERROR, 'column', 'documents.file_size'),
    auth('int_to_numeric', 'ALTER TABLE user_credits ALTER credits TYPE numeric(12, 2)', ERROR, 'column', 'user_credits.credits'),
    auth('int_to_double', 'ALTER TABLE api_key_credits ALTER daily_limit TYPE double precision', ERROR, 'column', 'api_key_credits.daily_limit'),
    auth('text_to_varchar_255', 'ALTER TABLE users ALTER name TYPE varchar(255)', ERROR, 'column', 'users.name'),
    auth('text_to_char', 'ALTER TABLE users ALTER stripe_customer_id TYPE char(36)', ERROR, 'column', 'users.stripe_customer_id'),
    auth('text_to_varchar', 'ALTER TABLE users ALTER image TYPE varchar', ERROR, 'column', 'users.image'),
    auth('text_to_uuid', 'ALTER TABLE verifications ALTER id DROP DEFAULT, ALTER id TYPE uuid USING id::uuid', ERROR, 'column', 'verifications.id'),
    fltr('text_to_uuid_owner', 'ALTER TABLE datasets ALTER owner_id TYPE uuid USING owner_id::uuid', ERROR, 'column', 'datasets.owner_id'),
    fltr('text_to_json', 'ALTER TABLE documents ALTER processing_metadata TYPE json USING processing_metadata::json', ERROR, 'column', 'documents.processing_metadata'),
    fltr('uuid_to_text', DROP_FLTR_FK.format('processing_jobs') + 'ALTER TABLE processing_jobs ALTER dataset_id TYPE text', ERROR, 'column', 'processing_jobs.dataset_id'),
    auth('timestamp_to_timestamptz', 'ALTER TABLE sessions ALTER expires_at TYPE timestamptz', ERROR, 'column', 'sessions.expires_at'),
    auth('timestamp_with_default_to_timestamptz', 'ALTER TABLE users ALTER created_at TYPE timestamptz', ERROR, 'column', 'users.created_at'),
    fltr('timestamp_precision', 'ALTER TABLE datasets ALTER updated_at TYPE timestamp(0)', ERROR, 'column', 'datasets.updated_at'),
    auth('timestamp_to_date', 'ALTER TABLE verifications ALTER expires_at TYPE date', ERROR, 'column', 'verifications.expires_at'),
    auth('jsonb_to_json', 'ALTER TABLE credit_transactions ALTER transaction_metadata TYPE json', ERROR, 'column', 'credit_transactions.transaction_metadata'),
    auth('jsonb_to_text', 'ALTER TABLE credit_transactions ALTER transaction_metadata TYPE text', ERROR, 'column', 'credit_transactions.transaction_metadata'),
    auth('bool_to_int', 'ALTER TABLE users ALTER email_verified DROP DEFAULT, ALTER email_verified TYPE integer USING email_verified::integer', ERROR, 'column', 'users.email_verified'),
    auth('bool_to_text', 'ALTER TABLE users ALTER email_verified DROP DEFAULT, ALTER email_verified TYPE text', ERROR, 'column', 'users.email_verified'),
    fltr('double_to_numeric', 'ALTER TABLE datasets ALTER price_monthly TYPE numeric(10, 2)', ERROR, 'column', 'datasets.price_monthly'),
    fltr('double_to_real', 'ALTER TABLE datasets ALTER rating_average TYPE real', ERROR, 'column', 'datasets.rating_average'),
    auth('text_to_array', "ALTER TABLE accounts ALTER scope TYPE text[] USING string_to_array(scope, ' ')", ERROR, 'column', 'accounts.scope'),
    auth('enum_as_column_type', "CREATE TYPE sub_status AS ENUM ('incomplete', 'active'); ALTER TABLE subscriptions ALTER status DROP DEFAULT, ALTER status TYPE sub_status USING status::sub_status", ERROR, 'column', 'subscriptions.status'),
    auth('domain_as_column_type', "CREATE DOMAIN email_address AS text CHECK (VALUE LIKE '%@%'); ALTER TABLE users ALTER email TYPE email_address", ERROR, 'column', 'users.email'),
    fltr('domain_with_default', 'CREATE DOMAIN state AS text; ALTER TABLE datasets ALTER status TYPE state', ERROR, 'column', 'datasets.status'),
    auth('collation', 'ALTER TABLE users ALTER email TYPE text COLLATE "C"', ERROR, 'column', 'users.email'),
    fltr('collation_fltr', 'ALTER TABLE datasets ALTER slug TYPE text COLLATE "C"', ERROR, 'column', 'datasets.slug'),
    # null
    auth('not_null_dropped', 'ALTER TABLE sessions ALTER user_id DROP NOT NULL', ERROR, 'column', 'sessions.user_id'),
    auth('not_null_added', 'ALTER TABLE users ALTER image SET NOT NULL', ERROR, 'column', 'users.image'),
    auth('not_null_with_default_dropped', 'ALTER TABLE users ALTER email_verified DROP NOT NULL', ERROR, 'column', 'users.email_verified'),
    fltr('fltr_not_null_dropped', 'ALTER TABLE datasets ALTER owner_id DROP NOT NULL', ERROR, 'column', 'datasets.owner_id'),
    auth('not_null_not_valid', 'ALTER TABLE users ALTER name DROP NOT NULL; ALTER TABLE users ADD CONSTRAINT nn NOT NULL name NOT VALID', ERROR, 'column', 'users.name', since=18),
    # defaults
    auth('default_dropped', 'ALTER TABLE users ALTER email_verified DROP DEFAULT', ERROR, 'column', 'users.email_verified'),
    auth('default_changed', 'ALTER TABLE user_credits ALTER credits SET DEFAULT 100', ERROR, 'column', 'user_credits.credits'),
    auth('default_added', "ALTER TABLE users ALTER image SET DEFAULT 'none'", WARNING, 'column', 'users.image'),
    auth('default_now', 'ALTER TABLE users ALTER created_at SET DEFAULT now()', ERROR, 'column', 'users.created_at'),
    auth('default_of_nullable_dropped', 'ALTER TABLE subscriptions ALTER cancel_at_period_end DROP DEFAULT', ERROR, 'column', 'subscriptions.cancel_at_period_end'),
    auth('default_id_dropped', 'ALTER TABLE users ALTER id DROP DEFAULT', ERROR, 'column', 'users.id'),
    auth('default_id_changed', 'ALTER TABLE credit_transactions ALTER id SET DEFAULT gen_random_uuid()::text', ERROR, 'column', 'credit_transactions.id'),
    fltr('default_text_changed', "ALTER TABLE datasets ALTER status SET DEFAULT 'ready'", ERROR, 'column', 'datasets.status'),
    # identity
    auth('identity_always', 'ALTER TABLE __drizzle_migrations ALTER id DROP DEFAULT; DROP SEQUENCE __drizzle_migrations_id_seq; ALTER TABLE __drizzle_migrations ALTER id ADD GENERATED ALWAYS AS IDENTITY', ERROR, 'column', '__drizzle_migrations.id'),
    auth('serial_default_dropped', 'ALTER TABLE __drizzle_migrations ALTER id DROP DEFAULT', ERROR, 'column', '__drizzle_migrations.id'),
    auth('serial_sequence_increment', 'ALTER SEQUENCE __drizzle_migrations_id_seq INCREMENT BY 10', ERROR, 'column', '__drizzle_migrations.id'),
    auth('serial_sequence_not_owned', 'ALTER SEQUENCE __drizzle_migrations_id_seq OWNED BY NONE', ERROR, 'column', '__drizzle_migrations.id'),
    auth('serial_on_another_sequence', "CREATE SEQUENCE elsewhere; ALTER TABLE __drizzle_migrations ALTER id SET DEFAULT nextval('elsewhere')", ERROR, 'column', '__drizzle_migrations.id'),
    auth('identity_added', 'ALTER TABLE user_credits ALTER total_credits_purchased DROP DEFAULT; ALTER TABLE user_credits ALTER total_credits_purchased ADD GENERATED BY DEFAULT AS IDENTITY', ERROR, 'column', 'user_credits.total_credits_purchased'),
    # generated columns
    auth('column_became_generated', 'ALTER TABLE users DROP COLUMN avatar_url; ALTER TABLE users ADD COLUMN avatar_url text GENERATED ALWAYS AS (avatar) STORED', ERROR, 'column', 'users.avatar_url'),
    auth('generated_extra', 'ALTER TABLE users ADD COLUMN email_lower text GENERATED ALWAYS AS (lower(email)) STORED', ERROR, 'column', 'users.email_lower', destructive=True),
    auth('generated_virtual', "ALTER TABLE users DROP COLUMN avatar_url; ALTER TABLE users ADD COLUMN avatar_url text GENERATED ALWAYS AS (avatar || '') VIRTUAL", ERROR, 'column', 'users.avatar_url', since=18, destructive=True),
    # primary keys and uniques
    auth('pk_dropped', 'ALTER TABLE verifications DROP CONSTRAINT verifications_pkey', ERROR, KEY, 'verifications'),
    auth('pk_dropped_with_keys', 'ALTER TABLE teams DROP CONSTRAINT teams_pkey CASCADE', ERROR, KEY, 'teams'),
    auth('pk_other_columns', 'ALTER TABLE verifications DROP CONSTRAINT verifications_pkey, ADD PRIMARY KEY (id, identifier)', ERROR, KEY, 'verifications'),
    auth('pk_other_columns_other_name', 'ALTER TABLE verifications DROP CONSTRAINT verifications_pkey, ADD CONSTRAINT pk PRIMARY KEY (id, identifier)', ERROR, KEY, 'verifications'),
    fltr('pk_to_unique', 'ALTER TABLE documents DROP CONSTRAINT documents_pkey, ADD UNIQUE (id)', ERROR, KEY, 'documents'),
    auth('unique_dropped', 'ALTER TABLE users DROP CONSTRAINT users_email_unique', ERROR, KEY, 'users'),
    fltr('unique_dropped_fltr', 'ALTER TABLE datasets DROP CONSTRAINT datasets_slug_unique', ERROR, KEY, 'datasets'),
    auth('unique_extra', 'ALTER TABLE accounts ADD UNIQUE (provider_id, account_id)', ERROR, KEY, 'accounts'),
    auth('unique_nulls_not_distinct', 'ALTER TABLE users DROP CONSTRAINT users_email_unique, ADD CONSTRAINT users_email_unique UNIQUE NULLS NOT DISTINCT (email)', ERROR, KEY, 'users'),
    auth('unique_deferrable', 'ALTER TABLE sessions DROP CONSTRAINT sessions_token_unique, ADD CONSTRAINT sessions_token_unique UNIQUE (token) DEFERRABLE', ERROR, KEY, 'sessions'),
    auth('unique_became_partial', 'ALTER TABLE users DROP CONSTRAINT users_email_unique; CREATE UNIQUE INDEX users_email_unique ON users (email) WHERE email_verified', ERROR, KEY, 'users'),
    auth('unique_became_expression', 'ALTER TABLE users DROP CONSTRAINT users_email_unique; CREATE UNIQUE INDEX users_email_unique ON users (lower(email))', ERROR, KEY, 'users'),
    auth('unique_became_index', 'ALTER TABLE users DROP CONSTRAINT users_email_unique; CREATE INDEX users_email_unique ON users (email)', ERROR, KEY, 'users'),
    auth('unique_wider', 'ALTER TABLE sessions DROP CONSTRAINT sessions_token_unique, ADD CONSTRAINT sessions_token_unique UNIQUE (token, user_id)', ERROR, KEY, 'sessions'),
    auth('unique_invalid', "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'users_email_unique'::regclass", ERROR, KEY, 'users'),
    auth('unique_second_equal', 'CREATE UNIQUE INDEX users_email_again ON users (email)', WARNING, KEY, 'users'),
    auth('unique_superset', 'CREATE UNIQUE INDEX users_email_name ON users (email, name)', WARNING, KEY, 'users'),
    auth('exclusion_extra', 'ALTER TABLE sessions ADD EXCLUDE USING btree (ip_address WITH =)', ERROR, 'check', 'sessions'),
    # checks
    auth('check_dropped', 'ALTER TABLE user_credits DROP CONSTRAINT user_credits_credits_check', ERROR, 'check', 'user_credits'),
    auth('check_changed', 'ALTER TABLE user_credits DROP CONSTRAINT user_credits_credits_check, ADD CONSTRAINT user_credits_credits_check CHECK (credits >= -100)', ERROR, 'check', 'user_credits'),
    auth('check_list_changed', "ALTER TABLE credit_transactions DROP CONSTRAINT credit_transactions_type_check, ADD CONSTRAINT credit_transactions_type_check CHECK (type IN ('purchase', 'usage', 'refund', 'bonus', 'gift'))", ERROR, 'check', 'credit_transactions'),
    auth('check_or_to_and', "ALTER TABLE credit_transactions DROP CONSTRAINT credit_transactions_amount_type_check, ADD CONSTRAINT credit_transactions_amount_type_check CHECK (type = 'usage' AND amount < 0 OR amount > 0)", ERROR, 'check', 'credit_transactions'),
    auth('check_not_valid', 'ALTER TABLE teams DROP CONSTRAINT teams_credits_check, ADD CONSTRAINT teams_credits_check CHECK (credits >= 0) NOT VALID', ERROR, 'check', 'teams'),
    auth('check_not_enforced', 'ALTER TABLE teams DROP CONSTRAINT teams_credits_check, ADD CONSTRAINT teams_credits_check CHECK (credits >= 0) NOT ENFORCED', ERROR, 'check', 'teams', since=18),
    auth('check_no_inherit', 'ALTER TABLE teams DROP CONSTRAINT teams_credits_check, ADD CONSTRAINT teams_credits_check CHECK (credits >= 0) NO INHERIT', ERROR, 'check', 'teams'),
    auth('check_extra', "ALTER TABLE users ADD CHECK (email LIKE '%@%')", ERROR, 'check', 'users'),
    auth('check_repeated', 'ALTER TABLE teams ADD CHECK (credits > -1)', WARNING, 'check', 'teams'),
    fltr('check_dropped_fltr', 'ALTER TABLE datasets DROP CONSTRAINT datasets_visibility_check', ERROR, 'check', 'datasets'),
    fltr('check_list_shorter', "ALTER TABLE documents DROP CONSTRAINT documents_status_check, ADD CONSTRAINT documents_status_check CHECK (status IN ('pending', 'ready'))", ERROR, 'check', 'documents'),
    # indexes
    auth('index_dropped', 'DROP INDEX sessions_user_id_idx', ERROR, 'index', 'sessions'),
    fltr('index_dropped_fltr', 'DROP INDEX datasets_owner_id_idx', ERROR, 'index', 'datasets'),
    auth('index_extra', 'CREATE INDEX ON users (name)', WARNING, 'index', 'users'),
    auth('index_second_equal', 'CREATE INDEX ON sessions (user_id)', WARNING, 'index', 'sessions'),
    auth('index_other_column', 'DROP INDEX sessions_user_id_idx; CREATE INDEX sessions_user_id_idx ON sessions (ip_address)', ERROR, 'index', 'sessions'),
    auth('index_column_order', 'DROP INDEX credit_transactions_user_id_created_at_idx; CREATE INDEX credit_transactions_user_id_created_at_idx ON credit_transactions (created_at, user_id)', ERROR, 'index', 'credit_transactions'),
    auth('index_descending', 'DROP INDEX credit_transactions_created_at_idx; CREATE INDEX credit_transactions_created_at_idx ON credit_transactions (created_at DESC)', ERROR, 'index', 'credit_transactions'),
    auth('index_nulls_first', 'DROP INDEX credit_transactions_team_id_idx; CREATE INDEX credit_transactions_team_id_idx ON credit_transactions (team_id NULLS FIRST)', ERROR, 'index', 'credit_transactions'),
    auth('index_partial', "DROP INDEX sessions_user_id_idx; CREATE INDEX sessions_user_id_idx ON sessions (user_id) WHERE expires_at > '2020-01-01'", ERROR, 'index', 'sessions'),
    auth('index_expression', 'DROP INDEX verifications_identifier_idx; CREATE INDEX verifications_identifier_idx ON verifications (lower(identifier))', ERROR, 'index', 'verifications'),
    auth('index_opclass', 'DROP INDEX verifications_identifier_idx; CREATE INDEX verifications_identifier_idx ON verifications (identifier text_pattern_ops)', ERROR, 'index', 'verifications'),
    auth('index_pattern_other_name', 'DROP INDEX verifications_identifier_idx; CREATE INDEX verifications_identifier_like ON verifications (identifier text_pattern_ops)', ERROR, 'index', 'verifications'),
    auth('unique_pattern', 'ALTER TABLE users DROP CONSTRAINT users_email_unique; CREATE UNIQUE INDEX users_email_like ON users (email text_pattern_ops)', ERROR, KEY, 'users'),
    auth('index_collation', 'DROP INDEX verifications_identifier_idx; CREATE INDEX verifications_identifier_idx ON verifications (identifier COLLATE "C")', ERROR, 'index', 'verifications'),
    auth('index_method', 'DROP INDEX sessions_user_id_idx; CREATE INDEX sessions_user_id_idx ON sessions USING hash (user_id)', ERROR, 'index', 'sessions'),
    auth('index_include', 'DROP INDEX sessions_user_id_idx; CREATE INDEX sessions_user_id_idx ON sessions (user_id) INCLUDE (token)', ERROR, 'index', 'sessions'),
    auth('index_became_unique', 'DROP INDEX teams_owner_id_idx; CREATE UNIQUE INDEX teams_owner_id_idx ON teams (owner_id)', ERROR, KEY, 'teams'),
    auth('index_invalid', "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'sessions_user_id_idx'::regclass", ERROR, 'index', 'sessions'),
    fltr('index_not_ready', "UPDATE pg_index SET indisready = false WHERE indexrelid = 'datasets_name_idx'::regclass", ERROR, 'index', 'datasets'),
    # triggers
    auth('trigger_dropped', 'DROP TRIGGER users_open_credit_account ON users', ERROR, 'trigger', 'users_open_credit_account'),
    auth('trigger_disabled', 'ALTER TABLE users DISABLE TRIGGER users_open_credit_account', ERROR, 'trigger', 'users_open_credit_account'),
    auth('trigger_replica_only', 'ALTER TABLE users ENABLE REPLICA TRIGGER users_open_credit_account', ERROR, 'trigger', 'users_open_credit_account'),
    auth('trigger_always', 'ALTER TABLE users ENABLE ALWAYS TRIGGER users_open_credit_account', ERROR, 'trigger', 'users_open_credit_account'),
    auth('trigger_other_event', 'CREATE OR REPLACE TRIGGER users_open_credit_account AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION users_open_credit_account()', ERROR, 'trigger', 'users_open_credit_account'),
    auth('trigger_before', 'CREATE OR REPLACE TRIGGER users_open_credit_account BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION users_open_credit_account()', ERROR, 'trigger', 'users_open_credit_account'),
    auth('trigger_when', 'CREATE OR REPLACE TRIGGER users_open_credit_account AFTER INSERT ON users FOR EACH ROW WHEN (NEW.email_verified) EXECUTE FUNCTION users_open_credit_account()', ERROR, 'trigger', 'users_open_credit_account'),
    auth('trigger_statement_level', 'CREATE OR REPLACE TRIGGER users_open_credit_account AFTER INSERT ON users FOR EACH STATEMENT EXECUTE FUNCTION users_open_credit_account()', ERROR, 'trigger', 'users_open_credit_account'),
    auth('trigger_deferred', 'DROP TRIGGER users_open_credit_account ON users; CREATE CONSTRAINT TRIGGER users_open_credit_account AFTER INSERT ON users DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION users_open_credit_account()', ERROR, 'trigger', 'users_open_credit_account'),
    auth('trigger_extra', 'CREATE TRIGGER twice AFTER INSERT ON teams FOR EACH ROW EXECUTE FUNCTION users_open_credit_account()', ERROR, 'trigger', 'twice of teams'),
    fltr('trigger_extra_fltr', 'CREATE TRIGGER noop BEFORE UPDATE ON datasets FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()', ERROR, 'trigger', 'noop of datasets'),
    # functions
    auth('function_body', 'CREATE OR REPLACE FUNCTION users_open_credit_account() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$BEGIN RETURN NULL; END$$', ERROR, 'function', 'users_open_credit_account'),
    auth('function_invoker', 'ALTER FUNCTION refund_credits(text, integer, jsonb, text) SECURITY INVOKER', ERROR, 'function', 'refund_credits'),
    auth('function_definer', 'ALTER FUNCTION open_credit_account(text) SECURITY DEFINER', ERROR, 'function', 'open_credit_account'),
    auth('function_search_path', 'ALTER FUNCTION open_credit_account(text) RESET search_path', ERROR, 'function', 'open_credit_account'),
    auth('function_volatility', 'ALTER FUNCTION uuid7_text() STABLE', ERROR, 'function', 'uuid7_text'),
    auth('function_strict', 'ALTER FUNCTION open_credit_account(text) STRICT', ERROR, 'function', 'open_credit_account'),
    auth('function_parallel', 'ALTER FUNCTION uuid7_text() PARALLEL UNSAFE', ERROR, 'function', 'uuid7_text'),
    auth('function_leakproof', 'ALTER FUNCTION uuid7_text() LEAKPROOF', ERROR, 'function', 'uuid7_text'),
    auth('function_language', "CREATE OR REPLACE FUNCTION uuid7_text() RETURNS text LANGUAGE sql PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS 'SELECT gen_random_uuid()::text'", ERROR, 'function', 'uuid7_text'),
    auth('function_parsed_body', 'CREATE OR REPLACE FUNCTION uuid7_text() RETURNS text LANGUAGE sql PARALLEL SAFE SET search_path = pg_catalog, pg_temp RETURN gen_random_uuid()::text', ERROR, 'function', 'uuid7_text'),
    auth('function_defaults', "CREATE OR REPLACE FUNCTION open_credit_account(new_user_id text DEFAULT '') RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$BEGIN END$$", ERROR, 'function', 'open_credit_account'),
    auth('function_returns', "DROP FUNCTION open_credit_account(text); CREATE FUNCTION open_credit_account(new_user_id text) RETURNS integer LANGUAGE sql AS 'SELECT 1'", ERROR, 'function', 'open_credit_account'),
    auth('function_dropped', 'DROP FUNCTION open_credit_account(text)', ERROR, 'function', 'open_credit_account'),
    auth('function_extra', "CREATE FUNCTION leftover(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1'", WARNING, 'function', 'leftover'),
    fltr('procedure_extra', "CREATE PROCEDURE leftover() LANGUAGE sql AS 'SELECT 1'", WARNING, 'function', 'leftover'),
    auth('function_owner', CREATE_ROLE + f'ALTER FUNCTION open_credit_account(text) OWNER TO {DRIFT_ROLE}', WARNING, 'function', 'open_credit_account'),
    auth('function_overload', "CREATE FUNCTION open_credit_account(integer) RETURNS void LANGUAGE sql AS ''", ERROR, 'function', 'open_credit_account(integer)'),
    # views, sequences, types, schemas, extensions, rules and the rest
    auth('view_extra', 'CREATE VIEW active_users AS SELECT id FROM users', WARNING, 'view', 'active_users'),
    fltr('view_extra_fltr', 'CREATE VIEW public_datasets AS SELECT * FROM datasets', WARNING, 'view', 'public_datasets'),
    auth('matview_extra', 'CREATE MATERIALIZED VIEW user_count AS SELECT count(*) FROM users', WARNING, 'materialized view', 'user_count'),
    auth('sequence_extra', 'CREATE SEQUENCE invoice_numbers', WARNING, 'sequence', 'invoice_numbers'),
    auth('enum_extra', "CREATE TYPE mood AS ENUM ('good', 'bad')", WARNING, 'type', 'mood'),
    fltr('domain_extra', 'CREATE DOMAIN positive AS integer CHECK (VALUE > 0)', WARNING, 'type', 'positive'),
    auth('composite_extra', 'CREATE TYPE pair AS (a integer, b text)', WARNING, 'type', 'pair'),
    auth('range_extra', 'CREATE TYPE span AS RANGE (subtype = integer)', WARNING, 'type', 'span'),
    auth('schema_extra', 'CREATE SCHEMA billing', WARNING, 'schema', 'billing'),
    fltr('schema_extra_with_table', 'CREATE SCHEMA old; CREATE TABLE old.datasets (id uuid)', WARNING, 'schema', 'old', destructive=True),
    auth('schema_owner', CREATE_ROLE + f'ALTER SCHEMA public OWNER TO {DRIFT_ROLE}', WARNING, 'schema', 'public'),
    auth('extension_extra', EXTENSION, WARNING, 'extension', 'extension'),
    auth('rule_instead', 'CREATE RULE keep AS ON DELETE TO users DO INSTEAD NOTHING', ERROR, 'rule', 'keep of users'),
    fltr('rule_also', 'CREATE RULE copy AS ON INSERT TO datasets DO ALSO NOTIFY datasets', ERROR, 'rule', 'copy of datasets'),
    auth('statistics_extra', 'CREATE STATISTICS guess ON user_id, team_id FROM credit_transactions', WARNING, 'other object', 'guess'),
    auth('operator_extra', 'CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)', WARNING, 'other object', '==='),
    auth('aggregate_extra', 'CREATE AGGREGATE total(integer) (SFUNC = int4pl, STYPE = integer)', WARNING, 'other object', 'total'),
    auth('event_trigger_extra', "CREATE FUNCTION note_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER note_ddl ON ddl_command_end EXECUTE FUNCTION note_ddl()", WARNING, 'other object', 'note_ddl'),
    # rights and settings
    auth('grant_to_public', 'GRANT SELECT, UPDATE ON user_credits TO PUBLIC', WARNING, 'grant', 'user_credits'),
    auth('grant_on_column', 'GRANT UPDATE (credits) ON user_credits TO PUBLIC', WARNING, 'grant', 'user_credits'),
    auth('grant_revoked_from_owner', 'REVOKE DELETE ON users FROM CURRENT_USER', WARNING, 'grant', 'users'),
    auth('grant_execute_to_public', 'GRANT EXECUTE ON FUNCTION open_credit_account(text) TO PUBLIC', ERROR, 'grant', 'open_credit_account'),
    auth('grant_execute_trigger_function', 'GRANT EXECUTE ON FUNCTION users_open_credit_account() TO PUBLIC', ERROR, 'grant', 'users_open_credit_account'),
    auth('grant_function_revoked', 'REVOKE EXECUTE ON FUNCTION uuid7_text() FROM PUBLIC', WARNING, 'grant', 'uuid7_text'),
    auth('grant_create_on_schema', 'GRANT CREATE ON SCHEMA public TO PUBLIC', WARNING, 'grant', 'schema public'),
    fltr('grant_usage_revoked', 'REVOKE USAGE ON SCHEMA public FROM PUBLIC', WARNING, 'grant', 'schema public'),
    auth('grant_sequence', 'GRANT USAGE ON SEQUENCE __drizzle_migrations_id_seq TO PUBLIC', WARNING, 'grant', '__drizzle_migrations_id_seq'),
    fltr('grant_default_privileges', 'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC', WARNING, 'grant', 'new tables'),
    auth('time_zone', "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = %L', current_database(), 'Asia/Tokyo'); END $$", WARNING, 'setting', 'TimeZone'),
]
# fmt: on

# fmt: off
SAME = [
    ('auth', 'grant_to_role', CREATE_ROLE + f'GRANT SELECT ON users TO {DRIFT_ROLE}; GRANT UPDATE (name) ON users TO {DRIFT_ROLE} WITH GRANT OPTION'),
    ('auth', 'grant_execute_to_role', CREATE_ROLE + f'GRANT EXECUTE ON FUNCTION consume_credits_many(jsonb) TO {DRIFT_ROLE}'),
    ('fltr', 'grant_default_to_role', CREATE_ROLE + f'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {DRIFT_ROLE}'),
    ('auth', 'constraint_renamed', f'ALTER TABLE sessions RENAME CONSTRAINT {SESSIONS_FK} TO sessions_user_id_fkey'),
    ('auth', 'unique_renamed', 'ALTER TABLE users RENAME CONSTRAINT users_email_unique TO users_email_key'),
    ('auth', 'check_renamed', 'ALTER TABLE teams RENAME CONSTRAINT teams_credits_check TO no_debts'),
    ('auth', 'index_renamed', 'ALTER INDEX sessions_user_id_idx RENAME TO idx_sessions_user'),
    ('fltr', 'primary_key_renamed', 'ALTER TABLE datasets RENAME CONSTRAINT datasets_pkey TO pk_datasets'),
    ('auth', 'trigger_renamed', 'ALTER TRIGGER users_open_credit_account ON users RENAME TO zz_open_account'),
    ('auth', 'unique_as_index', 'ALTER TABLE users DROP CONSTRAINT users_email_unique; CREATE UNIQUE INDEX users_email_unique ON users (email)'),
    ('fltr', 'unique_as_index_other_name', 'ALTER TABLE datasets DROP CONSTRAINT datasets_slug_unique; CREATE UNIQUE INDEX ix_datasets_slug ON datasets (slug)'),
    ('auth', 'check_flipped', 'ALTER TABLE teams DROP CONSTRAINT teams_credits_check, ADD CONSTRAINT teams_credits_check CHECK (0 <= credits)'),
    ('auth', 'check_negated', 'ALTER TABLE teams DROP CONSTRAINT teams_credits_check, ADD CONSTRAINT other CHECK (NOT credits < 0)'),
    ('auth', 'check_strict_bound', 'ALTER TABLE teams DROP CONSTRAINT teams_credits_check, ADD CHECK (credits > -1)'),
    ('auth', 'check_in_as_or', "ALTER TABLE credit_transactions DROP CONSTRAINT credit_transactions_type_check, ADD CHECK (type = 'bonus' OR type = 'refund' OR type = 'usage' OR type = 'purchase')"),
    ('auth', 'check_list_reordered', "ALTER TABLE credit_transactions DROP CONSTRAINT credit_transactions_type_check, ADD CONSTRAINT credit_transactions_type_check CHECK (type IN ('bonus', 'refund', 'usage', 'purchase'))"),
    ('auth', 'check_unequal', 'ALTER TABLE credit_transactions DROP CONSTRAINT credit_transactions_amount_check, ADD CHECK (amount <> 0)'),
    ('auth', 'default_respelled', "ALTER TABLE users ALTER created_at SET DEFAULT (CURRENT_TIMESTAMP AT TIME ZONE 'UTC')"),
    ('fltr', 'column_order', 'ALTER TABLE documents DROP COLUMN mime_type; ALTER TABLE documents ADD COLUMN mime_type text'),
    ('auth', 'every_key_deferrable', """DO $$ DECLARE k record; BEGIN FOR k IN SELECT conrelid::regclass AS t, conname FROM pg_constraint WHERE contype = 'f' LOOP EXECUTE format('ALTER TABLE %s ALTER CONSTRAINT %I DEFERRABLE INITIALLY DEFERRED', k.t, k.conname); END LOOP; END $$"""),
    ('auth', 'comments', "COMMENT ON TABLE users IS 'people'; COMMENT ON COLUMN users.email IS 'lower case'"),
    ('auth', 'django_like_index', 'CREATE INDEX users_email_ab12_like ON users (email text_pattern_ops)'),
    ('auth', 'drizzle_schema', 'CREATE SCHEMA drizzle; CREATE TABLE drizzle.__drizzle_migrations (id serial PRIMARY KEY)'),
    ('fltr', 'drizzle_tracking_table', 'CREATE TABLE __drizzle_migrations (id serial PRIMARY KEY, hash text NOT NULL, created_at bigint)'),
    ('fltr', 'alembic_tracking_table', 'CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)'),
    ('auth', 'django_tracking_table_changed', 'ALTER TABLE django_migrations ADD COLUMN note text'),
    ('auth', 'statistics_target', 'ALTER TABLE users ALTER email SET STATISTICS 500'),
    ('auth', 'set_aside_schema', 'CREATE SCHEMA public_aside_20260101_000000_000000'),
    ('auth', 'serial_as_identity', 'ALTER TABLE __drizzle_migrations ALTER id DROP DEFAULT; DROP SEQUENCE __drizzle_migrations_id_seq; ALTER TABLE __drizzle_migrations ALTER id ADD GENERATED BY DEFAULT AS IDENTITY'),
    ('auth', 'sequence_used', "SELECT nextval('__drizzle_migrations_id_seq')"),
    ('fltr', 'rows', "INSERT INTO datasets (owner_id, name, slug) VALUES ('1', 'n', 's')"),
    ('auth', 'dropped_column_left_a_hole', 'ALTER TABLE users ADD COLUMN x text; ALTER TABLE users DROP COLUMN x'),
    ('auth', 'analyzed', 'ANALYZE'),
    ('auth', 'other_database_name_for_utc', "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = %L', current_database(), 'Etc/UTC'); END $$"),
]

# What the contract has none of: the first statements make the expected database, the second the one
# that is found.
CHANGED = [
    Change('schema_missing', 'CREATE SCHEMA billing', 'SELECT', ERROR, 'schema', 'billing'),
    Change('extension_missing', EXTENSION, 'SELECT', ERROR, 'extension', 'extension'),
    Change('type_missing', "CREATE TYPE mood AS ENUM ('a')", 'SELECT', ERROR, 'type', 'mood'),
    Change('type_definition', "CREATE TYPE mood AS ENUM ('a')", "CREATE TYPE mood AS ENUM ('a', 'b')", ERROR, 'type', 'mood'),
    Change('type_domain', 'CREATE DOMAIN d AS text', 'CREATE DOMAIN d AS text NOT NULL', ERROR, 'type', 'd'),
    Change('type_owner', "CREATE TYPE mood AS ENUM ('a')", CREATE_ROLE + f"CREATE TYPE mood AS ENUM ('a'); ALTER TYPE mood OWNER TO {DRIFT_ROLE}", WARNING, 'type', 'mood'),
    Change('sequence_missing', 'CREATE SEQUENCE s', 'SELECT', ERROR, 'sequence', 's'),
    Change('sequence_definition', 'CREATE SEQUENCE s', 'CREATE SEQUENCE s INCREMENT BY 2', ERROR, 'sequence', 's'),
    Change('sequence_owner', 'CREATE SEQUENCE s', CREATE_ROLE + f'CREATE SEQUENCE s; ALTER SEQUENCE s OWNER TO {DRIFT_ROLE}', WARNING, 'sequence', 's'),
    Change('function_returns_only', "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT NULL'", "CREATE FUNCTION f() RETURNS varchar LANGUAGE sql AS 'SELECT NULL'", ERROR, 'function', 'f()'),
    Change('function_language_only', "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS ''", "SET LOCAL check_function_bodies = off; CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS ''", ERROR, 'function', 'f()'),
    Change('function_defaults_only', "CREATE FUNCTION f(a integer) RETURNS void LANGUAGE sql AS ''", "CREATE FUNCTION f(a integer DEFAULT 1) RETURNS void LANGUAGE sql AS ''", ERROR, 'function', 'f('),
    Change('function_parsed_only', "SET LOCAL check_function_bodies = off; CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'RETURN 1'", 'CREATE FUNCTION f() RETURNS integer LANGUAGE sql RETURN 1', ERROR, 'function', 'f()'),
    Change('table_inherits', 'CREATE TABLE a (i integer); CREATE TABLE b (i integer)', 'CREATE TABLE a (i integer); CREATE TABLE b (i integer); ALTER TABLE b INHERIT a', ERROR, 'table', 'b'),
    Change('partition_key', 'CREATE TABLE p (i integer, j integer) PARTITION BY HASH (i)', 'CREATE TABLE p (i integer, j integer) PARTITION BY HASH (j)', ERROR, 'table', 'p'),
    Change('partition_bound', 'CREATE TABLE p (i integer) PARTITION BY LIST (i); CREATE TABLE q PARTITION OF p FOR VALUES IN (1)', 'CREATE TABLE p (i integer) PARTITION BY LIST (i); CREATE TABLE q PARTITION OF p FOR VALUES IN (2)', ERROR, 'table', 'q'),
    Change('view_definition', 'CREATE VIEW v AS SELECT id FROM users', 'CREATE VIEW v AS SELECT email AS id FROM users', ERROR, 'view', 'v'),
    Change('view_missing', 'CREATE VIEW v AS SELECT id FROM users', 'SELECT', ERROR, 'view', 'v'),
    Change('generated_expression', 'CREATE TABLE g (a integer, b integer GENERATED ALWAYS AS (a + 1) STORED)', 'CREATE TABLE g (a integer, b integer GENERATED ALWAYS AS (a + 2) STORED)', ERROR, 'column', 'g.b'),
    Change('index_predicate', 'CREATE INDEX i ON users (name) WHERE email_verified', 'CREATE INDEX i ON users (name) WHERE NOT email_verified', ERROR, 'index', 'index of users (name)'),
    Change('constraint_trigger_enabled_again', 'ALTER TABLE sessions DISABLE TRIGGER ALL', 'SELECT', ERROR, 'constraint trigger', 'sessions'),
    Change('constraint_trigger_other_state', 'ALTER TABLE sessions DISABLE TRIGGER ALL', "DO $$ DECLARE t record; BEGIN FOR t IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'sessions'::regclass LOOP EXECUTE format('ALTER TABLE sessions ENABLE REPLICA TRIGGER %I', t.tgname); END LOOP; END $$", ERROR, 'constraint trigger', 'sessions'),
    Change('rule_missing', 'CREATE RULE r AS ON DELETE TO users DO INSTEAD NOTHING', 'SELECT', ERROR, 'rule', 'r of users'),
    Change('rule_definition', 'CREATE RULE r AS ON DELETE TO users DO INSTEAD NOTHING', 'CREATE RULE r AS ON UPDATE TO users DO INSTEAD NOTHING', ERROR, 'rule', 'r of users'),
    Change('rule_enabled', 'CREATE RULE r AS ON DELETE TO users DO INSTEAD NOTHING', 'CREATE RULE r AS ON DELETE TO users DO INSTEAD NOTHING; ALTER TABLE users DISABLE RULE r', ERROR, 'rule', 'r of users'),
    Change('policy_missing', 'CREATE POLICY p ON users USING (true)', 'SELECT', ERROR, 'policy', 'p of users'),
    Change('policy_definition', 'CREATE POLICY p ON users USING (true)', 'CREATE POLICY p ON users USING (false)', ERROR, 'policy', 'p of users'),
    Change('grant_missing', 'GRANT SELECT ON users TO PUBLIC', 'SELECT', WARNING, 'grant', 'users'),
    Change('grant_more', 'GRANT SELECT ON users TO PUBLIC', 'GRANT SELECT, INSERT ON users TO PUBLIC', WARNING, 'grant', 'users'),
    Change('grant_less', 'REVOKE UPDATE ON users FROM CURRENT_USER', 'REVOKE UPDATE, DELETE ON users FROM CURRENT_USER', WARNING, 'grant', 'users'),
    Change('statistics_missing', 'CREATE STATISTICS s ON user_id, team_id FROM credit_transactions', 'SELECT', ERROR, 'other object', 's'),
    Change('statistics_definition', 'CREATE STATISTICS s ON user_id, team_id FROM credit_transactions', 'CREATE STATISTICS s ON user_id, amount FROM credit_transactions', ERROR, 'other object', 's'),
    Change('generated_kind', 'CREATE TABLE g (a integer, b integer GENERATED ALWAYS AS (a + 1) STORED)', 'CREATE TABLE g (a integer, b integer GENERATED ALWAYS AS (a + 1) VIRTUAL)', ERROR, 'column', 'g.b', 18),
]
# fmt: on
