"""From a response to its result or a typed error: Cloudflare's envelope, RFC 9457 problems, HTML and garbage.

The envelope is described at https://developers.cloudflare.com/fundamentals/api/how-to/make-api-calls/.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

import attrs

from dexcmd.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ErrorDetail,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ResponseDecodeError,
    ServerError,
)
from dexcmd.safe_text import one_line, safe_url
from dexcmd.wire.answer import Answer, service_time
from dexcmd.wire.html import plain_text
from dexcmd.wire.ratelimit import parse_retry_after

__all__ = ["Envelope", "PageInfo", "api_error", "read_envelope"]

MAX_CHAINED = 8
"""How deep an `error_chain` is followed."""

MALFORMED_TOKEN = 6003
"""The error code of a 400 for a malformed token."""


@attrs.frozen
class PageInfo:
    """The `result_info` of a page; unreadable fields are None.

    No single field can be trusted: see `is_last_page`.
    """

    count: int | None = None
    """Rows on this page."""

    page: int | None = None
    per_page: int | None = None
    total_count: int | None = None
    total_pages: int | None = None


@attrs.frozen
class Envelope:
    """A good response: its `result` as parsed JSON, and what comes with it.

    `result` is None only for a list that has no rows according to `result_info`.
    """

    result: object
    page_info: PageInfo | None
    served_at: datetime | None
    """The service's time, in whole seconds, from the `Date` header."""

    errors: tuple[ErrorDetail, ...] = ()
    """Errors despite the success, as with a partly accepted POST."""


def read_envelope(answer: Answer, now: datetime) -> Envelope:
    """Return the content of a complete response.

    Raises an `APIError` if the service refused, `ResponseDecodeError` for a good status without a valid envelope.
    A `Retry-After` date is relative to the response's `Date`, or to `now` without one.
    """
    if not 200 <= answer.status < 300:
        raise api_error(answer, now)
    try:
        parsed: object = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise ResponseDecodeError(_not_json(answer)) from None
    if not isinstance(parsed, dict):
        raise ResponseDecodeError(f"{_where(answer)}: the response is {_kind(parsed)}, not an object", "$")
    envelope = cast("Mapping[str, object]", parsed)
    success = envelope.get("success", True)
    if success is False:
        raise api_error(answer, now)
    if success is not True:
        raise ResponseDecodeError(f"{_where(answer)}: expected a boolean, found {_kind(success)}", "$.success")
    result = envelope.get("result")
    page_info = _page_info(envelope.get("result_info"))
    if result is None and (page_info is None or page_info.count != 0):
        raise ResponseDecodeError(f"{_where(answer)}: the response has no result", "$.result")
    errors = envelope.get("errors")
    return Envelope(
        result,
        page_info,
        service_time(answer.headers),
        tuple(_detail(error) for error in cast("list[object]", errors)) if isinstance(errors, list) else (),
    )


def api_error(answer: Answer, now: datetime) -> APIError:
    """Return the typed error for an unsuccessful response, whatever its body."""
    details = _details(answer)
    # A `Retry-After` date is by the service's clock; this machine's may be hours off.
    asked_at = service_time(answer.headers) or now
    error_class = _error_class(answer.status, details)
    return error_class(
        status=answer.status,
        errors=details,
        ray_id=answer.ray_id,
        method=answer.method,
        path=answer.path,
        retry_after=parse_retry_after(answer.headers, asked_at),
    )


def _error_class(status: int, details: tuple[ErrorDetail, ...]) -> type[APIError]:
    if status == 401 or (status == 400 and any(detail.code == MALFORMED_TOKEN for detail in details)):
        return AuthenticationError
    exact: dict[int, type[APIError]] = {
        403: PermissionDeniedError,
        404: NotFoundError,
        410: NotFoundError,
        429: RateLimitError,
    }
    if status in exact:
        return exact[status]
    if 400 <= status < 500:
        return BadRequestError
    return ServerError if status >= 500 else APIError


def _details(answer: Answer) -> tuple[ErrorDetail, ...]:
    if 300 <= answer.status < 400:
        target = answer.headers.get("Location", "")
        return (ErrorDetail(f"unexpected redirect to {one_line(safe_url(target)) or 'nowhere'}"),)
    try:
        parsed: object = json.loads(answer.body)
    except (ValueError, RecursionError):
        text = plain_text(answer.body)
        return (ErrorDetail(text),) if text else ()
    if not isinstance(parsed, dict):
        return (ErrorDetail(one_line(json.dumps(parsed))),)
    body = cast("Mapping[str, object]", parsed)
    errors = body.get("errors")
    if isinstance(errors, list) and errors:
        return tuple(_detail(error) for error in cast("list[object]", errors))
    return _problem(body)


def _detail(error: object, depth: int = 0) -> ErrorDetail:
    if not isinstance(error, dict):
        return ErrorDetail(one_line(str(error)))
    fields = cast("Mapping[str, object]", error)
    source = fields.get("source")
    pointer = cast("Mapping[str, object]", source).get("pointer") if isinstance(source, dict) else None
    message = one_line(_text(fields.get("message")) or "")
    chain = fields.get("error_chain")
    if isinstance(chain, list) and depth < MAX_CHAINED:
        # Not documented, but it occurs: then the outer message is generic, and the inner ones give the reason.
        inner = [_detail(link, depth + 1) for link in cast("list[object]", chain)]
        message = one_line(": ".join([message, *(str(link) for link in inner)]))
    return ErrorDetail(
        message=message or "no message",
        code=_int(fields.get("code")),
        documentation_url=_text(fields.get("documentation_url")),
        pointer=_text(pointer),
    )


def _problem(body: Mapping[str, object]) -> tuple[ErrorDetail, ...]:
    """Read an RFC 9457 problem, which Cloudflare's gateway sends if the request accepts JSON."""
    said = [_text(body.get(key)) for key in ("title", "detail")]
    message = one_line(": ".join(part for part in said if part))
    if not message:
        return ()
    return (ErrorDetail(message, _int(body.get("error_code")), _text(body.get("type"))),)


def _page_info(value: object) -> PageInfo | None:
    if not isinstance(value, dict):
        return None
    info = cast("Mapping[str, object]", value)
    return PageInfo(
        **{name: _int(info.get(name)) for name in ("count", "page", "per_page", "total_count", "total_pages")}
    )


def _not_json(answer: Answer) -> str:
    kind = answer.headers.get("Content-Type", "no content type")
    return f"{_where(answer)}: not JSON ({one_line(kind, 60)}): {plain_text(answer.body) or 'empty body'}"


def _where(answer: Answer) -> str:
    return f"{answer.method} {answer.path}: {answer.status}"


def _kind(value: object) -> str:
    names: dict[type[Any], str] = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
