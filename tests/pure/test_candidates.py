"""The rows of the list that may be commands whose create answer got lost, each for one of them."""

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexcmd.candidates import Candidates
from dexcmd.created import CreatedLog, Lost
from dexcmd.errors import TransportError
from dexcmd.resources.command import Command
from dexcmd.resources.requests import CommandRequest, Pcap

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def lost(registration: str | None = None, since: datetime | None = NOW) -> Lost:
    request = CommandRequest(device_id="a", user_email="ada@example.com", args=Pcap(), registration_id=registration)
    return Lost(request, TransportError("it broke"), 0.0, 0.0, since)


def row(command_id: str, registration: str | None = None, created: datetime | None = NOW) -> Command:
    return Command(id=command_id, device_id="a", registration_id=registration, type="pcap", created_date=created)


def matches(some: list[Lost], rows: list[Command], created: CreatedLog | None = None) -> list[str | None]:
    """Return for each of the lost which row is taken for it."""
    candidates = Candidates(some, created or CreatedLog())
    candidates.add(rows)
    found = candidates.matches(complete=True)
    return [found[one].id if one in found else None for one in some]


def test_a_row_is_for_one_of_them() -> None:
    assert matches([lost("1"), lost()], [row("x")]) == ["x", None]
    # As the list has them, newest first.
    assert matches([lost("1"), lost()], [row("y"), row("x")]) == ["x", "y"]


def test_who_names_a_registration_chooses_before_who_takes_any() -> None:
    assert matches([lost(), lost("1")], [row("x", "1"), row("y", "2")]) == ["y", "x"]


def test_the_later_of_two_equal_requests_chooses_before_the_earlier_for_which_more_will_do() -> None:
    later = NOW + timedelta(seconds=10)
    rows = [row("new", created=later), row("old")]
    assert matches([lost(), lost(since=later)], rows) == ["old", "new"]
    assert matches([lost(since=later), lost()], rows) == ["new", "old"]
    assert matches([lost(), lost(since=later)], [row("old")]) == ["old", None]


def test_who_is_believed_to_have_none_the_soonest_chooses_before_those_whose_own_may_show_later() -> None:
    # Both may have made it, and what the slower one has made is not shown yet.
    slower = lost(since=NOW + timedelta(seconds=1))
    slower.until = 30.0
    rows = [row("x", created=NOW + timedelta(seconds=2))]
    assert matches([lost(), slower], rows) == ["x", None]
    created = CreatedLog()
    with created.seeking(lambda: [slower]):
        assert matches([lost()], rows, created) == ["x"]
    with created.seeking(lambda: [lost()]):
        assert matches([slower], rows, created) == [None]


def test_who_can_choose_takes_the_oldest() -> None:
    later = NOW + timedelta(seconds=10)
    assert matches([lost()], [row("somebody's", created=later), row("mine")]) == ["mine"]


def test_who_can_choose_among_several_leaves_what_will_do_for_others() -> None:
    later = NOW + timedelta(seconds=10)
    rows = [row("new", "1", later), row("old", "1")]
    assert matches([lost("1"), lost(since=later)], rows) == ["old", "new"]
    # A row without a registration may be for any.
    assert matches([lost("1"), lost("2")], [row("x", "1", later), row("y")]) == ["x", "y"]
    assert matches([lost("1"), lost(since=later)], [row("x", "1", later), row("y")]) == ["y", "x"]
    assert matches([lost("1"), lost("2"), lost(since=later)], [row("x", "1", later), row("y"), row("z", "3")]) == [
        "x",
        "y",
        None,
    ]


@given(
    st.lists(st.tuples(st.sampled_from([None, "1", "2"]), st.integers(0, 5)), max_size=6),
    st.lists(st.tuples(st.sampled_from([None, "1", "2"]), st.integers(0, 5)), max_size=6),
    st.sets(st.integers(0, 5)),
)
def test_as_many_have_a_row_as_can(
    some: list[tuple[str | None, int]], shown: list[tuple[str | None, int]], others: set[int]
) -> None:
    everybody = [lost(registration, NOW + timedelta(seconds=at)) for registration, at in some]
    rows = [row(str(number), name, NOW + timedelta(seconds=at)) for number, (name, at) in enumerate(shown)]

    def may_have(one: Lost, each: Command) -> bool:
        assert one.since is not None
        assert each.created_date is not None
        registrations = {one.request.registration_id, each.registration_id}
        return each.created_date >= one.since and (None in registrations or len(registrations) == 1)

    def most(number: int, left: frozenset[int]) -> int:
        if number == len(everybody):
            return 0
        with_one = [1 + most(number + 1, left - {index}) for index in left if may_have(everybody[number], rows[index])]
        return max([most(number + 1, left), *with_one])

    mine, theirs = [], []
    for number, one in enumerate(everybody):
        (theirs if number in others else mine).append(one)
    created = CreatedLog()
    found: dict[Lost, Command] = {}
    with created.seeking(lambda: theirs):
        for own in (mine, theirs):
            candidates = Candidates(own, created)
            candidates.add(rows)
            found.update(candidates.matches(complete=True))
            for each in found.values():
                created.add(str(each.id), None)
    assert all(may_have(one, each) for one, each in found.items())
    assert len({each.id for each in found.values()}) == len(found) == most(0, frozenset(range(len(rows))))


def test_one_from_before_the_post_is_none_and_one_without_a_date_may_be() -> None:
    assert matches([lost()], [row("x", created=NOW - timedelta(microseconds=1))]) == [None]
    assert matches([lost()], [row("x", created=None)]) == ["x"]
    assert matches([lost(since=None)], [row("x")]) == [None]
    assert matches([lost(since=None), lost()], [row("x")]) == [None, "x"]


@pytest.mark.parametrize("untils", [(0.0, 0.0), (0.0, 5.0), (5.0, 0.0)])
def test_of_rows_without_dates_the_older_is_for_the_earlier_post(untils: tuple[float, float]) -> None:
    # Whoever believes the list first: the other looks no further back than to its own POST.
    some = [lost(), lost(since=NOW + timedelta(seconds=10))]
    for one, until in zip(some, untils, strict=True):
        one.until = until
    rows = [row(name, created=None) for name in ("new", "old")]
    assert matches(some, rows) == ["old", "new"]
    assert matches(some[::-1], rows) == ["new", "old"]


def test_what_somebody_has_already_is_nobody_elses() -> None:
    created = CreatedLog()
    created.add("x", None)
    assert matches([lost()], [row("x"), row("y")], created) == ["y"]


def test_other_devices_and_types_are_not_kept() -> None:
    others = [attrs.evolve(row("x"), device_id="b"), attrs.evolve(row("y"), type="warp-diag")]
    assert Candidates([lost()], CreatedLog()).of([*others, row("z")]) == [row("z")]
    assert matches([lost()], others) == [None]


def test_what_others_look_for_is_left_to_them() -> None:
    created, earlier, later = CreatedLog(), NOW - timedelta(seconds=10), NOW + timedelta(seconds=10)
    with created.seeking(lambda: [lost(since=later), lost(since=earlier), lost(since=None)]):
        rows = [row("new", created=later), row("mine"), row("old", created=earlier)]
        assert matches([lost()], rows, created) == ["mine"]
        assert matches([lost()], rows[:1], created) == [None]
        # That there are older ones which it did not reach is no reason to take a newer one for theirs.
        assert Candidates([lost()], created).since == earlier
    assert matches([lost()], rows[:1], created) == ["new"]
    assert Candidates([lost()], created).since == NOW


def test_what_will_do_for_another_is_nobodys_before_all_have_a_row_or_all_rows_are_seen() -> None:
    created, later = CreatedLog(), NOW + timedelta(seconds=10)
    other = lost(since=later)
    other.until = 5.0
    with created.seeking(lambda: [other]):
        one = lost()
        candidates = Candidates([one], created)
        candidates.add([row("new", created=later)])
        assert candidates.all_matches() is None
        assert candidates.matches(complete=False) == {}
        assert candidates.matches(complete=True) == {one: row("new", created=later)}
        candidates.add([row("old")])
        assert candidates.all_matches() == {one: row("old")}


def test_what_others_look_for_elsewhere_is_nobodys_here() -> None:
    created, one = CreatedLog(), lost()
    elsewhere = attrs.evolve(lost(since=NOW - timedelta(days=1)), request=attrs.evolve(one.request, device_id="b"))
    with created.seeking(lambda: [elsewhere]), created.seeking(lambda: [one]):
        assert Candidates([one], created).since == NOW
        assert matches([one], [row("x"), attrs.evolve(row("y"), device_id="b")], created) == ["x"]
        assert created.sought() == [elsewhere, one]
    assert not created.sought()


@pytest.mark.parametrize(
    ("changes", "unclear"),
    [
        ({}, False),
        ({"id": None}, True),
        ({"device_id": None}, True),
        ({"type": None}, True),
        ({"device_id": None, "type": None, "registration_id": None, "created_date": None}, True),
        ({"id": None, "device_id": "b"}, False),
        ({"device_id": None, "type": "warp-diag"}, False),
        ({"device_id": None, "registration_id": "2"}, False),
        ({"device_id": None, "created_date": NOW - timedelta(seconds=1)}, False),
    ],
)
def test_a_row_that_lacks_what_tells_it_apart_may_be_any_that_it_does_not_contradict(
    changes: dict[str, object], unclear: bool
) -> None:
    one = lost("1")
    candidates = Candidates([one], CreatedLog())
    candidates.add([attrs.evolve(row("x", "1"), **changes)])
    assert candidates.is_unclear(one) == unclear
    assert (one in candidates.matches(complete=True)) == (not changes)


def test_of_rows_that_lack_the_same_the_newest_counts() -> None:
    one = lost()
    candidates = Candidates([one], CreatedLog())
    candidates.add(
        Command(id=command_id, created_date=NOW + timedelta(seconds=seconds))
        for command_id, seconds in (("x", -2), ("y", 2), ("z", -1))
    )
    assert candidates.is_unclear(one)
