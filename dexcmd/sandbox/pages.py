"""Bodies of error responses: envelope, RFC 9457 problem, HTML page."""

import json
from collections.abc import Mapping
from http import HTTPStatus

from dexcmd.sandbox.content import Loaded
from dexcmd.sandbox.envelope import ServiceError, failure
from dexcmd.sandbox.faults import BodyForm
from dexcmd.sandbox.reply import Reply

__all__ = ["JSON_TYPE", "error_reply", "html_reply", "json_reply"]

JSON_TYPE = "application/json"
_PROBLEM_TYPE = "application/problem+json"
_HTML_TYPE = "text/html; charset=UTF-8"
_SERVER_ERRORS = 500
_PAGE_SIZE = 5000
# Cloudflare's own statuses, for which the standard library has no phrase.
_PHRASES = {
    520: "Web server is returning an unknown error",
    521: "Web server is down",
    522: "Connection timed out",
    523: "Origin is unreachable",
    524: "A timeout occurred",
    525: "SSL handshake failed",
    526: "Invalid SSL certificate",
}
_PERMANENT = (501, 505, 511, 525, 526)


def json_reply(status: int, envelope: object, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a JSON response."""
    content = Loaded(json.dumps(envelope, separators=(",", ":")).encode())
    return Reply(status=status, headers={**(headers or {}), "Content-Type": JSON_TYPE}, content=content)


def error_reply(status: int, form: BodyForm, code: int, message: str, *, ray: str, accept: str) -> Reply:
    """Return an error in one of its forms; `accept` is the request's `Accept`, `ray` the response's `cf-ray`."""
    if form == "auto":
        accepts_json = "json" in accept.lower()
        form = "envelope" if status < _SERVER_ERRORS else "problem" if accepts_json else "html"
    match form:
        case "envelope":
            return json_reply(status, failure([ServiceError(code, message)]))
        case "problem":
            content = Loaded(json.dumps(_problem(status, ray)).encode())
            return Reply(status=status, headers={"Content-Type": _PROBLEM_TYPE}, content=content)
        case "html":
            return html_reply(status, ray)
        case _:
            return Reply(status=status)


def html_reply(status: int, ray: str) -> Reply:
    """Return an error page like those of the edge: 5 kB of HTML."""
    phrase = _phrase(status)
    head = (
        f"<!DOCTYPE html>\n<html lang='en-US'>\n<head>\n"
        f"<title>api.cloudflare.com | {status}: {phrase}</title>\n</head>\n"
        f"<body>\n<h1>{phrase} <span>Error code {status}</span></h1>\n"
        f"<p>Ray ID: <strong>{ray}</strong></p>\n"
    )
    tail = "</body>\n</html>\n"
    filling = "<div class='cf-column'><p>Please try again in a few minutes.</p></div>\n"
    count = (_PAGE_SIZE - len(head) - len(tail)) // len(filling)
    return Reply(
        status=status,
        headers={"Content-Type": _HTML_TYPE},
        content=Loaded((head + filling * count + tail).encode()),
    )


def _problem(status: int, ray: str) -> dict[str, object]:
    phrase = _phrase(status)
    return {
        "type": f"https://developers.cloudflare.com/support/troubleshooting/http-status-codes/error-{status}/",
        "title": f"Error {status}: {phrase}",
        "status": status,
        "detail": phrase,
        "instance": ray,
        "error_code": status,
        "error_name": phrase.lower().replace(" ", "_"),
        "error_category": "origin",
        "ray_id": ray,
        "cloudflare_error": True,
        "retryable": status not in _PERMANENT,
    }


def _phrase(status: int) -> str:
    if status in _PHRASES:
        return _PHRASES[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown error"
