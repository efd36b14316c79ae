"""Amounts as people are told them."""

import pytest

from dexcmd.amounts import counted, size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (0.4, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (999.96, "1.0 kB"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (2.5e6, "2.5 MB"),
        (3e9, "3.0 GB"),
        (4.2e15, "4200.0 TB"),
    ],
)
def test_sizes(size: float, text: str):
    assert size_text(size) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 rows"), (1, "1 row"), (4990, "4,990 rows")])
def test_numbers_of_things(number: int, text: str):
    assert counted(number, "row") == text
