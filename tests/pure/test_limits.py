"""How slow a download may be."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.errors import ConfigurationError
from dexcmd.transfer.limits import DownloadLimits, StallMeter

LIMITS = DownloadLimits(stall_seconds=10.0, stall_bytes_per_second=100.0)


def test_defaults():
    assert DownloadLimits() == DownloadLimits(
        total_seconds=21_600.0, stall_seconds=30.0, stall_bytes_per_second=1_000.0
    )


@pytest.mark.parametrize("name", ["total_seconds", "stall_seconds", "stall_bytes_per_second"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "5", None, True])
def test_bounds_are_above_zero(name: str, value: Any):
    with pytest.raises(ConfigurationError, match=name):
        DownloadLimits(**{name: value})


class TestStallMeter:
    @pytest.mark.parametrize(
        ("chunks", "stalled"),
        [
            ([(10.0, 1000)], [False]),
            ([(10.0, 999)], [True]),
            ([(9.9, 0), (0.2, 0)], [False, True]),
            ([(9.9, 0), (0.1, 1000)], [False, False]),
            ([(5.0, 0), (5.0, 0)], [False, True]),
            ([(100.0, 9_999)], [True]),
            ([(100.0, 10_000)], [False]),
            # A burst does not excuse what comes after it.
            ([(10.0, 10**9), (10.0, 0)], [False, True]),
            ([(0.0, 1)] * 3, [False] * 3),
        ],
    )
    def test_table(self, chunks: list[tuple[float, int]], stalled: list[bool]):
        meter = StallMeter(LIMITS)
        assert [meter.stalled(seconds, size) for seconds, size in chunks] == stalled

    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.floats(0.001, 20.0), min_size=1, max_size=100))
    def test_what_comes_at_twice_the_rate_is_never_given_up(self, waits: list[float]):
        meter = StallMeter(LIMITS)
        assert not any(meter.stalled(seconds, int(seconds * 200) + 1) for seconds in waits)

    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.floats(0.001, 9.0), min_size=1, max_size=100))
    def test_what_comes_at_half_the_rate_is_given_up_in_time(self, waits: list[float]):
        meter, passed = StallMeter(LIMITS), 0.0
        for seconds in waits:
            passed += seconds
            if meter.stalled(seconds, int(seconds * 50)):
                break
        assert passed < 10.0 + 9.0
