"""`dexcmd capture`: creates commands on devices and saves their artifacts."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from dexcmd.cli.common import Common, WithCommon
from dexcmd.cli.typed import CommandType, Duration, Place, Platform, Search, User

__all__ = ["capture"]

Interface = Literal["default", "tunnel"]

DEVICES = Group("Device selection, instead of device ids", sort_key=1)
WHAT = Group("Capture settings, chosen by the service if omitted", sort_key=2)
HOW = Group("Other options", sort_key=3)


def capture(
    type: Annotated[  # noqa: A002 - the word of the API
        CommandType, Parameter(name="type", help="Packet capture, speed test, or client diagnostics.")
    ],
    /,
    *devices: Annotated[str, Parameter(name="devices", help="Device ids; - reads them from stdin.")],
    search: Annotated[Search, Parameter(group=DEVICES)] = None,
    user: Annotated[User, Parameter(group=DEVICES)] = None,
    platform: Annotated[Platform, Parameter(group=DEVICES)] = None,
    everything: Annotated[
        bool, Parameter(name="--all", help="All eligible devices.", negative="", show_default=False, group=DEVICES)
    ] = False,
    time_limit_min: Annotated[
        float | None, Parameter(help="pcap: duration in minutes, from 1 to 10.", validator=Number(gte=1), group=WHAT)
    ] = None,
    packet_size_bytes: Annotated[
        float | None,
        Parameter(help="pcap: bytes to keep of each packet, from 1 to 1500.", validator=Number(gte=1), group=WHAT),
    ] = None,
    max_file_size_mb: Annotated[
        float | None,
        Parameter(
            help="pcap: size limit, from 1 to 50; a larger capture is not uploaded at all.",
            validator=Number(gte=1),
            group=WHAT,
        ),
    ] = None,
    test_all_routes: Annotated[bool | None, Parameter(help="warp-diag: test every route.", group=WHAT)] = None,
    interfaces: Annotated[
        list[Interface] | None,
        Parameter(help="speed-test: interface to test; repeat the option for both.", negative="", group=WHAT),
    ] = None,
    into: Annotated[
        Place, Parameter(help="Folder to save into; created if missing, private to you.", group=HOW)
    ] = Path("captures"),
    yes: Annotated[
        bool,
        Parameter(
            name=["--yes", "-y"], help="Create the commands without asking.", negative="", show_default=False, group=HOW
        ),
    ] = False,
    no_wait: Annotated[
        bool,
        Parameter(
            name="--no-wait",
            help="Create the commands, but don't wait for them.",
            negative="",
            show_default=False,
            group=HOW,
        ),
    ] = False,
    timeout: Annotated[
        Duration, Parameter(help="Time limit per command from its creation, such as 90s, 15m or 1h.", group=HOW)
    ] = timedelta(minutes=30),
    on_quota: Annotated[
        Literal["stop", "wait"],
        Parameter(help="What to do when the day's quota runs out: stop, or wait for the reset.", group=HOW),
    ] = "stop",
    concurrency: Annotated[
        int, Parameter(help="Maximum number of simultaneous downloads.", validator=Number(gte=1), group=HOW)
    ] = 8,
    common: WithCommon = Common(),  # noqa: B008 - frozen
) -> int:
    """Create commands on devices, wait, and save their artifacts.

    First shows the devices and users affected and the quota needed, and asks
    for confirmation.  Devices must be connected: otherwise their commands fail
    after 10 minutes.  From stdin, - reads one id per line, or the output of
    `devices`.

    The first Ctrl-C creates no more commands, stops waiting for devices, and
    finishes the downloads in progress; the second one quits immediately.
    Commands on devices keep running, and the last line says how to get their
    artifacts.

    Exits with 0 if every capture succeeded, with 3 if some failed, with 1 (or
    5, if refused) if none succeeded, with 4 if you declined.

    For example:
      dexcmd capture pcap --user jo@example.com --time-limit-min 2
      dexcmd devices --search LON- --json | dexcmd capture warp-diag - --yes
      dexcmd capture speed-test --all --yes --no-wait | dexcmd follow -
    """
    from dexcmd.cli.capture.args import make_args
    from dexcmd.cli.capture.run import Job, run_capture
    from dexcmd.cli.selection import Selection

    args = make_args(
        type,
        time_limit_min=time_limit_min,
        packet_size_bytes=packet_size_bytes,
        max_file_size_mb=max_file_size_mb,
        test_all_routes=test_all_routes,
        interfaces=interfaces,
    )
    job = Job(
        args=args,
        names=devices,
        selection=Selection(search=search, user=user, platform=platform),
        everything=everything,
        into=into,
        yes=yes,
        no_wait=no_wait,
        timeout=timeout.total_seconds(),
        on_quota=on_quota,
        concurrency=concurrency,
    )
    return run_capture(common, job)
