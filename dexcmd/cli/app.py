"""The commands, the options they share, and what becomes of an error."""

import logging
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from dexcmd._version import __version__
from dexcmd.cli.demo import demo
from dexcmd.cli.exits import FAILED, OK, USAGE
from dexcmd.cli.sandbox import sandbox
from dexcmd.errors import ConfigurationError, DexError

__all__ = ["app", "run"]

_HELP = """\
Remote captures with Cloudflare's DEX commands API.

Exit codes: 0 done, 1 failed or a check did not hold, 2 usage, 130 interrupted."""

app = App(
    name="dexcmd",
    help=_HELP,
    # The Markdown that would be the default takes a tenth of a second to load.  Plain text keeps its line
    # ends, so the docstrings of commands have short lines.
    help_format="plaintext",
    version=f"dexcmd {__version__}",
    # Ctrl-C is answered in one place, `main`.
    suppress_keyboard_interrupt=False,
)
# The modules of the commands are light: each imports what it needs of the SDK when it is run.
app.command(demo)
app.command(sandbox)


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
    except (DexError, OSError) as error:
        # The system's own are those of stdout: a disk that is full, a reader that has gone.
        return _tell(error, FAILED)
    return code if isinstance(code, int) else OK


def _tell(error: Exception, code: int) -> int:
    sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
    return code
