"""Reading bodies directly, which is for long ones, with the small ones of a test."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dexcmd.transfer import direct

__all__ = ["reading_directly"]


@contextmanager
def reading_directly() -> Iterator[None]:
    """Have each body of known length read directly, and handed on as it comes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(direct, "DIRECT_FROM", 1)
        patch.setattr(direct, "GATHER_SECONDS", 0.0)
        yield
