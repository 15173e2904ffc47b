"""Drizzle's migrations folder, and the record that its migrations have been applied: Django has built the tables.

A Next.js build runs `drizzle-kit migrate`, which applies every migration of the folder that is newer than the newest
in the record ``__drizzle_migrations``, and never looks at the tables. So nothing is recorded whose tables and
columns the database lacks: Drizzle would pass over it for ever.
"""
