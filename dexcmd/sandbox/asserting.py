"""Compares the requests that a test expects with those that arrived, and explains the difference."""

import json as jsonlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import unquote

import attrs

from dexcmd.sandbox.requestlog import RecordedRequest

__all__ = ["Expected", "RequestAssertionError", "explain", "request_table"]

_BELOW = re.compile(r"/client/v4/accounts/[^/]*/dex(?=/)")
_MAX_ROWS = 30
_MAX_CHARACTERS = 60
_ANOTHER = 10
"""Weight of a different method or path: a request with both right is always closer, whatever else differs."""


class RequestAssertionError(AssertionError):
    """The requests are not what the test expects."""


@attrs.frozen(kw_only=True)
class Expected:
    """A request that a test expects; the arguments are those of `Sandbox.assert_requested`."""

    method: str
    path: str
    query: Mapping[str, object] = attrs.field(factory=dict[str, object])
    json: object = None
    status: int | None = None

    def __attrs_post_init__(self) -> None:
        if not self.method.isupper():
            raise ValueError(f"method must be in upper case, as it is sent, not {self.method!r}")
        if not self.path.startswith("/") or "?" in self.path:
            raise ValueError(f"path must begin with a slash, and its query goes into query=, not {self.path!r}")

    def __str__(self) -> str:
        parts = [f"{self.method} {self.path}"]
        if self.query:
            parts.append(f"with {_query_text(self.query)}")
        if self.json is not None:
            parts.append(f"with {_json_text(self.json)}")
        if self.status is not None:
            parts.append(f"answered with {self.status}")
        return " ".join(parts)

    def differences(self, request: RecordedRequest) -> list[str]:
        """Describe how a request differs from the expected one; empty if it matches."""
        return [text for _, text in self._differences(request)]

    def distance(self, request: RecordedRequest) -> int:
        """Return how far a request is from the expected one; 0 if it matches."""
        return sum(weight for weight, _ in self._differences(request))

    def _differences(self, request: RecordedRequest) -> Iterator[tuple[int, str]]:
        if request.method != self.method:
            yield _ANOTHER, f"{request.method}, not {self.method}"
        if not self._is_at(request.path):
            yield _ANOTHER, "another path"
        for name, value in self.query.items():
            if name not in request.query:
                yield 1, f"no {name}"
            elif request.query[name] != str(value):
                yield 1, f"{name}={request.query[name]}, not {value}"
        if self.json is not None and request.body is None:
            yield 1, "no body"
        elif self.json is not None and (lacking := _lacking(self.json, request.body, "$")) is not None:
            yield 1, lacking
        if self.status is not None and request.status != self.status:
            yield 1, f"status {request.status or 'none'}, not {self.status}"

    def _is_at(self, path: str) -> bool:
        pattern = "[^/]*".join(re.escape(part) for part in self.path.split("*"))
        return any(re.fullmatch(pattern, unquote(text)) for text in (_below_account(path), path))


def explain(expected: Expected, times: int | None, requests: Sequence[RecordedRequest]) -> str:
    """Return the failure message for a test: how many matching requests there were, and which came close."""
    found = sum(not expected.differences(request) for request in requests)
    told = f"{expected} was requested {_times(found)}" if found else f"{expected} was never requested"
    if times is not None:
        told += f", and should have been {_times(times)}" if times else ", and should not have been"
    if not requests:
        return f"{told}; there was no request at all"
    closest = sorted(range(len(requests)), key=lambda index: expected.distance(requests[index]))
    return f"{told}; the log, with what comes closest first:\n\n{_table(requests, closest, expected)}"


def request_table(requests: Sequence[RecordedRequest]) -> str:
    """Return the latest requests as a table, one per line."""
    latest = range(len(requests))[-_MAX_ROWS:]
    return _table(requests, latest, None) if requests else "no requests"


def _table(requests: Sequence[RecordedRequest], order: Sequence[int], expected: Expected | None) -> str:
    rows = [("#", "at", "request", "status", "fault", "" if expected is None else "what differs")]
    started = requests[0].at
    for index in order[:_MAX_ROWS]:
        request = requests[index]
        differs = "" if expected is None else "; ".join(expected.differences(request)) or "(as expected)"
        rows.append(
            (
                str(index + 1),
                f"+{request.at - started:.1f} s",
                _request_text(request),
                str(request.status or "-"),
                request.fault or "",
                differs,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    hidden = len(requests) - (len(rows) - 1)
    return "\n".join([*lines, *([f"({hidden} more)"] if hidden else [])])


def _request_text(request: RecordedRequest) -> str:
    parts = [request.method, unquote(_below_account(request.path))]
    if request.query:
        parts.append(_query_text(request.query))
    if request.body is not None:
        parts.append(_commands_text(request.body) or _json_text(request.body))
    return " ".join(parts)


def _commands_text(body: object) -> str | None:
    """Summarize the commands in a body, as in `(2 pcap, 1 speed-test)`; None if it isn't a create body."""
    commands = cast("Mapping[str, object]", body).get("commands") if isinstance(body, Mapping) else None
    if not isinstance(commands, list):
        return None
    rows = [cast("Mapping[str, object]", row) for row in cast("list[object]", commands) if isinstance(row, Mapping)]
    kinds = Counter(str(row.get("type")) for row in rows)
    return f"({', '.join(f'{count} {kind}' for kind, count in kinds.items()) or 'no commands'})"


def _below_account(path: str) -> str:
    return _BELOW.sub("", path, count=1)


def _query_text(query: Mapping[str, object]) -> str:
    return _shortened("&".join(f"{name}={value}" for name, value in query.items()))


def _json_text(value: object) -> str:
    return _shortened(jsonlib.dumps(value, ensure_ascii=False, default=repr, separators=(",", ":")))


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS - 1]}…"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _lacking(wanted: object, found: object, where: str) -> str | None:
    """Describe what `found` lacks of `wanted`; None if it lacks nothing."""
    lacks: Iterator[str | None]
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        fields, have = cast("Mapping[object, object]", wanted), cast("Mapping[object, object]", found)
        lacks = (
            _lacking(value, have[key], f"{where}.{key}") if key in have else f"no {where}.{key}"
            for key, value in fields.items()
        )
        return next((lacking for lacking in lacks if lacking is not None), None)
    if isinstance(wanted, list | tuple) and isinstance(found, list):
        items, others = cast("Sequence[object]", wanted), cast("list[object]", found)
        if len(items) != len(others):
            return f"{where} has a length of {len(others)}, not {len(items)}"
        lacks = (_lacking(item, others[index], f"{where}[{index}]") for index, item in enumerate(items))
        return next((lacking for lacking in lacks if lacking is not None), None)
    return None if wanted == found else _is_not(found, wanted, where)


def _is_not(found: Any, wanted: Any, where: str) -> str:
    return f"{where} is {_json_text(found)}, not {_json_text(wanted)}"
