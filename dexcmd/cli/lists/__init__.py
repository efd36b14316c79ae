"""`dexcmd quota`, `devices` and `commands`: what the service lists."""

from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from dexcmd.cli.common import Common, WithCommon
from dexcmd.cli.typed import CommandType, Moment, Platform, Search, Text, User

__all__ = ["commands", "devices", "quota"]

Status = Literal["PENDING_EXEC", "PENDING_UPLOAD", "SUCCESS", "FAILED"]

NOTHING = Common()


def quota(*, common: WithCommon = NOTHING) -> int:
    """Show today's command quota and how much of it is left.

    For example:
      dexcmd quota
      dexcmd quota --json | jq .remaining
    """
    from dexcmd.cli.lists.run import run_quota

    return run_quota(common)


def devices(
    *,
    search: Search = None,
    user: User = None,
    platform: Platform = None,
    common: WithCommon = NOTHING,
) -> int:
    """List the devices that were connected within the last hour.

    One row per registration.  Ineligible devices are listed with the reason.

    For example:
      dexcmd devices --search LON-
      dexcmd devices --platform windows --json > windows.jsonl
    """
    from dexcmd.cli.lists.run import run_devices
    from dexcmd.cli.selection import Selection

    return run_devices(common, Selection(search=search, user=user, platform=platform))


def commands(
    *,
    status: Annotated[Status | None, Parameter(help="Filter by status.")] = None,
    type: Annotated[CommandType | None, Parameter(help="Filter by command type.")] = None,  # noqa: A002 - the option's name
    device: Annotated[Text, Parameter(help="Filter by device id.")] = None,
    user: User = None,
    since: Annotated[Moment | None, Parameter(help="Only commands created since this time.")] = None,
    until: Annotated[Moment | None, Parameter(help="Only commands created until this time.")] = None,
    limit: Annotated[int | None, Parameter(help="Maximum number of commands.", validator=Number(gte=1))] = None,
    common: WithCommon = NOTHING,
) -> int:
    """List commands, newest first.

    A time is an age, such as 2h or 3d, or a date or time in this machine's
    time zone, such as 2026-01-31 or 2026-01-31T09:30.

    For example:
      dexcmd commands --status FAILED --since 1d
      dexcmd commands --status SUCCESS --since 1d | dexcmd download -
    """
    from dexcmd.cli.lists.run import Wanted, run_commands

    wanted = Wanted(
        status=status, command_type=type, device_id=device, user_email=user, since=since, until=until, limit=limit
    )
    return run_commands(common, wanted)
