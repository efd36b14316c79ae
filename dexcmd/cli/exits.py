"""The exit codes of `dexcmd`."""

__all__ = ["FAILED", "INTERRUPTED", "OK", "USAGE", "by_signal"]

OK = 0
"""Done."""

FAILED = 1
"""Not done, or what was done did not stand up to a check."""

USAGE = 2
"""The command line, a setting or the installation is not right; nothing was begun."""

INTERRUPTED = 130
"""Ended by Ctrl-C."""


def by_signal(number: int) -> int:
    """Return the exit code of a command that a signal ended, as shells tell it: 130 for Ctrl-C."""
    return 128 + number
