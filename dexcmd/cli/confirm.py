"""Asks for confirmation before an operation that costs quota and privacy."""

import select
import signal
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from dexcmd.cli.texts import LONGEST_LINE
from dexcmd.errors import ConfigurationError
from dexcmd.safe_text import one_line

if sys.platform != "win32":
    import termios

__all__ = ["confirm"]

ANSWERS = {"y": True, "yes": True, "n": False, "no": False, "": False}


def confirm(question: str, *, yes: bool) -> bool:
    """Ask on the terminal and return whether the answer is yes; with `yes`, return True without asking.

    An empty answer and the end of input mean no.  Call this from the main thread, and not while an event loop runs:
    Ctrl-C at the question is a `KeyboardInterrupt`.  Raises `ConfigurationError` if there is no terminal to ask on.
    """
    if yes:
        return True
    # The question goes to stderr, apart from the results, and must be visible there.
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)):  # pyright: ignore[reportUnnecessaryComparison] - so it is where one was closed
        raise ConfigurationError("there is no terminal to ask on: pass --yes to go ahead without asking")
    if sys.platform != "win32":
        # Anything typed before the question appeared is not an answer to it.
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
    try:
        while (answer := _ask(one_line(question, LONGEST_LINE))) is None:
            pass
    except KeyboardInterrupt:
        # The next message does not belong on the line of the question.
        sys.stderr.write("\n")
        raise
    return answer


def _ask(question: str) -> bool | None:
    # Be ready before the question is visible: from then on the answer, or Ctrl-C, may come at any moment.
    with _typing() as wait:
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        wait()
        line = sys.stdin.readline()
    if not line:
        sys.stderr.write("\n")
        return False
    return ANSWERS.get(line.strip().lower())


@contextmanager
def _typing() -> Generator[Callable[[], object]]:
    """Yield a function that waits for a line or a signal; a plain read would miss a signal that came just before it.

    Where terminals can't be waited for, the function returns at once.
    """
    if sys.platform == "win32":
        yield lambda: None
        return
    woken, wake = socket.socketpair()
    with woken, wake:
        wake.setblocking(False)
        before = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        try:
            yield lambda: select.select([sys.stdin, woken], [], [])
        finally:
            signal.set_wakeup_fd(before)
