"""One thing that goes wrong with one request, as data."""

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from dexcmd.sandbox.behaviour import RowAlteration
from dexcmd.sandbox.requestlog import OPERATIONS, Operation, RecordedRequest

__all__ = ["BodyForm", "Fault", "Framing", "RangeLabel"]

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
    """What a `Content-Range` says instead of the truth."""

    start: int = 0
    """How far its first position is off."""
    end: int = 0
    """How far its last position is off."""
    total: int = 0
    """How far its total is off."""
    form: str | None = "bytes {start}-{end}/{total}"
    """What it is made from; None for no header at all."""

    def header(self, start: int, stop: int, total: int) -> str | None:
        """Return the header for a body that really is the bytes from `start` up to `stop` of `total`."""
        if self.form is None:
            return None
        return self.form.format(start=start + self.start, end=stop - 1 + self.end, total=total + self.total)


@attrs.frozen(kw_only=True)
class Fault:
    """Something that goes wrong; made by one of the class methods, never by calling the class.

    Each of them raises `ValueError` for a value that can't be right.

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
        """The operations that it can strike."""
        return _LIMITED.get(self.kind, frozenset(OPERATIONS))

    def applies(self, request: RecordedRequest) -> bool:
        """Tell whether it can strike this very request."""
        if request.operation not in self.operations:
            return False
        if self.kind == "unasked_range":
            return "Range" not in request.headers
        return self.kind not in _RANGED or "Range" in request.headers

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
    def drop(cls, *, processed: bool = False, reset: bool = False) -> "Fault":
        """Close the connection without a byte of an answer; with `reset` as in `cut`."""
        return cls(kind="drop", processed=processed, reset=reset)

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

    @classmethod
    def redirect(cls, to: str | None = "storage", status: int = 307, *, hops: int = 1) -> "Fault":
        """Send a download elsewhere, whoever asks: the token isn't looked at.

        `to` is one of these, or else the `Location` itself, as it is (None for no such header):

        - `storage`: the artifact's signed URL on the storage, as `Behaviour.download_redirect` gives it, and
          with more than one of `hops` through so many redirects in all, each to another URL of the storage
          (307 after the first);
        - `self`: the URL that was asked for; striking every request, a loop;
        - `other`: from the API to the storage, from the storage to the API; striking every request of both,
          a loop through two origins.

        With `storage` and `other`, a command that isn't there is answered as ever.
        """
        if status not in _REDIRECTS:
            raise ValueError(f"status must be one of {', '.join(map(str, _REDIRECTS))}, not {status!r}")
        if hops < 1 or (hops > 1 and to != "storage"):
            raise ValueError(f"hops must be at least 1, and is for redirects to the storage, not {hops!r} to {to!r}")
        return cls(kind="redirect", processed=False, status=status, target=to, amount=hops)

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
    def empty(cls) -> "Fault":
        """Answer with the right headers, `Content-Length: 0` and no body."""
        return cls(kind="empty")

    @classmethod
    def headers(cls, changes: Mapping[str, str | None]) -> "Fault":
        """Answer with other headers, as in `{"Content-Type": "text/html"}`; None leaves a header out.

        The body stays what it is.  Raises `ValueError` for headers of the framing, which `lying_length` and
        `surplus` are for.
        """
        if not _FRAMING_HEADERS.isdisjoint(name.lower() for name in changes):
            raise ValueError(f"changes can't be of {' or '.join(sorted(_FRAMING_HEADERS))}")
        return cls(kind="headers", changes=tuple(changes.items()))

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
    def cut(cls, at: float = 0.5, *, framing: Framing = "length", reset: bool = False) -> "Fault":
        """Close the connection in the middle of the body.

        `at` is how much of the body is sent before: an int in bytes, a float as a fraction of the body.
        With `framing="close"` nothing in HTTP tells the client that something is missing.  With `reset` the
        connection isn't closed but reset (TCP's RST), which may overtake what was sent last.
        """
        return cls(kind="cut", at=_checked_at(at), framing=framing, reset=reset)

    @classmethod
    def stall(cls, at: float = 0.5, *, framing: Framing = "length") -> "Fault":
        """Send the body up to `at` (as in `cut`), then nothing, with the connection kept open."""
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

        By default a piece is what a second brings.  The seconds are those of the sandbox's clock, or of real
        time.
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

        Above 0 the body ends (with the connection) before the declared length; below 0 it is cut to it, and
        looks complete.  With `rest` it isn't cut: what is too much comes all the same, where the client
        expects the next answer.
        """
        return cls(kind="lying_length", amount=amount, rest=rest)

    @classmethod
    def surplus(cls, amount: int = 1, *, framing: Framing = "length") -> "Fault":
        """Send `amount` bytes more than the body has.

        With `framing="length"` the true length is declared, and they come where the client expects the next
        answer; with the others the body is so much longer, and nothing in HTTP tells.
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
        """Replace the artifact by another one, with another ETag; with `same_bytes` only the ETag.

        With None before the answer, which is whole; otherwise in the middle of it: the old one is sent up to
        `at` (as in `cut`), the connection is closed, and from then on it is the new one.
        """
        return cls(kind="revise", at=None if at is None else _checked_at(at), same_bytes=same_bytes)

    @classmethod
    def encoded(cls, *, framing: Framing = "length") -> "Fault":
        """Send one answer as gzip, asked for or not, as `Behaviour.download_encoding` does for all."""
        return cls(kind="encoded", framing=framing)

    # --- downloads, the answers to `Range`; each but `unasked_range` strikes only requests that have one

    @classmethod
    def wrong_range(cls, shift: int = 1, *, end: int = 0) -> "Fault":
        """Answer a `Range` request with another range than asked for, honestly labelled.

        The answer starts `shift` bytes later (earlier, if negative) and ends `end` bytes later, never outside
        the artifact, and its `Content-Range` and body both say so.
        """
        return cls(kind="wrong_range", amount=shift, label=RangeLabel(end=end))

    @classmethod
    def ignore_range(cls) -> "Fault":
        """Answer a `Range` request with status 200 and the whole artifact."""
        return cls(kind="ignore_range")

    @classmethod
    def ignore_if_range(cls, *, same_bytes: bool = False) -> "Fault":
        """Replace the artifact as `revise` does, and answer a `Range` request with 206 whatever its `If-Range`.

        So the part is one of the new artifact, under its ETag.
        """
        return cls(kind="ignore_if_range", same_bytes=same_bytes)

    @classmethod
    def unsatisfiable(cls, total: int | None = 0) -> "Fault":
        """Answer a `Range` request with 416, although the artifact has these bytes.

        `total` is how far the artifact's size is off in the `Content-Range`; None for no such header.
        """
        form = None if total is None else "bytes */{total}"
        return cls(kind="unsatisfiable", label=RangeLabel(total=total or 0, form=form))

    @classmethod
    def unasked_range(cls, start: float = 0.5, stop: float = 1.0) -> "Fault":
        """Answer a request without a `Range` with 206 and the bytes from `start` up to `stop` (as `at` in `cut`).

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
        """Answer a `Range` request with 206 and a `Content-Range` that doesn't tell the truth.

        The first position, the last one and the total that it tells are off by `start`, `end` and `total`.
        `form` is what it is made from, as in `"bytes {start}-{end}/*"`; None for no header at all.  With
        `body` it is the bytes that are others than it tells: those that lie so much later, and after the last
        byte the first ones, so that the length is right.

        Raises `ValueError` if all of it would be true, `KeyError` for another name in `form`.
        """
        label = RangeLabel(start=start, end=end, total=total, form=form)
        if body == 0 and label.header(0, 1, 1) == RangeLabel().header(0, 1, 1):
            raise ValueError("a mislabelled range needs something that isn't true")
        return cls(kind="mislabelled_range", amount=body, label=label)

    @classmethod
    def multipart_range(cls) -> "Fault":
        """Answer a `Range` request with 206 and the bytes as the only part of a `multipart/byteranges`."""
        return cls(kind="multipart_range")


def _checked_at(at: float) -> float:
    if at < 0 or (isinstance(at, float) and at > 1):
        raise ValueError(f"at must be bytes (an int from 0) or a fraction (a float from 0 to 1), not {at!r}")
    return at
