"""Durations as people write them."""

from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dexcmd.campaign.durations import format_duration, parse_duration

READ = {
    "90s": timedelta(seconds=90),
    "15m": timedelta(minutes=15),
    "36h": timedelta(hours=36),
    "7d": timedelta(days=7),
    "1h30m": timedelta(minutes=90),
    "1d2h3m4.5s": timedelta(days=1, hours=2, minutes=3, seconds=4.5),
    "0.000001s": timedelta(microseconds=1),
    " 1H 30M ": timedelta(minutes=90),
    "15 m": timedelta(minutes=15),
    "1w": timedelta(days=7),
    "1.5h": timedelta(minutes=90),
    "0.1d": timedelta(hours=2.4),
    "0.0000001s": timedelta(0),
    "0s": timedelta(0),
}


@pytest.mark.parametrize(("text", "duration"), READ.items())
def test_what_is_read(text: str, duration: timedelta):
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text", ["", " ", "15", "m", "30m1h", "1h1h", "-5s", "5 minutes", "1y", "PT5M", "1 5m", "1. 5s", "1.s", ".5h", "٣s"]
)
def test_what_is_none(text: str):
    with pytest.raises(ValueError, match=r" is not a duration such as 90s, 15m, 36h, 7d or 1h30m$"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["999999999999d", "9" * 5000 + "s"])
def test_what_is_too_long(text: str):
    with pytest.raises(ValueError, match=r"^a duration can't be that long$"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(minutes=15), "15m"),
        (timedelta(hours=36), "1d12h"),
        (timedelta(microseconds=500000), "0.5s"),
        (timedelta(days=1, microseconds=1), "1d0.000001s"),
    ],
)
def test_what_is_written(duration: timedelta, text: str):
    assert format_duration(duration) == text


@given(st.timedeltas(timedelta(0), timedelta.max))
@example(timedelta.max)
def test_what_is_written_is_read_as_the_same(duration: timedelta):
    assert parse_duration(format_duration(duration)) == duration
