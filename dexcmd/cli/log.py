"""`--verbose`: the log of the SDK on stderr."""

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["logging_to_stderr"]

WAITS = "dexcmd.middleware.pace"
"""Tells of what is held back for the rate limit, as details; whoever wonders why nothing happens wants to know."""


class _Stderr(logging.Handler):
    """Writes to what is stderr at that moment: a live view puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")
        except (OSError, ValueError):
            self.handleError(record)


@contextmanager
def logging_to_stderr(verbose: int) -> Generator[None]:
    """Write log lines to stderr during the block: at 1 retries, waits, adoptions and POSTs, at 2 each request.

    At 0 there is none: warnings would come into the middle of a live view, and what matters is told elsewhere.
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
