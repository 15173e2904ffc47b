from __future__ import annotations

import pytest

from fltr_project import words
from fltr_project.catalog.facts import KINDS


@pytest.mark.parametrize(
    ("count", "plural", "said"),
    [
        (0, "rows", "0 rows"),
        (1, "rows", "1 row"),
        (2, "rows", "2 rows"),
        (1234567, "rows", "1,234,567 rows"),
        (1, "foreign keys", "1 foreign key"),
        (1, "indexes", "1 index"),
        (1, "policies", "1 policy"),
        (1, "operator classes", "1 operator class"),
    ],
)
def test_a_number_agrees_with_its_noun(count: int, plural: str, said: str) -> None:
    assert words.counted(count, plural) == said


def test_an_estimate_says_so() -> None:
    assert words.counted(2000, "rows", exact=False) == "about 2,000 rows"


def test_every_kind_of_thing_has_its_singular() -> None:
    assert [words.singular(kind.plural) for kind in KINDS] == [kind.kind for kind in KINDS]


def test_rows_that_nobody_would_miss_are_told_apart() -> None:
    assert words.rows(5, 5) == "5 rows"
    assert words.rows(1, 0) == "1 row, none of them the product's"
