"""The exit codes of `dexcmd`, and the exception that a signal comes to."""

__all__ = ["ABORTED", "BROKEN_PIPE", "FAILED", "INTERRUPTED", "OK", "PARTLY", "REFUSED", "USAGE", "Stopped"]

OK = 0
"""Done: all of it."""

FAILED = 1
"""Not done, or what was done did not stand up to a check."""

USAGE = 2
"""The command line, a setting or the installation is not right; nothing was started."""

PARTLY = 3
"""Done in part: some of the targets, commands or artifacts failed."""

ABORTED = 4
"""Given up by one of the rules of the campaign, or ended by its operator."""

REFUSED = 5
"""The service refused: the token, a permission, the quota or the rate limit."""

INTERRUPTED = 130
"""Ended by Ctrl-C."""

BROKEN_PIPE = 141
"""Whoever read the output has gone: what shells say of a command that `| head` ended."""


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """A signal ended the work, which has cleaned up behind itself."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by signal {number}")
        self.number = number
        """The signal."""

    @property
    def exit_code(self) -> int:
        """Return the exit code that tells of the signal, as shells do: 130 for Ctrl-C."""
        return 128 + self.number
