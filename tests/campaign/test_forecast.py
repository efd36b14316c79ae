"""What a campaign will take."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexcmd import Pcap, RateLimit, SpeedTest, WarpDiag
from dexcmd.campaign.events import TargetPlanned
from dexcmd.campaign.forecast import (
    QuotaForecast,
    Requests,
    least_seconds,
    quota_forecast,
    request_forecast,
    size_forecast,
)
from dexcmd.campaign.turns import Wave, has_to_wait, wave_of
from dexcmd.resources.quota import Quota
from dexcmd.resources.requests import CommandArgs
from dexcmd.wire.window import Window

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 1, 2, tzinfo=UTC)


def quota(limit: int | None, used: int | None, reset: datetime | None = MIDNIGHT) -> Quota:
    return Quota(quota=limit, quota_usage=used, reset_time=reset)


def forecast(waves: Sequence[int], told: QuotaForecast, *, in_flight: int = 1000, planning: int = 0) -> Requests:
    """Return the requests for waves of devices that have a registration each."""
    parts = [Wave(size=size) for size in waves]
    return request_forecast(parts, told, in_flight=in_flight, planning=planning)


def target(device_id: str, registration_id: str | None, platform: str) -> TargetPlanned:
    return TargetPlanned(
        at=NOON,
        account="a",
        target=1,
        device_id=device_id,
        registration_id=registration_id,
        user_email="a@x.org",
        platform=platform,
    )


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
        assert (told.days, told.last_reset, told.late) == (1, None, 50)

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
        told = quota_forecast(250, quota(100, 0), leave=0, now=NOON, deadline=deadline)
        # What comes too late makes no days.
        assert (told.late, told.days) == (late, -(-(250 - late) // 100))

    def test_a_quota_that_never_suffices_and_a_deadline(self):
        told = quota_forecast(5, quota(20, 20), leave=20, now=NOON, deadline=MIDNIGHT)
        assert (told.late, told.days) == (5, None)


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
        requests = forecast(waves, told)
        if today <= per_day:
            assert requests.create == requests.most_create == posts
        assert requests.download == sum(waves)

    def test_all_of_them(self):
        told = quota_forecast(120, quota(100, 0), leave=0, now=NOON, deadline=None)
        requests = forecast((5, 115), told, planning=3)
        # Five; 95 more today, and 20 tomorrow.
        pages = 1 + 2 + 1
        assert requests == Requests(
            planning=3,
            create=1 + 10 + 2,
            most_create=1 + 10 + 2,
            download=120,
            polls=2 * pages,
            most_polls=12 * pages,
            audit=4,
        )
        assert (requests.total, requests.most) == (3 + 13 + 120 + 8 + 4, 3 + 13 + 120 + 48 + 4)
        assert requests + requests == Requests(
            planning=6, create=26, most_create=26, download=240, polls=16, most_polls=96, audit=8
        )

    @pytest.mark.parametrize("answer", [quota(None, None), quota(20, 20)])
    def test_without_a_quota_that_could_be_counted(self, answer: Quota):
        told = quota_forecast(25, answer, leave=20, now=NOON, deadline=None)
        assert forecast((5, 20), told).create == 3

    def test_nothing_to_do(self):
        told = quota_forecast(0, quota(100, 0), leave=0, now=NOON, deadline=None)
        assert forecast((), told, planning=2) == Requests(planning=2)

    def test_what_comes_too_late_takes_none(self):
        told = quota_forecast(60, quota(100, 70), leave=0, now=NOON, deadline=NOON + timedelta(hours=1))
        requests = forecast((5, 20, 35), told)
        assert (
            requests
            == Requests(create=4, most_create=4, download=30, polls=6, most_polls=36, audit=2)
            == (forecast((5, 20, 5), quota_forecast(30, quota(100, 70), leave=0, now=NOON, deadline=None)))
        )

    @pytest.mark.parametrize(("in_flight", "posts", "pages"), [(1, 60, 60), (9, 7, 7), (30, 6, 2), (1000, 6, 2)])
    def test_what_may_be_in_flight(self, in_flight: int, posts: int, pages: int):
        told = quota_forecast(60, quota(100, 0), leave=0, now=NOON, deadline=None)
        requests = forecast((60,), told, in_flight=in_flight)
        assert (requests.create, requests.most_create) == (posts, posts)
        assert (requests.polls, requests.most_polls) == (2 * pages, 12 * pages)

    def test_targets_that_wait(self):
        told = quota_forecast(34, quota(100, 0), leave=0, now=NOON, deadline=None)
        requests = request_forecast([Wave(size=34, turns=3, waiting=4)], told, in_flight=1000)
        assert (requests.create, requests.most_create) == (4, 3 + 4)
        # Each turn is looked at by itself.
        assert (requests.polls, requests.most_polls) == (2 * 3, 12 * (1 + 4))
        requests = request_forecast([Wave(size=34, turns=5, waiting=4)], told, in_flight=1000)
        assert (requests.create, requests.most_create) == (5, 7)


class TestTurns:
    @pytest.mark.parametrize(
        ("platform", "command_type", "registrations", "turns", "waiting"),
        [
            ("windows", "pcap", ["a"], 1, 0),
            ("windows", "pcap", ["a", "b", "c"], 3, 2),
            ("windows", "warp-diag", ["a", "b", "c"], 1, 0),
            ("mac", "pcap", ["a", "b", "c"], 1, 0),
            ("mac", "pcap", ["a", None, "c"], 2, 2),
            ("mac", "pcap", [None], 1, 0),
        ],
    )
    def test_of_one_device(
        self, platform: str, command_type: str, registrations: list[str | None], turns: int, waiting: int
    ):
        device = [target("d", registration, platform) for registration in registrations]
        other = target("e", "x", platform)
        assert wave_of([*device, other], command_type) == Wave(size=len(device) + 1, turns=turns, waiting=waiting)

    def test_of_some_of_them(self):
        wave = Wave(size=20, turns=4, waiting=6)
        assert wave.first(30) == wave.first(20) == wave
        assert wave.first(18) == Wave(size=18, turns=2, waiting=6)
        assert wave.first(5) == Wave(size=5, turns=1, waiting=4)
        assert wave.first(0) == Wave(size=0, turns=0, waiting=0)
        assert wave_of([], "pcap").size == 0

    @given(
        st.lists(
            st.tuples(st.sampled_from("abcdef"), st.sampled_from([None, "1", "2", "3", "4"])), unique=True, max_size=30
        ),
        st.sampled_from(["windows", "mac"]),
        st.integers(1, 4),
        st.integers(1, 12),
        st.integers(0, 12),
        st.integers(1, 12),
        st.integers(0, 40),
        st.randoms(use_true_random=False),
    )
    def test_the_range_holds_however_devices_end(
        self,
        rows: list[tuple[str, str | None]],
        platform: str,
        waves: int,
        in_flight: int,
        today: int,
        per_day: int,
        days: int,
        random: Random,
    ):
        cuts = sorted(random.randrange(len(rows) + 1) for _ in range(waves - 1))
        parts = [rows[start:end] for start, end in pairwise([0, *cuts, len(rows)])]
        told = QuotaForecast(
            quota=None,
            usage=None,
            reset_time=None,
            today=today,
            per_day=per_day,
            days=None,
            last_reset=None,
            late=max(0, len(rows) - today - days * per_day),
        )
        requests = request_forecast(
            [wave_of([target(*row, platform) for row in part], "pcap") for part in parts], told, in_flight=in_flight
        )
        room, left, posts = today, len(rows) - told.late, 0
        for part in parts:
            pending, begun = list(part), list[tuple[str, str | None]]()
            while pending and left:
                while begun and random.random() < 0.6:
                    begun.remove(random.choice(begun))
                room = room or per_day
                free = in_flight - len(begun)
                post: list[tuple[str, str | None]] = []
                if free >= min(10, in_flight, len(pending)):
                    for device, registration in pending:
                        busy = [other for owner, other in begun if owner == device]
                        if len(post) < min(free, room, 10) and not has_to_wait(registration, platform, "pcap", busy):
                            post.append((device, registration))
                            begun.append((device, registration))
                pending = [row for row in pending if row not in post]
                posts += bool(post)
                room, left = room - len(post), left - len(post)
        assert requests.create <= posts <= requests.most_create
        assert requests.download == len(rows) - told.late


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

    @pytest.mark.parametrize(
        ("megabytes", "targets"), [(1e308, 10), (10**308, 10), (1e302, 10), (10**302, 10), (1e308, 0), (10**308, 0)]
    )
    @pytest.mark.filterwarnings("ignore:max_file_size_mb")
    def test_what_the_args_allow_beyond_all_numbers(self, megabytes: float, targets: int):
        told = size_forecast(Pcap(max_file_size_mb=megabytes), targets, 0, 0.0)
        assert (told.kind, told.each, told.total) == ("unknown", None, None)

    @pytest.mark.parametrize("args", [WarpDiag(), SpeedTest()])
    def test_what_nobody_knows(self, args: CommandArgs):
        told = size_forecast(args, 10, 0, 0.0)
        assert (told.kind, told.each, told.total) == ("unknown", None, None)
