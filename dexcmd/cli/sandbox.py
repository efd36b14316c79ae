"""`dexcmd sandbox`: a fake of the service for clients to use."""

import os
import secrets
import shlex
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from dexcmd.cli.common import Common, WithCommon
from dexcmd.cli.exits import OK, Stopped
from dexcmd.cli.rows import json_line, write
from dexcmd.cli.stderr import note

__all__ = ["export_lines", "sandbox"]

FASTEST = 10_000


def _speed(_: Any, value: float) -> None:
    # Written so that NaN is rejected too.
    if not 0 < value <= FASTEST:
        raise ValueError(f"Must be above 0 and at most {FASTEST}.")


def export_lines(environment: Mapping[str, str]) -> str:
    """Return shell lines that set these variables."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())


def scaled(span: tuple[float, float], speed: float) -> tuple[float, float]:
    """Return a span of seconds, divided by `speed`."""
    return span[0] / speed, span[1] / speed


def sandbox(
    *,
    devices: Annotated[int, Parameter(help="Device rows per account.", validator=Number(gte=1))] = 25,
    speed: Annotated[
        float, Parameter(help="How many times faster than real ones the devices work.", validator=_speed)
    ] = 60.0,
    port: Annotated[
        int, Parameter(help="Port to listen on, on 127.0.0.1; 0 picks a free one.", validator=Number(gte=0, lte=65535))
    ] = 0,
    seed: Annotated[int, Parameter(help="The same seed gives the same fleet.")] = 0,
    quota: Annotated[int, Parameter(help="Commands per day.", validator=Number(gte=0))] = 800,
    accounts: Annotated[
        int, Parameter(help="Number of accounts, each with its own fleet.", validator=Number(gte=1))
    ] = 1,
    common: WithCommon = Common(),  # noqa: B008 - frozen
) -> int:
    """Run a fake of the service on this machine, for trying things out.

    Prints shell lines that set the three environment variables a client needs
    to find it.  Paste them into another shell, or write them to a file and
    source that.  The token and the command ids are different each time.  The
    id and token of a second account are in variables ending in _2, and so on.

    Runs until Ctrl-C (exit code 130) or SIGTERM (exit code 0).

    For example:
      dexcmd sandbox --devices 200
      dexcmd sandbox --accounts 2
      dexcmd sandbox > sandbox.env &  sleep 2; source sandbox.env
    """
    import asyncio

    from dexcmd.cli.signals import run_until_stopped
    from dexcmd.errors import DexError
    from dexcmd.sandbox import Behaviour, Sandbox, make_devices

    # Not its clock: the time it reports must pass as it does for its clients.
    usual = Behaviour()
    behaviour = Behaviour(
        pickup_seconds=scaled(usual.pickup_seconds, speed),
        run_seconds=scaled(usual.run_seconds, speed),
        upload_seconds=scaled(usual.upload_seconds, speed),
        disconnected_timeout=usual.disconnected_timeout / speed,
    )

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            first, *others = (
                Sandbox(
                    make_devices(devices, seed=seed + number),
                    behaviour=behaviour,
                    # Repeated ids would clash with commands that a journal or folder knows from an earlier run.
                    seed=secrets.randbits(64),
                    quota=quota,
                    port=0 if number else port,
                )
                for number in range(accounts)
            )
            for other in others:
                first.also_serve(other)
                await stack.enter_async_context(other)
            try:
                await stack.enter_async_context(first)
            except OSError as error:
                raise DexError(f"can't listen on port {port}: {error.strerror or error}") from error
            environment = dict(first.environment)
            for number, other in enumerate(others, 2):
                environment[f"CLOUDFLARE_API_TOKEN_{number}"] = other.token
                environment[f"CLOUDFLARE_ACCOUNT_ID_{number}"] = other.account_id
            write(json_line(environment) if common.json else export_lines(environment).rstrip())
            each = f"{accounts} accounts with {devices} devices each" if others else f"{devices} devices"
            note(f"{each}, {speed:g} times as fast as real ones; Ctrl-C or `kill {os.getpid()}` stops it")
            await asyncio.Event().wait()

    try:
        run_until_stopped(serve)
    except Stopped as stopped:
        # SIGTERM is the normal way to end a service.
        if stopped.number != signal.SIGTERM:
            raise
    return OK
