"""What a campaign will take."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexcmd import Pcap, RateLimit, SpeedTest, WarpDiag
from dexcmd.campaign.forecast import (
    Requests,
    least_seconds,
    quota_forecast,
    request_forecast,
    size_forecast,
)
from dexcmd.resources.quota import Quota
from dexcmd.resources.requests import CommandArgs
from dexcmd.wire.window import Window

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 1, 2, tzinfo=UTC)


def quota(limit: int | None, used: int | None, reset: datetime | None = MIDNIGHT) -> Quota:
    return Quota(quota=limit, quota_usage=used, reset_time=reset)


class TestQuota:
    @pytest.mark.parametrize(
        ("commands", "used", "leave", "today", "per_day", "days", "last_reset"),
        [
            (0, 0, 0, 100, 100, 0, None),
            (100, 0, 0, 100, 100, 1, None),
            (101, 0, 0, 100, 100, 2, MIDNIGHT),
            (201, 0, 0, 100, 100, 3, MIDNIGHT + timedelta(days=1)),
            (200, 0, 0, 100, 100, 2, MIDNIGHT),
            (100, 100, 0, 0, 100, 1, MIDNIGHT),
            (100, 90, 20, 0, 80, 2, MIDNIGHT + timedelta(days=1)),
            (100, 30, 20, 50, 80, 2, MIDNIGHT),
            (5, 0, 100, 0, 0, None, None),
            (0, 0, 100, 0, 0, 0, None),
            (5, 0, 200, 0, 0, None, None),
            (100, 130, 0, 0, 100, 1, MIDNIGHT),
        ],
    )
    def test_days(
        self,
        commands: int,
        used: int,
        leave: int,
        today: int,
        per_day: int,
        days: int | None,
        last_reset: datetime | None,
    ):
        told = quota_forecast(commands, quota(100, used), leave=leave, now=NOON, deadline=None)
        assert (told.quota, told.usage, told.reset_time) == (100, used, MIDNIGHT)
        assert (told.today, told.per_day, told.days, told.last_reset, told.late) == (
            today,
            per_day,
            days,
            last_reset,
            0,
        )

    @pytest.mark.parametrize("answer", [quota(None, None), quota(100, None), quota(None, 5)])
    def test_what_is_not_told(self, answer: Quota):
        told = quota_forecast(5, answer, leave=0, now=NOON, deadline=MIDNIGHT)
        assert (told.today, told.days, told.last_reset, told.late) == (None, None, None, 0)

    def test_a_reset_that_is_not_told(self):
        told = quota_forecast(150, quota(100, 0, None), leave=0, now=NOON, deadline=MIDNIGHT)
        assert (told.days, told.last_reset, told.late) == (2, None, 50)

    def test_a_reset_at_the_end_of_the_calendar(self):
        told = quota_forecast(350, quota(100, 0, datetime.max.replace(tzinfo=UTC)), leave=0, now=NOON, deadline=None)
        assert (told.days, told.last_reset) == (4, None)

    @pytest.mark.parametrize(
        ("deadline", "late"),
        [
            (NOON - timedelta(seconds=1), 250),
            (NOON, 250),
            (NOON + timedelta(seconds=1), 150),
            (MIDNIGHT, 150),
            (MIDNIGHT + timedelta(seconds=1), 50),
            (MIDNIGHT + timedelta(days=1), 50),
            (MIDNIGHT + timedelta(days=1, seconds=1), 0),
        ],
    )
    def test_what_the_deadline_leaves_out(self, deadline: datetime, late: int):
        assert quota_forecast(250, quota(100, 0), leave=0, now=NOON, deadline=deadline).late == late


class TestRequests:
    @given(
        st.lists(st.integers(1, 60), max_size=4),
        st.integers(0, 40),
        st.integers(1, 40),
    )
    def test_as_if_created_one_by_one(self, waves: list[int], today: int, per_day: int):
        posts = 0
        room, in_post = today, 0
        for wave in waves:
            in_post = 0
            for _ in range(wave):
                if not room:
                    room, in_post = per_day, 0
                if in_post == 0:
                    posts += 1
                room -= 1
                in_post = (in_post + 1) % 10
        told = quota_forecast(
            sum(waves), quota(per_day, per_day - min(today, per_day)), leave=0, now=NOON, deadline=None
        )
        if today <= per_day:
            assert request_forecast(waves, told).create == posts
        assert request_forecast(waves, told).download == sum(waves)

    def test_all_of_them(self):
        told = quota_forecast(120, quota(100, 0), leave=0, now=NOON, deadline=None)
        requests = request_forecast((5, 115), told, planning=3)
        # Five; 95 more today, and 20 tomorrow.
        pages = 1 + 2 + 1
        assert requests == Requests(
            planning=3, create=1 + 10 + 2, download=120, polls=2 * pages, most_polls=8 * pages, audit=4
        )
        assert (requests.total, requests.most) == (3 + 13 + 120 + 8 + 4, 3 + 13 + 120 + 32 + 4)
        assert requests + requests == Requests(planning=6, create=26, download=240, polls=16, most_polls=64, audit=8)

    @pytest.mark.parametrize("answer", [quota(None, None), quota(20, 20)])
    def test_without_a_quota_that_could_be_counted(self, answer: Quota):
        told = quota_forecast(25, answer, leave=20, now=NOON, deadline=None)
        assert request_forecast((5, 20), told).create == 3

    def test_nothing_to_do(self):
        told = quota_forecast(0, quota(100, 0), leave=0, now=NOON, deadline=None)
        assert request_forecast((), told, planning=2) == Requests(planning=2)


class TestTime:
    @pytest.mark.parametrize(
        ("requests", "seconds"),
        [(0, 0.0), (1, 0.0), (200, 0.0), (201, 1.0), (1200, 5.0), (1201, 300.0), (2500, 600.0)],
    )
    def test_least_seconds(self, requests: int, seconds: float):
        assert least_seconds(requests, RateLimit()) == seconds

    @given(st.integers(1, 200), st.integers(1, 30), st.integers(1, 10))
    def test_it_is_what_the_windows_allow(self, requests: int, limit: int, per_second: int):
        slow, fast = Window(), Window()
        now = 0.0
        for _ in range(requests):
            now = max(slow.earliest(now, limit, 60.0), fast.earliest(now, per_second, 1.0))
            slow.send(now, 60.0)
            fast.send(now, 1.0)
        # Within a window seconds may overlap with those of the one before, so it is a bound from below.
        told = least_seconds(requests, RateLimit(requests=limit, seconds=60.0, per_second=per_second))
        assert told <= now
        assert now - told < 60.0


class TestSize:
    def test_what_the_journal_knows(self):
        told = size_forecast(Pcap(max_file_size_mb=1), 10, 3, 1234.56)
        assert (told.kind, told.each, told.total, told.n) == ("mean", 1234.56, 12346, 3)

    @pytest.mark.parametrize(("args", "each"), [(Pcap(), 5e6), (Pcap(max_file_size_mb=1.5), 1.5e6)])
    def test_what_the_args_allow(self, args: Pcap, each: float):
        told = size_forecast(args, 10, 0, 0.0)
        assert (told.kind, told.each, told.total, told.n) == ("at_most", each, 10 * each, 0)

    @pytest.mark.parametrize("args", [WarpDiag(), SpeedTest()])
    def test_what_nobody_knows(self, args: CommandArgs):
        told = size_forecast(args, 10, 0, 0.0)
        assert (told.kind, told.each, told.total) == ("unknown", None, None)
