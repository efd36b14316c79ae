"""How much memory a piece of work takes, of what Python counts."""

import tracemalloc
from collections.abc import Generator
from contextlib import contextmanager

import attrs

__all__ = ["Heap", "measured_heap"]


@attrs.define
class Heap:
    """What was allocated since the block began, in bytes; known once it has ended."""

    held: int = 0
    """At its end."""

    peak: int = 0
    """At the most."""


@contextmanager
def measured_heap() -> Generator[Heap]:
    """Measure the block."""
    heap = Heap()
    tracemalloc.start()
    try:
        yield heap
        heap.held, heap.peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
