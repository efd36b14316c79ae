"""Which devices are captured, in which wave, and why others are not."""

import json
import tracemalloc
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexcmd import Pcap, WarpDiag
from dexcmd.campaign.events import TargetPlanned
from dexcmd.campaign.named import Named, Names
from dexcmd.campaign.spec import Share, Targeting, Waves
from dexcmd.campaign.targeting import Running, Selection, wave_ends
from dexcmd.resources.command import Command
from dexcmd.resources.devices import Device
from dexcmd.wire.converter import structure_rows
from tests.campaign.specs import ACCOUNT_ID, OTHER_ID, campaign, growing, seeds

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def device(number: int = 1, **changes: Any) -> Device:
    good = Device(
        device_id=f"d{number}",
        device_name=f"laptop-{number}",
        eligible=True,
        person_email=f"user{number}@example.com",
        platform="windows",
        registration_id=f"r{number}",
        status="connected",
        version="2025.9.558.0",
    )
    return attrs.evolve(good, **changes)


def select(
    devices: Iterable[Device],
    targets: Targeting | None = None,
    *,
    waves: Sequence[Share] = (),
    running: Iterable[Command] = (),
    account_id: str = ACCOUNT_ID,
    args: Any = None,
    rows: Iterable[Named] = (),
    first: int = 1,
) -> tuple[list[TargetPlanned], list[TargetPlanned], tuple[int, ...]]:
    targets = Targeting() if targets is None else targets
    spec = campaign(targets=targets, waves=Waves(sizes=tuple(waves)), command=Pcap() if args is None else args)
    selection = Selection(spec, "a", account_id, Names(targets, rows), NOW)
    for one in devices:
        selection.add(one)
    in_the_way = Running(spec.command.type)
    for command in running:
        in_the_way.add(command)
    selection.decide(in_the_way)
    return selection.numbered(first)


def reason(row: Device, targets: Targeting | None = None, **more: Any) -> tuple[str | None, str | None]:
    """Return why a device is skipped, and its detail."""
    captured, skipped, _ = select([row], targets, **more)
    [target] = captured + skipped
    assert (target in captured) is (target.skip is None)
    return target.skip, target.detail


class TestReasons:
    @pytest.mark.parametrize(
        ("row", "targets", "expected"),
        [
            (device(), Targeting(), (None, None)),
            (device(eligible=None, status=None), Targeting(), (None, None)),
            (device(status=""), Targeting(), (None, None)),
            (device(status="Connected"), Targeting(), (None, None)),
            (device(registration_id=None), Targeting(), (None, None)),
            (device(), Targeting(exclude="D1"), ("excluded", None)),
            (device(), Targeting(exclude="LAPTOP-1"), ("excluded", None)),
            (device(), Targeting(exclude=("x", "User1@Example.com")), ("excluded", None)),
            (device(), Targeting(exclude="laptop"), (None, None)),
            (device(), Targeting(exclude=" D1 "), ("excluded", None)),
            (device(device_name="Zo\u00eb "), Targeting(exclude="ZOE\u0308"), ("excluded", None)),
            (device(), Targeting(platforms=" windows"), (None, None)),
            (device(), Targeting(platforms="Windows"), (None, None)),
            (device(), Targeting(platforms=("mac", "linux")), ("platform", None)),
            (device(platform=None), Targeting(platforms="mac"), ("platform", "the service reports no platform")),
            (device(), Targeting(version=">=2025.9"), (None, None)),
            (device(), Targeting(version="<2025.9"), ("unsupported_version", None)),
            (device(version=None), Targeting(version=">1"), ("unsupported_version", "the service reports no version")),
            (device(eligible=False), Targeting(), ("not_eligible", None)),
            (device(eligible=False, ineligible_reason="old"), Targeting(), ("not_eligible", "old")),
            (device(device_id=None), Targeting(), ("not_eligible", "the service reports no device id")),
            (device(device_id=" "), Targeting(), ("not_eligible", "the service reports no device id")),
            (device(person_email=None), Targeting(), ("not_eligible", "the service reports no email")),
            (device(person_email=""), Targeting(), ("not_eligible", "the service reports no email")),
            (device(status="disconnected"), Targeting(), ("offline", "disconnected")),
        ],
    )
    def test_of_one_row(self, row: Device, targets: Targeting, expected: tuple[str | None, str | None]):
        assert reason(row, targets) == expected

    def test_the_first_that_holds_is_told(self):
        # Each step mends what the step before it told.
        row = device(platform="x", version="1", eligible=False, status="disconnected")
        targets = Targeting(exclude="d1", platforms="mac", version=">2", sample=Share(percent=1))
        running = [Command(id="c1", device_id="d1", registration_id="r1", status="PENDING_EXEC")]
        told = [reason(row, targets, running=running)[0]]
        for changes, looser in [
            ({}, {"exclude": ()}),
            ({"platform": "mac"}, {}),
            ({"version": "3"}, {}),
            ({"eligible": True}, {}),
            ({"status": "connected"}, {}),
        ]:
            row, targets = attrs.evolve(row, **changes), attrs.evolve(targets, **looser)
            told.append(reason(row, targets, running=running)[0])
        assert told == ["excluded", "platform", "unsupported_version", "not_eligible", "offline", "already_running"]
        _, skipped, _ = select([row, device(2)], attrs.evolve(targets, platforms=()))
        assert [target.skip for target in skipped] == ["not_sampled"]

    def test_each_registration_is_a_target(self):
        captured, _, _ = select([device(), device(registration_id="r2", person_email="second@example.com")])
        assert {target.registration_id for target in captured} == {"r1", "r2"}

    def test_a_row_that_comes_again_is_one_target(self):
        nameless = device(device_id=None)
        captured, skipped, _ = select([device(), nameless, device(version="other"), nameless])
        assert (len(captured), len(skipped)) == (1, 1)

    def test_all_that_is_known_of_a_target(self):
        [target], _, _ = select([device()], first=7)
        assert target == TargetPlanned(
            at=NOW,
            account="a",
            target=7,
            device_id="d1",
            user_email="user1@example.com",
            registration_id="r1",
            device_name="laptop-1",
            platform="windows",
            version="2025.9.558.0",
            wave=1,
        )


class TestRunning:
    @pytest.mark.parametrize(
        ("row", "command", "in_the_way"),
        [
            (device(), {}, True),
            (device(), {"status": "PENDING_UPLOAD"}, True),
            (device(), {"status": "SOMETHING_NEW"}, True),
            (device(), {"status": None}, True),
            (device(), {"status": "SUCCESS"}, False),
            (device(), {"status": "FAILED"}, False),
            (device(), {"device_id": "d2"}, False),
            (device(), {"device_id": None}, False),
            (device(), {"registration_id": None}, True),
            (device(registration_id=None), {}, True),
            (device(platform="mac"), {"registration_id": "other"}, False),
            (device(platform="mac"), {"registration_id": None}, True),
            (device(platform="Windows"), {"registration_id": "other"}, True),
        ],
    )
    def test_of_a_pcap(self, row: Device, command: dict[str, Any], in_the_way: bool):
        settings = {"id": "c1", "device_id": "d1", "registration_id": "r1", "status": "PENDING_EXEC"}
        expected = ("already_running", "c1") if in_the_way else (None, None)
        assert reason(row, running=[Command(**settings | command)]) == expected

    def test_other_commands_of_one_windows_device_do_not_meet(self):
        running = [Command(id="c1", device_id="d1", registration_id="other", status="PENDING_EXEC")]
        assert reason(device(), running=running, args=WarpDiag()) == (None, None)

    @pytest.mark.parametrize("platform", ["Windows", "windows 11", " WIN"])
    def test_windows_by_any_name_takes_one_capture_at_a_time(self, platform: str):
        running = [Command(id="c1", device_id="d1", registration_id="other", status="PENDING_EXEC")]
        assert reason(device(platform=platform), running=running) == ("already_running", "c1")

    def test_a_command_without_an_id(self):
        running = [Command(device_id="d1", registration_id="r1", status="PENDING_EXEC")]
        assert reason(device(), running=running) == ("already_running", None)


class TestNamed:
    def test_only_what_is_named_matches(self):
        targets = Targeting(device_ids="D1", emails="USER2@example.com")
        captured, skipped, _ = select([device(n) for n in range(1, 5)], targets, rows=[Named(device_id="d4")])
        assert {target.device_id for target in captured} == {"d1", "d2", "d4"}
        assert not skipped

    @pytest.mark.parametrize(
        ("named", "matches"),
        [
            (Named(device_id="d1", user_email="user1@example.com", registration_id="r1", account="a"), True),
            (Named(device_id="d1", user_email="other@example.com"), False),
            (Named(device_id="d1", registration_id="R1"), True),
            (Named(device_id="d1", registration_id="r2"), False),
            (Named(user_email="user1@example.com", registration_id="r2"), False),
            (Named(device_id="d1", account="b"), False),
        ],
    )
    def test_a_line_of_a_csv(self, named: Named, matches: bool):
        names = Names(Targeting(), [named])
        assert names.match("a", device()) is matches
        assert list(names.missing()) == ([] if matches else [named])

    def test_blanks_and_forms_of_letters_do_not_matter(self):
        names = Names(Targeting(device_ids=" d1\n", emails=" Zoe\u0308@example.com "))
        assert names.match("a", device(person_email="zo\u00eb@example.com"))
        assert not list(names.missing())
        assert Names(Targeting(emails=" a@x ")).emails("a") == ["a@x"]

    def test_one_that_is_named_twice_is_missing_once(self):
        names = Names(
            Targeting(device_ids=("d1", "D1 "), emails="a@x"), [Named(device_id="d1"), Named(user_email="a@x")]
        )
        assert list(names.missing()) == [Named(device_id="d1"), Named(user_email="a@x")]

    def test_a_row_without_what_is_named(self):
        names = Names(Targeting(device_ids="d1", emails="user1@example.com"))
        assert not names.match("a", device(device_id=None, person_email=None))
        assert len(names) == len(list(names.missing())) == 2

    def test_who_can_be_searched_for(self):
        emails = Names(
            Targeting(emails=("a@x", "b@x")), [Named(user_email="a@x"), Named(user_email="c@x", account="b")]
        )
        assert emails.emails("a") == ["a@x", "b@x"]
        assert emails.emails("b") == ["a@x", "b@x", "c@x"]
        assert Names(Targeting(emails="a@x", device_ids="d1")).emails("a") is None
        assert Names(Targeting(), [Named(device_id="d1", account="b")]).emails("a") == []


fleets = st.sets(st.integers(1, 400), min_size=1, max_size=60)


class TestLots:
    @given(fleets, st.integers(1, 400), st.integers(1, 70), seeds)
    def test_one_device_more_moves_no_other(self, numbers: set[int], new: int, size: int, seed: int):
        targets = Targeting(sample=Share(count=size), seed=seed)
        before = [target.device_id for target in select(map(device, numbers), targets)[0]]
        after = [target.device_id for target in select(map(device, numbers | {new}), targets)[0]]
        assert len(set(before) - set(after)) <= 1
        assert set(after) - set(before) <= {f"d{new}"}
        stay = set(before) & set(after)
        assert [one for one in before if one in stay] == [one for one in after if one in stay]

    @given(fleets, st.randoms(use_true_random=False))
    def test_the_order_of_the_list_does_not_matter(self, numbers: set[int], random: Any):
        rows = [device(number) for number in numbers]
        expected = select(rows, Targeting(sample=Share(percent=40)), waves=[Share(count=3)])
        random.shuffle(rows)
        captured, skipped, waves = select(rows, Targeting(sample=Share(percent=40)), waves=[Share(count=3)])
        assert (captured, waves) == (expected[0], expected[2])
        assert {target.device_id for target in skipped} == {target.device_id for target in expected[1]}

    @given(fleets, st.integers(1, 60))
    def test_a_larger_sample_holds_the_smaller_one(self, numbers: set[int], size: int):
        rows = [device(number) for number in numbers]
        small = select(rows, Targeting(sample=Share(count=size)))[0]
        large = select(rows, Targeting(sample=Share(count=size + 5)))[0]
        assert large[: len(small)] == small

    def test_seed_and_account_draw_otherwise(self):
        rows = [device(number) for number in range(200)]

        def drawn(seed: int, account_id: str) -> frozenset[str | None]:
            targets = Targeting(sample=Share(count=20), seed=seed)
            return frozenset(target.device_id for target in select(rows, targets, account_id=account_id)[0])

        assert len({drawn(seed, account_id) for seed in (0, 1, -1) for account_id in (ACCOUNT_ID, OTHER_ID)}) == 6

    def test_it_draws_the_same_for_ever(self):
        # A sample that a later version draws otherwise would be another sample.
        captured, _, _ = select(map(device, range(100)), Targeting(sample=Share(count=5), seed=7))
        assert [target.device_id for target in captured] == ["d83", "d21", "d8", "d92", "d44"]

    def test_the_lot_falls_on_all_alike(self):
        rows = [device(number) for number in range(20)]
        times = Counter(
            target.device_id
            for seed in range(400)
            for target in select(rows, Targeting(sample=Share(count=5), seed=seed))[0]
        )
        # 100 times each, give or take five times the deviation.
        assert len(times) == 20
        assert all(55 < n < 145 for n in times.values())


class TestWaves:
    @pytest.mark.parametrize(
        ("sizes", "total", "ends"),
        [
            ([], 0, []),
            ([], 7, [7]),
            ([Share(count=5), Share(percent=10), Share(percent=100)], 200, [5, 20, 200]),
            ([Share(count=5), Share(percent=10), Share(percent=100)], 30, [5, 30]),
            ([Share(count=5), Share(percent=10), Share(percent=100)], 4, [4]),
            ([Share(count=5)], 5, [5]),
            ([Share(percent=50)], 5, [3, 5]),
        ],
    )
    def test_ends(self, sizes: list[Share], total: int, ends: list[int]):
        assert wave_ends(sizes, total) == ends

    @given(growing(), st.integers(0, 300), st.integers(0, 30), st.integers(1, 1000))
    def test_each_row_is_numbered_once(self, sizes: tuple[Share, ...], total: int, off: int, first: int):
        rows = [device(number) for number in range(total)]
        rows += [device(total + number, status="disconnected") for number in range(off)]
        captured, skipped, waves = select(rows, waves=sizes, first=first)
        assert [target.target for target in captured + skipped] == list(range(first, first + total + off))
        assert Counter(target.wave for target in captured) == dict(enumerate(waves, 1))
        assert [target.wave for target in captured] == sorted(target.wave for target in captured)
        assert all(waves)
        assert {target.wave for target in skipped} <= {0}
        assert all(target.skip is None for target in captured)
        assert all(target.skip == "offline" for target in skipped)


def test_a_miss():
    selection = Selection(campaign(), "a", ACCOUNT_ID, Names(Targeting()), NOW)
    selection.miss(Named(user_email="x@example.com"), "why")
    [target] = selection.numbered(3)[1]
    assert (target.target, target.user_email, target.skip, target.detail) == (3, "x@example.com", "not_found", "why")


def grown(devices: int, targets: Targeting) -> float:
    """Return the bytes that a selection holds for each row that it was shown, as the service gives them."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        selection = Selection(campaign(targets=targets), "a", ACCOUNT_ID, Names(targets), NOW)
        for start in range(0, devices, 50):
            page = {
                "devices": [
                    {
                        "deviceId": str(uuid.UUID(int=number)),
                        "deviceName": f"LON-LAPTOP-{number:05}",
                        "eligible": number % 50 > 0,
                        "ineligibleReason": None if number % 50 else "WARP client version is not supported",
                        "personEmail": f"somebody.with.a.name{number:05}@example.com",
                        "platform": "windows",
                        "registrationId": str(uuid.UUID(int=number + 10**9)),
                        "status": "connected",
                        "timestamp": "2026-01-01T00:00:00.000Z",
                        "version": "2025.9.558.0",
                    }
                    for number in range(start, start + 50)
                ]
            }
            for one in structure_rows(json.loads(json.dumps(page)), "devices", Device):
                selection.add(one)
        selection.decide(Running("pcap"))
        kept = selection.numbered(1)
        assert len(kept[0]) + len(kept[1]) == (0 if targets.device_ids else devices)
        return (tracemalloc.get_traced_memory()[1] - before) / devices
    finally:
        tracemalloc.stop()


def test_memory_is_that_of_the_targets():
    # At most; 100,000 of them stay below 80 MB by that.
    assert grown(10_000, Targeting()) < 750
    assert grown(10_000, Targeting(sample=Share(count=50))) < 750


def test_rows_that_do_not_match_leave_nothing():
    assert grown(10_000, Targeting(device_ids="other")) < 20
