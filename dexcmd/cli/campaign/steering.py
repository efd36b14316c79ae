"""Shows and controls campaigns, from any terminal."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from dexcmd.amounts import counted
from dexcmd.campaign.campaign import Campaign, list_campaigns
from dexcmd.campaign.report import report_lines
from dexcmd.campaign.status import CampaignStatus
from dexcmd.cli.campaign.finding import existing, journal_of, opened, told_before
from dexcmd.cli.campaign.place import same_options
from dexcmd.cli.campaign.standing import Standing, campaign_view, keep_looking
from dexcmd.cli.campaign.statustext import COLUMNS, exit_code, status_document
from dexcmd.cli.common import Common
from dexcmd.cli.exits import OK
from dexcmd.cli.rows import RowWriter, json_line, write
from dexcmd.cli.signals import run_until_stopped
from dexcmd.cli.terminal import say, stderr_console, stdout_console
from dexcmd.cli.view import showing

__all__ = ["run_cancel", "run_list", "run_pause", "run_status", "write_status"]


def write_status(common: Common, journal: Path | None, status: CampaignStatus) -> None:
    """Write the report of a campaign, or its document."""
    if common.json:
        write(json_line(status_document(status)))
        return
    console = stdout_console()
    for line in report_lines(status, same_options(common, journal)):
        say(console, line)


def _with(journal: Path | None, name: str, work: Callable[[Campaign], Awaitable[CampaignStatus]]) -> CampaignStatus:
    async def do() -> CampaignStatus:
        async with opened(name, journal) as campaign:
            return await work(campaign)

    return run_until_stopped(do)


def run_status(common: Common, journal: Path | None, name: str, *, watch: bool) -> int:
    """Write the status of a campaign, and return the exit code.  Raises `DexError`."""
    status = _with(journal, name, _watch if watch else Campaign.status)
    write_status(common, journal, status)
    return exit_code(status) if watch else OK


async def _watch(campaign: Campaign) -> CampaignStatus:
    """Show the progress of a campaign for as long as a process runs it."""
    status = await campaign.status()
    if status.running_elsewhere:
        standing = Standing(status, campaign.spec.leave_quota)
        async with showing(campaign_view(stderr_console()), standing.picture):
            await keep_looking(campaign, standing, until=lambda status: not status.running_elsewhere)
    return await campaign.status()


def run_pause(common: Common, journal: Path | None, name: str) -> int:
    """Pause a campaign, and return the exit code.  Raises `DexError`."""

    async def pause(campaign: Campaign) -> CampaignStatus:
        await campaign.pause()
        return await campaign.status()

    status = _with(journal, name, pause)
    again = f"`dexcmd campaign resume {name}{same_options(common, journal)}` resumes it"
    left = status.count("creating", "running", "collecting")
    goes_on = f"; {_under_way(left)} still followed and fetched" if left and status.running_elsewhere else ""
    _tell(common, status, f"{name} is paused: nothing more is created{goes_on}; {again}")
    return OK


def run_cancel(common: Common, journal: Path | None, name: str, *, drop: bool) -> int:
    """Cancel a campaign, and return the exit code.  Raises `DexError`."""
    running = 0

    async def cancel(campaign: Campaign) -> CampaignStatus:
        nonlocal running
        running = await campaign.cancel(collect="drop" if drop else "keep")
        return await campaign.status()

    status = _with(journal, name, cancel)
    said = [f"{name} is cancelled: nothing more is created"]
    if running:
        it, they, s = ("it", "it is", "s") if running == 1 else ("them", "they are", "")
        said.append(f"{counted(running, 'command')} still run{s}, as the service can't cancel {it}")
        said.append(f"{they} {'not collected' if drop else 'followed and fetched'}")
    if not status.running_elsewhere and status.state == "interrupted":
        said.append(f"`dexcmd campaign resume {name}{same_options(common, journal)}` finishes it")
    _tell(common, status, "; ".join(said))
    return OK


def _under_way(number: int) -> str:
    return f"{number:,} in progress {'is' if number == 1 else 'are'}"


def _tell(common: Common, status: CampaignStatus, line: str) -> None:
    if common.json:
        write(json_line(status_document(status)))
    else:
        say(stdout_console(), line)


def run_list(common: Common, journal: Path | None) -> int:
    """Write the status of all campaigns, and return the exit code.  Raises `DexError`."""
    place = journal_of(journal)
    writer = RowWriter(COLUMNS, status_document, as_json=common.json)

    async def look() -> list[CampaignStatus]:
        with told_before():
            return [] if existing(place) is None else await list_campaigns(place)

    for status in run_until_stopped(look):
        writer.add(status)
    writer.finish(f"no campaigns in {place}")
    return OK
