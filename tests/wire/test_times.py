"""Times between the wire and Python."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.errors import ConfigurationError
from dexcmd.wire.times import format_time, parse_time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2019-12-27T18:11:19.117Z", datetime(2019, 12, 27, 18, 11, 19, 117000, tzinfo=UTC)),
        ("2023-10-11 00:00:00+00", datetime(2023, 10, 11, tzinfo=UTC)),
        ("2023-10-11T00:00:00Z", datetime(2023, 10, 11, tzinfo=UTC)),
        ("2023-10-11T02:30:00+02:30", datetime(2023, 10, 11, tzinfo=UTC)),
        ("2023-10-11 00:00:00-05", datetime(2023, 10, 11, 5, tzinfo=UTC)),
        ("2023-10-11T00:00:00.123456789Z", datetime(2023, 10, 11, 0, 0, 0, 123456, tzinfo=UTC)),
        ("2023-10-11T00:00:00.9999999Z", datetime(2023, 10, 11, 0, 0, 0, 999999, tzinfo=UTC)),
        ("2023-10-11T00:00:00.5Z", datetime(2023, 10, 11, 0, 0, 0, 500000, tzinfo=UTC)),
        ("2024-02-29T12:00:00Z", datetime(2024, 2, 29, 12, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_parse(text: str, expected: datetime):
    found = parse_time(text)
    assert found == expected
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2023-10-11",
        "2023-10-11T00:00:00",
        "2023-10-11 00:00:00.5",
        "2023-02-29T00:00:00Z",
        "2023-10-11T25:00:00Z",
        "1697000000",
        "Wed, 11 Oct 2023 00:00:00 GMT",
        "2023-10-11T00:00:00ZZ",
        " 2023-10-11T00:00:00Z",
        "\ud800",
    ],
)
def test_parse_refuses(text: str):
    with pytest.raises(ValueError):
        parse_time(text)


def test_a_time_without_a_zone_is_refused_for_that():
    with pytest.raises(ValueError, match="'2023-10-11T00:00:00' has no time zone"):
        parse_time("2023-10-11T00:00:00")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), "2026-01-02T03:04:05.000678Z"),
        (
            datetime(2026, 1, 2, 0, 30, tzinfo=timezone(timedelta(hours=1), "CET")),
            "2026-01-01T23:30:00Z",
        ),
        (datetime(800, 1, 1, tzinfo=UTC), "0800-01-01T00:00:00Z"),
    ],
)
def test_format(value: datetime, expected: str):
    assert format_time("since", value) == expected


class NoOffset(tzinfo):
    """A zone that doesn't know its offset: such a datetime is naive all the same."""

    def utcoffset(self, _: datetime | None) -> timedelta | None:
        return None

    def tzname(self, _: datetime | None) -> str | None:
        return None

    def dst(self, _: datetime | None) -> timedelta | None:
        return None


@pytest.mark.parametrize("zone", [None, NoOffset()])
def test_naive_times_are_refused(zone: tzinfo | None):
    with pytest.raises(ConfigurationError, match="since must be timezone-aware: 2026-01-02T00:00:00 has no"):
        format_time("since", datetime(2026, 1, 2, tzinfo=zone))


@pytest.mark.parametrize("value", ["2026-01-01T00:00:00Z", 1767225600, None, datetime(2026, 1, 1).date()])  # noqa: DTZ001
def test_what_is_no_datetime_is_refused(value: object):
    with pytest.raises(ConfigurationError, match=f"until must be a datetime, not {type(value).__name__}"):
        format_time("until", value)


zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@settings(deadline=None, max_examples=200)
@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=zones))  # noqa: DTZ001
def test_what_is_sent_can_be_read_back(value: datetime):
    text = format_time("since", value)
    assert text.endswith("Z")
    assert text.isascii()
    assert "+" not in text
    assert parse_time(text) == value
    assert parse_time(value.isoformat(sep=" ")) == value
