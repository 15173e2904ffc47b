"""Whether two definitions differ only in how a server prints them.

PostgreSQL prints an expression anew from its tree: after a restore casts and parentheses may stand
elsewhere (``varchar IN (...)`` does), PostgreSQL 16 leaves out a column's table where it can, and 17 has a
privilege, MAINTAIN, that older ones have not.
"""

from __future__ import annotations

import re

CAST = re.compile(
    r"::(?:character varying|character|double precision|bit varying|time(?:stamp)?(?:\(\d\))?"
    r' with(?:out)? time zone|"(?:[^"]|"")*"|[\w.]+)(?:\(\d+(?:,\d+)?\))?(?:\[\])*'
)
QUALIFIER = re.compile(r'(?:"(?:[^"]|"")+"|\b[a-zA-Z_]\w*)\.(?=["a-zA-Z_])')
MAINTAIN = re.compile(r"(?<==)([a-zA-Z*]*?)m\*?(?=[a-zA-Z*]*/)")
SPACES = re.compile(r"[\s()]+")
AROUND_MARKS = re.compile(r" ?([^\w ]) ?")


def reduced(definition: str) -> str:
    """A definition without what a server may print otherwise: casts, parentheses, tables of columns. Pure.

    Two definitions that mean different things in just these would be taken for one; that such a difference
    comes from restoring an archive is not to be expected.
    """
    text = MAINTAIN.sub(r"\1", definition)
    text = SPACES.sub(" ", QUALIFIER.sub("", CAST.sub("", text)))
    return AROUND_MARKS.sub(r"\1", text).strip()
