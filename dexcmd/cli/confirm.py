"""A question before something is done that costs quota and privacy."""

import select
import signal
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from dexcmd.cli.texts import LONGEST_LINE
from dexcmd.errors import ConfigurationError, one_line

if sys.platform != "win32":
    import termios

__all__ = ["confirm"]

ANSWERS = {"y": True, "yes": True, "n": False, "no": False, "": False}


def confirm(question: str, *, yes: bool) -> bool:
    """Ask on the terminal and tell whether the answer is yes; with `yes`, it is so without a question.

    Nothing typed, and the end of what is typed, is a no.  To be called from the main thread, and not while an event
    loop runs: Ctrl-C at the question is a `KeyboardInterrupt`.  Raises `ConfigurationError` where there is nobody to
    ask.
    """
    if yes:
        return True
    # The question goes where it does not mix with results, and has to be seen there.
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)):  # pyright: ignore[reportUnnecessaryComparison] - so it is where one was closed
        raise ConfigurationError("there is no terminal to ask on: pass --yes to go ahead without asking")
    if sys.platform != "win32":
        # What was typed before the question was there is no answer to it.
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
    try:
        while (answer := _ask(one_line(question, LONGEST_LINE))) is None:
            pass
    except KeyboardInterrupt:
        # What is said next does not belong behind the question.
        sys.stderr.write("\n")
        raise
    return answer


def _ask(question: str) -> bool | None:
    # Ready before the question is seen, for then the answer, or Ctrl-C, may come at any moment.
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
    """Give what returns when there is a line, or a signal, which a read alone would sleep over if it came just before.

    Where terminals can't be waited for, it returns at once.
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
