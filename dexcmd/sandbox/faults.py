"""One thing that goes wrong with one request, as data."""

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from dexcmd.sandbox.behaviour import RowAlteration
from dexcmd.sandbox.requestlog import OPERATIONS, Operation, RecordedRequest

__all__ = ["BodyForm", "Fault", "Framing"]

BodyForm = Literal["auto", "envelope", "problem", "html", "empty"]
"""Body of an error answer.

- `envelope`: Cloudflare's own JSON;
- `problem`: RFC 9457 JSON, as Cloudflare's edge writes it;
- `html`: an error page of 5 kB;
- `empty`: nothing;
- `auto`: what the edge would do: below 500 an envelope, from 500 on a problem if the request's `Accept` names
  JSON, HTML otherwise.
"""

Framing = Literal["length", "chunked", "close"]
"""How an answer tells where its body ends: `Content-Length`, chunked, or just by closing the connection."""

_Kind = Literal[
    "error",
    "rate_limited",
    "drop",
    "silence",
    "slow",
    "garbage",
    "html",
    "unsuccessful",
    "null_result",
    "wrong_types",
    "rows",
    "cut",
    "stall",
    "lying_length",
    "corrupt",
    "revise",
    "wrong_range",
]

_FILES: frozenset[Operation] = frozenset({"download", "storage"})
_JSON: frozenset[Operation] = frozenset(OPERATIONS) - _FILES
_LIMITED: Mapping[_Kind, frozenset[Operation]] = {
    "null_result": _JSON,
    "wrong_types": _JSON,
    "rows": frozenset({"create_commands"}),
    "corrupt": _FILES,
    "revise": _FILES,
    "wrong_range": _FILES,
}


@attrs.frozen(kw_only=True)
class Fault:
    """Something that goes wrong; made by one of the class methods, never by calling the class.

    Wherever a class method takes `processed`: with False the fault strikes before the service has done the
    work, so that nothing was created; with True it strikes afterwards, so that the work is done and only the
    answer suffers.
    """

    kind: _Kind
    processed: bool = True
    status: int = 200
    form: BodyForm = "auto"
    code: int = 0
    message: str = ""
    retry_after: float | str | None = None
    seconds: float = 0.0
    real_time: bool = False
    at: float | None = None
    framing: Framing = "length"
    amount: int = 0
    path: str | None = None
    value: Any = None
    alterations: tuple[RowAlteration, ...] = ()

    @property
    def operations(self) -> frozenset[Operation]:
        """The operations that it can strike."""
        return _LIMITED.get(self.kind, frozenset(OPERATIONS))

    def applies(self, request: RecordedRequest) -> bool:
        """Tell whether it can strike this very request."""
        if request.operation not in self.operations:
            return False
        return self.kind != "wrong_range" or "Range" in request.headers

    # --- instead of the answer

    @classmethod
    def error(
        cls,
        status: int,
        *,
        processed: bool = False,
        form: BodyForm = "auto",
        code: int = 10500,
        message: str = "Internal error",
        retry_after: float | str | None = None,
    ) -> "Fault":
        """Answer with an HTTP status (and `code` and `message`, where the form has room for them)."""
        return cls(
            kind="error",
            processed=processed,
            status=status,
            form=form,
            code=code,
            message=message,
            retry_after=retry_after,
        )

    @classmethod
    def rate_limited(cls, retry_after: float | str | None = 300) -> "Fault":
        """Answer this one request with 429; `retry_after` as the header says it, None for no header."""
        return cls(
            kind="rate_limited",
            processed=False,
            status=429,
            form="envelope",
            code=971,
            message="Please wait and consider throttling your request speed",
            retry_after=retry_after,
        )

    @classmethod
    def drop(cls, *, processed: bool = False) -> "Fault":
        """Close the connection without a byte of an answer."""
        return cls(kind="drop", processed=processed)

    @classmethod
    def silence(cls, *, processed: bool = False, headers: bool = True) -> "Fault":
        """Send the headers of the answer (or not even these), then nothing, with the connection kept open."""
        return cls(kind="silence", processed=processed, amount=int(headers))

    @classmethod
    def html(cls, *, processed: bool = False) -> "Fault":
        """Answer with 200 and an HTML page."""
        return cls(kind="html", processed=processed, form="html")

    @classmethod
    def unsuccessful(
        cls, *, processed: bool = False, code: int = 1000, message: str = "Something went wrong"
    ) -> "Fault":
        """Answer with 200 and an envelope that says `success: false`."""
        return cls(kind="unsuccessful", processed=processed, form="envelope", code=code, message=message)

    # --- before the answer

    @classmethod
    def slow(cls, seconds: float, *, processed: bool = True, real_time: bool = False) -> "Fault":
        """Answer after `seconds` of the sandbox's clock, or of real time.

        With `processed=False` the work, too, is done only then, and even if the client has gone by that time.
        """
        return cls(kind="slow", processed=processed, seconds=seconds, real_time=real_time)

    # --- a damaged answer

    @classmethod
    def garbage(cls) -> "Fault":
        """Answer with the right headers, and a body that is no JSON (and no zip)."""
        return cls(kind="garbage")

    @classmethod
    def null_result(cls) -> "Fault":
        """Answer with `result: null`."""
        return cls(kind="null_result")

    @classmethod
    def wrong_types(cls, path: str | None = None, value: Any = 7) -> "Fault":
        """Put a value of another type into the answer.

        `path` is dotted, from the envelope on, as in `result.commands.0.created_date`; a path that isn't
        there leaves the answer as it is.  None stands for the id of the first row, the quota's `quota`, and
        else for the whole `result`.
        """
        return cls(kind="wrong_types", path=path, value=value)

    @classmethod
    def rows(cls, *alterations: RowAlteration) -> "Fault":
        """Alter the rows of a create answer, as `Behaviour.create_rows` does for all of them."""
        return cls(kind="rows", alterations=alterations)

    @classmethod
    def cut(cls, at: float = 0.5, *, framing: Framing = "length") -> "Fault":
        """Close the connection in the middle of the body.

        `at` is how much of the body is sent before: an int in bytes, a float as a fraction of the body.
        With `framing="close"` nothing in HTTP tells the client that something is missing.
        """
        return cls(kind="cut", at=_checked_at(at), framing=framing)

    @classmethod
    def stall(cls, at: float = 0.5, *, framing: Framing = "length") -> "Fault":
        """Send the body up to `at` (as in `cut`), then nothing, with the connection kept open."""
        return cls(kind="stall", at=_checked_at(at), framing=framing)

    @classmethod
    def lying_length(cls, amount: int) -> "Fault":
        """Declare a `Content-Length` that is off by `amount`.

        Above 0 the body ends (with the connection) before the declared length; below 0 it is cut to it, and
        looks complete.
        """
        return cls(kind="lying_length", amount=amount)

    # --- downloads

    @classmethod
    def corrupt(cls, at: float = 0.5) -> "Fault":
        """Flip one byte of the body, at `at` (as in `cut`); everything else is right."""
        return cls(kind="corrupt", at=_checked_at(at))

    @classmethod
    def revise(cls, at: float | None = None) -> "Fault":
        """Replace the artifact by another one, with another ETag.

        With None before the answer, which is whole; otherwise in the middle of it: the old one is sent up to
        `at` (as in `cut`), the connection is closed, and from then on it is the new one.
        """
        return cls(kind="revise", at=None if at is None else _checked_at(at))

    @classmethod
    def wrong_range(cls, shift: int = 1) -> "Fault":
        """Answer a `Range` request with another range than asked for.

        The answer starts `shift` bytes later (earlier, if negative; never outside the artifact), and its
        `Content-Range` and body both say so.  Strikes only requests that have a `Range`.
        """
        return cls(kind="wrong_range", amount=shift)


def _checked_at(at: float) -> float:
    if at < 0 or (isinstance(at, float) and at > 1):
        raise ValueError(f"at must be bytes (an int from 0) or a fraction (a float from 0 to 1), not {at!r}")
    return at
