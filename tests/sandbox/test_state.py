"""The pure side of the sandbox: fleet, timelines, state, quota, rate limit, switches."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import attrs
import pytest

from dexcmd.clock import ManualClock
from dexcmd.sandbox import (
    Behaviour,
    CommandFilter,
    NewCommand,
    SandboxDevice,
    SandboxState,
    Timeline,
    make_devices,
)
from dexcmd.sandbox.ratelimit import RateLimiter
from dexcmd.sandbox.timeline import plan_timeline

EVERYTHING = CommandFilter()


def device(**changes: object) -> SandboxDevice:
    return attrs.evolve(
        SandboxDevice(device_id="d", registration_id="r", name="LON-LAPTOP-0001", user_email="ada@example.com"),
        **changes,
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def make_state(clock: ManualClock, devices: int = 10, **kwargs: object) -> SandboxState:
    behaviour = kwargs.pop("behaviour", Behaviour.instant())
    return SandboxState(make_devices(devices), clock=clock, behaviour=behaviour, **kwargs)


class TestDevices:
    def test_the_fleet_follows_from_the_seed(self):
        assert make_devices(30, seed=5) == make_devices(30, seed=5)
        assert make_devices(30, seed=5) != make_devices(30, seed=6)

    def test_counts_of_200_are_predictable(self):
        fleet = make_devices(200)
        assert len(fleet) == 200
        rows = Counter(each.device_id for each in fleet)
        assert Counter(rows.values()) == {1: 192, 2: 4}
        assert [each.eligible for each in fleet].count(False) == 4
        assert [each.connected for each in fleet].count(False) == 4
        assert all(each.eligible and each.connected for each in fleet[:192])

    def test_a_name_and_a_person_make_a_device(self):
        ada, bo = (SandboxDevice(name="LON-1", user_email=f"{who}@example.com") for who in ("ada", "bo"))
        assert ada == SandboxDevice(name="LON-1", user_email="ada@example.com")
        assert (ada.platform, ada.eligible, ada.connected) == ("windows", True, True)
        assert ada.device_id == bo.device_id != ada.registration_id
        assert ada.registration_id != bo.registration_id
        assert {UUID(row).version for row in (ada.device_id, ada.registration_id)} == {4}
        assert SandboxDevice(name="LON-2", user_email="ada@example.com").device_id != ada.device_id

    def test_a_fleet_grows(self, clock: ManualClock):
        state = make_state(clock, 2)
        ada = SandboxDevice(name="LON-1", user_email="ada@example.com")
        assert state.add_device(ada) is ada
        bo = state.add_device(SandboxDevice(name="LON-1", user_email="bo@example.com"))
        assert state.devices[2:] == (ada, bo)
        assert state.registrations(ada.device_id) == [ada, bo]
        assert state.listed_devices("lon-1") == [ada, bo]
        with pytest.raises(ValueError, match=r"LON-1 of ada@example\.com is in the fleet already"):
            state.add_device(ada)

    def test_rows_are_told_apart(self):
        fleet = make_devices(500)
        assert len({each.registration_id for each in fleet}) == 500
        assert len({each.user_email for each in fleet}) == 500
        assert {each.platform for each in fleet} == {"windows", "mac", "linux"}
        assert fleet[0].name == "LON-LAPTOP-0001"
        assert all(each.user_email.rpartition("@")[2] in {"example.com", "example.org"} for each in fleet)

    def test_the_ineligible_have_a_reason(self):
        assert all(bool(each.ineligible_reason) is not each.eligible for each in make_devices(300))

    @pytest.mark.parametrize("count", [0, 1, 24])
    def test_small_fleets_are_plain(self, count: int):
        fleet = make_devices(count)
        assert len(fleet) == count
        assert all(each.eligible and each.connected for each in fleet)

    def test_shares_may_use_up_the_fleet(self):
        fleet = make_devices(30, disconnected_share=1.0, ineligible_share=1.0, multi_user_share=1.0)
        assert [each.connected for each in fleet] == [False] * 30
        pairs = make_devices(31, disconnected_share=0, ineligible_share=0, multi_user_share=1.0)
        assert len({each.device_id for each in pairs}) == 16

    @pytest.mark.parametrize(("count", "share", "rows"), [(25, 0.02, 1), (101, 0.02, 3), (200, 0.07, 14)])
    def test_shares_are_rounded_up(self, count: int, share: float, rows: int):
        fleet = make_devices(count, disconnected_share=share)
        assert [each.connected for each in fleet].count(False) == rows

    def test_a_negative_count_is_refused(self):
        with pytest.raises(ValueError, match="negative"):
            make_devices(-1)


class TestTimeline:
    def plan(self, target: SandboxDevice, behaviour: Behaviour, **kwargs: bool) -> Timeline:
        return plan_timeline(1000.0, target, behaviour, random.Random(1), **kwargs)

    def test_states_in_order(self):
        behaviour = Behaviour(pickup_seconds=(1, 1), run_seconds=(2, 2), upload_seconds=(3, 3))
        timeline = self.plan(device(), behaviour)
        states = {seconds: timeline.status(1000.0 + seconds) for seconds in (0, 2.9, 3, 5.9, 6, 1e6)}
        assert states == {
            0: "PENDING_EXEC",
            2.9: "PENDING_EXEC",
            3: "PENDING_UPLOAD",
            5.9: "PENDING_UPLOAD",
            6: "SUCCESS",
            1e6: "SUCCESS",
        }

    def test_durations_lie_in_their_ranges(self):
        behaviour = Behaviour(pickup_seconds=(1, 5), run_seconds=(10, 20), upload_seconds=(100, 200))
        for seed in range(50):
            timeline = plan_timeline(0.0, device(), behaviour, random.Random(seed))
            assert 11 <= timeline.executed <= 25
            assert 100 <= timeline.finished - timeline.executed <= 200

    def test_a_disconnected_device_times_out(self):
        timeline = self.plan(device(connected=False), Behaviour())
        assert timeline.status(1599.9) == "PENDING_EXEC"
        assert timeline.status(1600.0) == "FAILED"
        assert not timeline.uploaded
        assert self.plan(device(connected=False), Behaviour(disconnected_timeout=30.0)).finished == 1030.0

    def test_a_busy_device_fails_at_once(self):
        assert self.plan(device(), Behaviour(), busy=True).status(1000.0) == "FAILED"

    @pytest.mark.parametrize(
        ("switch", "status", "uploaded"),
        [("failed", "FAILED", False), ("no-file", "SUCCESS", False), ("uploaded", "SUCCESS", True)],
    )
    def test_an_oversized_capture(self, switch: str, status: str, uploaded: bool):
        timeline = self.plan(device(), Behaviour.instant(oversized_capture=switch), oversized=True)
        assert timeline.status(1000.0) == status
        assert timeline.uploaded is uploaded

    @pytest.mark.parametrize(("switch", "status"), [("failed", "FAILED"), ("no-file", "SUCCESS")])
    def test_what_is_not_uploaded_is_never_pending_upload(self, switch: str, status: str):
        behaviour = Behaviour(run_seconds=(9, 9), pickup_seconds=(1, 1), oversized_capture=switch)
        timeline = self.plan(device(), behaviour, oversized=True)
        assert (timeline.status(1009.9), timeline.status(1010.0)) == ("PENDING_EXEC", status)

    @pytest.mark.parametrize("switch", ["failed", "no-file", "uploaded"])
    def test_an_oversized_capture_fails_like_any_other(self, switch: str):
        behaviour = Behaviour.instant(oversized_capture=switch, failure_rate=1.0)
        assert self.plan(device(), behaviour, oversized=True).status(1000.0) == "FAILED"

    def test_failure_rate(self):
        rng = random.Random(3)
        behaviour = Behaviour.instant(failure_rate=0.25)
        plans = [plan_timeline(0.0, device(), behaviour, rng) for _ in range(2000)]
        failed = [each for each in plans if each.status(0.0) == "FAILED"]
        assert 430 < len(failed) < 570
        assert not any(each.uploaded for each in failed)

    def test_one_fate_does_not_shift_the_others(self):
        fates = []
        for first in (device(), device(connected=False)):
            rng = random.Random(9)
            plan_timeline(0.0, first, Behaviour(), rng)
            fates.append(plan_timeline(0.0, device(), Behaviour(), rng))
        assert fates[0] == fates[1]


class TestCommands:
    def test_ids_follow_from_the_seed(self, clock: ManualClock):
        ids = []
        for seed in (1, 1, 2):
            state = make_state(clock, seed=seed)
            ids.append(state.create(NewCommand(state.devices[0], "pcap")).id)
        assert ids[0] == ids[1] != ids[2]

    def test_created_is_to_the_millisecond_and_never_goes_back(self, clock: ManualClock):
        state = make_state(clock)
        clock.advance(0.123456)
        first = state.create(NewCommand(state.devices[0], "pcap"))
        assert first.created.microsecond == 123000
        clock.advance(-3)
        assert state.create(NewCommand(state.devices[0], "pcap")).created == first.created

    def test_the_mapping_is_in_creation_order_and_read_only(self, clock: ManualClock):
        state = make_state(clock)
        made = [state.create(NewCommand(each, "pcap")).id for each in state.devices[:5]]
        assert list(state.commands) == made
        with pytest.raises(TypeError):
            state.commands["x"] = state.commands[made[0]]

    def test_windows_devices_do_one_capture_at_a_time(self, clock: ManualClock):
        behaviour = Behaviour(pickup_seconds=(5, 5), run_seconds=(5, 5), upload_seconds=(5, 5))
        state = make_state(clock, behaviour=behaviour)
        windows, mac = state.devices[0], state.devices[1]
        assert (windows.platform, mac.platform) == ("windows", "mac")
        now = state.now().timestamp()

        def create(target: SandboxDevice, kind: str = "pcap") -> str:
            return state.create(NewCommand(target, kind)).timeline.status(state.now().timestamp())

        assert create(windows) == "PENDING_EXEC"
        assert create(windows) == "FAILED"
        assert create(windows, "warp-diag") == "PENDING_EXEC"
        assert create(mac) == create(mac) == "PENDING_EXEC"
        clock.advance(10)
        assert create(windows) == "PENDING_EXEC"
        state.behaviour = attrs.evolve(behaviour, exclusive_windows_captures=False)
        assert create(windows) == "PENDING_EXEC"
        assert state.now().timestamp() == now + 10

    def test_a_windows_device_that_does_something_else_takes_a_capture(self, clock: ManualClock):
        behaviour = Behaviour(pickup_seconds=(5, 5), run_seconds=(5, 5), upload_seconds=(5, 5))
        state = make_state(clock, behaviour=behaviour)
        for kind in ("warp-diag", "pcap"):
            created = state.create(NewCommand(state.devices[0], kind))
            assert created.timeline.status(created.created_at) == "PENDING_EXEC"

    def test_a_capture_of_just_the_size_that_it_may_have_is_uploaded(self, clock: ManualClock):
        for size, uploaded in ((6_000_000, True), (6_000_001, False)):
            state = make_state(clock, artifact_size=size)
            capture = state.create(NewCommand(state.devices[0], "pcap", {"max-file-size-mb": 6}))
            assert capture.timeline.uploaded is uploaded

    def test_a_capture_may_have_five_megabytes_unless_told_otherwise(self, clock: ManualClock):
        state = make_state(clock, artifact_size=5_000_000)
        assert state.create(NewCommand(state.devices[0], "pcap")).timeline.uploaded

    def test_size_from_a_function_of_the_row(self, clock: ManualClock):
        rows = []

        def size(row: dict[str, object]) -> int | None:
            rows.append(row)
            return {"pcap": 5_000_001, "warp-diag": None}[row["type"]]

        state = make_state(clock, artifact_size=size)
        capture = state.create(NewCommand(state.devices[0], "pcap", {"max-file-size-mb": 6}))
        assert capture.size == 5_000_001
        assert capture.timeline.succeeded
        assert not state.create(NewCommand(state.devices[1], "pcap")).timeline.succeeded
        assert state.create(NewCommand(state.devices[1], "warp-diag")).size is None
        assert rows[0] == {
            "id": capture.id,
            "type": "pcap",
            "device_id": state.devices[0].device_id,
            "registration_id": state.devices[0].registration_id,
            "user_email": state.devices[0].user_email,
            "created_date": capture.created,
            "args": {"max-file-size-mb": 6},
        }

    def test_revise(self, clock: ManualClock):
        state = make_state(clock)
        command = state.create(NewCommand(state.devices[0], "pcap"))
        state.revise(command.id)
        assert command.revision == 1


class TestPages:
    @pytest.fixture
    def state(self, clock: ManualClock) -> SandboxState:
        state = make_state(clock)
        for number in range(100):
            kind = "pcap" if number % 2 else "warp-diag"
            state.create(NewCommand(state.devices[number % 10], kind))
            clock.advance(1)
        return state

    def ids(self, state: SandboxState) -> list[str]:
        return list(state.commands)[::-1]

    def test_newest_first(self, state: SandboxState):
        walked = [each.id for page in (1, 2, 3, 4) for each in state.page(EVERYTHING, page, 30)]
        assert walked == self.ids(state)
        assert state.page(EVERYTHING, 5, 30) == []
        assert state.count(EVERYTHING) == 100

    def test_times_are_inclusive(self, state: SandboxState):
        commands = list(state.commands.values())
        wanted = CommandFilter(since=commands[10].created, until=commands[19].created)
        assert [each.id for each in state.page(wanted, 1, 50)] == self.ids(state)[80:90]
        assert [each.id for each in state.page(wanted, 2, 6)] == self.ids(state)[86:90]
        assert state.count(wanted) == 10
        assert state.count(CommandFilter(since=commands[19].created, until=commands[10].created)) == 0

    @pytest.mark.parametrize(
        ("wanted", "count"),
        [
            (CommandFilter(command_type="pcap"), 50),
            (CommandFilter(status="SUCCESS"), 100),
            (CommandFilter(status="FAILED"), 0),
            (CommandFilter(device_id="nobody"), 0),
        ],
    )
    def test_filters(self, state: SandboxState, wanted: CommandFilter, count: int):
        assert state.count(wanted) == count
        assert len(state.page(wanted, 1, 200)) == count
        assert len(state.page(wanted, 2, 30)) == max(min(count - 30, 30), 0)

    def test_filters_by_device_and_email(self, state: SandboxState):
        target = state.devices[3]
        for wanted in (
            CommandFilter(device_id=target.device_id),
            CommandFilter(user_email=target.user_email),
            CommandFilter(device_id=target.device_id, user_email=target.user_email, command_type="pcap"),
        ):
            page = state.page(wanted, 1, 50)
            assert len(page) == state.count(wanted) == 10
            assert {each.device for each in page} == {target}

    def test_list_lag(self, state: SandboxState, clock: ManualClock):
        state.behaviour = Behaviour.instant(list_lag=10)
        assert state.count(EVERYTHING) == 91
        assert state.page(EVERYTHING, 1, 1)[0].id == self.ids(state)[9]
        clock.advance(9)
        assert state.count(EVERYTHING) == 100


class TestQuota:
    def test_counts_and_resets_at_midnight(self, clock: ManualClock):
        state = make_state(clock, quota=3)
        assert state.quota.reset_time == datetime(2026, 1, 2, tzinfo=UTC)
        for _ in range(4):
            state.create(NewCommand(state.devices[0], "pcap"))
        assert (state.quota.limit, state.quota.usage, state.quota.remaining) == (3, 4, 0)
        clock.advance(12 * 3600)
        assert (state.quota.usage, state.quota.remaining) == (0, 3)
        assert state.quota.reset_time == datetime(2026, 1, 3, tzinfo=UTC)

    def test_the_service_lives_by_its_own_clock(self, clock: ManualClock):
        state = make_state(clock, behaviour=Behaviour(clock_skew=-300.0))
        assert state.now() == clock.now() - timedelta(minutes=5)
        assert state.create(NewCommand(state.devices[0], "pcap")).created == state.now()


class TestListedDevices:
    def test_disconnected_ones_vanish_after_an_hour(self, clock: ManualClock):
        gone = device(device_id="gone", connected=False, last_seen=600.0)
        state = SandboxState([device(), gone], clock=clock, behaviour=Behaviour())
        assert state.listed_devices() == [device(), gone]
        assert state.last_seen(gone) == clock.now() - timedelta(minutes=10)
        clock.advance(3000)
        assert state.listed_devices() == [device(), gone]
        clock.advance(1)
        assert state.listed_devices() == [device()]
        assert state.last_seen(device()) == clock.now()

    def test_search(self, clock: ManualClock):
        state = make_state(clock, 100)
        assert {each.name[:3] for each in state.listed_devices("lon-")} == {"LON"}
        email = state.devices[7].user_email
        assert state.listed_devices(email.upper()) == [state.devices[7]]
        assert state.listed_devices("nobody") == []


class TestRateLimiter:
    BEHAVIOUR = Behaviour(rate_limit=3, rate_window=60.0)

    def test_refuses_until_the_window_ends(self):
        limiter = RateLimiter()
        assert [limiter.admit(100.0, self.BEHAVIOUR) for _ in range(5)] == [True, True, True, False, False]
        standing = limiter.standing(130.0, self.BEHAVIOUR)
        assert (standing.remaining, standing.reset_after) == (0, 30.0)
        assert not limiter.admit(159.9, self.BEHAVIOUR)
        assert limiter.admit(160.0, self.BEHAVIOUR)

    def test_headers(self):
        limiter = RateLimiter()
        limiter.admit(0.0, self.BEHAVIOUR)
        assert limiter.standing(0.5, self.BEHAVIOUR).headers(60.0) == {
            "Ratelimit": '"default";r=2;t=60',
            "Ratelimit-Policy": '"default";q=3;w=60',
        }
        assert limiter.standing(0.5, self.BEHAVIOUR).headers(59.5)["Ratelimit-Policy"] == '"default";q=3;w=60'

    def test_others_take_their_part(self):
        limiter = RateLimiter()
        limiter.consume(1, 0.0, self.BEHAVIOUR)
        assert limiter.standing(0.0, self.BEHAVIOUR).remaining == 2
        shared = attrs.evolve(self.BEHAVIOUR, other_users_rate=0.1)
        assert limiter.standing(9.9, shared).remaining == 2
        assert limiter.standing(10.0, shared).remaining == 1
        assert limiter.standing(59.0, shared).remaining == 0
        assert limiter.standing(60.0, shared).remaining == 3

    def test_without_a_limit(self):
        free = Behaviour(rate_limit=None)
        limiter = RateLimiter()
        assert limiter.admit(0.0, free)
        assert limiter.standing(0.0, free) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"pickup_seconds": (2.0, 1.0)},
        {"run_seconds": (-1.0, 1.0)},
        {"failure_rate": 1.5},
        {"date_format": "iso"},
        {"result_info": "none"},
        {"create_rows": ["lost"]},
        {"download_redirect": 300},
        {"quota_status": 200},
        {"quota_status": 600},
        {"rate_limit": 0},
        {"rate_window": 0.0},
        {"list_lag": -1.0},
        {"filename_delay": -1.0},
        {"retention": -1.0},
        {"disconnected_timeout": -1.0},
        {"other_users_rate": -1.0},
        {"failure_rate": -0.1},
        {"max_commands": 0},
        {"oversized_capture": "kept"},
        {"device_timestamp": "number"},
        {"target_acceptance": "none"},
        {"quota_acceptance": "none"},
        {"filename_style": "path"},
        {"expired_status": 400},
        {"download_encoding": "br"},
        {"etag": "stron"},
        {"ignored_filters": ["page"]},
    ],
    ids=str,
)
def test_switches_have_no_other_positions(wrong: dict[str, object]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Behaviour(**wrong)


@pytest.mark.parametrize("switch", ["ignored_filters", "null_fields", "omit_fields"])
def test_a_name_alone_is_no_set_of_its_letters(switch: str):
    with pytest.raises(ValueError, match=r"names must be in a set, as in \{'status'\}, not alone"):
        Behaviour(**{switch: "status"})


def test_instant_takes_further_switches():
    behaviour = Behaviour.instant(quota_status=429, upload_seconds=(1.0, 2.0))
    assert behaviour.quota_status == 429
    assert (behaviour.pickup_seconds, behaviour.upload_seconds) == ((0.0, 0.0), (1.0, 2.0))
