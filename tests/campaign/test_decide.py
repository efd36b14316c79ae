"""What an account of a campaign does next, by table."""

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from dexcmd import Pcap
from dexcmd.campaign.decide import (
    AskQuota,
    Create,
    DropPending,
    Finish,
    OpenWave,
    Stop,
    Tally,
    View,
    Wait,
    next_step,
    quota_room,
    retry_wait,
)
from dexcmd.campaign.spec import AbortRule, AccountSpec, CampaignSpec, Pace, Retries, Waves

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=10)
SOON = NOW + timedelta(minutes=5)
SPEC = CampaignSpec(
    name="one",
    command=Pcap(),
    accounts=(AccountSpec(account_id="a" * 32, name="acme"),),
    pace=Pace(in_flight=100),
)


def tally(failures: dict[Any, int] | None = None, **states: int) -> Tally:
    states.setdefault("failed", sum((failures or {}).values()))
    return Tally(states, failures or {})  # type: ignore[arg-type]


def view(in_wave: Tally, **changes: Any) -> View:
    known: dict[str, Any] = {
        "now": NOW,
        "control": "run",
        "wave": 1,
        "waves": 1,
        "in_wave": in_wave,
        "total": in_wave,
        "begun": in_wave.in_flight,
        "undecided_later": 5 if changes.get("waves", 1) > changes.get("wave", 1) else 0,
        "wave_ended_at": None,
        "deadline": None,
        "quota_left": 50.0,
        "quota_counted_twice": False,
        "quota_again_at": None,
    }
    return View(**{**known, **changes})


DONE = tally(saved=10)
DUE = tally(pending=10)


@pytest.mark.parametrize(
    ("seen", "step"),
    [
        (view(tally(), wave=0, undecided_later=10), OpenWave(1)),
        (view(tally(), wave=0, waves=0), Finish()),
        (view(DUE), Create(50)),
        (view(DUE, quota_left=7.0), Create(7)),
        (view(DUE, quota_left=float("inf")), Create(100)),
        (view(DUE, total=tally(running=90), begun=90), Create(10)),
        (view(DUE, total=tally(running=91), begun=91), Wait()),
        (view(tally(pending=5), total=tally(running=95), begun=95), Create(5)),
        (view(DUE, total=tally(running=100), begun=100), Wait()),
        # All that is pending is about to be sent, and waits for nothing.
        (view(tally(pending=5), begun=5, quota_left=0.0, quota_again_at=LATER), Wait()),
        (view(tally(pending=5), begun=4, quota_left=0.0, quota_again_at=LATER), Wait(LATER, quota_again_at=LATER)),
        (view(DUE, quota_left=None), AskQuota()),
        (view(DUE, quota_left=0.0, quota_again_at=LATER), Wait(LATER, quota_again_at=LATER)),
        (view(DUE, quota_left=0.0, quota_again_at=NOW), AskQuota()),
        (view(DUE, quota_left=0.0, quota_again_at=LATER, quota_counted_twice=True), AskQuota()),
        (view(tally(pending=1, creating=1), quota_left=0.0, quota_counted_twice=True), Wait()),
        (view(DUE, control="pause"), Wait()),
        (view(tally(running=1), control="pause"), Wait()),
        (view(DONE, waves=2, control="pause"), Wait()),
        (view(DONE, waves=2), OpenWave(2)),
        (view(DONE), Finish()),
        (view(tally(running=1)), Wait()),
        (view(tally(creating=1)), Wait()),
        (view(tally(collecting=1)), Wait()),
        (view(DUE, deadline=NOW), DropPending("deadline")),
        (view(DUE, deadline=LATER), Create(50)),
        (view(tally(saved=1), waves=2, undecided_later=5, deadline=NOW), DropPending("deadline")),
        (view(tally(running=1), deadline=NOW), Wait()),
        # No wave is to come of which all is decided already.
        (view(DONE, waves=2, undecided_later=0), Finish()),
        (view(DONE, waves=2, undecided_later=0, control="pause"), Finish()),
        (view(tally(running=1), waves=2, undecided_later=0), Wait()),
        # Nor one beyond the last, whatever is pending of an earlier one.
        (view(DONE, wave=2, waves=2, undecided_later=5), Finish()),
        # What is about to be sent is not given up, nor asked about again and again.
        (view(tally(pending=5), begun=5, deadline=NOW), Wait()),
        (view(tally(pending=5), begun=4, deadline=NOW), DropPending("deadline")),
        # Nothing that is pending waits for longer than up to the deadline.
        (view(DUE, quota_left=0.0, quota_again_at=LATER, deadline=SOON), Wait(SOON, quota_again_at=LATER)),
        (view(DUE, quota_left=0.0, quota_again_at=SOON, deadline=LATER), Wait(SOON, quota_again_at=SOON)),
        (view(DUE, control="pause", deadline=LATER), Wait(LATER)),
        (view(DUE, total=tally(running=100), begun=100, deadline=LATER), Wait(LATER)),
        (view(tally(running=1), undecided_later=5, deadline=LATER), Wait(LATER)),
        (view(tally(running=1), deadline=LATER), Wait()),
        (view(DUE, control="cancel_keep"), Stop("cancelled", "by the operator")),
        (view(tally(running=1), control="cancel_drop"), Stop("cancelled", "by the operator")),
    ],
)
def test_step(seen: View, step: object) -> None:
    assert next_step(seen, SPEC) == step


def test_fewer_in_flight_than_a_post_takes_are_no_reason_to_wait_for_a_full_one() -> None:
    spec = attrs.evolve(SPEC, pace=Pace(in_flight=3))
    assert next_step(view(DUE), spec) == Create(3)
    assert next_step(view(DUE, total=tally(running=1), begun=1), spec) == Wait()


def test_a_wave_that_ended_is_slept_on_before_the_next() -> None:
    spec = attrs.evolve(SPEC, waves=Waves(soak=timedelta(minutes=5)))
    seen = view(DONE, waves=2, wave_ended_at=NOW - timedelta(minutes=4))
    assert next_step(seen, spec) == Wait(NOW + timedelta(minutes=1))
    seen_with_more = attrs.evolve(seen, undecided_later=5, deadline=NOW + timedelta(seconds=30))
    assert next_step(seen_with_more, spec) == Wait(NOW + timedelta(seconds=30))
    assert next_step(attrs.evolve(seen, now=NOW + timedelta(minutes=1)), spec) == OpenWave(2)


@pytest.mark.parametrize(("saved", "failed", "goes_on"), [(9, 1, True), (8, 2, False), (0, 10, False), (0, 0, True)])
def test_a_wave_is_promoted_only_if_enough_of_it_succeeded(saved: int, failed: int, goes_on: bool) -> None:
    spec = attrs.evolve(SPEC, waves=Waves(min_succeeded_percent=90.0))
    step = next_step(view(tally({"device": failed}, saved=saved), waves=2), spec)
    if goes_on:
        assert step == OpenWave(2)
    else:
        assert isinstance(step, Stop)
        assert step.kind == "aborted"
        assert f"{saved} of {saved + failed}" in step.why


@pytest.mark.parametrize(("saved", "goes_on"), [(161, True), (160, False)])
def test_a_wave_needs_just_the_percentage_that_is_written(saved: int, goes_on: bool) -> None:
    # In binary 16.1 times 1000 is a little more than 16100.
    spec = attrs.evolve(SPEC, waves=Waves(min_succeeded_percent=16.1))
    step = next_step(view(tally({"device": 1000 - saved}, saved=saved), waves=2), spec)
    assert (step == OpenWave(2)) is goes_on


def test_the_last_wave_is_promoted_to_nothing() -> None:
    spec = attrs.evolve(SPEC, waves=Waves(min_succeeded_percent=90.0))
    assert next_step(view(tally({"device": 10})), spec) == Finish()


@pytest.mark.parametrize(
    ("rule", "failures", "saved", "aborts"),
    [
        (AbortRule(failed_percent=20, of_at_least=10), {"device": 2}, 8, True),
        (AbortRule(failed_percent=20, of_at_least=10), {"device": 1}, 8, False),
        (AbortRule(failed_percent=20, of_at_least=10), {"device": 2}, 7, False),
        (AbortRule(failed_percent=20, of_at_least=10), {"device": 1, "download": 1}, 8, True),
        (AbortRule(failed_percent=20, of_at_least=10, failure="device"), {"device": 1, "download": 1}, 8, False),
        (AbortRule(failed_percent=20, of_at_least=10, failure="download"), {"device": 1, "download": 2}, 7, True),
        (AbortRule(failed_percent=0.1, of_at_least=1), {}, 8, False),
        (AbortRule(failed_percent=0.1, of_at_least=1), {"rejected": 1}, 8, True),
        (AbortRule(failed_percent=16.1), {"device": 161}, 839, True),
        (AbortRule(failed_percent=16.1), {"device": 160}, 840, False),
    ],
)
def test_abort_rules(rule: AbortRule, failures: dict[Any, int], saved: int, aborts: bool) -> None:
    stands = tally(failures, saved=saved, pending=5)
    step = next_step(view(stands), attrs.evolve(SPEC, abort=(rule,)))
    assert isinstance(step, Stop) == aborts


def test_retries_are_counted_by_class_and_come_later_and_later() -> None:
    retries = Retries(device=2, wait=timedelta(seconds=30))
    assert [retry_wait("device", tries, retries) for tries in range(3)] == [
        timedelta(seconds=30),
        timedelta(seconds=60),
        None,
    ]
    assert retry_wait("timeout", 0, retries) is None


def test_a_wait_for_the_next_try_is_doubled_sixteen_times_at_most() -> None:
    retries = Retries(device=10**9, wait=timedelta(seconds=30))
    longest = timedelta(seconds=30 * 65536)
    assert retry_wait("device", 16, retries) == retry_wait("device", 10**9 - 1, retries) == longest


def test_quota_room() -> None:
    assert quota_room(10, 3, 2) == 5
    assert quota_room(10, 8, 5) == 0
    assert quota_room(None, 8, 5) == float("inf")
