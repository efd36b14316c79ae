"""Both event loops that people run asyncio on: Python's own, and uvloop."""

import sys

import pytest

__all__ = ["ON_EACH_LOOP"]

ON_EACH_LOOP = pytest.mark.parametrize(
    "anyio_backend",
    [
        pytest.param("asyncio", id="asyncio"),
        pytest.param(
            ("asyncio", {"use_uvloop": True}),
            id="uvloop",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop for Windows"),
        ),
    ],
)
