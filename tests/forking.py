"""Children that may be killed: what the programs of tests have in common that run one task after the other.

A program imports all it needs and then makes a child for each line that it reads, so that a run costs no start of
Python.  A line is a task in JSON; what it answers, one line each, is the number of the child and, once that has ended,
its status.
"""

import asyncio
import json
import os
import sys
import traceback
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any

__all__ = ["run_each_task"]

LAZY = ("dexcmd.resources.commands", "dexcmd.resources.downloads", "dexcmd.transfer.saver", "anyio._backends._asyncio")
"""What is imported when it is first used: once here, and not by each child."""


def run_each_task(run: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    """Run each task that comes in a child of its own, until no more come."""
    for module in LAZY:
        import_module(module)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                asyncio.run(run(json.loads(line)))
                status = 0
            except BaseException:  # noqa: BLE001 - nothing may get through to what is the parent's
                traceback.print_exc()
            os._exit(status)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(status, flush=True)
