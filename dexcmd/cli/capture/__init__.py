"""`dexcmd capture`: commands on devices, from their creation to their files."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from dexcmd.cli.common import Common, WithCommon
from dexcmd.cli.typed import CommandType, Duration, Place, Platform, Search, User

__all__ = ["capture"]

Interface = Literal["default", "tunnel"]

DEVICES = Group("Which devices, unless they are named", sort_key=1)
WHAT = Group("What is captured; by default as the service chooses", sort_key=2)
HOW = Group("How", sort_key=3)


def capture(
    type: Annotated[  # noqa: A002 - the word of the API
        CommandType, Parameter(name="type", help="A packet capture, a speed test, or the client's diagnostics.")
    ],
    /,
    *devices: Annotated[str, Parameter(name="devices", help="Ids of devices; - reads them from stdin.")],
    search: Annotated[Search, Parameter(group=DEVICES)] = None,
    user: Annotated[User, Parameter(group=DEVICES)] = None,
    platform: Annotated[Platform, Parameter(group=DEVICES)] = None,
    everything: Annotated[
        bool, Parameter(name="--all", help="All of them.", negative="", show_default=False, group=DEVICES)
    ] = False,
    time_limit_min: Annotated[
        float | None, Parameter(help="pcap: minutes, from 1 to 10.", validator=Number(gte=1), group=WHAT)
    ] = None,
    packet_size_bytes: Annotated[
        float | None,
        Parameter(help="pcap: bytes kept of each packet, from 1 to 1500.", validator=Number(gte=1), group=WHAT),
    ] = None,
    max_file_size_mb: Annotated[
        float | None,
        Parameter(help="pcap: from 1 to 50; a larger one is not uploaded at all.", validator=Number(gte=1), group=WHAT),
    ] = None,
    test_all_routes: Annotated[bool | None, Parameter(help="warp-diag: test every route.", group=WHAT)] = None,
    interfaces: Annotated[
        list[Interface] | None,
        Parameter(help="speed-test: which; twice for both.", negative="", group=WHAT),
    ] = None,
    into: Annotated[
        Place, Parameter(help="The folder of the files; made if need be, private to you.", group=HOW)
    ] = Path("captures"),
    yes: Annotated[
        bool, Parameter(name=["--yes", "-y"], help="Don't ask.", negative="", show_default=False, group=HOW)
    ] = False,
    no_wait: Annotated[
        bool,
        Parameter(name="--no-wait", help="Create the commands only.", negative="", show_default=False, group=HOW),
    ] = False,
    timeout: Annotated[
        Duration, Parameter(help="How long a command may take from its creation, as 90s, 15m or 1h.", group=HOW)
    ] = timedelta(minutes=30),
    on_quota: Annotated[
        Literal["stop", "wait"],
        Parameter(help="Whether what exceeds the day's quota is left, or waits for more.", group=HOW),
    ] = "stop",
    concurrency: Annotated[
        int, Parameter(help="How many downloads at a time.", validator=Number(gte=1), group=HOW)
    ] = 8,
    common: WithCommon = Common(),  # noqa: B008 - frozen
) -> int:
    """Create commands on devices, follow them, and save what they bring.

    It shows whom that touches and what of the day's quota it takes, and asks.
    A device has to be connected, and its command fails after 10 minutes if
    it is not.  From stdin it takes an id a line, or what `devices` writes.

    Ctrl-C creates no more, waits for no device, and finishes the downloads
    under way; a second one leaves at once.  What runs on devices goes on, and
    the last line says how to get it.  Exits with 0 if all is there, with 3 if
    some is not, with 1 (or 5, if refused) if nothing is, with 4 if you said
    no.

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
