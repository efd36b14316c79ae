"""What goes wrong on the demo's way: what happens between any client and any service."""

from collections.abc import Sequence

import attrs

from dexcmd.sandbox import Fault, FaultRule, FaultScript, Operation

__all__ = ["Injected", "inject"]


@attrs.frozen
class Injected:
    """One kind of fault, for people, and what injects it."""

    kind: str
    rule: FaultRule

    @property
    def count(self) -> int:
        """Return how many requests it has struck."""
        return self.rule.hits


_LIST: Sequence[Operation] = ("list_commands", "list_devices")
_DOWNLOAD: Sequence[Operation] = ("download",)

# Seconds are the sandbox's.
_RANDOM: Sequence[tuple[str, Fault, Sequence[Operation], float]] = (
    ("list answers dropped", Fault.drop(processed=True), _LIST, 0.08),
    ("503 errors", Fault.error(503), (*_LIST, *_DOWNLOAD), 0.05),
    ("502 HTML pages", Fault.error(502, form="html"), (*_LIST, *_DOWNLOAD), 0.04),
    ("downloads cut off", Fault.cut(0.6), _DOWNLOAD, 0.08),
    ("slow answers", Fault.slow(3.0), (*_LIST, *_DOWNLOAD), 0.04),
)


def inject(script: FaultScript, seed: int) -> list[Injected]:
    """Write the demo's faults into a sandbox's script and return them, to be counted.

    No POST loses its answer after its work was done.  One is refused for the rate limit, which is safe to
    send again; the first download is cut off, so that a small demo sees that, too.
    """
    limited = Fault.rate_limited(retry_after=2)
    return [
        Injected("429 on a POST", script.add(limited, on="create_commands", skip=1)),
        Injected("429 on a list", script.add(limited, on="list_commands", skip=2)),
        Injected("first download cut off", script.add(Fault.cut(0.3), on="download")),
        *(
            # A seed of its own for each, or all of them would strike the same requests.
            Injected(kind, script.add_random(rate=rate, mix=[fault], on=on, seed=seed * len(_RANDOM) + number))
            for number, (kind, fault, on, rate) in enumerate(_RANDOM)
        ),
    ]
