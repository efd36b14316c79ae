"""Runs the demo, from the start to the exit code."""

import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from dexcmd.amounts import counted
from dexcmd.capture import CaptureResult
from dexcmd.cli.demo.check import Truth, check_folder, check_results
from dexcmd.cli.demo.faults import inject
from dexcmd.cli.demo.fleet import open_sandbox
from dexcmd.cli.demo.progress import Progress
from dexcmd.cli.demo.report import closing_table, interrupted_line, rows
from dexcmd.cli.exits import FAILED, OK, Stopped
from dexcmd.cli.signals import run_until_stopped
from dexcmd.cli.terminal import say, stdout_console
from dexcmd.cli.view import Picture, View, showing, view_for
from dexcmd.client import DexClient
from dexcmd.clock import ScaledClock
from dexcmd.errors import ConfigurationError
from dexcmd.resources.requests import CommandRequest, Pcap
from dexcmd.sandbox import Sandbox
from dexcmd.transfer.files import make_folder

__all__ = ["run_demo"]

SPEED = 10.0
"""How much faster than real time the demo runs, for the devices and the client alike."""

MAX_PROBLEMS = 10
"""Maximum number of problems to show; the others are only counted."""

NEXT = (
    "Next: try your own code on `dexcmd sandbox`; for the real service, set CLOUDFLARE_API_TOKEN and"
    " CLOUDFLARE_ACCOUNT_ID, and no CLOUDFLARE_BASE_URL."
)


@attrs.frozen
class Plan:
    """The parameters of the demo."""

    devices: int
    folder: Path
    seed: int


def run_demo(devices: int, into: Path | None, seed: int) -> int:
    """Run the demo and return its exit code.  Raises `DexError`."""
    console = stdout_console()
    folder = _new_folder() if into is None else into
    make_folder(folder)
    before = _artifacts(folder)
    plan = Plan(devices, folder, seed)
    progress = Progress(devices)
    try:
        problems = run_until_stopped(lambda: _play(plan, progress, view_for(console)))
    except Stopped as stopped:
        say(console, interrupted_line(len(_artifacts(folder) - before), devices, folder))
        return stopped.exit_code
    finally:
        if into is None:
            # This removes it only if it is empty.
            with suppress(OSError):
                folder.rmdir()
    console.print(closing_table(rows(progress, folder)))
    if problems:
        for problem in problems[:MAX_PROBLEMS]:
            say(console, problem, "red")
        say(console, f"{len(problems)} checks failed", "bold red")
        return FAILED
    say(
        console,
        f"{counted(progress.saved, 'whole file')} in {folder}, all outcomes as in the sandbox.",
    )
    say(console, NEXT)
    return OK


async def _play(plan: Plan, progress: Progress, view: View) -> list[str]:
    """Capture, then check; return the problems."""
    clock, started = ScaledClock(SPEED), time.monotonic()

    def picture() -> Picture:
        progress.seconds = time.monotonic() - started
        return progress.picture

    async with open_sandbox(plan.devices, plan.seed, clock) as sandbox:
        progress.faults = inject(sandbox.faults, plan.seed)
        async with showing(view, picture):
            results = await _capture(sandbox, plan, progress)
        now = sandbox.state.now().timestamp()
        truth = {
            command.id: Truth(command.timeline.status(now), command.size) for command in sandbox.state.commands.values()
        }
    return await asyncio.to_thread(_check, results, truth, plan)


async def _capture(sandbox: Sandbox, plan: Plan, progress: Progress) -> list[CaptureResult]:
    async with DexClient(
        api_token=sandbox.token,
        account_id=sandbox.account_id,
        base_url=sandbox.base_url,
        # The client shares the sandbox's clock, so it can use its defaults: both its own waits and those that
        # the service asks for pass ten times as fast.
        clock=sandbox.clock,
        on_event=progress.on_event,
    ) as dex:
        requests: list[CommandRequest] = []
        async for device in dex.devices.list():
            progress.on_device(device)
            if device.eligible:
                requests.append(device.request(Pcap()))
        done: list[CaptureResult] = []
        async with dex.capture(requests, into=plan.folder) as results:
            async for result in results:
                progress.on_result(result)
                done.append(result)
    return done


def _check(results: Sequence[CaptureResult], truth: Mapping[str, Truth], plan: Plan) -> list[str]:
    return check_results(results, truth, plan.devices) + check_folder(results, truth, plan.folder)


def _new_folder() -> Path:
    """Create a new folder for this run in the current one."""
    try:
        return Path(Path(tempfile.mkdtemp(prefix="dexcmd-demo-", dir=".")).name)
    except OSError as error:
        raise ConfigurationError(f"can't make a folder here: {error.strerror}; name one with --into") from error


def _artifacts(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.zip")}
