"""What a fault makes of an answer."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import attrs

from dexcmd.sandbox.content import CorruptContent, Text
from dexcmd.sandbox.envelope import ServiceError, failure
from dexcmd.sandbox.faults import Fault
from dexcmd.sandbox.pages import JSON_TYPE, error_reply, html_reply, json_reply
from dexcmd.sandbox.reply import Reply
from dexcmd.sandbox.requestlog import RecordedRequest
from dexcmd.sandbox.rows import alter_rows

__all__ = ["damage_envelope", "damage_reply", "reply_instead"]

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_PROMISED_BYTES = 1024
# Where `wrong_types` strikes when it isn't told: the first of these that the answer has.
_USUAL_TARGETS = ("result.commands.0.id", "result.devices.0.deviceId", "result.quota", "result")


def reply_instead(fault: Fault, request: RecordedRequest, ray: str) -> Reply | None:
    """Return what is answered in place of the service's own answer; None if the fault only damages that.

    `ray` is the `cf-ray` of the answer.
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
            return Reply(status=0, head=False, ending="drop")
        case "silence" if fault.amount == 0:
            return Reply(status=0, head=False, ending="silence")
        case "silence" if not fault.processed:
            # The headers promise an answer like any other.
            kind = "application/zip" if request.operation in ("download", "storage") else JSON_TYPE
            return Reply(status=200, headers={"Content-Type": kind}, lie=_PROMISED_BYTES, ending="silence")
        case _:
            return None


def damage_envelope(fault: Fault, envelope: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON answer as the fault leaves it."""
    damaged = dict(envelope)
    match fault.kind:
        case "null_result":
            damaged["result"] = None
        case "rows" if isinstance(damaged.get("result"), dict):
            rows = alter_rows(damaged["result"]["commands"], fault.alterations)
            damaged["result"] = {**damaged["result"], "commands": rows}
        case "wrong_types":
            for path in _USUAL_TARGETS if fault.path is None else (fault.path,):
                try:
                    damaged = _replaced(damaged, path.split("."), fault.value)
                    break
                except (LookupError, TypeError, ValueError):
                    continue  # The answer has no such place.
        case _:
            pass
    return damaged


def damage_reply(fault: Fault, reply: Reply) -> Reply:
    """Return the answer as the fault leaves it."""
    match fault.kind:
        case "silence":
            return attrs.evolve(reply, limit=0, ending="silence")
        case "cut":
            return attrs.evolve(reply, limit=_position(fault, reply), ending="drop", framing=fault.framing)
        case "revise" if fault.at is not None:
            return attrs.evolve(reply, limit=_position(fault, reply), ending="drop")
        case "stall":
            return attrs.evolve(reply, limit=_position(fault, reply), ending="silence", framing=fault.framing)
        case "lying_length":
            if fault.amount >= 0:
                return attrs.evolve(reply, lie=fault.amount, ending="drop")
            amount = max(fault.amount, -reply.length)
            return attrs.evolve(reply, lie=amount, limit=reply.length + amount)
        case "garbage":
            content = Text(b'{"success": tru\x00\xff' * 4)
            return attrs.evolve(reply, content=content, start=0, stop=content.size)
        case "corrupt" if reply.length:
            position = reply.start + min(_position(fault, reply), reply.length - 1)
            return attrs.evolve(reply, content=CorruptContent(reply.content, position))
        case "wrong_range":
            return _shift_range(reply, fault.amount)
        case _:
            return reply


def _position(fault: Fault, reply: Reply) -> int:
    """Return the fault's place in the body, in bytes."""
    at = fault.at if fault.at is not None else reply.length
    return int(reply.length * at) if isinstance(at, float) else min(at, reply.length)


def _shift_range(reply: Reply, shift: int) -> Reply:
    match = _CONTENT_RANGE.fullmatch(reply.headers.get("Content-Range", ""))
    if match is None:
        return reply
    start = min(max(reply.start + shift, 0), reply.stop - 1)
    headers = {**reply.headers, "Content-Range": f"bytes {start}-{reply.stop - 1}/{match[3]}"}
    return attrs.evolve(reply, headers=headers, start=start)


def _replaced(tree: Any, steps: Sequence[str], value: Any) -> Any:
    """Return the tree with the value at the end of the steps; raises as indexing does if that isn't there."""
    if not steps:
        return value
    step, *rest = steps
    if isinstance(tree, list):
        items: list[Any] = [*tree]
        items[int(step)] = _replaced(items[int(step)], rest, value)
        return items
    fields = cast("dict[str, Any]", tree)
    return {**fields, step: _replaced(fields[step], rest, value)}
