"""Loading what downloads need, beside the event loop.

What saves artifacts takes some 60 ms to import, and anyio's backend another 30.  A program that only asks for the quota
is spared that, and one that serves others meanwhile does not stand still for it.
"""

import asyncio
import threading
from concurrent.futures import Future
from contextlib import suppress
from importlib import import_module

from dexcmd.async_only import running_loop

__all__ = ["load"]

BACKEND = "anyio._backends._asyncio"
"""What anyio imports on first use.  Not public: if it were renamed, it would only be imported late again."""

# Import all of anyio before a thread imports parts of it: those of older versions have circular imports.
import_module("anyio")

_loads: dict[str, "Future[None]"] = {}


async def load(module: str) -> None:
    """Import a module and anyio's backend, in a thread of their own.

    Raises what the import does, `RuntimeError` where there is no thread for it, and `ConfigurationError` where no event
    loop of asyncio runs.
    """
    running_loop()
    done = _loads.get(module)
    if done is None:
        done = _loads[module] = Future()
        # It runs from here on: who is cancelled meanwhile does not cancel it for others.
        done.set_running_or_notify_cancel()
        # Not one of the loop's own threads, for these may all be busy, and wait for what is loaded here.
        thread = threading.Thread(target=_import, args=(module, done), name="dexcmd-import", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # The system has no more threads, and may have some for the next one.
            del _loads[module]
            done.set_exception(error)
    if not done.done():
        await asyncio.wrap_future(done)
    done.result()


def _import(module: str, done: "Future[None]") -> None:
    try:
        with suppress(ImportError):
            import_module(BACKEND)
        import_module(module)
    except BaseException as error:  # noqa: BLE001 - it is of whoever waits
        # The next one tries again.
        del _loads[module]
        done.set_exception(error)
    else:
        done.set_result(None)
