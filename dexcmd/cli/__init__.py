"""The command `dexcmd`.

Imports nothing but the standard library: the libraries behind it are an extra, and the SDK is loaded only by
the commands that use it.
"""

import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from dexcmd.cli.exits import INTERRUPTED, USAGE

__all__ = ["main"]

_EXTRA = ("cyclopts", "rich")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line with `argv` (by default the process's own) and return the exit code."""
    try:
        for library in _EXTRA:
            import_module(library)
        # Only now, for it imports them.
        from dexcmd.cli.app import run

        return run(argv)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        sys.stderr.write("dexcmd: the command line needs more than the library: pip install 'dexcmd[cli]'\n")
        return USAGE
    except KeyboardInterrupt:
        # Before or after the work, which handles Ctrl-C itself.  A second one must find nothing to interrupt.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
