"""Live progress of a campaign, for the process that runs it and for others that watch it."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import attrs
from rich.console import Console

from dexcmd.amounts import counted, size_text
from dexcmd.campaign.campaign import Campaign
from dexcmd.campaign.events import Control
from dexcmd.campaign.status import AccountStatus, CampaignStatus
from dexcmd.cli.campaign.statustext import failures_of, refused_accounts
from dexcmd.cli.moments import duration_text
from dexcmd.cli.rates import Rate
from dexcmd.cli.stderr import note
from dexcmd.cli.terminal import say
from dexcmd.cli.view import LiveView, Picture, Stage, View, has_bars
from dexcmd.errors import CampaignNotFoundError
from dexcmd.safe_text import one_line

__all__ = ["CampaignLines", "Standing", "campaign_view", "keep_looking"]

LOOK_SECONDS = 1.0
"""Minimum seconds between two looks at the journal."""

LOOK_SHARE = 20
"""Looking takes at most one part in this many of the time, however large the campaign is."""

RATE_SECONDS = 120.0
"""The window of a rate in seconds, which is long because captures come in bursts."""

MAX_ACCOUNTS = 6
"""Maximum number of accounts with a line of their own."""

LINE_SECONDS = 60.0
"""Minimum seconds between two plain lines."""

CONTROLS: dict[Control, str] = {
    "run": "resumes: the pause is over",
    "pause": "is paused: nothing more is created, running commands are followed and fetched",
    "cancel_keep": "is cancelled: nothing more is created, running commands are followed and fetched",
    "cancel_drop": "is cancelled: nothing more is created, running commands are left alone",
}


def _rate() -> Rate:
    return Rate(RATE_SECONDS)


@attrs.define
class Standing:
    """The progress of a campaign."""

    status: CampaignStatus | None
    """None while it is being planned."""

    leave_quota: int
    stopping: bool = False
    """Whether this process has stopped creating commands."""

    _created: Rate = attrs.field(factory=_rate, init=False)
    _saved: Rate = attrs.field(factory=_rate, init=False)
    _at_quota: dict[str, tuple[int | None, int]] = attrs.field(factory=dict[str, tuple[int | None, int]], init=False)
    """Each account's quota usage when last asked, and the number of its commands at that time."""

    def look(self, status: CampaignStatus, now: float) -> None:
        """Update the status, at a time in seconds that never goes back."""
        self.status = status
        created, _, saved = _stages(status)
        self._created.note(created.count, now)
        self._saved.note(saved.count, now)
        for account in status.accounts:
            if self._at_quota.get(account.name, (None, 0))[0] != account.usage:
                self._at_quota[account.name] = (account.usage, account.commands)

    def picture(self) -> Picture:
        """Return the progress for display."""
        status = self.status
        if status is None:
            return Picture((), "writing the plan down")
        created, captured, saved = _stages(status)
        held = self._is_held(status)
        stages = (
            attrs.evolve(created, note=_pace(created, self._created, held=held)),
            captured,
            attrs.evolve(saved, note=_pace(saved, self._saved, held=held)),
        )
        return Picture(stages, "\n".join(self._said(status)))

    def _is_held(self, status: CampaignStatus) -> bool:
        """Return whether creating is held up by more than its pace, so that no rate can predict how long it takes."""
        if self.stopping or status.control != "run":
            return True
        return any(
            account.waits_until is not None
            or account.next_wave_at is not None
            or account.states["pending"] > self._room(account)
            for account in status.accounts
            if account.stopped is None
        )

    def _room(self, account: AccountStatus) -> float:
        """Return how many more commands the day's quota allows."""
        if account.quota is None or account.usage is None:
            return float("inf")
        _, commands = self._at_quota.get(account.name, (None, account.commands))
        return account.quota - account.usage - self.leave_quota - (account.commands - commands)

    def _said(self, status: CampaignStatus) -> Iterator[str]:
        yield ", ".join(_counts(status))
        if self.stopping:
            yield "stopping"
        elif status.control != "run":
            # In brief: the full text was a note when it began, and is right above.
            yield f"{status.name} {CONTROLS[status.control].partition(':')[0]}"
        accounts = status.accounts
        lines = [line for account in accounts if (line := _account_line(account, alone=len(accounts) == 1))]
        yield from lines[:MAX_ACCOUNTS]
        if len(lines) > MAX_ACCOUNTS:
            yield f"and {len(lines) - MAX_ACCOUNTS} more accounts"


def _stages(status: CampaignStatus) -> tuple[Stage, Stage, Stage]:
    """Return the progress through each stage; targets that failed earlier don't count towards a stage's total."""
    failures = failures_of(status)
    to_create = status.count() - status.count("not_attempted") - failures["rejected"] - failures["unknown"]
    to_capture = to_create - failures["device"] - failures["timeout"]
    saved = status.count("saved")
    captured = saved + status.count("collecting") + failures["download"]
    created = captured + status.count("running") + failures["device"] + failures["timeout"]
    return (
        Stage("created", created, to_create),
        Stage("captured", captured, to_capture),
        Stage("fetched", saved, to_capture - failures["download"]),
    )


def _pace(stage: Stage, rate: Rate, *, held: bool) -> str:
    """Return the rate of a stage, and the time left unless it is held up by something else."""
    left = (stage.total or 0) - stage.count
    if rate.per_second <= 0 or not left:
        return ""
    pace = f"{rate.per_second * 60:.0f}/min"
    seconds = rate.seconds_for(left)
    return pace if seconds is None or held else f"{pace}, {duration_text(seconds)} left"


def _counts(status: CampaignStatus) -> Iterator[str]:
    yield f"{status.count('saved'):,} fetched ({size_text(status.size)})"
    if running := status.count("running"):
        yield f"{running:,} running"
    if creating := status.count("creating"):
        yield f"{creating:,} being created"
    if failed := status.count("failed"):
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in failures_of(status).items() if number)
        yield f"{failed:,} failed ({kinds})"
    if dropped := status.count("not_attempted"):
        yield f"{dropped:,} not attempted"
    if refused := refused_accounts(status):
        yield f"{counted(refused, 'account')} refused"


def _account_line(account: AccountStatus, *, alone: bool) -> str:
    """Return the line for an account; empty if there is nothing to say."""
    said = [*_account_says(account)]
    if alone:
        return ", ".join(said)
    targets = sum(number for state, number in account.states.items() if state != "skipped")
    return ", ".join([f"{one_line(account.name)}: {account.states['saved']:,} of {targets:,}", *said])


def _account_says(account: AccountStatus) -> Iterator[str]:
    if account.stopped is not None:
        if account.stopped != "finished":
            yield account.stopped if account.reason is None else f"{account.stopped}: {one_line(account.reason)}"
        return
    if account.waves > 1 and account.wave:
        yield f"wave {account.wave} of {account.waves}"
    if account.waits_until is not None:
        yield f"waiting for the quota: reset in {_left(account.waits_until)}"
    elif account.next_wave_at is not None and account.next_wave_at > datetime.now(UTC):
        yield f"soaking: the next wave in {_left(account.next_wave_at)}"
    elif account.audit_error is not None:
        yield f"the audit failed, and the next run tries it again: {one_line(account.audit_error)}"
    elif account.audit_at is not None and account.audit_at > datetime.now(UTC):
        yield f"waiting to audit: begins in {_left(account.audit_at)}"
    elif account.posts and not any(account.states[state] for state in ("pending", "creating", "running", "collecting")):
        yield "looking for late commands in the list"


def _left(until: datetime) -> str:
    return duration_text((until - datetime.now(UTC)).total_seconds())


async def keep_looking(
    campaign: Campaign, standing: Standing, *, until: Callable[[CampaignStatus], bool] = lambda _: False
) -> None:
    """Poll the status of a campaign, and report when its operator pauses, resumes or cancels it."""
    while True:
        began, before = time.monotonic(), standing.status
        # It is not in the journal until it has been written completely.
        with suppress(CampaignNotFoundError):
            status = await campaign.status()
            standing.look(status, began)
            if before is not None and before.control != status.control:
                note(f"{status.name} {CONTROLS[status.control]}")
            if until(status):
                return
        await asyncio.sleep(max(LOOK_SECONDS, LOOK_SHARE * (time.monotonic() - began)))


def campaign_view(console: Console) -> View:
    """Return the view of a campaign that suits a console."""
    return LiveView(console) if has_bars(console) else CampaignLines(console)


class CampaignLines:
    """An occasional line if the counts have changed; nothing while a campaign waits."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._told: tuple[Stage, ...] = ()
        self._told_at = float("-inf")
        self._picture: Picture | None = None

    def __enter__(self) -> Self:
        """Do nothing."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Print the final counts."""
        self._tell()

    def show(self, picture: Picture) -> None:
        """Print a line if it is time for one."""
        self._picture = picture
        if self._clock() - self._told_at >= LINE_SECONDS:
            self._tell()

    def _tell(self) -> None:
        if self._picture is None:
            return
        counts = tuple(attrs.evolve(stage, note="") for stage in self._picture.stages)
        if not counts or counts == self._told:
            return
        self._told, self._told_at = counts, self._clock()
        parts = [f"{stage.count:,} of {stage.total:,} {stage.name}" for stage in self._picture.stages]
        # The first of these repeats how many are fetched.
        parts += self._picture.said.splitlines()[0].split(", ")[1:]
        say(self._console, ", ".join([*parts, *filter(None, [self._picture.stages[-1].note])]))
