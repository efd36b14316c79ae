"""Rows read a column at a time: what comes of that is what cattrs makes of each, or nothing."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs
import pytest
from cattrs.gen import make_dict_structure_fn, override
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.resources.command import Command
from dexcmd.wire.columns import Columns, each, only, times
from dexcmd.wire.converter import strict_converter


@attrs.frozen(kw_only=True)
class Row:
    """A model with a field of each sort."""

    must: str
    may: str | None = None
    number: int = 7
    flag: bool | None = None
    nullable: str | None
    when: datetime | None = None
    pairs: Mapping[str, str] | None = attrs.field(default=None, hash=False)

    @property
    def both(self) -> str:
        """Return what must be there, twice."""
        return self.must * 2


NAMES = {"must": "mustBe", "when": "whenWasIt"}


def pairs(value: object, _: object) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise TypeError
    return {str(name): str(item) for name, item in value.items()}


READERS: Mapping[Any, Any] = {
    str: only(str),
    str | None: only(str, type(None)),
    int: only(int),
    bool | None: only(bool, type(None)),
    datetime | None: times,
    Mapping[str, str] | None: each(pairs),
}

COLUMNS = Columns(Row, NAMES, READERS)

PLAIN: dict[str, object] = {"mustBe": "a", "nullable": None, "number": 5}


def one_by_one(row: object) -> Row:
    converter = strict_converter()
    rename = {field: override(rename=name) for field, name in NAMES.items()}
    return make_dict_structure_fn(Row, converter, **rename)(row, Row)


def a_field(*good: object) -> st.SearchStrategy[object]:
    return st.sampled_from([*good, *good, *good, None, 5, 5.0, True, "", {}, []])


rows = st.fixed_dictionaries(
    {"mustBe": a_field("a", "b"), "nullable": a_field("x", None), "number": a_field(1, -(10**30))},
    optional={
        "may": a_field("a"),
        "flag": a_field(True, False),
        "whenWasIt": a_field("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05+02:00", "2026-01-02 00:00:00+00"),
        "pairs": a_field({"a": "b"}),
        "must": a_field("not this one"),
        "unknown": a_field(),
    },
)


@settings(deadline=None, max_examples=300)
@given(st.lists(rows, max_size=4))
def test_models_are_what_cattrs_makes_of_the_rows(given_rows: list[dict[str, object]]):
    found = COLUMNS.read(given_rows)
    if found is None:
        assert any(COLUMNS.read([row]) is None for row in given_rows)
        return
    expected = [one_by_one(row) for row in given_rows]
    assert found == expected
    # For 1 equals 1.0 and True.
    assert repr(found) == repr(expected)


def test_models_are_like_those_that_are_made_by_hand():
    found = COLUMNS.read([PLAIN])
    assert found is not None
    row, same = found[0], Row(must="a", nullable=None, number=5)
    assert type(row) is Row
    assert (row, hash(row), repr(row), row.both) == (same, hash(same), repr(same), "aa")
    assert attrs.evolve(row, number=6) == Row(must="a", nullable=None, number=6)
    for change in (lambda: setattr(row, "must", "b"), lambda: delattr(row, "must"), lambda: setattr(row, "more", 1)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            change()
    assert not hasattr(row, "__dict__")


def test_no_rows():
    assert COLUMNS.read([]) == []


@pytest.mark.parametrize(
    "row",
    [
        5,
        None,
        [],
        {},
        {**PLAIN, "mustBe": None},
        {"nullable": "x", "number": 5},
        {"mustBe": "a", "number": 5},
        # Its default is not None: cattrs knows it.
        {"mustBe": "a", "nullable": "x"},
        {**PLAIN, "number": True},
        {**PLAIN, "number": 5.0},
        {**PLAIN, "flag": 0},
        {**PLAIN, "may": b"a"},
        {**PLAIN, "whenWasIt": "2026-01-02T03:04:05"},
        {**PLAIN, "whenWasIt": "0001-01-01T00:00:00+10:00"},
        {**PLAIN, "whenWasIt": 5},
        {**PLAIN, "pairs": []},
    ],
)
def test_one_odd_row_refuses_them_all(row: object):
    assert COLUMNS.read([PLAIN, row, PLAIN]) is None


def test_a_field_that_no_reader_is_for():
    with pytest.raises(KeyError):
        Columns(Command, {}, {})
