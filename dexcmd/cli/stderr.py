"""What is said on stderr: all but results."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

from dexcmd.cli.failure import Failure
from dexcmd.cli.texts import LONGEST_LINE
from dexcmd.errors import one_line

__all__ = ["complain", "note", "telling", "warn", "write_line"]


def write_line(text: str) -> None:
    """Write a line, if that can be done: that nobody can be told is no reason to leave what is under way."""
    with telling():
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


@contextmanager
def telling() -> Generator[None]:
    """Let what is written to stderr fail, as on a terminal that was closed; then nothing more is told there."""
    try:
        yield
    except OSError:
        # Python keeps what it could not write, tries again at its end, and would fail for that.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def note(text: str) -> None:
    """Say something in a line."""
    write_line(one_line(text, LONGEST_LINE))


def warn(text: str) -> None:
    """Say what may be wrong."""
    note(f"warning: {text}")


def complain(failure: Failure, more: int = 0) -> None:
    """Say what went wrong, and what to do about it; `more` have failed besides."""
    note(f"error: {failure}" + (f" (and {more} more)" if more else ""))
