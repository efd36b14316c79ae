"""The envelope of every JSON response, its errors, and `result_info`."""

from collections.abc import Sequence
from typing import Any, cast

import attrs

from dexcmd.sandbox.behaviour import Behaviour

__all__ = ["Code", "ServiceError", "failure", "result_info", "success"]


class Code:
    """Error codes.

    971, 6003, 7000, 7003 and 10000 are the platform's.  The reference names none for DEX, so the others are
    invented, and a client should not rely on them.
    """

    RATE_LIMITED = 971
    MALFORMED_TOKEN = 6003
    MALFORMED_TOKEN_FORMAT = 6111
    NO_ROUTE = 7003
    NO_ROUTE_CAUSE = 7000
    REFUSED_TOKEN = 10000
    METHOD = 10405
    INVALID_QUERY = 2001
    INVALID_BODY = 2002
    INVALID_TARGET = 2003
    INVALID_ARGUMENT = 2004
    NO_ARTIFACT = 2010
    EXPIRED = 2011


@attrs.frozen
class ServiceError:
    """One entry of `errors`."""

    code: int
    message: str
    pointer: str | None = None
    """JSON pointer into the request's body."""
    chain: tuple[tuple[int, str], ...] = ()
    """Codes and messages of the undocumented `error_chain`."""

    def row(self, *, pointers: bool = True) -> dict[str, Any]:
        """Return the error as it appears on the wire."""
        row: dict[str, Any] = {"code": self.code, "message": self.message}
        if pointers and self.pointer is not None:
            row["source"] = {"pointer": self.pointer}
        if self.chain:
            row["error_chain"] = [{"code": code, "message": message} for code, message in self.chain]
        return row


def success(result: Any, *, info: dict[str, Any] | None = None, extra: bool = False) -> dict[str, Any]:
    """Return the envelope of a result; `extra` adds an undocumented field to it and to the result."""
    if extra and isinstance(result, dict):
        result = {"sandbox_extra": True, **cast("dict[str, Any]", result)}
    envelope: dict[str, Any] = {"success": True, "errors": [], "messages": [], "result": result}
    if info is not None:
        envelope["result_info"] = info
    if extra:
        envelope["sandbox_extra"] = True
    return envelope


def failure(errors: Sequence[ServiceError], *, pointers: bool = True) -> dict[str, Any]:
    """Return the envelope of an error response."""
    return {
        "success": False,
        "errors": [error.row(pointers=pointers) for error in errors],
        "messages": [],
        "result": None,
    }


def result_info(behaviour: Behaviour, *, count: int, page: int, per_page: int, total: int) -> dict[str, Any] | None:
    """Return the `result_info` of a list response with `count` rows out of `total`."""
    pages = -(-total // per_page)
    match behaviour.result_info:
        case "full":
            return {
                "count": count,
                "page": page,
                "per_page": per_page,
                "total_count": total,
                "total_pages": pages,
            }
        case "without-total-pages":
            return {"count": count, "page": page, "per_page": per_page, "total_count": total}
        case "missing":
            return None
        case "wrong":
            # Always wrong, and in the direction that makes a trusting client stop too early.
            return {
                "count": count + 7,
                "page": page + 1,
                "per_page": per_page * 2,
                "total_count": 0 if total else 1,
                "total_pages": 0 if pages else 1,
            }
