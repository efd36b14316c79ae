"""`dexcmd quota`, `devices` and `commands`: what the service has."""

from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from dexcmd.cli.common import Common, WithCommon
from dexcmd.cli.typed import CommandType, Moment, Platform, Search, Text, User

__all__ = ["commands", "devices", "quota"]

Status = Literal["PENDING_EXEC", "PENDING_UPLOAD", "SUCCESS", "FAILED"]

NOTHING = Common()


def quota(*, common: WithCommon = NOTHING) -> int:
    """Show how many commands may still be created today.

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

    A line for each registration.  What is not eligible says why.

    For example:
      dexcmd devices --search LON-
      dexcmd devices --platform windows --json > windows.jsonl
    """
    from dexcmd.cli.lists.run import run_devices
    from dexcmd.cli.selection import Selection

    return run_devices(common, Selection(search=search, user=user, platform=platform))


def commands(
    *,
    status: Annotated[Status | None, Parameter(help="Only those in this status.")] = None,
    type: Annotated[CommandType | None, Parameter(help="Only those of this type.")] = None,  # noqa: A002 - the option's name
    device: Annotated[Text, Parameter(help="Only those of this device id.")] = None,
    user: User = None,
    since: Annotated[Moment | None, Parameter(help="Created since then.")] = None,
    until: Annotated[Moment | None, Parameter(help="Created until then.")] = None,
    limit: Annotated[int | None, Parameter(help="At most so many.", validator=Number(gte=1))] = None,
    common: WithCommon = NOTHING,
) -> int:
    """List commands, newest first.

    A time is so long ago, as 2h or 3d, or 2026-01-31 or 2026-01-31T09:30 of
    this machine's zone.

    For example:
      dexcmd commands --status FAILED --since 1d
      dexcmd commands --status SUCCESS --since 1d | dexcmd download -
    """
    from dexcmd.cli.lists.run import Wanted, run_commands

    wanted = Wanted(
        status=status, command_type=type, device_id=device, user_email=user, since=since, until=until, limit=limit
    )
    return run_commands(common, wanted)
