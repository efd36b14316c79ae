"""Runs the work of a command with a client."""

import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from dexcmd.cli.access import access
from dexcmd.cli.common import Common
from dexcmd.cli.signals import GentleStop, run_until_stopped
from dexcmd.cli.waits import telling_waits
from dexcmd.client import DexClient
from dexcmd.events import Event

__all__ = ["call"]

T = TypeVar("T")


def call(
    common: Common,
    work: Callable[[DexClient], Awaitable[T]],
    gently: GentleStop | None = None,
    on_event: Callable[[Event], object] | None = None,
) -> T:
    """Run `work` with a client and return its result; report long waits on stderr.

    Raises `DexError`, and `Stopped` if a signal ended it.
    """
    found = access(common, os.environ)
    listener = telling_waits(common, on_event)

    async def run() -> T:
        async with DexClient(
            api_token=found.token, account_id=found.account_id, base_url=found.base_url, on_event=listener
        ) as dex:
            return await work(dex)

    return run_until_stopped(run, gently)
