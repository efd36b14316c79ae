"""What time it is for the service, as far as its answers tell."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.wire.service_clock import ServiceClock

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def told(at: datetime) -> dict[str, str]:
    return {"Date": format_datetime(at, usegmt=True)}


def test_it_knows_nothing_at_first():
    assert ServiceClock().at(0.0) is None


@pytest.mark.parametrize(("moment", "seconds"), [(100.0, 0), (101.5, 1.5), (40.0, -60), (3700.0, 3600)])
def test_before_and_after_an_answer(moment: float, seconds: float):
    clock = ServiceClock()
    clock.learn(told(NOON), 100.0)
    assert clock.at(moment) == NOON + timedelta(seconds=seconds)


def test_the_last_answer_counts():
    clock = ServiceClock()
    clock.learn(told(NOON), 0.0)
    clock.learn(told(NOON + timedelta(minutes=5)), 10.0)
    assert clock.at(10.0) == NOON + timedelta(minutes=5)


@pytest.mark.parametrize("headers", [{}, {"Date": ""}, {"Date": "now"}])
def test_an_answer_that_does_not_tell_changes_nothing(headers: dict[str, str]):
    clock = ServiceClock()
    clock.learn(headers, 0.0)
    assert clock.at(0.0) is None
    clock.learn(told(NOON), 1.0)
    clock.learn(headers, 50.0)
    assert clock.at(1.0) == NOON


@pytest.mark.parametrize("moment", [1e15, -1e15])
def test_beyond_all_time(moment: float):
    clock = ServiceClock()
    clock.learn(told(NOON), 0.0)
    assert clock.at(moment) is None


@settings(deadline=None, max_examples=100)
@given(offset=st.floats(0, 10**6), way=st.floats(0, 5), later=st.floats(0, 10**5))
def test_it_is_never_ahead_and_at_most_a_second_and_the_way_behind(offset: float, way: float, later: float):
    """The service's clock shows `offset` seconds after noon when it answers, in whole seconds."""
    clock = ServiceClock()
    clock.learn(told((NOON + timedelta(seconds=offset)).replace(microsecond=0)), 50.0 + way)
    true = NOON + timedelta(seconds=offset + way + later)
    shown = clock.at(50.0 + way + later)
    assert shown is not None
    slack = timedelta(milliseconds=1)
    assert true - timedelta(seconds=1 + way) - slack <= shown <= true + slack
