"""What is typed and shown: sizes, commands, options, times, durations, rates."""

from datetime import UTC, datetime, timedelta

import pytest

from dexcmd.cli.moments import age_text, duration_text, parse_moment, parse_typed_duration, time_text
from dexcmd.cli.rates import Rate
from dexcmd.cli.texts import command_text, options_text, parse_size

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("500k", 5e5), ("2.5MB", 2.5e6), ("1 GiB", 2**30), ("3g", 3e9), ("7 B", 7), ("1Mi", 2**20)],
)
def test_sizes_that_are_typed(text: str, size: float):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "fast", "-1", "1T", "k", "1e6", "1 2"])
def test_what_is_no_size(text: str):
    with pytest.raises(ValueError, match="write 500k"):
        parse_size(text)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ({}, "pcap"),
        ({"a": True, "b": False, "c": 2.0, "d": 2.5, "e": 3}, "pcap (a yes, b no, c 2, d 2.5, e 3)"),
        ({"interfaces": ["default", "tunnel"]}, "pcap (interfaces default and tunnel)"),
        ({"interfaces": ("tunnel",)}, "pcap (interfaces tunnel)"),
    ],
)
def test_commands(args: dict[str, object], text: str):
    assert command_text("pcap", args) == text


def test_options_are_for_a_shell():
    assert options_text({"--a": None, "--b": 1, "--c": "d e'f"}) == " --b 1 --c 'd e'\"'\"'f'"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("15m", 900),
        ("1.5h", 5400),
        ("1h30m", 5400),
        (" 1 h 30 m ", 5400),
        ("2 D", 172800),
        ("1w", 604800),
    ],
)
def test_durations_that_are_typed(text: str, seconds: float):
    assert parse_typed_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "0", "0s", "-5m", "soon", "5y", "1h-", "9999w", "9" * 400 + "d", "1 5m", "1 .5h", "9 0", "30m1h"]
)
def test_what_is_no_duration(text: str):
    with pytest.raises(ValueError, match=r"is not a duration|must be above 0|can't be that long"):
        parse_typed_duration(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("2h ago", NOW - timedelta(hours=2)),
        ("1d12h", NOW - timedelta(hours=36)),
        ("2026-01-30T09:30Z", datetime(2026, 1, 30, 9, 30, tzinfo=UTC)),
        ("2026-01-30 09:30+02:00", datetime(2026, 1, 30, 7, 30, tzinfo=UTC)),
        # A date alone, or without a zone, is of this machine's.
        ("2026-01-30", datetime(2026, 1, 30).astimezone()),
        ("20260130", datetime(2026, 1, 30).astimezone()),
        ("2026-01-30T09:30", datetime(2026, 1, 30, 9, 30).astimezone()),
    ],
)
def test_times_that_are_typed(text: str, moment: datetime):
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "ago", "0h", "0001-01-01T00:00+14:00"])
def test_what_is_no_time(text: str):
    with pytest.raises(ValueError, match="write 2h"):
        parse_moment(text, NOW)


def test_times_are_shown_in_the_zone_of_this_machine():
    assert time_text(datetime(2026, 1, 30, 9, 30).astimezone().astimezone(UTC)) == "2026-01-30 09:30"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0.4, "0 s"),
        (8, "8 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (7500, "2 h 5 min"),
        (277_200, "3 d 5 h"),
    ],
)
def test_durations(seconds: float, text: str):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3, "0s"), (59, "59s"), (60, "1m"), (3600, "1h"), (172_799, "47h"), (172_800, "2d")]
)
def test_ages(seconds: float, text: str):
    assert age_text(NOW - timedelta(seconds=seconds), NOW) == text


def test_a_rate_is_of_late():
    rate = Rate(seconds=10.0)
    assert rate.per_second == 0.0
    assert rate.seconds_for(1) is None
    rate.note(0, 0.0)
    rate.note(0, 0.0)
    assert rate.per_second == 0.0
    for second in range(1, 101):
        rate.note(second * 5 if second <= 50 else 250 + (second - 50) * 2, float(second))
    assert rate.per_second == pytest.approx(2.0)
    assert rate.seconds_for(10) == pytest.approx(5.0)
    rate.note(0, 101.0)
    assert rate.per_second == 0.0
