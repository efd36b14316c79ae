"""Shows whom a capture affects and what it costs, before asking for confirmation."""

from collections.abc import Iterator
from datetime import UTC, datetime

from rich.console import Console

from dexcmd.cli.capture.choice import Choice
from dexcmd.cli.moments import duration_text
from dexcmd.cli.rows import Column, plain_line, show_table
from dexcmd.cli.terminal import say
from dexcmd.cli.texts import command_text
from dexcmd.resources.devices import Device
from dexcmd.resources.quota import Quota
from dexcmd.resources.requests import CommandArgs
from dexcmd.wire.converter import unstructure_args

__all__ = ["preview", "preview_lines"]

MAX_SHOWN = 10

COLUMNS = (
    Column[Device](title="device", text=lambda row: row.device_name or row.device_id, folds_at=12),
    Column[Device](title="user", text=lambda row: row.person_email, folds_at=16),
    Column[Device](title="platform", text=lambda row: row.platform),
    Column[Device](title="status", text=lambda row: row.status, styles={"connected": "green"}),
)


def preview(console: Console, choice: Choice, quota: Quota, args: CommandArgs, *, named: bool) -> None:
    """Show the first devices, and summarize the rest in a few lines."""
    shown = choice.devices[:MAX_SHOWN]
    say(console, f"{command_text(args.type, unstructure_args(args))} on:")
    if console.is_terminal:
        show_table(console, COLUMNS, shown)
    else:
        for device in shown:
            say(console, plain_line(COLUMNS, device))
    for text in preview_lines(choice, quota, datetime.now(UTC), named=named):
        say(console, text)


def preview_lines(choice: Choice, quota: Quota, now: datetime, *, named: bool) -> Iterator[str]:
    """Yield the lines after the first rows."""
    count = len(choice.devices)
    if count > MAX_SHOWN:
        yield f"and {count - MAX_SHOWN} more, {count} in all"
    if away := choice.not_connected:
        yield f"{away} of them not connected now: their commands fail after 10 minutes, unless they reconnect"
    if choice.left:
        yield f"skipped{' of those named' if named else ' as not eligible'}: {len(choice.left)}"
    if quota.remaining is None:
        return
    reset = ""
    if quota.reset_time is not None:
        reset = f", which resets in {duration_text((quota.reset_time - now).total_seconds())}"
    yield f"takes {count} of {quota.remaining} commands left in the day's quota{reset}"
    if count > quota.remaining:
        yield f"warning: the quota has room for {quota.remaining} of {count}"
