"""The rows of a POST's answer, each to the request that it is for."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.batches import match_rows
from dexcmd.created import CreatedLog
from dexcmd.resources.command import Command
from dexcmd.resources.requests import CommandRequest, Pcap, SpeedTest, WarpDiag

ARGS = {"pcap": Pcap(), "warp-diag": WarpDiag(), "speed-test": SpeedTest()}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def request(device: str, registration: str | None = None, kind: str = "pcap") -> CommandRequest:
    return CommandRequest(device_id=device, user_email="ada@example.com", args=ARGS[kind], registration_id=registration)


def row(command_id: str | None, device: str, registration: str | None = None, kind: str = "pcap") -> Command:
    return Command(id=command_id, device_id=device, registration_id=registration, type=kind)


def ids(batch: list[CommandRequest], rows: list[Command]) -> list[str | None]:
    return [None if found is None else found.id for found in match_rows(batch, rows)]


class TestMatchRows:
    @pytest.mark.parametrize(
        ("batch", "rows", "expected"),
        [
            pytest.param(
                [request("a", "1"), request("b", "2")],
                [row("x", "a", "1"), row("y", "b", "2")],
                ["x", "y"],
                id="in-order",
            ),
            pytest.param(
                [request("a", "1"), request("b", "2"), request("c", "3")],
                [row("z", "c", "3"), row("x", "a", "1"), row("y", "b", "2")],
                ["x", "y", "z"],
                id="reordered",
            ),
            pytest.param([request("a", "1"), request("b", "2")], [row("y", "b", "2")], [None, "y"], id="missing"),
            pytest.param([request("a"), request("b")], [], [None, None], id="none-at-all"),
            pytest.param(
                [request("a", "1"), request("b", "2")],
                [row("x", "a", "1"), row("x", "b", "2")],
                ["x", None],
                id="an-id-twice",
            ),
            pytest.param(
                [request("a", "1")],
                [row("x", "a", "1"), row("x", "a", "1")],
                ["x"],
                id="a-row-twice",
            ),
            pytest.param(
                [request("a", "1")],
                [row("f", "foreign", "1"), row("x", "a", "1")],
                ["x"],
                id="a-foreign-row",
            ),
            pytest.param(
                [request("a", "1"), request("a", "2"), request("a", "3")],
                [row("z", "a", "3"), row("y", "a", "2"), row("x", "a", "1")],
                ["x", "y", "z"],
                id="one-device-in-several-registrations",
            ),
            pytest.param([request("a", "1")], [row("x", "a", "2")], [None], id="another-registration-is-another"),
            pytest.param(
                [request("a", "1", "pcap"), request("a", "1", "warp-diag")],
                [row("w", "a", "1", "warp-diag"), row("p", "a", "1", "pcap")],
                ["p", "w"],
                id="two-types",
            ),
            pytest.param([request("a")], [row("x", "a", "1")], ["x"], id="none-asked-for"),
            pytest.param([request("a", "1")], [row("x", "a")], ["x"], id="none-answered"),
            pytest.param([request("a")], [row("x", "a")], ["x"], id="none-on-either-side"),
            pytest.param(
                [request("a"), request("a", "1")],
                [row("x", "a", "1"), row("y", "a", "2")],
                ["y", "x"],
                id="what-names-the-registration-goes-first",
            ),
            pytest.param(
                [request("a", "1"), request("a")],
                [row("x", "a"), row("y", "a", "1")],
                ["y", "x"],
                id="none-goes-to-none",
            ),
            pytest.param(
                [request("a", "1"), request("a", "2")],
                [row("x", "a"), row("y", "a", "1")],
                ["y", "x"],
                id="none-fills-what-is-left",
            ),
            pytest.param(
                [request("a", "1"), request("a", "2")],
                [row("x", "a"), row("y", "a")],
                ["x", "y"],
                id="only-none-answered",
            ),
            pytest.param([request("a", "1")], [row(None, "a", "1")], [None], id="no-id"),
            pytest.param([request("a", "1")], [row(None, "a", "1"), row("x", "a", "1")], ["x"], id="no-id-first"),
            pytest.param([request("a")], [Command(id="x")], [None], id="an-empty-row"),
            pytest.param([request("a")], [Command(id="x", device_id="a", type=None)], [None], id="no-type"),
        ],
    )
    def test_table(self, batch: list[CommandRequest], rows: list[Command], expected: list[str | None]):
        assert ids(batch, rows) == expected

    def test_what_was_not_asked_for_is_left_over(self):
        rows = [row("f", "b"), row("x", "a", "1"), row("g", "a", "1"), row("h", "a", "1", "warp-diag")]
        assert match_rows([request("a", "1")], rows) == [rows[1]]


devices = st.sampled_from(["a", "b"])
kinds = st.sampled_from(["pcap", "warp-diag"])
registrations = st.sampled_from(["1", "2", "3"])
maybe_registrations = st.none() | registrations
row_ids = st.integers(0, 12).map(str)


def batches(registration: st.SearchStrategy[str | None]) -> st.SearchStrategy[list[CommandRequest]]:
    return st.lists(st.builds(request, devices, registration, kinds), max_size=10, unique_by=lambda one: one.target)


def answers(registration: st.SearchStrategy[str | None]) -> st.SearchStrategy[list[Command]]:
    return st.lists(st.builds(row, row_ids | st.none(), devices, registration, kinds), max_size=12)


@settings(deadline=None, max_examples=300)
@given(batches(maybe_registrations), answers(maybe_registrations))
def test_a_row_is_claimed_once_and_fits(batch: list[CommandRequest], rows: list[Command]):
    matched = match_rows(batch, rows)
    assert len(matched) == len(batch)
    claimed = [found for found in matched if found is not None]
    assert all(count == 1 for count in Counter(found.id for found in claimed).values())
    assert all(any(found is one for one in rows) for found in claimed)
    for asked, found in zip(batch, matched, strict=True):
        if found is not None:
            assert (found.device_id, found.type) == (asked.device_id, asked.type)
            assert None in (found.registration_id, asked.registration_id) or (
                found.registration_id == asked.registration_id
            )
    first_of_id = {one.id: one for one in reversed(rows) if one.id is not None}
    for asked, found in zip(batch, matched, strict=True):
        if any((one.device_id, one.registration_id, one.type) == asked.target for one in first_of_id.values()):
            assert found is not None
            assert found.registration_id == asked.registration_id, "its very own row goes first"


@settings(deadline=None, max_examples=200)
@given(
    batches(registrations),
    answers(registrations | st.none()).map(lambda rows: list({one.id: one for one in rows}.values())),
    st.randoms(use_true_random=False),
)
def test_the_order_of_the_rows_does_not_matter(batch: list[CommandRequest], rows: list[Command], random: object):
    shuffled = list(rows)
    random.shuffle(shuffled)
    before = [found is not None for found in match_rows(batch, rows)]
    assert [found is not None for found in match_rows(batch, shuffled)] == before


@settings(deadline=None, max_examples=100)
@given(batches(registrations), st.randoms(use_true_random=False))
def test_a_whole_answer_is_matched_in_full_in_any_order(batch: list[CommandRequest], random: object):
    rows = [row(f"c{index}", *one.target) for index, one in enumerate(batch)]
    random.shuffle(rows)
    assert ids(batch, rows) == [f"c{index}" for index in range(len(batch))]


class TestCreatedLog:
    def test_it_remembers(self):
        log = CreatedLog()
        log.add("a", NOW)
        log.add("b", None)
        assert log.not_before("a") == NOW
        assert log.not_before("b") is None
        assert log.not_before("c") is None

    def test_it_forgets_the_oldest(self):
        log = CreatedLog(size=3)
        for index in range(5):
            log.add(f"c{index}", NOW + timedelta(seconds=index))
        known = [log.not_before(f"c{index}") for index in range(5)]
        assert known == [None, None, *(NOW + timedelta(seconds=index) for index in (2, 3, 4))]

    def test_a_command_noted_again_takes_no_more_room(self):
        log = CreatedLog(size=2)
        for _ in range(5):
            log.add("a", NOW)
        log.add("b", NOW)
        assert log.not_before("a") == log.not_before("b") == NOW


def test_rows_are_given_as_they_are():
    whole = attrs.evolve(row("x", "a", "1"), status="PENDING_EXEC", args={"time-limit-min": "5"})
    assert match_rows([request("a", "1")], [whole])[0] is whole
