"""How numbers of things are told to a person."""

from __future__ import annotations

# What ends a plural, and its singular; the first that fits.
ENDINGS = (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("s", ""))


def counted(count: int, plural: str, *, exact: bool = True) -> str:
    """A number with its noun, which is given in the plural: `1 row`, `about 2,000 rows`."""
    return f"{'' if exact else 'about '}{count:,} {noun(count, plural)}"


def noun(count: int, plural: str) -> str:
    """The noun alone, as it stands after the number."""
    return singular(plural) if count == 1 else plural


def singular(plural: str) -> str:
    for ending, one in ENDINGS:
        if plural.endswith(ending):
            return plural.removesuffix(ending) + one
    return plural


def rows(total: int, product: int, *, exact: bool = True) -> str:
    """All rows, and how many of them are the product's, where that is not the same number.

    The others are the records of what migrations ran, and rows of other schemas than ``public``.
    """
    every = counted(total, "rows", exact=exact)
    if total == product:
        return every
    return f"{every}, {f'{product:,}' if product else 'none'} of them the product's"
