"""Consoles on stdout and stderr: what a terminal can show there, and plain text elsewhere."""

import sys

from rich.console import Console

__all__ = ["say", "stderr_console", "stdout_console"]


def stdout_console() -> Console:
    """Return a console for results."""
    return _console(stderr=False, terminal=sys.stdout.isatty())


def stderr_console() -> Console:
    """Return a console for all else."""
    return _console(stderr=True, terminal=sys.stderr.isatty())


def _console(*, stderr: bool, terminal: bool) -> Console:
    # What is set for the colours of a build's log must not put a table where a script reads lines.
    return Console(
        stderr=stderr, highlight=False, markup=False, emoji=False, force_terminal=None if terminal else False
    )


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print a line: broken between words on a terminal, and nowhere in a file or a pipe."""
    if console.is_terminal:
        console.print(text, style=style, markup=False)
    else:
        # Not through rich, which ends the process its own way where whoever read it has gone.
        console.file.write(f"{text}\n")
        console.file.flush()
