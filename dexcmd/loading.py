"""Loading what is needed from now on, beside the event loop.

What saves artifacts takes some 60 ms to import, and anyio's backend another 30.  A program that only asks for the quota
is spared that, and one that serves others meanwhile does not stand still for it.
"""

import asyncio
from importlib import import_module

__all__ = ["load"]

_loaded: set[tuple[str, ...]] = set()


async def load(*modules: str) -> None:
    """Import modules, and what anyio needs, in a thread."""
    if modules not in _loaded:
        await asyncio.get_running_loop().run_in_executor(None, _import, modules)
        _loaded.add(modules)


def _import(modules: tuple[str, ...]) -> None:
    for module in modules:
        import_module(module)
    import anyio.lowlevel

    # anyio imports its backend when it is first used, and nothing public does just that.
    anyio.run(anyio.lowlevel.checkpoint)
