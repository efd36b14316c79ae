"""`--verbose`: the log of the SDK on stderr."""

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["logging_to_stderr"]

WAITS = "dexcmd.middleware.pace"
"""The logger that reports requests held back for the rate limit at DEBUG; it explains why nothing seems to happen."""


class _Stderr(logging.Handler):
    """Writes to the current `sys.stderr`, which a live view replaces while it runs."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")
        except (OSError, ValueError):
            self.handleError(record)


@contextmanager
def logging_to_stderr(verbose: int) -> Generator[None]:
    """Write log lines to stderr during the block: at 1 retries, waits, adoptions and POSTs, at 2 every request.

    At 0 nothing is logged: warnings would disrupt a live view, and what matters is reported elsewhere.
    """
    logger, waits = logging.getLogger("dexcmd"), logging.getLogger(WAITS)
    handler: logging.Handler = _Stderr() if verbose else logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    before = logger.level, waits.level
    logger.addHandler(handler)
    if verbose:
        logger.setLevel(logging.DEBUG if verbose > 1 else logging.INFO)
        waits.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        waits.setLevel(before[1])
