"""How often to look, and for what."""

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.polling.durations import EARLY_GUESS, LEAST_SAMPLES, SAMPLES, Durations
from dexcmd.polling.known import Known
from dexcmd.polling.looks import ASKED, MAX_PROBES, Look, Rows, ask, choose_looks, glance, looks_after, runs
from dexcmd.polling.pending import Pending, created_between
from dexcmd.polling.rhythm import (
    FEW,
    GROWTH,
    MANY,
    MANY_FACTOR,
    PATIENT,
    PROMPT,
    SLOWEST_FACTOR,
    TIMEOUT_SECONDS,
    Rhythm,
    Spacing,
)
from dexcmd.polling.schedule import GLANCE_SECONDS, Schedule
from dexcmd.polling.share import POLL_SHARE
from dexcmd.resources.command import Command

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def between(created: float | None = None, not_before: float | None = None) -> Pending:
    return Pending(
        command_id="",
        created=None if created is None else at(created),
        not_before=None if not_before is None else at(not_before),
    )


def listed(name: str, created: float, status: str = "PENDING_EXEC", **more: object) -> Pending:
    """Return a command that the list has told of."""
    return Pending(
        command_id=name,
        created=at(created),
        born=created,
        added=created,
        looked=created,
        seen=Command(id=name, status=status),
        device_id=f"device of {name}",
        **more,
    )


def learned(seconds: Iterable[float], kind: str = "pcap") -> Durations:
    durations = Durations()
    for each in seconds:
        durations.add(kind, each)
    return durations


def names(commands: Iterable[Pending]) -> list[str]:
    return [one.command_id for one in commands]


class TestDurations:
    def test_few_samples_say_nothing(self):
        durations = learned([30.0] * (LEAST_SAMPLES - 1))
        assert durations.early("pcap") == EARLY_GUESS
        assert durations.most("pcap", 0.0) is None
        durations.add("pcap", 30.0)
        assert durations.early("pcap") == 30.0
        assert durations.most("pcap", 0.0) == 30.0
        assert durations.early("warp-diag") == EARLY_GUESS, "each type has its own"
        assert durations.early(None) == EARLY_GUESS

    def test_most_is_of_those_that_lived_so_long(self):
        durations = learned(range(100))
        assert durations.early("pcap") == 2
        assert durations.most("pcap", 0.0) == 90
        assert durations.most("pcap", 49.5) == 95
        assert durations.most("pcap", 79.0) == 98
        assert durations.most("pcap", 80.0) is None, "too few outlived that"

    def test_the_latest_count(self):
        durations = learned([5.0] * SAMPLES + [300.0] * (SAMPLES // 2))
        assert durations.most("pcap", 0.0) == 300.0
        assert durations.early("pcap") == 5.0
        for _ in range(SAMPLES // 2):
            durations.add("pcap", 300.0)
        assert durations.early("pcap") == 300.0

    def test_an_end_before_the_creation_is_left_out(self):
        assert learned([-1.0] * 100).most("pcap", -2.0) is None
        assert learned([0.0] * 100).early("pcap") == 0.0, "a device may refuse at once"

    def test_a_chance_without_samples_is_a_guess(self):
        durations = Durations()
        assert durations.chance("pcap", 10.0, 20.0) == 0.5
        assert durations.chance("pcap", 20.0, 20.0) == 0.0
        assert durations.chance("pcap", 0.0, 1.0) == 1.0

    def test_a_chance_with_samples_is_mostly_theirs(self):
        durations = learned([20.0] * 100 + [600.0] * 100)
        assert durations.chance("pcap", 10.0, 15.0) < 0.01
        assert durations.chance("pcap", 10.0, 20.0) == pytest.approx(0.5, abs=0.01)
        assert durations.chance("pcap", 30.0, 599.0) < 0.03
        assert durations.chance("pcap", 30.0, 600.0) > 0.97

    @settings(deadline=None, max_examples=200)
    @given(
        st.lists(st.floats(0, 1000), max_size=60),
        st.lists(st.floats(0, 1000), min_size=3, max_size=3).map(sorted),
    )
    def test_a_chance_is_one_and_grows_with_time(self, seconds: list[float], ages: list[float]):
        durations = learned(seconds)
        age, sooner, later = ages
        assert 0.0 <= durations.chance("pcap", age, sooner) <= durations.chance("pcap", age, later) + 1e-9 <= 1.0 + 1e-6
        most = durations.most("pcap", age)
        assert most is None or most > age


def rhythm(
    followed: int, durations: Durations | None = None, interval: float = 2.0, spacing: Spacing = PROMPT
) -> Rhythm:
    return Rhythm(interval, spacing, durations or Durations(), followed)


class TestRhythm:
    @pytest.mark.parametrize("followed", [1, FEW])
    def test_few_are_looked_for_slower_while_nothing_changes_and_at_once_again_when_something_does(self, followed: int):
        few = rhythm(followed)
        waits = []
        for changed in [True, False, False, False, False, False, False, True, False]:
            few.note(changed=changed)
            waits.append(few.wait("pcap", 100.0))
        assert waits == [2.0, 3.0, 4.5, 6.75, 10.0, 10.0, 10.0, 2.0, 3.0]
        assert few.first_age("pcap") == 0.0
        assert few.slack == 1.0, "a look for one is a look for all"

    @pytest.mark.parametrize(
        ("age", "wait"),
        [
            (0.0, 16.0),  # none ends in 4 s
            (4.0, 12.0),
            (20.0, 12.0),
            (40.0, 20.0),
            (200.0, 100.0),
            (500.0, 150.0),  # once it will have timed out, and a little later
            (599.0, 60.9),
            (600.0, 300.0),
        ],
    )
    def test_many_are_looked_for_as_late_as_their_ends_may_be_noticed(self, age: float, wait: float):
        assert rhythm(MANY).wait("pcap", age) == pytest.approx(wait)
        assert rhythm(10 * MANY).wait("pcap", age) == pytest.approx(wait)

    @pytest.mark.parametrize(
        ("age", "wait"),
        [
            (0.0, 16.0),
            (40.0, 50.0),
            (200.0, 250.0),
            (500.0, 350.0),  # once it will have timed out, and half of that age later
            (600.0, 750.0),
        ],
    )
    def test_where_there_is_time_ends_may_be_noticed_later(self, age: float, wait: float):
        assert rhythm(MANY, spacing=PATIENT).wait("pcap", age) == pytest.approx(wait)
        assert rhythm(FEW, spacing=PATIENT).wait("pcap", age) == rhythm(FEW).wait("pcap", age)

    @pytest.mark.parametrize(
        ("age", "wait"),
        [
            (0.0, 320.0),  # by then most have ended, and 450 s would do for the first
            (200.0, 120.0),
            (310.0, 31.0),  # 12 s would do, but a tenth of its age is the least
            (321.0, 160.5),  # nobody knows
        ],
    )
    def test_what_is_known_of_durations_saves_looks(self, age: float, wait: float):
        known = learned([300.0 + i % 20 for i in range(100)] + [320.0] * 30)
        assert rhythm(MANY, known).wait("pcap", age) == pytest.approx(wait)

    def test_what_lies_between_few_and_many_shifts(self):
        waits = [rhythm(count).wait("pcap", 100.0) for count in range(FEW, MANY + 1)]
        assert waits == sorted(waits)
        assert (waits[0], waits[-1]) == (2.0, 50.0)
        assert max(b - a for a, b in itertools.pairwise(waits)) < 15.0
        assert [rhythm(count).least for count in (1, FEW, 30, MANY, 1000)] == [2.0, 2.0, 7.0, 12.0, 12.0]

    @settings(deadline=None, max_examples=300)
    @given(
        spacing=st.sampled_from([PROMPT, PATIENT]),
        interval=st.floats(0.1, 60),
        followed=st.integers(1, 200),
        seconds=st.lists(st.floats(0, 700), max_size=60),
        age=st.floats(0, 2000),
        quiet=st.integers(0, 6),
    )
    def test_neither_too_soon_nor_too_late(
        self, spacing: Spacing, interval: float, followed: int, seconds: list[float], age: float, quiet: int
    ):
        one = rhythm(followed, learned(seconds), interval, spacing)
        for _ in range(quiet):
            one.note(changed=False)
        wait = one.wait("pcap", age)
        first = max(age, one.durations.early("pcap"))
        least = max(one.least, spacing.rarity * one.crowding * age)
        assert one.least <= wait * (1 + 1e-9)
        if one.crowding:
            assert wait <= first - age + max(least, spacing.patience * one.crowding * first) + 1e-6
        else:
            assert wait == one.least <= SLOWEST_FACTOR * interval

    def test_the_constants_make_sense(self):
        assert 0 < POLL_SHARE < 1 < GROWTH < SLOWEST_FACTOR <= MANY_FACTOR
        assert 0 < FEW < MANY
        assert 0 < PROMPT.rarity < PROMPT.patience < 1
        assert PROMPT.rarity < PATIENT.rarity < PATIENT.patience
        assert PROMPT.patience < 1 < PATIENT.patience < 1.5


class TestCreatedBetween:
    @pytest.mark.parametrize(
        ("pending", "since", "until"),
        [
            pytest.param([], None, None, id="none"),
            pytest.param([between()], None, None, id="nothing known"),
            pytest.param([between(5)], at(4), at(6), id="one"),
            pytest.param([between(not_before=5)], at(4), None, id="not before"),
            pytest.param([between(9, 1)], at(8), at(10), id="created counts more"),
            pytest.param(
                [between(5), between(1), between(9)],
                at(0),
                at(10),
                id="several",
            ),
            pytest.param([between(5), between()], None, None, id="one unknown opens both sides"),
            pytest.param([between(5), between(not_before=2)], at(1), None, id="one opens the end"),
            pytest.param([between(5), between(not_before=7)], at(4), None, id="whichever is earlier"),
        ],
    )
    def test_table(self, pending: list[Pending], since: datetime | None, until: datetime | None):
        assert created_between(pending) == (since, until)
        assert created_between(iter(pending[::-1])) == (since, until)

    @settings(deadline=None, max_examples=150)
    @given(
        st.lists(
            st.builds(
                between,
                created=st.none() | st.integers(0, 100),
                not_before=st.none() | st.integers(0, 100),
            ),
            min_size=1,
            max_size=6,
        )
    )
    def test_no_command_is_outside(self, pending: list[Pending]):
        since, until = created_between(pending)
        for one in pending:
            start = one.created or one.not_before
            assert since is None or (start is not None and since <= start - SECOND)
            assert until is None or (one.created is not None and one.created + SECOND <= until)
        if all(one.created for one in pending):
            assert since is not None
            assert until is not None


def rows_of(commands: Iterable[Pending]) -> Rows:
    rows = Rows()
    for one in commands:
        rows.add(one.place)
    return rows


def spread(count: int, seconds: float, status: str = "PENDING_EXEC") -> list[Pending]:
    """Return commands of which one was created every so many seconds, each seen pending then."""
    return [listed(f"{index:04}", index * seconds, status) for index in range(count)]


class TestRuns:
    def test_what_lies_together_is_one_run(self):
        commands = spread(100, 1.0)
        [run] = runs(commands[::-1], rows_of(commands))
        assert names(run.commands) == names(commands)
        assert run.pages == 2.0
        assert (run.start, run.end) == (-1.0, 100.0)

    def test_a_page_between_parts_them(self):
        commands = spread(200, 1.0)
        rows = rows_of(commands)
        assert [names(run.commands) for run in runs([commands[0], commands[45]], rows)] == [["0000", "0045"]]
        assert [names(run.commands) for run in runs([commands[0], commands[60]], rows)] == [["0000"], ["0060"]]

    def test_what_was_created_in_one_moment_is_never_parted(self):
        commands = spread(200, 0.0)
        [run] = runs([commands[0], commands[199]], rows_of(commands))
        assert run.pages == 4.0
        assert run.is_cheaper_by_device
        assert run.cost == 2

    def test_others_rows_count_as_far_as_they_are_known(self):
        commands = [listed("a", 0.0), listed("b", 600.0)]
        rows = rows_of(commands)
        [run] = runs(commands, rows)
        assert run.pages == 1.0
        look = Look({}, start=run.start, end=run.end, rows=1000)
        rows.learn(look)
        assert [names(run.commands) for run in runs(commands, rows)] == [["a"], ["b"]]

    def test_a_walk_for_one_created_nobody_knows_when_passes_the_newer_ones(self):
        old, new = listed("old", 0.0), listed("new", 500.0)
        unknown = Pending(command_id="?", not_before=at(400), born=400.0, added=401.0)
        commands = [old, new, unknown]
        rows = rows_of(commands)
        assert [names(run.commands) for run in runs(commands, rows)] == [["?", "new"], ["old"]]
        nowhere = Pending(command_id="??", added=300.0)
        assert [names(run.commands) for run in runs([*commands, nowhere], rows)] == [["?", "??", "old", "new"]]

    def test_what_the_list_did_not_show_does_not_make_the_others_dearer(self):
        fresh = Pending(command_id="fresh", not_before=at(500), born=500.0)
        stray = Pending(command_id="stray", not_before=at(0), born=0.0, is_stray=True)
        assert [names(run.commands) for run in runs([stray, fresh], Rows())] == [["fresh"], ["stray"]]

    def test_what_is_long_ago_is_forgotten(self):
        rows = rows_of(spread(100, 1.0))
        rows.forget_before(90.0)
        assert rows.ours(0.0, 100.0) == 10
        rows.move(95.0, 91.0)
        assert rows.ours(91.0, 91.0) == 2


def chosen(
    due: list[Pending], others: list[Pending], now: float, *, filters: bool = True, known: bool = True
) -> list[Look]:
    gone = spread(1000, 0.1)
    rows = rows_of(gone + due + others)
    for one in gone:
        rows.end(one.place)
    durations = learned([20.0] * 100 if known else [])
    for one in due + others:
        one.command_type = "pcap"
    return choose_looks(due, others, rows, durations, now, filters=filters)


def shape(looks: Iterable[Look]) -> list[str]:
    return [
        f"{look.status or ('device' if look.device_id else 'glance' if look.is_glance else 'walk')} {len(look.missing)}"
        for look in looks
    ]


class TestChoose:
    def test_the_few_that_are_left_are_asked_about_in_one(self):
        left = spread(1000, 0.1)[::50]
        for one in left:
            one.looked = 130.0
        looks = chosen(left, [], 190.0)
        assert shape(looks) == ["PENDING_EXEC 20"]
        assert looks[0].filters == {"status": "PENDING_EXEC"}
        assert (looks[0].since, looks[0].until) == (at(-1), at(96))
        assert not looks[0].is_walk

    def test_others_like_them_join(self):
        left = spread(1000, 0.1)[::50]
        for one in left:
            one.looked = 130.0
        assert shape(chosen(left[:1], left[1:], 135.0)) == ["PENDING_EXEC 20"]
        left[5].seen = Command(id=left[5].command_id, status="SUCCESS")
        left[6].looked = 90.0
        assert shape(chosen(left[:1], left[1:], 135.0)) == ["PENDING_EXEC 18"], "these are not like them"

    def test_those_that_are_likely_to_have_ended_are_looked_at(self):
        young = spread(1000, 0.1)[::10]
        for one in young:
            one.looked = 110.0
        assert shape(chosen(young, [], 130.0)) == ["walk 100"]

    def test_without_filters_all_are_looked_at(self):
        left = spread(1000, 0.1)[::50]
        for one in left:
            one.looked = 130.0
        assert shape(chosen(left, left[:3], 190.0, filters=False)) == ["walk 20"]

    def test_where_rows_are_dense_those_that_have_succeeded_are_looked_for_by_device(self):
        every = spread(1000, 0.001, "SUCCESS")
        waiting = [every[300], every[700]]
        looks = choose_looks(waiting, [], rows_of(every), Durations(), 30.0, filters=True)
        assert shape(looks) == ["device 1", "device 1"]
        assert looks[0].filters == {"device_id": "device of 0300"}
        assert (looks[0].since, looks[0].until) == (at(-0.7), at(1.3))
        assert looks[0].is_walk
        assert shape(choose_looks(waiting, [], rows_of(every), Durations(), 30.0, filters=False)) == ["walk 2"]
        waiting[0].device_id = None
        assert shape(choose_looks(waiting, [], rows_of(every), Durations(), 30.0, filters=True)) == ["walk 2"]

    def test_a_long_run_of_which_nobody_has_ended_is_probed(self):
        commands = [Pending(command_id=str(index), not_before=at(0), born=0.0) for index in range(300)]
        looks = choose_looks(commands, [], rows_of(commands), Durations(), 14.0, filters=True)
        assert shape(looks) == ["SUCCESS 300"]
        assert looks[0].is_probe
        assert shape(choose_looks(commands[:240], [], rows_of(commands[:240]), Durations(), 14.0, filters=True)) == [
            "walk 240"
        ]
        assert shape(choose_looks(commands, [], rows_of(commands), Durations(), 14.0, filters=False)) == ["walk 300"]
        commands[7].deadline = 14.0
        assert shape(choose_looks(commands, [], rows_of(commands), Durations(), 14.0, filters=True)) == ["walk 300"]
        commands[7].deadline = math.inf
        commands[7].probes = MAX_PROBES
        assert shape(choose_looks(commands, [], rows_of(commands), Durations(), 14.0, filters=True)) == ["walk 300"]

    def looks_for_half(self, ended: int, crowd: float = 1.0) -> list[Look]:
        """Return the looks for what is left of a thousand of which so many have ended."""
        every = spread(1000, 0.01)
        rows = rows_of(every)
        rows.learn(Look({}, rows=int(1000 * crowd)))
        for one in every[:ended]:
            rows.end(one.place)
        left = every[ended:]
        for one in left:
            one.looked = 200.0
        return choose_looks(left, [], rows, learned([1000.0] * 100), 210.0, filters=True)

    def test_a_run_is_probed_while_those_that_have_ended_are_fewer_than_all(self):
        [look] = self.looks_for_half(500)
        assert (look.is_probe, look.status, len(look.missing)) == (True, "SUCCESS", 500)
        assert look.most_rows > 500, "a walk over what is left would show as many"
        assert self.looks_for_half(300)[0].is_probe

    def test_a_run_of_which_nearly_all_have_ended_is_not_probed(self):
        assert [look.status for look in self.looks_for_half(850)] != ["SUCCESS"]

    def test_rows_of_others_count_as_ended(self):
        assert self.looks_for_half(100, crowd=1.5)[0].is_probe
        rows = rows_of(spread(10, 1.0))
        assert rows.ended(-1.0, 20.0) == 0.0
        rows.end(3.0)
        rows.learn(Look({}, rows=25))
        assert rows.ended(-1.0, 20.0) == 1.0 + 15.0
        assert rows.ended(5.0, 20.0) == 1.5 * 5
        rows.forget_before(4.0)
        assert rows.ended(-1.0, 3.5) == 0.0


class TestAfter:
    def missing(self, count: int, status: str) -> tuple[Look, Rows]:
        every = spread(1000, 0.001)
        return ask(every[:: 1000 // count][:count], status), rows_of(every)

    def test_what_nobody_shows_is_looked_for(self):
        for status, then in zip(ASKED, ["PENDING_UPLOAD 10", "FAILED 10", None], strict=True):
            look, rows = self.missing(10, status)
            looks = looks_after(look, rows, Durations(), 200.0, filters=True)
            assert shape(looks) == ([then] if then else ["device 1"] * 10)
            assert shape(looks_after(look, rows, Durations(), 200.0, filters=False)) == ["walk 10"]

    def test_few_are_looked_for_at_once(self):
        look, rows = self.missing(2, "PENDING_EXEC")
        assert shape(looks_after(look, rows, Durations(), 200.0, filters=True)) == ["device 1", "device 1"]

    def test_what_was_shown_is_done_with(self):
        look, rows = self.missing(10, "PENDING_EXEC")
        look.missing.clear()
        assert looks_after(look, rows, Durations(), 200.0, filters=True) == []

    def test_a_walk_or_a_glance_has_nothing_after_it(self):
        rows = Rows()
        walk = Look({"a": listed("a", 0.0)}, is_complete=True)
        assert looks_after(walk, rows, Durations(), 0.0, filters=True) == []
        assert looks_after(glance([listed("a", 0.0)]), rows, Durations(), 0.0, filters=True) == []

    def test_a_look_that_was_refused_is_made_without_filters(self):
        look = Look({"a": listed("a", 0.0)}, device_id="device")
        assert shape(looks_after(look, Rows(), Durations(), 0.0, filters=False)) == ["walk 1"]

    @pytest.mark.parametrize(
        ("status", "complete", "filters", "then"),
        [
            ("SUCCESS", True, True, ["FAILED 300"]),
            ("SUCCESS", False, True, ["walk 300"]),
            ("SUCCESS", True, False, ["walk 300"]),
            ("FAILED", True, True, []),
            ("FAILED", False, True, ["walk 300"]),
        ],
    )
    def test_a_probe_that_came_to_its_end_has_shown_all(
        self, status: str, complete: bool, filters: bool, then: list[str]
    ):
        commands = {str(index): Pending(command_id=str(index), not_before=at(0), born=0.0) for index in range(300)}
        probe = Look(
            commands, at(0), status=status, is_probe=True, rows=60, most_rows=200.0, is_complete=complete, brought=True
        )
        looks = looks_after(probe, Rows(), Durations(), 14.0, filters=filters)
        assert shape(looks) == then
        assert all(look.rows == 0 and not look.is_complete for look in looks)
        if then == ["FAILED 300"]:
            # Both together are to be cheaper than a walk.
            assert (looks[0].is_probe, looks[0].most_rows, looks[0].brought) == (True, 140.0, True)


@attrs.define
class Life:
    """What becomes of a command of `Service`."""

    born: float
    ends: float
    appears: float
    end_seen: float | None = None


@attrs.define
class Service:
    """Runs a schedule against a list that is known, without any I/O."""

    commands: dict[str, Life]
    schedule: Schedule
    obeys: bool = True
    """Whether a query by status shows anything that it should."""

    polls: int = 0
    pages: int = 0
    shapes: Counter[str] = attrs.field(factory=Counter[str])

    def status(self, name: str, now: float) -> str:
        one = self.commands[name]
        if one.ends > now:
            return "PENDING_EXEC"
        return "FAILED" if one.ends - one.born == TIMEOUT_SECONDS else "SUCCESS"

    def shows(self, look: Look, now: float) -> list[str]:
        since = -math.inf if look.since is None else (look.since - NOON).total_seconds()
        until = math.inf if look.until is None else (look.until - NOON).total_seconds()
        found = [
            name
            for name, one in self.commands.items()
            if since <= one.born <= until
            and one.appears <= now
            and look.status in (None, self.status(name, now))
            and look.device_id in (None, f"device of {name}")
            and (look.status is None or self.obeys)
        ]
        if look.is_glance:
            return found[:50]
        look.is_complete = len(found) <= look.most_rows
        # One that is given up has shown whole pages.
        return found if look.is_complete else found[: math.ceil(look.most_rows / 50) * 50]

    def poll(self, now: float) -> None:
        self.polls += 1
        looks = self.schedule.plan(now)
        while looks:
            look = looks.pop(0)
            self.shapes[shape([look])[0].split()[0]] += 1
            shown = self.shows(look, now)
            look.rows = len(shown)
            self.pages += max(1, -(-len(shown) // 50))
            for name in shown:
                look.brought = look.missing.pop(name, None) is not None or look.brought
                one = self.schedule.pending.get(name)
                if one is not None:
                    self.note(one, now)
            looks = self.schedule.end(look, now) + looks
        self.schedule.settle(now, changed=False)
        self.schedule.known.forget()

    def note(self, one: Pending, now: float) -> None:
        command = self.commands[one.command_id]
        one.created = at(command.born)
        self.schedule.place(one, command.born)
        one.is_stray = False
        one.seen = Command(id=one.command_id, status=self.status(one.command_id, now))
        self.schedule.touch(one, now)
        if one.seen.ended:
            command.end_seen = now
            self.schedule.drop(one.command_id)
            self.schedule.known.rows.end(one.place)
            self.schedule.rhythm.durations.add("pcap", command.ends - command.born)

    def run(self) -> None:
        """Add each command when it is created, and poll when that is due, until nothing is pending."""
        coming = sorted(self.commands, key=lambda name: self.commands[name].born)
        now = 0.0
        while coming or self.schedule.pending:
            assert self.polls < 3000, "it goes round in circles"
            comes = self.commands[coming[0]].born if coming else math.inf
            now = max(now, min(comes, self.schedule.next_due))
            while coming and self.commands[coming[0]].born <= now:
                name = coming.pop(0)
                self.schedule.add(
                    Pending(
                        command_id=name,
                        not_before=at(self.commands[name].born - 1),
                        born=self.commands[name].born - 1,
                        command_type="pcap",
                        device_id=f"device of {name}",
                        added=now,
                        is_new=True,
                    )
                )
            if self.schedule.next_due <= now:
                self.poll(now)


def service(lives: Sequence[tuple[float, float]], lag: float = 0.0, *, obeys: bool = True) -> Service:
    commands = {f"{index:04}": Life(born, born + seconds, born + lag) for index, (born, seconds) in enumerate(lives)}
    return Service(commands, Schedule(Rhythm(2.0)), obeys)


LIVES = st.lists(st.tuples(st.floats(0, 300), st.one_of(st.floats(0, 40), st.floats(0, 900))), min_size=1, max_size=130)


class TestSchedule:
    @settings(deadline=None, max_examples=60)
    @given(LIVES, st.sampled_from([0.0, 0.0, 5.0, 90.0]), st.booleans())
    def test_every_end_is_noticed(self, lives: list[tuple[float, float]], lag: float, obeys: bool):
        one = service(lives, lag, obeys=obeys)
        one.run()
        assert one.schedule.next_due == math.inf
        for command in one.commands.values():
            assert command.end_seen is not None
            took = command.ends - command.born
            # The first look for a short one may be put off by what is known of most.
            late = command.end_seen - max(command.ends, command.appears)
            assert late <= 16.0 + max(10.0, PROMPT.patience * max(took, lag)) * (1.0 + (not obeys) * 3.0) + took * 0.05

    def test_a_burst_of_a_thousand(self):
        rng = random.Random(1)
        lives = [(index / 128, rng.uniform(4, 30) if index % 50 else TIMEOUT_SECONDS) for index in range(1000)]
        one = service(lives)
        one.run()
        assert one.pages <= 95
        lateness = [command.end_seen - command.ends for command in one.commands.values()]
        assert all(
            late <= max(12.5, PROMPT.patience * (command.ends - command.born))
            for late, command in zip(lateness, one.commands.values(), strict=True)
        )
        assert one.shapes["PENDING_EXEC"] > 5
        assert one.schedule.known.rows.ours(-math.inf, math.inf) == 0, "nothing is kept of what is long ago"

    def test_a_burst_of_slow_ones_is_probed_until_durations_are_known(self):
        one = service([(index / 128, 300.0) for index in range(1000)])
        one.run()
        assert one.shapes["SUCCESS"] >= 5
        assert one.pages <= 110

    @pytest.mark.parametrize(("brought", "probes"), [(True, 1), (False, 3)])
    def test_a_probe_that_has_shown_others_is_believed_more(self, brought: bool, probes: int):
        schedule = Schedule(Rhythm(2.0))
        one = listed("a", 0.0, probes=2)
        schedule.add(one)
        schedule.expect([one])
        look = Look({"a": one}, status="FAILED", is_probe=True, is_complete=True, begun=12.0, brought=brought)
        assert schedule.end(look, 20.0) == []
        assert (one.probes, one.probed, one.looked) == (probes, 12.0, 20.0)
        one.deadline = 15.0
        assert not one.was_pending_at_deadline, "it was not seen"
        schedule.touch(one, 30.0)
        assert one.was_pending_at_deadline

    def test_slow_ones_of_many_lengths_cost_less_than_a_walk_for_each_look(self):
        rng = random.Random(1)
        one = service([(index / 300, rng.uniform(60, 300)) for index in range(1000)])
        one.run()
        # Walks alone took 128.
        assert one.pages <= 95
        assert one.shapes["SUCCESS"] >= 5

    def test_new_ones_are_glanced_at_and_not_looked_for(self):
        schedule = Schedule(Rhythm(2.0))
        for index in range(100):
            schedule.add(Pending(command_id=str(index), not_before=at(-1), born=-1.0, added=0.0, is_new=True))
        # What the first were due at is put off once there are many.
        assert schedule.next_due == 2.0
        assert schedule.joining(2.0) == [], "nor is a peer to look for them"
        [look] = schedule.plan(2.0)
        assert look.is_glance
        assert (look.since, len(look.missing)) == (at(-2), 100)
        schedule.end(look, 2.0)
        schedule.settle(2.0, changed=False)
        assert schedule.next_due == 15.0
        assert schedule.plan(14.9) == []
        assert shape(schedule.plan(15.0)) == ["walk 100"]
        assert GLANCE_SECONDS > 15.0

    def test_those_are_glanced_at_that_are_new_and_that_the_list_has_not_shown(self):
        schedule = Schedule(Rhythm(2.0))
        schedule.rhythm.followed = 100
        shown = Pending(command_id="shown", not_before=at(-1), born=-1.0, is_new=True)
        schedule.add(shown)
        schedule.add(Pending(command_id="old", not_before=at(-1), born=-1.0))
        assert schedule.next_due == 2.0
        shown.seen = Command(id="shown", status="PENDING_EXEC")
        schedule.touch(shown, 1.0)
        schedule.settle(1.0, changed=True)
        assert schedule.next_due > 10.0
        for name, added in (("new", 3.0), ("newer", 4.0)):
            schedule.add(Pending(command_id=name, not_before=at(2), born=2.0, added=added, is_new=True))
        assert schedule.next_due == 5.0
        [look] = schedule.plan(5.0)
        assert look.is_glance
        assert sorted(look.missing) == ["new", "newer"]

    def test_of_many_those_that_are_almost_due_are_looked_for_as_well(self):
        schedule = Schedule(Rhythm(2.0))
        schedule.rhythm.followed = 100
        schedule.filters = False
        for name, due in (("due", 10.0), ("almost", 15.0), ("later", 20.0)):
            one = listed(name, 0.0)
            schedule.add(one)
            one.due = due
        schedule.recount()
        [look] = schedule.plan(10.0)
        assert sorted(look.missing) == ["almost", "due"]
        schedule.drop("almost")
        assert list(schedule.open_of(look)) == ["due"]

    def test_a_look_that_is_refused_tells_nothing(self):
        schedule = Schedule(Rhythm(2.0))
        one = listed("a", 0.0)
        schedule.add(one)
        schedule.expect([one])
        schedule.filters = False
        assert shape(schedule.end(Look({"a": one}, device_id="device of a"), 20.0)) == ["walk 1"]
        assert (one.looked, one.asker) == (0.0, schedule)

    def test_a_deadline_is_a_time_to_look(self):
        schedule = Schedule(Rhythm(2.0))
        schedule.rhythm.followed = 100
        one = Pending(command_id="a", not_before=at(0), born=0.0, deadline=5.0)
        schedule.add(one)
        assert schedule.next_due == 5.0
        [look] = schedule.plan(5.0)
        look.is_complete = True
        schedule.end(look, 5.0)
        schedule.settle(5.0, changed=False)
        assert one.tried >= one.deadline
        assert schedule.next_due == 17.0, "once is enough"
        schedule.give_until(9.0)
        assert schedule.next_due == 9.0

    def test_a_failure_puts_off_what_is_due(self):
        schedule = Schedule(Rhythm(2.0))
        due, later = listed("a", 0.0), listed("b", 0.0)
        schedule.add(due)
        schedule.add(later)
        later.due = 100.0
        schedule.plan(0.0)
        schedule.fail(0.0)
        assert due.due == 3.0
        assert later.due == 100.0
        due.deadline = 2.0
        schedule.plan(3.0)
        due.tried = -math.inf
        schedule.fail(3.0)
        assert due.due == 2.0, "at its deadline it is tried all the same"

    def test_what_only_its_file_name_is_missing_of_is_looked_for_at_the_end_of_its_time(self):
        schedule = Schedule(Rhythm(2.0))
        one = listed("a", 0.0, "SUCCESS", named_by=3.5)
        schedule.add(one)
        for now, then in ((0.0, 2.0), (2.0, 3.5), (3.5, 5.5)):
            schedule.touch(one, now)
            schedule.settle(now, changed=True)
            assert schedule.next_due == then


class TestPeers:
    """The schedules of two followers that share their polls."""

    def setup_method(self) -> None:
        known = Known()
        self.mine, self.theirs = Schedule(Rhythm(2.0), known), Schedule(Rhythm(2.0), known)
        self.a, self.b, self.c = (listed(name, created) for name, created in (("a", 2.0), ("b", 0.0), ("c", 1.0)))
        self.mine.add(self.a)
        self.theirs.add(self.b)
        self.theirs.add(self.c)

    def test_rows_are_kept_as_long_as_any_of_them_needs_them(self):
        self.mine.known.forget()
        assert self.mine.known.rows.ours(0.0, 2.0) == 3

    def test_one_poll_is_for_all(self):
        [look] = self.mine.plan(5.0, [self.theirs])
        assert sorted(look.missing) == ["a", "b", "c"]
        assert self.theirs.next_due == math.inf
        assert self.theirs.plan(5.0) == []

    def test_what_was_told_is_not_left_to_whoever_goes_on(self):
        self.mine.plan(5.0, [self.theirs])
        self.mine.touch(self.a, 5.0)
        self.theirs.touch(self.c, 5.0)
        self.mine.bequeath(self.theirs)
        assert (self.a.asker, self.b.asker, self.c.asker) == (None, self.theirs, None)

    def test_who_is_not_told_may_ask(self):
        self.mine.plan(5.0, [self.theirs])
        assert self.mine.release()
        assert self.a.asker is self.mine
        assert self.theirs.next_due <= 5.0
        assert self.b.tried == -math.inf, "the poll of another was no try"
        assert not self.mine.release()

    def test_who_leaves_has_tried_by_its_own_poll_only(self):
        self.mine.plan(5.0, [self.theirs])
        self.theirs.forgo()
        self.mine.forgo()
        assert self.theirs.next_due <= 5.0
        assert (self.a.tried, self.b.tried) == (5.0, -math.inf)
