"""Consoles on stdout and stderr, with terminal features on a terminal and plain text elsewhere."""

import re
import sys
from contextlib import nullcontext

from rich.console import Console
from rich.text import Text

from dexcmd.cli.stderr import telling, write_line

__all__ = ["as_written", "say", "stderr_console", "stdout_console"]


def stdout_console() -> Console:
    """Return a console for results."""
    return _console(stderr=False, terminal=sys.stdout.isatty())


def stderr_console() -> Console:
    """Return a console for everything else."""
    return _console(stderr=True, terminal=sys.stderr.isatty())


def _console(*, stderr: bool, terminal: bool) -> Console:
    # A variable that forces colours in a build log must not put a table where a script reads lines.
    return Console(
        stderr=stderr, highlight=False, markup=False, emoji=False, force_terminal=None if terminal else False
    )


def as_written(console: Console, text: str) -> str:
    """Return a text as the console will write it: a character that it can't encode becomes a longer escape."""
    return text.encode(console.encoding, "backslashreplace").decode(console.encoding)


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print a line, wrapped between words on a terminal and not at all in a file or a pipe.

    Wrapped text continues below the line's last column if it has columns (separated by two blanks), and otherwise
    keeps its indent.
    """
    if console.is_terminal:
        text = as_written(console, text)
        start = _last_column(text, console.width // 2)
        rest = Text(text[start:], style or "").wrap(console, console.width - start)
        with telling() if console.stderr else nullcontext():
            for index, part in enumerate(rest):
                part.rstrip()
                before = text[:start] if index == 0 else " " * start
                console.print(Text(before, style or "") + part, soft_wrap=True)
    elif console.stderr:
        write_line(text)
    else:
        # Not through rich, which exits in its own way if the reader has gone.
        console.file.write(f"{text}\n")
        console.file.flush()


def _last_column(text: str, most: int) -> int:
    """Return where the last column of a line starts, unless that is beyond `most`; else the line's indent."""
    indent = len(text) - len(text.lstrip())
    start = max((found.end() for found in re.finditer("  +", text)), default=0)
    return next((column for column in (start, indent) if column <= most), 0)
