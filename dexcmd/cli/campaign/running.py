"""Runs a campaign in this process: plans it, asks for confirmation, shows progress, and handles interruption."""

import asyncio
import os
import signal
import time
from functools import partial
from pathlib import Path

import attrs

from dexcmd.campaign.campaign import Campaign
from dexcmd.campaign.events import (
    AccountStarted,
    AccountStopped,
    ArtifactFailed,
    CampaignEvent,
    CreatingAborted,
    QuotaWaited,
    TargetRetried,
    WaveOpened,
)
from dexcmd.campaign.plan import Plan
from dexcmd.campaign.report import report_time
from dexcmd.campaign.spec import CampaignSpec
from dexcmd.campaign.status import CampaignStatus
from dexcmd.cli.campaign.clients import Clients
from dexcmd.cli.campaign.finding import check_new, existing, file_or_name, journal_of, opened
from dexcmd.cli.campaign.place import same_options
from dexcmd.cli.campaign.planning import Looking, make_plan
from dexcmd.cli.campaign.plantext import brief_lines, question, unreadable
from dexcmd.cli.campaign.setbacks import Setbacks
from dexcmd.cli.campaign.standing import Standing, campaign_view, keep_looking
from dexcmd.cli.campaign.statustext import event_document, exit_code
from dexcmd.cli.campaign.steering import write_status
from dexcmd.cli.common import Common
from dexcmd.cli.confirm import confirm
from dexcmd.cli.exits import ABORTED, OK, Stopped
from dexcmd.cli.rows import json_line, write
from dexcmd.cli.signals import GentleStop, run_until_stopped
from dexcmd.cli.stderr import complain, note
from dexcmd.cli.terminal import say, stderr_console
from dexcmd.cli.texts import LONGEST_LINE
from dexcmd.cli.view import showing
from dexcmd.cli.waits import telling_waits
from dexcmd.errors import CampaignBusyError, CampaignError, DexError
from dexcmd.safe_text import one_line

__all__ = ["event_line", "run_campaign", "run_resume"]

STOPPING = "creating no more commands and finishing the downloads in progress; Ctrl-C again quits immediately"

ALL_DONE = ("finished", "aborted", "cancelled")


@attrs.frozen
class Beginning:
    """The situation before a run: the status of a campaign in the journal, or the plan of a new one."""

    status: CampaignStatus | None = None
    plan: Plan | None = None


def run_campaign(common: Common, journal: Path | None, what: str, *, yes: bool) -> int:
    """Run or resume a campaign, and return the exit code.  Raises `DexError`."""
    campaign = file_or_name(common, what)
    beginning = run_until_stopped(lambda: _look(common, journal, campaign, ask=not yes))
    if beginning.plan is not None and (failure := unreadable(beginning.plan)) is not None:
        complain(failure)
        return failure.exit_code
    if beginning.plan is not None and not _begin(beginning.plan, journal_of(journal), yes=yes):
        note("nothing was started")
        return ABORTED
    if beginning.status is not None:
        status = beginning.status
        if status.state in ALL_DONE:
            write_status(common, journal, status)
            return exit_code(status)
        note(f"resuming {status.name}: {status.count('saved'):,} of {status.count():,} fetched")
        if status.control == "pause":
            again = f"`dexcmd campaign resume {status.name}{same_options(common, journal)}`"
            note(f"{status.name} is paused: nothing more is created before {again}")
    return _run(common, journal, campaign, beginning.plan)


def run_resume(common: Common, journal: Path | None, name: str) -> int:
    """End a pause, run the campaign unless another process does, and return the exit code.  Raises `DexError`."""

    async def resume() -> CampaignStatus:
        async with opened(name, journal) as campaign:
            status = await campaign.status()
            if status.control == "pause" and status.state not in ALL_DONE:
                await campaign.resume()
            return await campaign.status()

    status = run_until_stopped(resume)
    if not status.running_elsewhere:
        return run_campaign(common, journal, name, yes=True)
    note(f"{name} resumes in the process that runs it")
    if common.json:
        write_status(common, journal, status)
    return OK


async def _look(common: Common, journal: Path | None, campaign: CampaignSpec | str, *, ask: bool) -> Beginning:
    """Find out whether the campaign is new, and if so plan it, without writing anything.

    A user who is asked for confirmation is shown all accounts; otherwise no account waits for another.
    """
    looking = Looking(0)
    clients = Clients(common, os.environ, telling_waits(common, looking.on_event))
    place = journal_of(journal)
    if isinstance(campaign, CampaignSpec) and existing(place) is None:
        check_new(place)
        async with Campaign(campaign, journal=None, client=clients) as found:
            return await _planned(found, looking, clients, ask=ask)
    async with opened(campaign, journal, clients) as found:
        if await found.known():
            clients.check(found.spec)
            status = await found.status()
            if status.running_elsewhere and status.state not in ALL_DONE:
                # Before reporting that the campaign resumes.
                raise CampaignBusyError(f"another process is running campaign {found.name!r}")
            return Beginning(status=status)
        return await _planned(found, looking, clients, ask=ask)


async def _planned(campaign: Campaign, looking: Looking, clients: Clients, *, ask: bool) -> Beginning:
    clients.check(campaign.spec)
    looking.accounts = len(campaign.spec.accounts)
    return Beginning(plan=await make_plan(campaign, looking, first=not ask))


def _refuse_in_vain(plan: Plan) -> None:
    """Raise `CampaignError` if each account would wait for its quota for ever."""
    quotas = [account.quota for account in plan.accounts if account.commands]
    if not quotas or not all(quota is not None and quota.per_day == 0 for quota in quotas):
        return
    why = f"leave_quota = {plan.spec.leave_quota} leaves nothing of it" if plan.spec.leave_quota else "it is 0"
    raise CampaignError(f"the daily quota is never enough to create anything: {why}")


def _begin(plan: Plan, journal: Path, *, yes: bool) -> bool:
    """Show whom a plan affects and the journal to be created, and return whether to start.

    Raises `DexError` if there is nothing to capture, or no terminal to ask on.
    """
    if not plan.commands:
        reasons, why = [f"{reason} {number:,}" for reason, number in plan.skips.items()], "all are skipped"
        if plan.late:
            reasons, why = [*reasons, f"too late {plan.late:,}"], f"{why} or too late for the deadline"
        platforms = {
            target.platform
            for account in plan.accounts
            for target in account.skipped
            if target.skip == "platform" and target.platform is not None
        }
        there_are = f"; the platforms are {', '.join(sorted(platforms))}" if platforms else ""
        reason = f": {why} ({', '.join(reasons)}){there_are}" if reasons else ""
        raise CampaignError(f"there is no device to capture{reason}")
    _refuse_in_vain(plan)
    console = stderr_console()
    for line in brief_lines(plan):
        say(console, line)
    if existing(journal) is None:
        say(console, f"new journal at {journal}")
    return confirm(question(plan), yes=yes)


def _run(common: Common, journal: Path | None, campaign: CampaignSpec | str, plan: Plan | None) -> int:
    gently = GentleStop(partial(note, STOPPING))
    name = campaign if isinstance(campaign, str) else campaign.name
    run = _Run(common, journal, campaign, plan, gently)
    try:
        status = run_until_stopped(run.run, gently)
    except (Stopped, DexError, OSError):
        if run.begun:
            note(f"progress is kept: `dexcmd campaign resume {name}{same_options(common, journal)}` resumes it")
        raise
    if run.broken is not None:
        raise run.broken
    write_status(common, journal, status)
    return exit_code(status)


@attrs.define
class _Run:
    common: Common
    journal: Path | None
    campaign: CampaignSpec | str
    plan: Plan | None
    gently: GentleStop
    begun: bool = False
    """Whether the journal has recorded this run, and thus has the campaign."""

    broken: BrokenPipeError | None = None
    """Set if the reader of the events has gone."""

    _setbacks: Setbacks = attrs.field(factory=Setbacks, init=False)

    async def run(self) -> CampaignStatus:
        """Run the campaign and return its final status.  Raises `DexError`, and `Stopped` if it did not even start."""
        clients = Clients(self.common, os.environ, telling_waits(self.common))
        async with opened(self.campaign, self.journal, clients) as campaign:
            if self.gently.requested:
                raise Stopped(signal.SIGINT)
            standing = Standing(None, campaign.spec.leave_quota)

            def stop() -> None:
                standing.stopping = True
                campaign.stop()

            self.gently.then(stop)
            async with showing(campaign_view(stderr_console()), standing.picture):
                looking = asyncio.create_task(keep_looking(campaign, standing))
                try:
                    status = await campaign.run(self.plan, on_event=partial(self._tell, campaign))
                finally:
                    looking.cancel()
                    await asyncio.gather(looking, return_exceptions=True)
                standing.look(status, time.monotonic())
        return status

    def _tell(self, campaign: Campaign, event: CampaignEvent) -> None:
        self.begun = True
        if self.common.json:
            self._write(campaign, event)
        elif isinstance(event, AccountStarted) and self._was_not_shown(event.account):
            note(one_line(f"{event.account}: planned, starting"))
        elif line := event_line(event, campaign.spec, self._setbacks):
            note(line)

    def _was_not_shown(self, account: str) -> bool:
        """Return whether the account was missing from the plan that was shown (see `Campaign.plan`)."""
        return self.plan is not None and all(account != one.account.name for one in self.plan.accounts)

    def _write(self, campaign: Campaign, event: CampaignEvent) -> None:
        if self.broken is not None:
            return
        try:
            write(json_line(event_document(campaign.name, event)))
        except BrokenPipeError as error:
            # What is in progress is still finished.
            self.broken = error
            self.gently.request()


def event_line(event: CampaignEvent, spec: CampaignSpec, setbacks: Setbacks) -> str | None:
    """Return the message for an event while a campaign runs; None for most events."""
    match event:
        case WaveOpened() if spec.waves.sizes:
            line = f"wave {event.wave} begins"
        case QuotaWaited():
            line = f"the quota is used up: waiting for its reset, until {report_time(event.until)}"
        case CreatingAborted():
            line = f"nothing more is created: {event.reason}"
        case AccountStopped() if event.kind != "finished":
            line = event.kind if event.reason is None else f"{event.kind}: {event.reason}"
        case ArtifactFailed() | TargetRetried() if said := setbacks.line(event):
            line = said
        case _:
            return None
    return one_line(line if len(spec.accounts) == 1 else f"{event.account}: {line}", LONGEST_LINE)
