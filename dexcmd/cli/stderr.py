"""Messages on stderr: everything except results."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

from dexcmd.cli.failure import Failure
from dexcmd.cli.texts import LONGEST_LINE
from dexcmd.safe_text import one_line

__all__ = ["complain", "note", "telling", "warn", "write_line"]


def write_line(text: str) -> None:
    """Write a line if possible: an unwritable stderr is no reason to abandon work in progress."""
    with telling():
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


@contextmanager
def telling() -> Generator[None]:
    """Ignore failures to write to stderr, such as after its terminal was closed; from then on it is silenced."""
    try:
        yield
    except OSError:
        # Python keeps what it could not write, retries on exit, and would fail because of that.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def note(text: str) -> None:
    """Print a message in one line."""
    write_line(one_line(text, LONGEST_LINE))


def warn(text: str) -> None:
    """Print a warning in one line."""
    note(f"warning: {text}")


def complain(failure: Failure, more: int = 0) -> None:
    """Print an error with its hint in one line; `more` is the number of other failures."""
    note(f"error: {failure}" + (f" (and {more} more)" if more else ""))
