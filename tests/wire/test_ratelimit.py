"""`Ratelimit` and `Retry-After`, in every form that they have and some that they don't."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.wire.ratelimit import LONGEST_RESET, Allowance, parse_ratelimit, parse_retry_after

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"default";r=50;t=30', Allowance(50, 30.0)),
        ('"default"; r=50 ; t = 30', Allowance(50, 30.0)),
        ('"default";t=30;r=0', Allowance(0, 30.0)),
        ('"default";r=0;t=0', Allowance(0, 0.0)),
        ('"a";r=50;t=30, "b";r=7;t=3', Allowance(7, 3.0)),
        ('"a";r=7;t=3,"b";r=7;t=30', Allowance(7, 30.0)),
        ('"a";r=7;t=30,"b";r=7;t=3', Allowance(7, 30.0)),
        ('"a";r=50,"b";t=30', None),
        ('"a";r=1,"b";r=50;t=30', Allowance(50, 30.0)),
        ('"default";r=50;t=30;pk=:abc:', Allowance(50, 30.0)),
        ('"default";r=0;t=3601', Allowance(0, 3600.0)),
        ('"default";r=0;t=999999999', Allowance(0, 3600.0)),
        ("", None),
        ("limit=100, remaining=50, reset=30", None),
        ('"default";r=-1;t=30', None),
        ('"default";r=1.5;t=30', None),
        ('"default";r=50;t=30.5', None),
        ('"default";r=5000000000000;t=30', None),
        ('"default";r="50";t="30"', None),
        ("garbage;;;=,,,;r=;t=", None),
    ],
)
def test_ratelimit(value: str, expected: Allowance | None):
    assert parse_ratelimit(value) == expected


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=60) | st.text(alphabet='"default";r=t0159, .', max_size=60))
def test_a_ratelimit_header_never_fails(value: str):
    found = parse_ratelimit(value)
    assert found is None or (found.remaining >= 0 and 0 <= found.reset_after <= LONGEST_RESET)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(0, 10**9 - 1), st.integers(0, 4000) | st.integers(0, 10**9 - 1)),
        min_size=1,
        max_size=5,
    )
)
def test_of_several_limits_the_tightest_counts(limits: list[tuple[int, int]]):
    header = ", ".join(f'"l{index}";r={r};t={t}' for index, (r, t) in enumerate(limits))
    found = parse_ratelimit(header)
    fewest = min(r for r, _ in limits)
    latest = max(t for r, t in limits if r == fewest)
    assert found == Allowance(fewest, min(float(latest), LONGEST_RESET))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("300", 300.0),
        (" 300 ", 300.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("-5", 0.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("-inf", None),
        ("1e400", None),
        ("Thu, 01 Jan 2026 12:01:40 GMT", 100.0),
        ("Thu, 01 Jan 2026 13:01:40 +0100", 100.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("Thu, 01 Jan 2026 12:01:40 -0000", 100.0),
        ("Thu Jan  1 12:01:40 2026", 100.0),
        ("Thu, 01 Jan 2026", None),
        ("Thu, 32 Jan 2026 12:00:00 GMT", None),
        ("Thursday, 01-Jan-26 12:01:40 GMT", 100.0),
    ],
)
def test_retry_after(value: str, expected: float | None):
    assert parse_retry_after({"Retry-After": value}, NOW) == expected


def test_no_retry_after():
    assert parse_retry_after({}, NOW) is None


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 400_000))
def test_both_forms_of_retry_after_say_the_same(seconds: int):
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert parse_retry_after({"Retry-After": date}, NOW) == float(seconds)
    assert parse_retry_after({"Retry-After": str(seconds)}, NOW) == float(seconds)


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=40) | st.floats().map(str))
def test_retry_after_is_never_negative_nor_infinite(value: str):
    found = parse_retry_after({"Retry-After": value}, NOW)
    assert found is None or (found >= 0 and math.isfinite(found))
