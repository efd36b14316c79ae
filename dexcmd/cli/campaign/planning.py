"""Makes a plan, and shows it."""

import asyncio
import os
from pathlib import Path

import attrs

from dexcmd.amounts import counted
from dexcmd.campaign.campaign import Campaign
from dexcmd.campaign.events import TargetPlanned
from dexcmd.campaign.plan import Plan
from dexcmd.cli.campaign.clients import Clients
from dexcmd.cli.campaign.finding import existing, journal_of, read_file
from dexcmd.cli.campaign.plantext import plan_document, plan_lines, unreadable
from dexcmd.cli.common import Common
from dexcmd.cli.exits import OK, PARTLY
from dexcmd.cli.rows import Column, RowWriter, json_line, write
from dexcmd.cli.signals import run_until_stopped
from dexcmd.cli.stderr import note, warn
from dexcmd.cli.terminal import say, stderr_console, stdout_console
from dexcmd.cli.view import Picture, has_bars, showing, view_for
from dexcmd.cli.waits import WORTH_TELLING, telling_waits
from dexcmd.errors import CampaignExistsError
from dexcmd.events import Event, RequestFinished

__all__ = ["Looking", "make_plan", "run_plan"]

COLUMNS = (
    Column[TargetPlanned](title="wave", text=lambda row: str(row.wave) if row.wave else "-"),
    Column[TargetPlanned](title="account", text=lambda row: row.account, optional=5),
    Column[TargetPlanned](title="device", text=lambda row: row.device_id, folds_at=18),
    Column[TargetPlanned](title="registration", text=lambda row: row.registration_id, optional=6),
    Column[TargetPlanned](title="name", text=lambda row: row.device_name, folds_at=12, optional=3),
    Column[TargetPlanned](title="user", text=lambda row: row.user_email, folds_at=16),
    Column[TargetPlanned](title="platform", text=lambda row: row.platform, optional=2),
    Column[TargetPlanned](title="version", text=lambda row: row.version, optional=4),
    Column[TargetPlanned](title="skipped", text=lambda row: row.skip),
    Column[TargetPlanned](title="detail", text=lambda row: row.detail, folds_at=12, optional=1),
)


@attrs.define
class Looking:
    """The progress of making a plan."""

    accounts: int
    requests: int = 0

    def on_event(self, event: Event) -> None:
        """Count the clients' requests."""
        self.requests += isinstance(event, RequestFinished)

    def __str__(self) -> str:
        """Return it in words."""
        return f"looking at {counted(self.accounts, 'account')}: {counted(self.requests, 'request')}"

    def picture(self) -> Picture:
        """Return the progress for display."""
        return Picture((), str(self))


async def make_plan(campaign: Campaign, looking: Looking, *, first: bool = False) -> Plan:
    """Return what a run would do (see `Campaign.plan`), showing progress meanwhile.

    Raises `DexError`.
    """
    telling = asyncio.create_task(_tell_if_long(looking))
    try:
        async with showing(view_for(stderr_console()), looking.picture):
            return await campaign.plan(first=first)
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _tell_if_long(looking: Looking) -> None:
    """Report once, if no bars show it, that planning is still waiting, such as for an account that does not respond."""
    await asyncio.sleep(WORTH_TELLING)
    if not has_bars(stderr_console()):
        note(f"still {looking}")


def run_plan(common: Common, journal: Path | None, file: Path, *, name_all: bool) -> int:
    """Write what a run would do, and return the exit code.  Raises `DexError`."""
    spec = read_file(common, file)
    # No journal is created: a plan writes nothing.
    place = existing(journal_of(journal))
    looking = Looking(len(spec.accounts))
    clients = Clients(common, os.environ, telling_waits(common, looking.on_event))
    clients.check(spec)

    async def work() -> Plan:
        async with Campaign(spec, journal=place, client=clients) as campaign:
            if place is not None:
                await _tell_if_known(campaign)
            return await make_plan(campaign, looking)

    plan = run_until_stopped(work)
    if common.json:
        write(json_line(plan_document(plan, name_all=name_all)))
    else:
        _show(plan, name_all=name_all)
    return exit_code(plan)


async def _tell_if_known(campaign: Campaign) -> None:
    try:
        if await campaign.known():
            note(f"{campaign.name} is in the journal already: a run resumes it, and does not plan it again")
    except CampaignExistsError as error:
        warn(str(error))


def _show(plan: Plan, *, name_all: bool) -> None:
    console = stdout_console()
    for line in plan_lines(plan):
        say(console, line)
    if name_all:
        writer = RowWriter(COLUMNS, attrs.asdict, as_json=False)
        write("")
        for target in plan.target_events():
            writer.add(target)
        writer.finish("no devices")


def exit_code(plan: Plan) -> int:
    """Return the exit code of a plan, which depends on whether all accounts could be read."""
    if not plan.errors:
        return OK
    failure = unreadable(plan)
    return PARTLY if failure is None else failure.exit_code
