"""The exit codes of `dexcmd`, and the exception for signals."""

__all__ = ["ABORTED", "BROKEN_PIPE", "FAILED", "INTERRUPTED", "OK", "PARTLY", "REFUSED", "USAGE", "Stopped"]

OK = 0
"""Everything was done."""

FAILED = 1
"""It failed entirely, or the result failed a check."""

USAGE = 2
"""The command line, a setting or the installation is wrong; nothing was started."""

PARTLY = 3
"""Done in part: some of the targets, commands or artifacts failed."""

ABORTED = 4
"""Aborted by a rule of the campaign, or ended by its operator."""

REFUSED = 5
"""The service refused: the token, a permission, the quota or the rate limit."""

INTERRUPTED = 130
"""Ended by Ctrl-C."""

BROKEN_PIPE = 141
"""The reader of the output has gone: what shells report for a command ended by `| head`."""


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """A signal ended the work, which has cleaned up after itself."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by signal {number}")
        self.number = number
        """The signal."""

    @property
    def exit_code(self) -> int:
        """Return the shell's exit code for the signal: 130 for Ctrl-C."""
        return 128 + self.number
