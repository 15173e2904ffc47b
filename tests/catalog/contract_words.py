"""The contract in its own words, apart from the models and from contract.json, and a reader of it.

Each line is ``column type null [default]``. The words are read by hand from the agreed schema; when
they and a database disagree, one of the two has drifted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Rows = Callable[[str], list[tuple[Any, ...]]]

AUTH = """
users
  id text no uuid
  name text no
  email text no
  email_verified boolean no false
  image text yes
  avatar text yes
  avatar_url text yes
  stripe_customer_id text yes
  created_at timestamp no now
  updated_at timestamp no now
sessions
  id text no uuid
  user_id text no
  token text no
  expires_at timestamp no
  ip_address text yes
  user_agent text yes
  created_at timestamp no now
  updated_at timestamp no now
accounts
  id text no uuid
  user_id text no
  account_id text no
  provider_id text no
  access_token text yes
  refresh_token text yes
  id_token text yes
  scope text yes
  password text yes
  access_token_expires_at timestamp yes
  refresh_token_expires_at timestamp yes
  created_at timestamp no now
  updated_at timestamp no now
verifications
  id text no uuid
  identifier text no
  value text no
  expires_at timestamp no
  created_at timestamp no now
  updated_at timestamp no now
subscriptions
  id text no uuid
  plan text no
  reference_id text no
  stripe_customer_id text yes
  stripe_subscription_id text yes
  billing_interval text yes
  stripe_schedule_id text yes
  status text no incomplete
  period_start timestamp yes
  period_end timestamp yes
  trial_start timestamp yes
  trial_end timestamp yes
  cancel_at timestamp yes
  canceled_at timestamp yes
  ended_at timestamp yes
  cancel_at_period_end boolean yes false
  seats integer yes
teams
  id text no uuid
  name text no
  credits integer no 0
  owner_id text yes
  created_at timestamp no now
  updated_at timestamp no now
user_credits
  user_id text no
  credits integer no 0
  total_credits_purchased integer no 0
  team_id text yes
  created_at timestamp no now
  updated_at timestamp no now
credit_transactions
  id text no uuid7
  user_id text no
  team_id text yes
  amount integer no
  type text no
  operation text yes
  resource_id text yes
  api_key_id text yes
  transaction_metadata jsonb yes
  created_at timestamp no now
api_key_credits
  api_key text no
  user_id text no
  team_id text yes
  credits integer no 0
  daily_limit integer yes
  monthly_limit integer yes
  created_at timestamp no now
  updated_at timestamp no now
__drizzle_migrations
  id integer no serial
  hash text no
  created_at bigint yes
"""

FLTR = """
datasets
  id uuid no uuid
  owner_id text no
  name text no
  slug text no
  description text yes
  category text yes
  collection_name text yes
  system_prompt text yes
  visibility text no private
  status text no uploading
  document_count integer no 0
  download_count integer no 0
  view_count integer no 0
  embedding_dimension integer no 1536
  embedding_model text no text-embedding-3-small
  pricing_model text no free
  price_monthly double yes
  price_annual double yes
  rating_average double no 0
  featured boolean no false
  verified boolean no false
  created_at timestamp no now
  updated_at timestamp no now
documents
  id uuid no uuid
  dataset_id uuid no
  filename text no
  object_key text no
  file_size bigint yes
  mime_type text yes
  processing_metadata text yes
  error text yes
  status text no pending
  chunk_count integer no 0
  asset_count integer no 0
  created_at timestamp no now
  updated_at timestamp no now
processing_jobs
  id uuid no uuid
  dataset_id uuid no
  task_id text yes
  processor text yes
  error text yes
  status text no queued
  retries integer no 0
  created_at timestamp no now
  updated_at timestamp no now
"""

# column, references, on delete
AUTH_FOREIGN_KEYS = {
    ("sessions.user_id", "users.id", "CASCADE"),
    ("accounts.user_id", "users.id", "CASCADE"),
    ("teams.owner_id", "users.id", "CASCADE"),
    ("user_credits.user_id", "users.id", "CASCADE"),
    ("user_credits.team_id", "teams.id", "NO ACTION"),
    ("credit_transactions.user_id", "users.id", "CASCADE"),
    ("credit_transactions.team_id", "teams.id", "SET NULL"),
    ("api_key_credits.user_id", "users.id", "CASCADE"),
    ("api_key_credits.team_id", "teams.id", "CASCADE"),
}
FLTR_FOREIGN_KEYS = {
    ("documents.dataset_id", "datasets.id", "CASCADE"),
    ("processing_jobs.dataset_id", "datasets.id", "CASCADE"),
}

AUTH_UNIQUE = {"users.email", "sessions.token"}
FLTR_UNIQUE = {"datasets.slug", "documents.object_key"}

# What the checks accept, as PostgreSQL prints it.
NOT_NEGATIVE = "({} >= 0)"
AUTH_CHECKS = {
    "teams_credits_check": NOT_NEGATIVE.format("credits"),
    "user_credits_credits_check": NOT_NEGATIVE.format("credits"),
    "user_credits_total_credits_purchased_check": NOT_NEGATIVE.format("total_credits_purchased"),
    "api_key_credits_credits_check": NOT_NEGATIVE.format("credits"),
    "api_key_credits_daily_limit_check": NOT_NEGATIVE.format("daily_limit"),
    "api_key_credits_monthly_limit_check": NOT_NEGATIVE.format("monthly_limit"),
    "credit_transactions_amount_check": "(NOT (amount = 0))",
    "credit_transactions_amount_type_check": ("((amount < 0) = (type = 'usage'::text))"),
    "credit_transactions_type_check": ("(type = ANY ('{purchase,usage,refund,bonus}'::text[]))"),
}
FLTR_CHECKS = {
    "datasets_document_count_check": NOT_NEGATIVE.format("document_count"),
    "datasets_download_count_check": NOT_NEGATIVE.format("download_count"),
    "datasets_view_count_check": NOT_NEGATIVE.format("view_count"),
    "datasets_visibility_check": (
        "(visibility = ANY (ARRAY['public'::text, 'private'::text, 'premium'::text]))"
    ),
    "datasets_status_check": (
        "(status = ANY (ARRAY['uploading'::text, 'processing'::text, 'ready'::text, 'failed'::text]))"
    ),
    "datasets_pricing_model_check": (
        "(pricing_model = ANY (ARRAY['free'::text, 'one_time'::text, 'subscription'::text]))"
    ),
    "documents_status_check": (
        "(status = ANY (ARRAY['pending'::text, 'processing'::text, 'ready'::text, 'failed'::text]))"
    ),
    "processing_jobs_status_check": (
        "(status = ANY (ARRAY['queued'::text, 'running'::text, 'succeeded'::text, 'failed'::text]))"
    ),
    "processing_jobs_retries_check": NOT_NEGATIVE.format("retries"),
}

# Indexes by name, with their columns; the users' history is read by user and time.
COMPOUND_INDEXES = {
    "credit_transactions_user_id_created_at_idx": ["user_id", "created_at"],
}
SIGN_UP_TRIGGER = ("users", "AFTER INSERT", "FOR EACH ROW")

# Columns that some index begins with.
AUTH_INDEXED = {
    *("sessions.user_id", "accounts.user_id", "verifications.identifier", "teams.owner_id"),
    *("user_credits.team_id", "credit_transactions.user_id", "credit_transactions.team_id"),
    *("credit_transactions.type", "credit_transactions.created_at"),
    *("api_key_credits.user_id", "api_key_credits.team_id"),
}
FLTR_INDEXED = {
    *("datasets.owner_id", "datasets.name", "datasets.category", "datasets.collection_name"),
    *("datasets.status", "documents.dataset_id", "documents.status"),
    *("processing_jobs.dataset_id", "processing_jobs.status"),
}

MUST_NOT_EXIST = {"users.credits", "users.total_credits_purchased", "users.team_id"}

TYPES = {"timestamp": "timestamp without time zone", "double": "double precision"}


@dataclass(frozen=True)
class Words:
    columns: dict[str, tuple[str, str, str | None]]
    foreign_keys: set[tuple[str, str, str]]
    unique: set[str]
    indexed: set[str]
    checks: dict[str, str]
    primary: dict[str, str]

    @property
    def tables(self) -> set[str]:
        return {column.split(".")[0] for column in self.columns}


def words(alias: str) -> Words:
    text = AUTH if alias == "auth" else FLTR
    columns: dict[str, tuple[str, str, str | None]] = {}
    table = ""
    for line in text.strip().splitlines():
        if not line.startswith(" "):
            table = line
            continue
        name, type_, null, *default = line.split()
        columns[f"{table}.{name}"] = (
            TYPES.get(type_, type_),
            null,
            default[0] if default else None,
        )
    keys = {"user_credits": "user_id", "api_key_credits": "api_key"}
    tables = {column.split(".")[0] for column in columns}
    return Words(
        columns=columns,
        foreign_keys=AUTH_FOREIGN_KEYS if alias == "auth" else FLTR_FOREIGN_KEYS,
        unique=AUTH_UNIQUE if alias == "auth" else FLTR_UNIQUE,
        indexed=AUTH_INDEXED if alias == "auth" else FLTR_INDEXED,
        checks=AUTH_CHECKS if alias == "auth" else FLTR_CHECKS,
        primary={table: keys.get(table, "id") for table in tables},
    )


def numbers(alias: str) -> tuple[int, int]:
    """How many tables and foreign keys a migrated database has."""
    want = words(alias)
    # And Django's own record of migrations.
    return len(want.tables) + 1, len(want.foreign_keys)


def sizes(alias: str) -> tuple[str, str]:
    """The same, in the words of a report."""
    tables, keys = numbers(alias)
    return f"{tables} tables", f"{keys} foreign keys"


def differences(alias: str, rows: Rows) -> list[str]:
    """What a live database has otherwise than the words say, by information_schema and pg_catalog.

    ``rows`` runs a query. A column that the words do not have is allowed when a client may leave it
    out; a table is not.
    """
    want = words(alias)
    found: list[str] = []
    tables = {table for (table,) in rows(TABLES)}
    expected_tables = want.tables | {"django_migrations"}
    found += [f"table {name} is missing" for name in expected_tables - tables]
    found += [f"table {name} is unexpected" for name in tables - expected_tables]
    live = {
        f"{table}.{column}": (type_, null.lower(), default)
        for table, column, type_, null, default in rows(COLUMNS)
        if table in want.tables
    }
    for column, (type_, null, default) in want.columns.items():
        if column not in live:
            found.append(f"column {column} is missing")
            continue
        has_type, has_null, has_default = live[column]
        if (has_type, has_null) != (type_, null):
            found.append(f"column {column} is {has_type} null {has_null}, not {type_} null {null}")
        if not _is_default(default, has_default, type_):
            found.append(f"column {column} has the default {has_default}, not {default}")
    for column in live.keys() - want.columns.keys():
        _, has_null, has_default = live[column]
        if column in MUST_NOT_EXIST or (has_null == "no" and has_default is None):
            found.append(f"column {column} must not exist")
    keys = {
        (f"{table}.{column}", f"{target}.{target_column}", rule)
        for table, column, target, target_column, rule in rows(FOREIGN_KEYS)
    }
    found += [f"foreign key {key} is missing" for key in want.foreign_keys - keys]
    found += [f"foreign key {key} is unexpected" for key in keys - want.foreign_keys]
    if len(rows(FOREIGN_KEYS)) != len(keys):
        found.append("a foreign key stands there twice")
    found += _index_differences(want, rows(INDEXES))
    deferrable: dict[str, bool] = dict(rows(DEFERRABLE))
    for here, there, _ in want.foreign_keys:
        name = f"{here}_{there}_fk".replace(".", "_")
        if deferrable.get(name) is not False:
            fault = "deferrable" if name in deferrable else "missing"
            found.append(f"foreign key {name} is {fault}")
    checks: dict[str, str] = dict(rows(CHECKS))
    found += [
        f"check {name} is {checks.get(name)}, not {expression}"
        for name, expression in want.checks.items()
        if checks.get(name) != expression
    ]
    if alias == "auth" and not any(
        table == SIGN_UP_TRIGGER[0] and all(words in definition for words in SIGN_UP_TRIGGER[1:])
        for table, definition in rows(TRIGGERS)
    ):
        found.append("no trigger opens the credit account of a new user")
    return sorted(found)


def _index_differences(want: Words, indexes: list[tuple[Any, ...]]) -> list[str]:
    """Indexes have the names of the pattern, so that a person finds them."""
    found: list[str] = []
    by_name = {name: (columns, unique) for _, name, columns, unique, _ in indexes}
    for column in want.unique:
        name = f"{column.replace('.', '_')}_unique"
        if by_name.get(name) != ([column.split(".")[1]], True):
            found.append(f"{column} is not unique as {name}")
    for column in want.indexed:
        name = f"{column.replace('.', '_')}_idx"
        compound = {n: c for n, c in COMPOUND_INDEXES.items() if n.startswith(name[:-3])}
        for expected, columns in (compound or {name: [column.split(".")[1]]}).items():
            if by_name.get(expected) != (columns, False):
                found.append(f"{column} has no index {expected}")
    primary = {table: columns for table, _, columns, _, is_primary in indexes if is_primary}
    found += [
        f"the primary key of {table} is {primary.get(table)}, not {column}"
        for table, column in want.primary.items()
        if primary.get(table) != [column]
    ]
    # On the contract's own columns; a feature may need one on a column of its own.
    found += [
        f"{name} makes {table} unique by {columns}"
        for table, name, columns, unique, is_primary in indexes
        if unique
        and not is_primary
        and {f"{table}.{column}" for column in columns} <= want.columns.keys() - want.unique
    ]
    return found


def _is_default(word: str | None, live: str | None, type_: str) -> bool:
    spellings: dict[str | None, set[str | None]] = {
        None: {None},
        "now": {"timezone('utc'::text, now())"},
        "uuid": {"gen_random_uuid()"} if type_ == "uuid" else {"(gen_random_uuid())::text"},
        "uuid7": {"uuid7_text()"},
        "serial": {"nextval('__drizzle_migrations_id_seq'::regclass)"},
    }
    # PostgreSQL prints a constant of a text column with its type.
    return live in spellings.get(word, {word, f"'{word}'::text", f"'{word}'::double precision"})


TABLES = """
    SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'
"""
COLUMNS = """
    SELECT table_name, column_name, data_type, is_nullable, column_default
    FROM information_schema.columns WHERE table_schema = 'public'
"""
FOREIGN_KEYS = """
    SELECT k.table_name, k.column_name, t.table_name, t.column_name, r.delete_rule
    FROM information_schema.referential_constraints r
    JOIN information_schema.key_column_usage k
      ON k.constraint_schema = r.constraint_schema AND k.constraint_name = r.constraint_name
    JOIN information_schema.key_column_usage t
      ON t.constraint_schema = r.unique_constraint_schema
     AND t.constraint_name = r.unique_constraint_name
     AND t.ordinal_position = k.position_in_unique_constraint
    WHERE r.constraint_schema = 'public'
"""
DEFERRABLE = """
    SELECT conname, condeferrable FROM pg_constraint
    WHERE contype = 'f' AND connamespace = 'public'::regnamespace
"""
CHECKS = """
    SELECT conname, pg_get_expr(conbin, conrelid) FROM pg_constraint
    WHERE contype = 'c' AND connamespace = 'public'::regnamespace AND convalidated
"""
TRIGGERS = """
    SELECT c.relname, pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE NOT t.tgisinternal AND t.tgenabled = 'O' AND c.relnamespace = 'public'::regnamespace
"""
INDEXES = """
    SELECT c.relname, i.relname, array_agg(a.attname::text ORDER BY k.place),
           x.indisunique, x.indisprimary
    FROM pg_index x
    JOIN pg_class c ON c.oid = x.indrelid AND c.relnamespace = 'public'::regnamespace
    JOIN pg_class i ON i.oid = x.indexrelid
    CROSS JOIN unnest(x.indkey) WITH ORDINALITY AS k (number, place)
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
    WHERE x.indisvalid
    GROUP BY c.relname, i.relname, x.indexrelid, x.indisunique, x.indisprimary
"""
