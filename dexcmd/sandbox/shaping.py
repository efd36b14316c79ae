"""Applies faults to responses."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import attrs

from dexcmd.sandbox.behaviour import Behaviour
from dexcmd.sandbox.content import CorruptContent, Loaded, ShiftedContent, WrappedContent
from dexcmd.sandbox.envelope import ServiceError, failure
from dexcmd.sandbox.faults import Fault, RangeLabel
from dexcmd.sandbox.pages import JSON_TYPE, error_reply, html_reply, json_reply
from dexcmd.sandbox.reply import Reply, Trickle
from dexcmd.sandbox.requestlog import RecordedRequest
from dexcmd.sandbox.rows import alter_rows

__all__ = ["damage_behaviour", "damage_envelope", "damage_headers", "damage_reply", "heard_headers", "reply_instead"]

_WHOLE = 200
_PARTIAL = 206
_PROMISED_BYTES = 1024
_JUNK = b"\x00"
_BOUNDARY = "3d6b6a416f9b5"
# Request headers that the service ignores when serving a file.
_UNHEARD: Mapping[str, str] = {"ignore_range": "Range", "ignore_if_range": "If-Range"}
# Where `wrong_types` strikes by default: the first of these that the response has.
_USUAL_TARGETS = ("result.commands.0.id", "result.devices.0.deviceId", "result.quota", "result")


def reply_instead(fault: Fault, request: RecordedRequest, ray: str) -> Reply | None:
    """Return the response that replaces the service's own one; None if the fault only damages that.

    `ray` is the `cf-ray` of the response.
    """
    match fault.kind:
        case "error" | "rate_limited":
            accept = request.headers.get("Accept", "")
            reply = error_reply(fault.status, fault.form, fault.code, fault.message, ray=ray, accept=accept)
            if fault.retry_after is None:
                return reply
            return attrs.evolve(reply, headers={**reply.headers, "Retry-After": str(fault.retry_after)})
        case "html":
            return html_reply(200, ray)
        case "unsuccessful":
            return json_reply(200, failure([ServiceError(fault.code, fault.message)]))
        case "drop":
            return Reply(status=0, head=False, ending=_ending(fault))
        case "silence" if fault.amount == 0:
            return Reply(status=0, head=False, ending="silence")
        case "silence" if not fault.processed:
            # The headers are those of a normal response.
            kind = "application/zip" if request.operation in ("download", "storage") else JSON_TYPE
            return Reply(status=200, headers={"Content-Type": kind}, lie=_PROMISED_BYTES, ending="silence")
        case _:
            return None


def heard_headers(fault: Fault | None, headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the request headers that affect the response to a download, without those the fault ignores."""
    unheard = None if fault is None else _UNHEARD.get(fault.kind)
    names = ("Accept-Encoding", "Range", "If-Range")
    return {name: headers[name] for name in names if name in headers and name != unheard}


def damage_behaviour(fault: Fault | None, behaviour: Behaviour) -> Behaviour:
    """Return the behaviour to use for serving one file."""
    if fault is None or fault.kind != "encoded":
        return behaviour
    return attrs.evolve(behaviour, download_encoding="gzip-always")


def damage_envelope(fault: Fault, envelope: Mapping[str, Any]) -> dict[str, Any]:
    """Return the envelope of a JSON response with the fault applied."""
    damaged = dict(envelope)
    match fault.kind:
        case "null_result":
            damaged["result"] = None
        case "rows":
            rows = alter_rows(damaged["result"]["commands"], fault.alterations)
            damaged["result"] = {**damaged["result"], "commands": rows}
        case "wrong_types":
            for path in _USUAL_TARGETS if fault.path is None else (fault.path,):
                try:
                    damaged = _replaced(damaged, path.split("."), fault.value)
                    break
                except (LookupError, TypeError, ValueError):
                    continue  # The response has no such path.
        case _:
            pass
    return damaged


def damage_reply(fault: Fault, reply: Reply) -> Reply:
    """Return the response with the fault applied."""
    match fault.kind:
        case "silence":
            return attrs.evolve(reply, limit=0, ending="silence")
        case "cut":
            return attrs.evolve(reply, limit=_position(fault.at, reply), ending=_ending(fault), framing=fault.framing)
        case "revise" if fault.at is not None:
            return attrs.evolve(reply, limit=_position(fault.at, reply), ending="drop")
        case "stall":
            return attrs.evolve(reply, limit=_position(fault.at, reply), ending="silence", framing=fault.framing)
        case "trickle":
            at = _position(fault.at, reply)
            trickle = Trickle(at=at, piece=fault.amount, rate=fault.rate, real_time=fault.real_time)
            return attrs.evolve(reply, trickle=trickle, framing=fault.framing)
        case "lying_length":
            if fault.amount >= 0:
                return attrs.evolve(reply, lie=fault.amount, ending="drop", framing="length")
            amount = max(fault.amount, -reply.length)
            limit = None if fault.rest else reply.length + amount
            return attrs.evolve(reply, lie=amount, limit=limit, framing="length")
        case "surplus":
            return _lengthened(reply, fault)
        case "garbage":
            content = Loaded(b'{"success": tru\x00\xff' * 4)
            return attrs.evolve(reply, content=content, start=0, stop=content.size)
        case "empty":
            return attrs.evolve(reply, content=Loaded(b""), start=0, stop=0, framing="length")
        case "corrupt" if reply.length:
            position = reply.start + min(_position(fault.at, reply), reply.length - 1)
            return attrs.evolve(reply, content=CorruptContent(reply.content, position))
        case "encoded" if reply.status in (_WHOLE, _PARTIAL):
            return attrs.evolve(reply, framing=fault.framing)
        case "unasked_range" if reply.status == _WHOLE:
            start = min(_position(fault.at, reply), reply.length - 1)
            return _part(reply, start, max(_position(fault.until, reply), start + 1))
        case "unsatisfiable" if reply.status in (_WHOLE, _PARTIAL):
            label = fault.label.header(0, 0, reply.content.size)
            return Reply(status=416, headers={} if label is None else {"Content-Range": label})
        case "wrong_range" | "mislabelled_range" | "multipart_range" if reply.status == _PARTIAL:
            return _damage_part(fault, reply)
        case _:
            return reply


def damage_headers(fault: Fault, reply: Reply) -> Reply:
    """Return the response, which must have all its headers, with the fault's header changes applied."""
    return attrs.evolve(reply, headers=_changed(reply.headers, dict(fault.changes)))


def _damage_part(fault: Fault, reply: Reply) -> Reply:
    """Return the response to a `Range` request with the fault applied."""
    start, stop = reply.start, reply.stop
    match fault.kind:
        case "wrong_range":
            stop = min(max(stop + fault.label.end, 1), reply.content.size)
            return _part(reply, min(max(start + fault.amount, 0), stop - 1), stop)
        case "mislabelled_range":
            label = fault.label.header(start, stop, reply.content.size)
            content = ShiftedContent(reply.content, fault.amount) if fault.amount else reply.content
            return attrs.evolve(reply, headers=_changed(reply.headers, {"Content-Range": label}), content=content)
        case _:
            names = ("Content-Type", "Content-Range")
            lines = "".join(f"{name}: {reply.headers[name]}\r\n" for name in names)
            content = WrappedContent(
                reply.content,
                start,
                stop,
                before=f"--{_BOUNDARY}\r\n{lines}\r\n".encode(),
                after=f"\r\n--{_BOUNDARY}--\r\n".encode(),
            )
            kind = f"multipart/byteranges; boundary={_BOUNDARY}"
            headers = _changed(reply.headers, {"Content-Range": None, "Content-Type": kind})
            return attrs.evolve(reply, headers=headers, content=content, start=0, stop=content.size)


def _part(reply: Reply, start: int, stop: int) -> Reply:
    """Return the response with the bytes from `start` up to `stop` of the whole, labelled accordingly."""
    label = RangeLabel().header(start, stop, reply.content.size)
    headers = _changed(reply.headers, {"Content-Range": label})
    return attrs.evolve(reply, status=_PARTIAL, headers=headers, start=start, stop=stop)


def _lengthened(reply: Reply, fault: Fault) -> Reply:
    content = WrappedContent(reply.content, reply.start, reply.stop, after=_JUNK * fault.amount)
    # If a length is declared, it stays the true one.
    return attrs.evolve(reply, content=content, start=0, stop=content.size, lie=-fault.amount, framing=fault.framing)


def _ending(fault: Fault) -> Literal["drop", "reset"]:
    return "reset" if fault.reset else "drop"


def _position(at: float | None, reply: Reply) -> int:
    """Return a position in the body, in bytes; None is its end."""
    at = reply.length if at is None else at
    return int(reply.length * at) if isinstance(at, float) else min(at, reply.length)


def _changed(headers: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return the headers with the changes applied; None removes a header."""
    names = {name.lower() for name in changes}
    kept = {name: value for name, value in headers.items() if name.lower() not in names}
    return kept | {name: value for name, value in changes.items() if value is not None}


def _replaced(tree: Any, steps: Sequence[str], value: Any) -> Any:
    """Return the tree with the value at the path `steps` replaced; raises what indexing raises if it doesn't exist."""
    if not steps:
        return value
    step, *rest = steps
    if isinstance(tree, list):
        items: list[Any] = [*tree]
        items[int(step)] = _replaced(items[int(step)], rest, value)
        return items
    fields = cast("dict[str, Any]", tree)
    return {**fields, step: _replaced(fields[step], rest, value)}
