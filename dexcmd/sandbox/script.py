"""The script that decides which fault strikes which request."""

import random
from collections.abc import Callable, Iterable, Sequence

import attrs

from dexcmd.sandbox.faults import Fault
from dexcmd.sandbox.requestlog import OPERATIONS, Operation, RecordedRequest

__all__ = ["FaultRule", "FaultScript"]

Condition = Callable[[RecordedRequest], bool]


@attrs.define(eq=False)
class FaultRule:
    """A rule of the script: which requests it matches, and which faults strike them."""

    mix: tuple[Fault, ...]
    operations: frozenset[Operation]
    times: int | None
    skip: int
    where: Condition | None
    rate: float
    rng: random.Random = attrs.field(repr=False)
    hits: int = 0
    """How many requests it has struck so far."""

    @property
    def missed(self) -> bool:
        """Whether it should have struck but has not; always False for a rate below 1."""
        return self.hits == 0 and self.times != 0 and self.rate == 1.0

    def __str__(self) -> str:
        kinds = " or ".join(fault.kind for fault in self.mix)
        return f"{kinds} on {', '.join(sorted(self.operations))}"

    def take(self, request: RecordedRequest) -> Fault | None:
        """Return the fault that strikes this request, None if none does; counts the request."""
        if request.operation not in self.operations or self.hits == self.times:
            return None
        faults = [fault for fault in self.mix if fault.applies(request)]
        if not faults or (self.where is not None and not self.where(request)):
            return None
        if self.skip > 0:
            self.skip -= 1
            return None
        if self.rate < 1.0 and self.rng.random() >= self.rate:
            return None
        self.hits += 1
        return faults[0] if len(faults) == 1 else self.rng.choice(faults)


class FaultScript:
    """The faults to inject.  A request is struck by the first rule, in the order added, that has a fault for it.

    Rules see only requests that pass the rate limit, and see them before any other check.
    """

    def __init__(self) -> None:
        self._rules: list[FaultRule] = []

    @property
    def rules(self) -> Sequence[FaultRule]:
        """The rules, in the order added."""
        return tuple(self._rules)

    def add(
        self,
        fault: Fault,
        *,
        on: Operation | Iterable[Operation] | None = None,
        times: int | None = 1,
        skip: int = 0,
        where: Condition | None = None,
    ) -> FaultRule:
        """Let `fault` strike the next requests of the operations `on` (None: of all that it can strike).

        `times` is how many requests it strikes, None for all of them; `skip` is how many it lets through first;
        `where` is a further condition on the request (its `body`, `query`, `params` and so on).  Returns the rule,
        whose `hits` counts the requests struck.  Raises `ValueError` for an operation that is unknown or that this
        fault can't strike, and for negative numbers.
        """
        return self._append([fault], on, times=times, skip=skip, where=where)

    def add_random(
        self,
        *,
        rate: float,
        mix: Sequence[Fault],
        seed: int = 0,
        on: Operation | Iterable[Operation] | None = None,
        times: int | None = None,
        where: Condition | None = None,
    ) -> FaultRule:
        """Strike a share `rate` (0 to 1) of the requests at random, each with a fault of `mix` that can strike it.

        The draws depend only on `seed` and the order of the requests.  The other arguments are as in `add`, except
        that each operation in `on` must be one that some fault of the mix can strike.  Raises `ValueError` as `add`
        does, and for a rate out of range or an empty mix.
        """
        if not 0 <= rate <= 1:
            raise ValueError(f"rate must be from 0 to 1, not {rate!r}")
        if not mix:
            raise ValueError("mix must hold at least one fault")
        return self._append(mix, on, times=times, where=where, rate=rate, seed=seed)

    def clear(self) -> None:
        """Remove every rule."""
        self._rules.clear()

    def take(self, request: RecordedRequest) -> Fault | None:
        """Return the fault that strikes `request`, None if none does; counts the request."""
        for rule in self._rules:
            fault = rule.take(request)
            if fault is not None:
                return fault
        return None

    def _append(
        self,
        mix: Sequence[Fault],
        on: Operation | Iterable[Operation] | None,
        *,
        times: int | None,
        where: Condition | None,
        skip: int = 0,
        rate: float = 1.0,
        seed: int = 0,
    ) -> FaultRule:
        possible = frozenset[Operation]().union(*(fault.operations for fault in mix))
        wanted = _operations(on, possible)
        if wanted - possible:
            kinds = ", ".join(fault.kind for fault in mix)
            raise ValueError(f"{kinds} can't strike {', '.join(sorted(wanted - possible))}")
        if skip < 0 or (times is not None and times < 0):
            raise ValueError(f"times and skip must not be negative: {times!r}, {skip!r}")
        rng = random.Random(f"faults {seed}")  # noqa: S311 - made-up data, no secret
        rule = FaultRule(tuple(mix), wanted, times, skip, where, rate, rng)
        self._rules.append(rule)
        return rule


def _operations(on: Operation | Iterable[Operation] | None, default: frozenset[Operation]) -> frozenset[Operation]:
    if on is None:
        return default
    wanted = frozenset[Operation]((on,) if isinstance(on, str) else on)
    if not wanted <= frozenset(OPERATIONS):
        raise ValueError(f"operations are {', '.join(OPERATIONS)}; not {on!r}")
    return wanted
