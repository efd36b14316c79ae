"""The faults that the demo injects: those that occur between any client and any service."""

from collections.abc import Sequence

import attrs

from dexcmd.cli.demo.fleet import is_large
from dexcmd.sandbox import Fault, FaultRule, FaultScript, Operation, RecordedRequest

__all__ = ["Injected", "inject"]


@attrs.frozen
class Injected:
    """A kind of fault, with its display name, and the rules that inject it."""

    kind: str
    rules: tuple[FaultRule, ...]

    @property
    def count(self) -> int:
        """Return how many requests this kind of fault has struck."""
        return sum(rule.hits for rule in self.rules)


_LISTS: tuple[Operation, ...] = ("list_commands", "list_devices")
_READS: tuple[Operation, ...] = (*_LISTS, "download")

# Seconds are the sandbox's.
_LIMITED = Fault.rate_limited(retry_after=2)
_CUT = Fault.cut(0.6)


def inject(script: FaultScript, seed: int) -> list[Injected]:
    """Add the demo's faults to a sandbox's script, and return them so that they can be counted.

    Some POSTs lose their responses after the work was done: the client must find the created commands in the list,
    since sending the POSTs again would capture the devices twice.
    """

    # Each rule has its own seed, or all of them would strike the same requests.
    def now_and_then(rate: float, fault: Fault, on: Sequence[Operation], number: int) -> FaultRule:
        return script.add_random(rate=rate, mix=[fault], on=on, seed=8 * seed + number)

    return [
        Injected(
            "429 rate limited",
            (
                script.add(_LIMITED, on="create_commands", skip=1),
                script.add(_LIMITED, on="list_commands", skip=2),
            ),
        ),
        Injected(
            "create responses lost",
            (
                script.add(Fault.drop(processed=True), on="create_commands", skip=3, times=2),
                script.add(Fault.error(502, processed=True, form="html"), on="create_commands", skip=6),
            ),
        ),
        Injected(
            "downloads cut off",
            (
                # Only with a large one does enough arrive before the cut to resume from there.
                script.add(_CUT, on="download", times=3, where=_of_a_large_one),
                now_and_then(0.08, _CUT, ["download"], 0),
            ),
        ),
        Injected("list responses dropped", (now_and_then(0.08, Fault.drop(processed=True), _LISTS, 1),)),
        Injected("503 errors", (now_and_then(0.05, Fault.error(503), _READS, 2),)),
        Injected("502 HTML pages", (now_and_then(0.04, Fault.error(502, form="html"), _READS, 3),)),
        Injected("slow responses", (now_and_then(0.04, Fault.slow(3.0), _READS, 4),)),
    ]


def _of_a_large_one(request: RecordedRequest) -> bool:
    return is_large(request.params["command_id"])
