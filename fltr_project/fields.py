"""The column types and defaults of the contract that Django has no field for."""

from __future__ import annotations

import datetime
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func


class UtcTimestampField(models.DateTimeField):  # type: ignore[type-arg]
    """``timestamp without time zone`` that holds UTC; in Python an aware UTC datetime.

    The other clients of the table declare `timestamp`; with `timestamptz` they read dates hours off
    in a session outside UTC.

    For Django's current time zone UTC, which this project has: under ``timezone.override`` the
    lookups that cut dates (``__date``, ``TruncDay``) would move a `timestamp` the wrong way.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "timestamp"

    def from_db_value(self, value: datetime.datetime | None, *_: Any) -> datetime.datetime | None:
        # Django's timestamptz columns arrive aware; this type's values arrive naive.
        return None if value is None else value.replace(tzinfo=datetime.UTC)

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> Any:
        value = super().get_db_prep_value(value, connection, prepared)
        if isinstance(value, datetime.datetime) and value.tzinfo is not None:
            # Sent aware, the server would convert it with the session's TimeZone.
            return value.astimezone(datetime.UTC).replace(tzinfo=None)
        return value


class TextKeyField(models.TextField):  # type: ignore[type-arg]
    """A ``text`` primary key without the second, ``text_pattern_ops`` index of Django's TextField.

    Nobody searches keys by prefix, and each index costs every insert. The schema editor adds it
    where the type's name starts with "text"; the qualified name is the same type.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "pg_catalog.text"


class SerialField(models.AutoField):  # type: ignore[type-arg]
    """``serial``, as Drizzle declares it: Django's AutoField is an identity column."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "serial"

    def db_type_suffix(self, connection: BaseDatabaseWrapper) -> None:
        return None

    def rel_db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "integer"


class Index(models.Index):
    """An index whose name may be as long as PostgreSQL allows: Django stops at Oracle's 30."""

    max_name_length = 63


class UtcNow(Func):
    """The transaction's time as a UTC ``timestamp``, whatever the session's TimeZone is."""

    template = "timezone('utc', now())"
    output_field = UtcTimestampField()
    arity = 0


class OneOf(Func):
    """A text column that holds a word of a constant array: ``OneOf("type", Value("{a,b}"))``.

    ``__in`` builds the array of its parts for every statement that checks it, at twice the price.
    """

    arity = 2
    arg_joiner = " = ANY ("
    template = "%(expressions)s::text[])"
    output_field = models.BooleanField()


class NewTextUuid(Func):
    """A random uuid as ``text``."""

    template = "gen_random_uuid()::text"
    output_field = models.TextField()
    arity = 0


class NewTimeOrderedId(Func):
    """A uuid v7 as ``text``, from this project's function: PostgreSQL has its own from 18 on."""

    template = "uuid7_text()"
    output_field = models.TextField()
    arity = 0


class Timestamped(models.Model):
    """``created_at`` and ``updated_at`` as every table of the contract but a few has them."""

    created_at = UtcTimestampField(db_default=UtcNow(), editable=False)
    updated_at = UtcTimestampField(db_default=UtcNow(), auto_now=True)

    class Meta:
        abstract = True
