"""What a benchmark is made of.

Nothing here or at the top of a case's module imports more than it must: the process that measures a first call starts
with these modules.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

__all__ = ["Case", "Metric", "Params", "Result"]

Params = dict[str, Any]
"""What a contender is told; goes to its process as JSON."""

Result = dict[str, float]
"""What a contender measured, by the keys of its case's metrics."""


class Metric(NamedTuple):
    """A column of the table."""

    key: str
    title: str
    digits: int = 2
    compared: bool = False
    """Whether the ratio to the peer is shown."""

    spread: bool = False
    """Whether the least and the greatest of the rounds are shown."""


class Case(NamedTuple):
    """One benchmark."""

    name: str
    title: str
    notes: Callable[[Params], str]
    """What the numbers mean, told below the table; sees what `prepare` gave."""

    rounds: int
    metrics: Sequence[Metric]
    peer: str
    """The contender that the others are compared with."""

    contenders: Mapping[str, Callable[[Params], Result]]
    """What is measured, by the names of the rows; each call has a process to itself."""

    prepare: Callable[[float], AbstractContextManager[Params]]
    """Sets up for a scale what the contenders share, such as a service, and gives what they are told."""

    check: Callable[[Mapping[str, Sequence[Result]]], list[str]] = lambda _: []
    """Returns what must not be, over all rounds; anything fails the run."""
