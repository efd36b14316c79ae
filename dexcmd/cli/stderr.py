"""What is said on stderr: all but results."""

import sys

from dexcmd.cli.failure import Failure
from dexcmd.errors import one_line

__all__ = ["complain", "note", "warn"]

LONGEST = 1000


def note(text: str) -> None:
    """Say something in a line."""
    sys.stderr.write(f"{one_line(text, LONGEST)}\n")
    sys.stderr.flush()


def warn(text: str) -> None:
    """Say what may be wrong."""
    note(f"warning: {text}")


def complain(failure: Failure, more: int = 0) -> None:
    """Say what went wrong, and what to do about it; `more` have failed besides."""
    note(f"error: {failure}" + (f" (and {more} more)" if more else ""))
