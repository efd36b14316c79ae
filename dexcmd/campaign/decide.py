"""What an account of a campaign does next: pure decisions on what is known about it."""

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Literal

import attrs

from dexcmd.campaign.events import Control, DropReason
from dexcmd.campaign.percents import percent_of
from dexcmd.campaign.spec import AbortRule, CampaignSpec, FailureClass, Retries
from dexcmd.campaign.state import TargetState
from dexcmd.resources.requests import MAX_PER_POST

__all__ = [
    "CANCELLED",
    "AskQuota",
    "Create",
    "DropPending",
    "Finish",
    "OpenWave",
    "Step",
    "Stop",
    "Tally",
    "View",
    "Wait",
    "deadline_of",
    "next_step",
    "retry_wait",
    "quota_room",
]


CANCELLED = "by the operator"
"""The reason why a cancelled account stops."""


@attrs.frozen
class Tally:
    """How many targets of an account, or of one of its waves, are in each state."""

    states: Mapping[TargetState, int]
    failures: Mapping[FailureClass, int]

    def count(self, *states: TargetState) -> int:
        """Return how many are in any of the states."""
        return sum(self.states.get(state, 0) for state in states)

    @property
    def in_flight(self) -> int:
        """Return how many are started and not decided."""
        return self.count("creating", "running", "collecting")

    @property
    def tried(self) -> int:
        """Return how many were tried and decided, one way or the other."""
        return self.count("saved", "failed")


@attrs.frozen(kw_only=True)
class View:
    """What is known about an account at one moment."""

    now: datetime
    control: Control
    wave: int
    """The open wave, from 1; 0 before the first."""

    waves: int
    in_wave: Tally
    """The open wave's targets."""

    total: Tally
    """The targets of all waves, including those to come."""

    begun: int
    """Targets that are started and not decided, including those whose POST has yet to be sent."""

    undecided_later: int
    """Pending targets of waves other than the open one."""

    wave_ended_at: datetime | None
    """When the last target of the open wave was decided; None if that is not the case or not known."""

    deadline: datetime | None
    quota_left: float | None
    """Commands that may be created before the quota is asked for again: infinite if there is no quota, None if unknown.
    """

    quota_counted_twice: bool
    """Whether commands that were being created when the quota was asked for may have been counted twice."""

    quota_again_at: datetime | None
    """When there may be more quota; None if it was never asked for."""


@attrs.frozen
class Create:
    """Create commands for up to `most` due targets of the open wave."""

    most: int


@attrs.frozen
class AskQuota:
    """Ask for the quota."""


@attrs.frozen
class Wait:
    """Wait for a change, or until a time."""

    until: datetime | None = None
    quota_again_at: datetime | None = None
    """When there may be more quota, if that is what is waited for."""


@attrs.frozen
class OpenWave:
    """Open a wave."""

    wave: int


@attrs.frozen
class DropPending:
    """Drop the targets that have not been started."""

    reason: DropReason


@attrs.frozen
class Stop:
    """Stop creating for good."""

    kind: Literal["aborted", "cancelled"]
    why: str


@attrs.frozen
class Finish:
    """Finish: there is nothing left to create or wait for."""


Step = Create | AskQuota | Wait | OpenWave | DropPending | Stop | Finish


def next_step(view: View, spec: CampaignSpec) -> Step:
    """Return what the creating side of an account does next."""
    if stop := _stop(view, spec):
        return stop
    # Targets whose POST has yet to be sent are still pending in the journal.
    pending = view.in_wave.count("pending") + view.undecided_later - (view.begun - view.total.in_flight)
    if not pending or view.deadline is None:
        return _advance(view, spec)
    if view.now >= view.deadline:
        return DropPending("deadline")
    step = _advance(view, spec)
    if isinstance(step, Wait):
        # What is still pending at the deadline is dropped, so there is no point in waiting longer.
        return attrs.evolve(step, until=min(step.until or view.deadline, view.deadline))
    return step


def _advance(view: View, spec: CampaignSpec) -> Step:
    if not view.in_wave.count("pending"):
        return _between_waves(view, spec)
    if view.control == "pause":
        return Wait()
    return _within_wave(view, spec)


def _stop(view: View, spec: CampaignSpec) -> Stop | None:
    """Return why nothing more is to be created, by the operator or an abort rule; None if neither says so."""
    if view.control in ("cancel_keep", "cancel_drop"):
        return Stop("cancelled", CANCELLED)
    why = broken_rule(spec.abort, view.total)
    return None if why is None else Stop("aborted", why)


def broken_rule(rules: Iterable[AbortRule], total: Tally) -> str | None:
    """Return, in words, the rule by which too many have failed, or None."""
    for rule in rules:
        failed = sum(total.failures.values()) if rule.failure is None else total.failures.get(rule.failure, 0)
        tried = total.tried
        if tried >= rule.of_at_least and failed >= percent_of(rule.failed_percent, tried):
            kind = "" if rule.failure is None else f" ({rule.failure})"
            return f"{failed} of {tried} failed{kind}: the limit is {rule.failed_percent:g} %"
    return None


def _between_waves(view: View, spec: CampaignSpec) -> Step:
    """Return the next step when no target of the open wave is pending."""
    if view.in_wave.in_flight:
        return Wait()
    if view.wave >= view.waves or not view.undecided_later:
        return Finish()
    # Before the first wave, none has been tried.
    tried, saved = view.in_wave.tried, view.in_wave.count("saved")
    least = spec.waves.min_succeeded_percent
    if saved < percent_of(least, tried):
        return Stop("aborted", f"wave {view.wave}: {saved} of {tried} succeeded: the minimum is {least:g} %")
    if view.wave_ended_at is not None and view.now < (until := view.wave_ended_at + spec.waves.soak):
        return Wait(until)
    return Wait() if view.control == "pause" else OpenWave(view.wave + 1)


def _within_wave(view: View, spec: CampaignSpec) -> Step:
    """Return the next step when targets of the open wave are pending."""
    room = spec.pace.in_flight - view.begun
    # Targets whose POST has yet to be sent are still pending in the journal.
    left = view.in_wave.count("pending") - (view.begun - view.total.in_flight)
    if not left:
        return Wait()
    if room < min(MAX_PER_POST, spec.pace.in_flight, left):
        # One POST for each finished target would take ten times the requests.
        return Wait()
    if view.quota_left is None:
        return AskQuota()
    if view.quota_left > 0:
        return Create(int(min(room, view.quota_left)))
    if view.quota_counted_twice:
        # The service and we both count what was being created: once that is over, there may be some left.
        return Wait() if view.total.count("creating") else AskQuota()
    if view.quota_again_at is not None and view.now >= view.quota_again_at:
        return AskQuota()
    return Wait(view.quota_again_at, view.quota_again_at)


def deadline_of(spec: CampaignSpec, first_run_at: datetime | None) -> datetime | None:
    """Return when a campaign stops creating; None for never, or until the first run that the deadline counts from."""
    if not isinstance(spec.deadline, timedelta):
        return spec.deadline
    return None if first_run_at is None else first_run_at + spec.deadline


def retry_wait(failure: FailureClass, tries: int, retries: Retries) -> timedelta | None:
    """Return how long to wait before retrying a target after a failure, or None if its retries are used up.

    `tries` is how often it has been retried for failures of that class.
    """
    allowed: int = getattr(retries, failure)
    wait: timedelta = retries.wait * 2 ** min(tries, 16)
    return wait if tries < allowed else None


def quota_room(remaining: int | None, leave: int, reserved: int) -> float:
    """Return how many commands may be created: what remains, minus what is left to others and what is reserved."""
    return math.inf if remaining is None else max(0, remaining - leave - reserved)
