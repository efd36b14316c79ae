"""What random courses have in common: how many there are, and how often what is rare happens."""

import os
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

__all__ = ["DOWNLOAD_BEHAVIOURS", "mostly", "profile"]


def profile(modest: int, thorough: int, *, shrinks: bool = True) -> settings:
    """Return how many courses a test runs: always the same few, or with `DEXCMD_CAMPAIGNS=thorough` others each time.

    Of the latter there are `thorough`, or `DEXCMD_EXAMPLES`.  Unless it `shrinks`, a failure of the former is
    reported at once and not made smaller, which can take longer than a test may.
    """
    common: dict[str, Any] = {
        "deadline": None,
        "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
    }
    phases = tuple(Phase) if shrinks else (Phase.explicit, Phase.generate)
    return {
        "modest": settings(max_examples=modest, derandomize=True, database=None, phases=phases, **common),
        "thorough": settings(max_examples=int(os.environ.get("DEXCMD_EXAMPLES", thorough)), print_blob=True, **common),
    }[os.environ.get("DEXCMD_CAMPAIGNS", "modest")]


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    """Return what is usually one thing, and any of the others now and then."""
    return st.sampled_from([usual] * 5 + [*others])


DOWNLOAD_BEHAVIOURS = st.fixed_dictionaries(
    {
        "etag": st.sampled_from(["strong", "strong", "weak", "none"]),
        "last_modified": st.booleans(),
        "ranges": mostly(True, False),
        "download_length": mostly(True, False),
        "download_redirect": mostly(None, 307),
        "download_encoding": mostly("identity", "gzip-always"),
    }
)
"""How a service may serve artifacts, as arguments of `Behaviour`."""
