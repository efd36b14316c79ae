"""`dexcmd demo`: the main job, end to end, on a sandbox inside the process."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

__all__ = ["demo"]


def demo(
    *,
    devices: Annotated[int, Parameter(help="How many devices are captured.", validator=Number(gte=1))] = 200,
    into: Annotated[
        Path | None,
        Parameter(help="Folder for the artifacts; by default a new one here.", show_default=False),
    ] = None,
    seed: Annotated[int, Parameter(help="The same seed makes the same fleet and faults.")] = 0,
) -> int:
    """Capture a made-up fleet over real HTTP, with faults on the way, and check every file.

    A sandbox of the service runs inside this process, its time ten times as fast. Nothing leaves this
    machine, and no account is needed. The artifacts stay in a folder that is named at the end.

    Exits with 0 only if every file is whole and every outcome is what the sandbox says, else with 1. Ctrl-C
    (exit code 130) leaves whole files only.
    """
    from dexcmd.cli.demo.run import run_demo

    return run_demo(devices, into, seed)
