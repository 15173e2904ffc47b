"""Names and texts in SQL. Everything in a contract is in schema public unless it says otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable

from psycopg import sql

PUBLIC = "public"
_WORD = r'"(?:[^"]|"")+"|[^".]+'
_QUALIFIED = re.compile(rf"(?:({_WORD})\.)?({_WORD})")


def name(word: str) -> str:
    """An identifier, always quoted; what a terminal would act on, or a comment end at, is escaped."""
    quoted = sql.Identifier(word).as_string()
    if quoted.isprintable():
        return quoted
    return "U&" + "".join(map(_escaped, quoted.replace("\\", "\\\\")))


def _escaped(character: str) -> str:
    return character if character.isprintable() else f"\\+{ord(character):06x}"


def names(words: Iterable[str]) -> str:
    return ", ".join(map(name, words))


def literal(text: str) -> str:
    quoted = sql.Literal(text).as_string().strip()
    if quoted.isprintable():
        return quoted
    body = text.replace("\\", "\\\\").replace("'", "''")
    return "E'" + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in body) + "'"


def public(word: str) -> str:
    """The thing of this name in schema public, whatever characters the name has."""
    return f"{PUBLIC}.{name(word)}"


def named(*words: str) -> str:
    """A literal that names a thing, for ::regclass and the like, which read no escapes."""
    return literal(sql.Identifier(*words).as_string())


def target(text: str) -> str:
    """The table that a foreign key points at: of a fact, which has the bare name of one in public.

    Only one of another schema, or one with a dot in its name, is there as the server quotes it.
    """
    return printed(text) if "." in text else public(text)


def printed(text: str) -> str:
    """A relation as the server prints it: with its schema, or of schema public without."""
    match = _QUALIFIED.fullmatch(text)
    if match is None:
        return public(text)
    schema, relation = match[1], match[2]
    if schema is None or bare(schema) == PUBLIC:
        return public(bare(relation))
    return sql.Identifier(bare(schema), bare(relation)).as_string()


def bare(word: str) -> str:
    """An identifier without its quotes."""
    return word[1:-1].replace('""', '"') if word.startswith('"') else word


def dollar_quoted(body: str, tag: str) -> str:
    """A body between dollar quotes that do not occur in it."""
    quote = f"${tag}$"
    while quote in body:
        quote = f"{quote[:-1]}_$"
    return f"{quote}{body}{quote}"
