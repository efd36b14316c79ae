"""The commands, the options they share, and what becomes of an error."""

import logging
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from dexcmd._version import __version__
from dexcmd.cli.exits import FAILED, INTERRUPTED, OK, USAGE
from dexcmd.errors import ConfigurationError, DexError

__all__ = ["app", "run"]

_EPILOGUE = """\
Exit codes: 0 done, 1 failed or a check did not hold, 2 usage, 130 interrupted."""

app = App(
    name="dexcmd",
    help="Remote captures with Cloudflare's DEX commands API, followed and streamed to disk.",
    help_epilogue=_EPILOGUE,
    version=f"dexcmd {__version__}",
    # Ctrl-C is answered in one place, `run`.
    suppress_keyboard_interrupt=False,
)
# By name: a command's module is loaded for its help and to run it.  Such a module is light, and imports what
# it needs of the SDK inside the command.
app.command("dexcmd.cli.demo:demo", name="demo")
app.command("dexcmd.cli.sandbox:sandbox", name="sandbox")


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.  An error is one line on stderr."""
    # Without a handler of its own the log's warnings would go to stderr, into the middle of a live view.
    logging.getLogger("dexcmd").addHandler(logging.NullHandler())
    try:
        code = app(argv, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _tell(error, USAGE)
    except ConfigurationError as error:
        return _tell(error, USAGE)
    except DexError as error:
        return _tell(error, FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code if isinstance(code, int) else OK


def _tell(error: Exception, code: int) -> int:
    sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
    return code
