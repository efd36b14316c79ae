"""Which requests go into which POST, and which part of its response concerns which request.  Pure."""

import re
from collections.abc import Sequence

from dexcmd.errors import APIError, ErrorDetail
from dexcmd.resources.command import Command
from dexcmd.resources.requests import MAX_PER_POST, CommandRequest, id_key

__all__ = ["Batch", "culprits", "is_for", "match_rows", "plan_batches", "split_culprits"]

Batch = tuple[CommandRequest, ...]
"""Up to ten requests for one POST."""

_POINTER = re.compile(r"/commands/(\d{1,3})(/.*)?")


def plan_batches(requests: Sequence[CommandRequest]) -> list[Batch]:
    """Split the requests into batches of at most ten, in order."""
    return [tuple(requests[start : start + MAX_PER_POST]) for start in range(0, len(requests), MAX_PER_POST)]


def split_culprits(requests: Sequence[CommandRequest], error: APIError) -> tuple[list[CommandRequest], list[Batch]]:
    """Return the requests that a refusal concerns, and the batches in which to resend the others.

    Pointers name the culprits.  Without pointers, the requests are halved until the culprits are isolated.
    """
    named = culprits(error.errors, len(requests))
    if len(requests) == 1:
        return list(requests), []
    if named:
        rest = tuple(request for index, request in enumerate(requests) if index not in named)
        return [requests[index] for index in sorted(named)], [rest] if rest else []
    middle = len(requests) // 2
    return [], [tuple(requests[:middle]), tuple(requests[middle:])]


def culprits(errors: Sequence[ErrorDetail], count: int) -> dict[int, list[ErrorDetail]]:
    """Return the errors whose pointer names a command of a POST of `count`, such as `/commands/3/device_id`."""
    named: dict[int, list[ErrorDetail]] = {}
    for error in errors:
        found = _POINTER.fullmatch(error.pointer or "")
        if found and int(found[1]) < count:
            named.setdefault(int(found[1]), []).append(error)
    return named


def match_rows(batch: Sequence[CommandRequest], rows: Sequence[Command]) -> list[Command | None]:
    """Return the matching row for each request, or None.

    The service guarantees neither the order of the request nor as many rows.  Each row is used once: first those with
    exactly the requested registration, then those where the row or the request has none.  Rows that match no
    request are left out.
    """
    free: dict[str, Command] = {}
    for row in rows:
        if row.id is not None:
            free.setdefault(row.id, row)
    matched: list[Command | None] = [None] * len(batch)
    for exact in (True, False):
        for index, request in enumerate(batch):
            if matched[index] is None:
                found = next((row for row in free.values() if is_for(row, request, exact)), None)
                if found is not None and found.id is not None:
                    matched[index] = free.pop(found.id)
    return matched


def is_for(row: Command, request: CommandRequest, exact: bool) -> bool:
    """Tell whether a row may belong to a request; with `exact`, it must have the requested registration."""
    if (id_key(row.device_id), row.type) != (id_key(request.device_id), request.type):
        return False
    if exact:
        return id_key(row.registration_id) == id_key(request.registration_id)
    return row.registration_id is None or request.registration_id is None
