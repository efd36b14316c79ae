"""Importing what downloads need without blocking the event loop.

The code that saves artifacts takes some 60 ms to import, and anyio's backend another 30.  A program that only requests
the quota is spared that, and a server is not blocked by it.
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
    """Import a module and anyio's backend, in a separate thread.

    Raises whatever the import raises, `RuntimeError` if no thread can be started, and `ConfigurationError` if no
    asyncio event loop is running.
    """
    running_loop()
    done = _loads.get(module)
    if done is None:
        done = _loads[module] = Future()
        # Mark it as running: a cancelled waiter must not cancel it for others.
        done.set_running_or_notify_cancel()
        # Not one of the loop's own threads: they may all be busy, waiting for this import.
        thread = threading.Thread(target=_import, args=(module, done), name="dexcmd-import", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # The system is out of threads, but may have one for the next call.
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
    except BaseException as error:  # noqa: BLE001 - raised for the waiters
        # The next call tries again.
        del _loads[module]
        done.set_exception(error)
    else:
        done.set_result(None)
