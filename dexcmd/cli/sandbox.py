"""`dexcmd sandbox`: a fake of the service to point a client at."""

import shlex
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from dexcmd.cli.exits import OK

__all__ = ["export_lines", "sandbox"]

FASTEST = 10_000


def _speed(_: Any, value: float) -> None:
    # Written so that NaN is refused as well.
    if not 0 < value <= FASTEST:
        raise ValueError(f"Must be above 0 and at most {FASTEST}.")


def export_lines(environment: Mapping[str, str]) -> str:
    """Return shell lines that set these variables."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())


def sandbox(
    *,
    devices: Annotated[int, Parameter(help="Rows of its made-up fleet.", validator=Number(gte=1))] = 25,
    speed: Annotated[float, Parameter(help="How many times as fast its time runs.", validator=_speed)] = 60.0,
    port: Annotated[
        int, Parameter(help="Where on 127.0.0.1 it listens; 0: any.", validator=Number(gte=0, lte=65535))
    ] = 0,
    seed: Annotated[int, Parameter(help="The same seed makes the same fleet.")] = 0,
    quota: Annotated[int, Parameter(help="Commands a day.", validator=Number(gte=0))] = 800,
) -> int:
    """Run a fake of the service on this machine, to try things out on.

    Prints the three environment variables with which a client finds it, as
    shell lines.  Paste them into another shell, or write them to a file and
    source that: `dexcmd sandbox > sandbox.env`.  The token is made up anew each
    time.

    Runs until Ctrl-C (exit code 130) or SIGTERM (exit code 0).
    """
    import asyncio

    from dexcmd.cli.signals import Stopped, run_until_stopped
    from dexcmd.clock import ScaledClock
    from dexcmd.errors import DexError
    from dexcmd.sandbox import Sandbox

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            service = Sandbox(devices, clock=ScaledClock(speed), seed=seed, quota=quota, port=port)
            try:
                await stack.enter_async_context(service)
            except OSError as error:
                raise DexError(f"can't listen on port {port}: {error.strerror or error}") from error
            sys.stdout.write(export_lines(service.environment))
            sys.stdout.flush()
            sys.stderr.write(f"{devices} devices, time runs {speed:g} times as fast; Ctrl-C stops it\n")
            sys.stderr.flush()
            await asyncio.Event().wait()

    try:
        run_until_stopped(serve)
    except Stopped as stopped:
        # To be told to end is how a service ends well.
        if stopped.number != signal.SIGTERM:
            return stopped.exit_code
    return OK
