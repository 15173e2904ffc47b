"""Django's PostgreSQL backend with foreign keys as Drizzle and SQLAlchemy write them.

Checked at once (NOT DEFERRABLE), and named ``<table>_<columns>_<table>_<columns>_fk``. Django's own are
DEFERRABLE INITIALLY DEFERRED and have a digest in their name, so that `drizzle-kit push` and Alembic
would make each of them anew.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.ddl_references import Columns, Statement, Table
from django.db.backends.postgresql import base, introspection, schema

from fltr_project.postgres import direct, sessions


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    sql_create_fk = (
        "ALTER TABLE %(table)s ADD CONSTRAINT %(name)s FOREIGN KEY (%(column)s) "
        "REFERENCES %(to_table)s (%(to_column)s)%(on_delete_db)s"
    )
    # Empty: the key of an added column comes after it, as a statement of its own.
    sql_create_column_inline_fk = ""
    # Django's also says SET CONSTRAINTS ... IMMEDIATE, which such a key refuses.
    sql_delete_fk = "ALTER TABLE %(table)s DROP CONSTRAINT %(name)s"

    def __enter__(self) -> DatabaseSchemaEditor:
        """Begin a migration that builds in ``public`` and bounds its waiting, whoever has called for it."""
        if not self.collect_sql:
            self.connection.ensure_connection()
            sessions.take(self.connection)
        super().__enter__()
        return self

    def execute(self, sql: Any, params: Any = ()) -> None:
        if isinstance(sql, Statement) and sql.template == self.sql_create_fk:
            parts: dict[str, Any] = sql.parts
            parts["name"] = self.quote_name(foreign_key_name(**parts))
        super().execute(sql, params)


class DatabaseIntrospection(introspection.DatabaseIntrospection):
    def get_table_list(self, cursor: Any) -> list[Any]:
        """Django's, which every migration begins with, without a call that others could answer.

        Its ``obj_description(oid, 'pg_class')`` is one of ``pg_catalog`` by conversion only. Whoever reads
        migrations begins here (`showmigrations`, `makemigrations`), and is to find those of ``public``.
        """
        sessions.take(self.connection)
        cursor.execute(
            """
            SELECT c.relname,
                   CASE WHEN c.relispartition THEN 'p'
                        WHEN c.relkind IN ('m', 'v') THEN 'v' ELSE 't' END,
                   pg_catalog.obj_description(c.oid, 'pg_class')
            FROM pg_catalog.pg_class c
            WHERE c.relkind IN ('f', 'm', 'p', 'r', 'v')
              AND c.relnamespace OPERATOR(pg_catalog.<>) ALL (
                  SELECT n.oid FROM pg_catalog.pg_namespace n
                  WHERE n.nspname IN ('pg_catalog', 'pg_toast'))
              AND pg_catalog.pg_table_is_visible(c.oid)
            """
        )
        ignored = self.ignored_tables
        return [introspection.TableInfo(*row) for row in cursor.fetchall() if row[0] not in ignored]


class DatabaseWrapper(base.DatabaseWrapper):
    SchemaEditorClass = DatabaseSchemaEditor
    introspection_class = DatabaseIntrospection

    def init_connection_state(self) -> None:
        super().init_connection_state()
        sessions.settle(self)

    def prepare_database(self) -> None:
        """What `migrate` begins with: its tables belong into ``public``, whatever the role's search_path is."""
        super().prepare_database()
        direct.turn(self)
        self.ensure_connection()
        sessions.take(self)


def foreign_key_name(
    table: Table, column: Columns, to_table: Table, to_column: Columns, **others: Any
) -> str:
    """Drizzle's name for a foreign key. PostgreSQL cuts a longer one to 63 bytes, as for Drizzle."""
    parts = (table.table, *column.columns, to_table.table, *to_column.columns, "fk")
    return "_".join(parts)
