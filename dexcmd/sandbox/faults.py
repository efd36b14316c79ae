"""A fault that strikes one request, as data."""

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from dexcmd.sandbox.behaviour import RowAlteration
from dexcmd.sandbox.requestlog import OPERATIONS, Operation, RecordedRequest

__all__ = ["BodyForm", "Fault", "Framing", "RangeLabel"]

BodyForm = Literal["auto", "envelope", "problem", "html", "empty"]
"""Body of an error response.

- `envelope`: Cloudflare's own JSON;
- `problem`: RFC 9457 JSON, as Cloudflare's edge sends it;
- `html`: an error page of 5 kB;
- `empty`: nothing;
- `auto`: what the edge would send: an envelope below 500; from 500 on a problem if the request's `Accept` names
  JSON, and HTML otherwise.
"""

Framing = Literal["length", "chunked", "close"]
"""How a response delimits its body: `Content-Length`, chunked, or by closing the connection."""

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
    "trickle",
    "surplus",
    "empty",
    "headers",
    "redirect",
    "encoded",
    "ignore_range",
    "ignore_if_range",
    "unsatisfiable",
    "unasked_range",
    "mislabelled_range",
    "multipart_range",
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
    "redirect": _FILES,
    "encoded": _FILES,
    "ignore_range": _FILES,
    "ignore_if_range": _FILES,
    "unsatisfiable": _FILES,
    "unasked_range": _FILES,
    "mislabelled_range": _FILES,
    "multipart_range": _FILES,
}
_RANGED: frozenset[_Kind] = frozenset(
    ("wrong_range", "ignore_range", "ignore_if_range", "unsatisfiable", "mislabelled_range", "multipart_range")
)
_REDIRECTS = (301, 302, 303, 307, 308)
_FRAMING_HEADERS = frozenset(("content-length", "transfer-encoding"))


@attrs.frozen(kw_only=True)
class RangeLabel:
    """What a `Content-Range` says instead of the true range."""

    start: int = 0
    """Error in the first position."""
    end: int = 0
    """Error in the last position."""
    total: int = 0
    """Error in the total."""
    form: str | None = "bytes {start}-{end}/{total}"
    """Format string of the header; None for no header at all."""

    def header(self, start: int, stop: int, total: int) -> str | None:
        """Return the header for a body that is really the bytes from `start` up to `stop` of `total`."""
        if self.form is None:
            return None
        return self.form.format(start=start + self.start, end=stop - 1 + self.end, total=total + self.total)


@attrs.frozen(kw_only=True)
class Fault:
    """A fault; create one with the class methods, never by calling the class.

    Each class method raises `ValueError` for an invalid value.

    Where a class method takes `processed`: with False, the fault strikes before the service has done the work, so
    that nothing is created; with True, it strikes afterwards, so that the work is done and only the response is
    affected.
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
    reset: bool = False
    rate: float = 0.0
    until: float = 1.0
    same_bytes: bool = False
    rest: bool = False
    target: str | None = None
    label: RangeLabel = RangeLabel()
    changes: tuple[tuple[str, str | None], ...] = ()

    @property
    def operations(self) -> frozenset[Operation]:
        """The operations that this fault can strike."""
        return _LIMITED.get(self.kind, frozenset(OPERATIONS))

    def applies(self, request: RecordedRequest) -> bool:
        """Return whether this fault can strike this particular request."""
        if request.operation not in self.operations:
            return False
        if self.kind == "unasked_range":
            return "Range" not in request.headers
        return self.kind not in _RANGED or "Range" in request.headers

    # --- instead of the response

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
        """Respond with an HTTP status (and `code` and `message`, where the form has room for them)."""
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
        """Respond to this one request with 429; `retry_after` is the header's value, None for no header."""
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
    def drop(cls, *, processed: bool = False, reset: bool = False) -> "Fault":
        """Close the connection without sending a byte of the response; `reset` is as in `cut`."""
        return cls(kind="drop", processed=processed, reset=reset)

    @classmethod
    def silence(cls, *, processed: bool = False, headers: bool = True) -> "Fault":
        """Send the response headers (or not even those), then nothing, keeping the connection open."""
        return cls(kind="silence", processed=processed, amount=int(headers))

    @classmethod
    def html(cls, *, processed: bool = False) -> "Fault":
        """Respond with 200 and an HTML page."""
        return cls(kind="html", processed=processed, form="html")

    @classmethod
    def unsuccessful(
        cls, *, processed: bool = False, code: int = 1000, message: str = "Something went wrong"
    ) -> "Fault":
        """Respond with 200 and an envelope that says `success: false`."""
        return cls(kind="unsuccessful", processed=processed, form="envelope", code=code, message=message)

    @classmethod
    def redirect(cls, to: str | None = "storage", status: int = 307, *, hops: int = 1) -> "Fault":
        """Redirect a download, without checking the token.

        `to` is one of the following, or else the literal `Location` (None for no such header):

        - `storage`: the artifact's signed URL on the storage, as with `Behaviour.download_redirect`; if `hops` is
          above 1, through that many redirects in all, each to another URL of the storage (307 after the first);
        - `self`: the requested URL; a loop if it strikes every request;
        - `other`: from the API to the storage, and from the storage to the API; a loop through two origins if it
          strikes every request of both.

        With `storage` and `other`, an unknown command gets its usual response.
        """
        if status not in _REDIRECTS:
            raise ValueError(f"status must be one of {', '.join(map(str, _REDIRECTS))}, not {status!r}")
        if hops < 1 or (hops > 1 and to != "storage"):
            raise ValueError(f"hops must be at least 1, and is for redirects to the storage, not {hops!r} to {to!r}")
        return cls(kind="redirect", processed=False, status=status, target=to, amount=hops)

    # --- before the response

    @classmethod
    def slow(cls, seconds: float, *, processed: bool = True, real_time: bool = False) -> "Fault":
        """Respond after `seconds` of the sandbox's clock, or of real time.

        With `processed=False`, the work is also done only then, even if the client has disconnected in the meantime.
        """
        return cls(kind="slow", processed=processed, seconds=seconds, real_time=real_time)

    # --- a damaged response

    @classmethod
    def garbage(cls) -> "Fault":
        """Respond with the right headers and a body that is neither JSON nor a zip."""
        return cls(kind="garbage")

    @classmethod
    def empty(cls) -> "Fault":
        """Respond with the right headers, but with `Content-Length: 0` and no body."""
        return cls(kind="empty")

    @classmethod
    def headers(cls, changes: Mapping[str, str | None]) -> "Fault":
        """Change headers of the response, as in `{"Content-Type": "text/html"}`; None removes a header.

        The body is unchanged.  Raises `ValueError` for framing headers; use `lying_length` or `surplus` for those.
        """
        if not _FRAMING_HEADERS.isdisjoint(name.lower() for name in changes):
            raise ValueError(f"changes can't be of {' or '.join(sorted(_FRAMING_HEADERS))}")
        return cls(kind="headers", changes=tuple(changes.items()))

    @classmethod
    def null_result(cls) -> "Fault":
        """Respond with `result: null`."""
        return cls(kind="null_result")

    @classmethod
    def wrong_types(cls, path: str | None = None, value: Any = 7) -> "Fault":
        """Put a value of the wrong type into the response.

        `path` is a dotted path from the envelope, as in `result.commands.0.created_date`; a path that doesn't exist
        leaves the response unchanged.  None stands for the id of the first row, the quota's `quota`, or else the
        whole `result`.
        """
        return cls(kind="wrong_types", path=path, value=value)

    @classmethod
    def rows(cls, *alterations: RowAlteration) -> "Fault":
        """Alter the rows of one create response, as `Behaviour.create_rows` does for all of them."""
        return cls(kind="rows", alterations=alterations)

    @classmethod
    def cut(cls, at: float = 0.5, *, framing: Framing = "length", reset: bool = False) -> "Fault":
        """Close the connection in the middle of the body.

        `at` is how much of the body is sent first: an int is a number of bytes, a float a fraction of the body.
        With `framing="close"`, nothing in HTTP tells the client that something is missing.  With `reset`, the
        connection is reset (a TCP RST) instead of closed, which may overtake what was sent last.
        """
        return cls(kind="cut", at=_checked_at(at), framing=framing, reset=reset)

    @classmethod
    def stall(cls, at: float = 0.5, *, framing: Framing = "length") -> "Fault":
        """Send the body up to `at` (as in `cut`), then nothing, keeping the connection open."""
        return cls(kind="stall", at=_checked_at(at), framing=framing)

    @classmethod
    def trickle(
        cls,
        bytes_per_second: float,
        *,
        at: float = 0,
        piece: int | None = None,
        framing: Framing = "length",
        real_time: bool = False,
    ) -> "Fault":
        """Send the body slowly from `at` on (as in `cut`), in pieces of at most `piece` bytes.

        By default, a piece is the bytes of one second.  Seconds are of the sandbox's clock, or of real time.
        """
        if not bytes_per_second > 0:
            raise ValueError(f"bytes_per_second must be above 0, not {bytes_per_second!r}")
        piece = max(int(bytes_per_second), 1) if piece is None else piece
        if piece < 1:
            raise ValueError(f"piece must be at least 1 byte, not {piece!r}")
        return cls(
            kind="trickle",
            rate=bytes_per_second,
            at=_checked_at(at),
            amount=piece,
            framing=framing,
            real_time=real_time,
        )

    @classmethod
    def lying_length(cls, amount: int, *, rest: bool = False) -> "Fault":
        """Declare a `Content-Length` that is off by `amount`.

        Above 0, the body (and the connection) ends before the declared length; below 0, the body is cut to the
        declared length and looks complete.  With `rest` it isn't cut: the excess bytes are sent as well, where the
        client expects the next response.
        """
        return cls(kind="lying_length", amount=amount, rest=rest)

    @classmethod
    def surplus(cls, amount: int = 1, *, framing: Framing = "length") -> "Fault":
        """Send `amount` bytes more than the body has.

        With `framing="length"`, the true length is declared, and the extra bytes come where the client expects the
        next response; with the others, the body is that much longer, and nothing in HTTP shows it.
        """
        if amount < 1:
            raise ValueError(f"amount must be at least 1 byte, not {amount!r}")
        return cls(kind="surplus", amount=amount, framing=framing)

    # --- downloads

    @classmethod
    def corrupt(cls, at: float = 0.5) -> "Fault":
        """Flip one byte of the body, at `at` (as in `cut`); everything else is right."""
        return cls(kind="corrupt", at=_checked_at(at))

    @classmethod
    def revise(cls, at: float | None = None, *, same_bytes: bool = False) -> "Fault":
        """Replace the artifact with another one that has another ETag; with `same_bytes`, change only the ETag.

        If `at` is None, this happens before the response, which is complete; otherwise in the middle of it: the old
        artifact is sent up to `at` (as in `cut`), the connection is closed, and later requests get the new one.
        """
        return cls(kind="revise", at=None if at is None else _checked_at(at), same_bytes=same_bytes)

    @classmethod
    def encoded(cls, *, framing: Framing = "length") -> "Fault":
        """Send one response as gzip, requested or not, as `Behaviour.download_encoding` does for all."""
        return cls(kind="encoded", framing=framing)

    # --- downloads, responses to `Range`; all but `unasked_range` strike only requests that have one

    @classmethod
    def wrong_range(cls, shift: int = 1, *, end: int = 0) -> "Fault":
        """Respond to a `Range` request with a range other than the requested one, correctly labelled.

        The response starts `shift` bytes later (earlier, if negative) and ends `end` bytes later, never outside
        the artifact, and its `Content-Range` and body agree.
        """
        return cls(kind="wrong_range", amount=shift, label=RangeLabel(end=end))

    @classmethod
    def ignore_range(cls) -> "Fault":
        """Respond to a `Range` request with status 200 and the whole artifact."""
        return cls(kind="ignore_range")

    @classmethod
    def ignore_if_range(cls, *, same_bytes: bool = False) -> "Fault":
        """Replace the artifact as `revise` does, and respond to a `Range` request with 206, ignoring its `If-Range`.

        The part is thus one of the new artifact, with its ETag.
        """
        return cls(kind="ignore_if_range", same_bytes=same_bytes)

    @classmethod
    def unsatisfiable(cls, total: int | None = 0) -> "Fault":
        """Respond to a `Range` request with 416, although the artifact has these bytes.

        `total` is the error in the size that `Content-Range` declares; None for no such header.
        """
        form = None if total is None else "bytes */{total}"
        return cls(kind="unsatisfiable", label=RangeLabel(total=total or 0, form=form))

    @classmethod
    def unasked_range(cls, start: float = 0.5, stop: float = 1.0) -> "Fault":
        """Respond to a request without `Range` with 206 and the bytes from `start` up to `stop` (as `at` in `cut`).

        At least one byte is sent.  Strikes only requests that have no `Range`.
        """
        return cls(kind="unasked_range", at=_checked_at(start), until=_checked_at(stop))

    @classmethod
    def mislabelled_range(
        cls,
        *,
        body: int = 0,
        start: int = 0,
        end: int = 0,
        total: int = 0,
        form: str | None = "bytes {start}-{end}/{total}",
    ) -> "Fault":
        """Respond to a `Range` request with 206 and a `Content-Range` that is wrong.

        Its first position, last position and total are off by `start`, `end` and `total`.  `form` is its format
        string, as in `"bytes {start}-{end}/*"`; None for no header at all.  With `body`, the bytes differ from the
        label instead: they are those that many bytes later, wrapping around at the end of the artifact, so that the
        length is right.

        Raises `ValueError` if nothing would be wrong, and `KeyError` for an unknown name in `form`.
        """
        label = RangeLabel(start=start, end=end, total=total, form=form)
        if body == 0 and label.header(0, 1, 1) == RangeLabel().header(0, 1, 1):
            raise ValueError("a mislabelled range needs something that isn't true")
        return cls(kind="mislabelled_range", amount=body, label=label)

    @classmethod
    def multipart_range(cls) -> "Fault":
        """Respond to a `Range` request with 206 and the bytes as the only part of a `multipart/byteranges`."""
        return cls(kind="multipart_range")


def _checked_at(at: float) -> float:
    if at < 0 or (isinstance(at, float) and at > 1):
        raise ValueError(f"at must be bytes (an int from 0) or a fraction (a float from 0 to 1), not {at!r}")
    return at
