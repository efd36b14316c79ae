"""`dexcmd demo`: a bulk capture, end to end, against a sandbox in the same process."""

import sys
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from dexcmd.cli.common import Common, WithCommon
from dexcmd.cli.typed import Place
from dexcmd.errors import ConfigurationError

__all__ = ["demo"]


def demo(
    *,
    devices: Annotated[int, Parameter(help="Number of devices to capture.", validator=Number(gte=1))] = 200,
    into: Annotated[
        Place | None,
        Parameter(help="Folder for the artifacts; by default a new one in the current folder.", show_default=False),
    ] = None,
    seed: Annotated[int, Parameter(help="The same seed gives the same fleet.")] = 0,
    common: WithCommon = Common(),  # noqa: B008 - frozen
) -> int:
    """Capture a simulated fleet over HTTP and check every file.

    Runs a sandbox of the service inside this process, at ten times real speed,
    and injects all kinds of faults along the way.  Nothing leaves this machine,
    and no account is needed.  The artifacts stay in a folder that is named at
    the end.

    Exits with 0 only if every file is whole and every outcome matches the
    sandbox, otherwise with 1.  Ctrl-C (exit code 130) leaves only whole files.

    For example:
      dexcmd demo --devices 50 --into captures
    """
    if common.json:
        raise ConfigurationError("the demo is for people: it has no --json")
    # Printed first: loading the SDK takes a moment.
    sys.stdout.write(f"Capturing {devices} devices of a sandbox over HTTP, with faults along the way\n")
    sys.stdout.flush()
    from dexcmd.cli.demo.run import run_demo

    return run_demo(devices, into, seed)
