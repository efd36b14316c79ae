"""Every fault of a download against `save` and `open`: the bytes, the requests, who was told the token, what is left.

A cell is data: what strikes the requests for the file, one after the other, and what must come of it.  It is run with
a small artifact, which stays in memory until it is whole, with a large one, which does not, and with one that is read
directly from its connection, as long ones are; and for the ways of
verifying that it names (in turn; for all of them with `DEXCMD_CAMPAIGNS=thorough`).  After a cell that fails another
client saves the artifact, whatever the cell has left.
"""

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import aiohttp
import attrs
import pytest

from dexcmd import (
    ArtifactChangedError,
    AuthenticationError,
    BadRequestError,
    Command,
    DownloadError,
    InvalidArtifactError,
    NotFoundError,
    RetryPolicy,
    ServerError,
    StalledDownloadError,
    TransportTimeoutError,
    TruncatedArtifactError,
)
from dexcmd.sandbox import Behaviour, Fault, RecordedRequest
from dexcmd.sandbox.state import NewCommand
from dexcmd.transfer.limits import DownloadLimits
from dexcmd.transfer.options import DEFAULT_LIMITS
from dexcmd.transfer.ranges import OVERLAP
from tests.conftest import Rig
from tests.faults.directly import reading_directly
from tests.faults.loops import HastyLoop, wait_for_threads

pytestmark = pytest.mark.anyio

SIZES = {"small": 300_000, "large": 3_000_000, "direct": 3_100_000}
ATTEMPTS = 4
POLICY = RetryPolicy(attempts=ATTEMPTS, attempt_seconds=5.0)
FILES: Any = ("download", "storage")
LAST = 1 - 1e-7
"""As a fraction: all of an artifact but its last byte."""

ALL = ("zip", "size", "none")
UNCHECKED = ("size", "none")
ZIP = ("zip",)
FRAMINGS: tuple[Any, ...] = ("length", "chunked", "close")
WEEK_AND_A_DAY = 8 * 24 * 3600

TOLD_TO_ALL = {"host", "accept", "accept-encoding", "user-agent", "range", "if-range"}
"""The headers that may leave for another origin."""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": HastyLoop}


# --- What a request for the file asks for


@attrs.frozen
class Asked:
    """What one request asks for: the bytes from somewhere between two fractions of the artifact on."""

    low: float = 0.0
    high: float = 0.0
    overlap: int = 0
    """So many bytes more, before those; then no `If-Range` says of which version."""

    def check(self, request: RecordedRequest, size: int) -> None:
        headers = request.headers
        assert headers["Accept-Encoding"] == "identity"
        start = start_of(request) + (self.overlap if "Range" in headers else 0)
        assert int(self.low * size) <= start <= int(self.high * size), self
        assert ("If-Range" in headers) == ("Range" in headers and not self.overlap)
        assert headers.get("If-Range", '"')[0] == '"'


def start_of(request: RecordedRequest) -> int:
    """Return the first byte that a request asks for."""
    asked = request.headers.get("Range", "bytes=0-")
    assert asked.startswith("bytes=")
    assert asked.endswith("-")
    return int(asked.removeprefix("bytes=")[:-1])


WHOLE = Asked()


def rest(at: float) -> Asked:
    """From exactly there on."""
    return Asked(at, at)


def about(at: float) -> Asked:
    """From there on, or from before: what came last may be lost with its connection."""
    return Asked(0.0, at)


def overlapping(at: float) -> Asked:
    """From so far before that an overlap can be compared."""
    return Asked(at, at, OVERLAP)


# --- Cells


Left = Literal["the file", "a part", "nothing", "a part or nothing"]


@attrs.frozen(kw_only=True)
class Cell:
    """What strikes, and what must come of it."""

    faults: Sequence[Fault] = ()
    """What strikes one request for the file after the other; then nothing does."""

    for_ever: bool = False
    """Whether the last one strikes all that come."""

    outcome: type[Exception] | tuple[type[Exception], ...] | Literal["whole"] | Callable[[bytes], bytes] = "whole"
    """`whole`: under the final name are the bytes of the artifact, as the service has it in the end; a function: what
    it makes of these, where nothing can tell that they are not right; otherwise the very class of the error (or one of
    several), and there is nothing under the final name.
    """

    asked: Sequence[Asked] | Callable[[int], Sequence[Asked]] = (WHOLE,)
    """The requests for the file; a function of the artifact's size."""

    at_most: int = 0
    """So many requests may be made in all, each further one for anything: how often bytes are lost with their
    connection, and are new once more, is a matter of chance.
    """

    verify: Sequence[Any] = ALL
    left: Left | None = None
    """None: `the file` if it is whole, `nothing` if it is not."""

    behaviour: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    limits: DownloadLimits = DEFAULT_LIMITS
    origins: Sequence[Literal["api", "storage"]] | None = None
    """Where the requests go; None: all to the API."""

    late: float = 0.0
    """So many seconds after the artifact was made."""


THOROUGH = os.environ.get("DEXCMD_CAMPAIGNS") == "thorough"


def cells(table: Mapping[str, Cell]) -> list[Any]:
    """Return each cell with each size and, in turn or (where there is time) all, each way of verifying."""
    found: list[Any] = []
    for number, (name, cell) in enumerate(table.items()):
        for place, (which, size) in enumerate(SIZES.items()):
            turn = cell.verify[(number + place) % len(cell.verify)]
            for verify in cell.verify if THOROUGH else (turn,):
                found.append(pytest.param(cell, size, verify, id=f"{name}-{which}-{verify}"))
    return found


def cut(spot: float) -> Callable[[bytes], bytes]:
    return lambda body: body[: int(spot * len(body)) if isinstance(spot, float) else spot]


def spots() -> dict[str, float]:
    return {"at once": 0.0, "after a byte": 1e-5, "half-way": 0.5, "before the last byte": LAST}


def bodies_that_end() -> Iterator[tuple[str, Cell]]:
    """Bodies that end early: what came is gone on from, where HTTP tells that something is missing."""
    for where, at in spots().items():
        fault_at = 1 if where == "after a byte" else at
        for framing in ("length", "chunked"):
            yield (
                f"cut {where}, {framing}",
                Cell(faults=[Fault.cut(fault_at, framing=framing)], asked=[WHOLE, about(at)]),
            )
        yield f"reset {where}", Cell(faults=[Fault.cut(fault_at, reset=True)], asked=[WHOLE, about(at)])
        # Without a length nothing tells, until the zip is read.
        yield (
            f"cut {where}, unframed",
            Cell(faults=[Fault.cut(fault_at, framing="close")], asked=[WHOLE, WHOLE], verify=ZIP),
        )
        if fault_at:
            yield (
                f"cut {where}, unframed, unseen",
                Cell(faults=[Fault.cut(fault_at, framing="close")], outcome=cut(fault_at), verify=UNCHECKED),
            )
    # A body that has not a byte is no artifact, whoever looks.
    yield "cut at once, unframed, seen", Cell(faults=[Fault.cut(0, framing="close")], asked=[WHOLE, WHOLE])
    yield "cut after the end", Cell(faults=[Fault.cut(1.0)])
    yield "cut after the end, unframed", Cell(faults=[Fault.cut(1.0, framing="close")])
    # All is there but the mark of the end, and that can't be known: behind it there is nothing, so from the start.
    yield (
        "cut after the end, chunked",
        Cell(faults=[Fault.cut(1.0, framing="chunked")], asked=[WHOLE, about(1.0), WHOLE]),
    )
    for framing in ("length", "chunked"):
        yield (
            f"cut at once for ever, {framing}",
            Cell(
                faults=[Fault.cut(0, framing=framing)],
                for_ever=True,
                outcome=TruncatedArtifactError,
                asked=[WHOLE] * ATTEMPTS,
            ),
        )
    yield (
        "cut half-way, unframed, for ever",
        Cell(
            faults=[Fault.cut(0.5, framing="close")],
            for_ever=True,
            outcome=InvalidArtifactError,
            # What came was worth nothing, but it was more than had come before.
            asked=[WHOLE] * ATTEMPTS,
            verify=ZIP,
        ),
    )


def bodies_that_stop() -> Iterator[tuple[str, Cell]]:
    """Bodies that stand still, or come too slowly."""
    for where, at in spots().items():
        fault_at = 1 if where == "after a byte" else at
        again = Asked(at, at) if where != "after a byte" else Asked(0.0, at)
        for framing in FRAMINGS:
            yield (
                f"stall {where}, {framing}",
                Cell(faults=[Fault.stall(fault_at, framing=framing)], asked=[WHOLE, again]),
            )
    for framing in ("chunked", "close"):
        yield (
            f"stall after the end, {framing}",
            Cell(faults=[Fault.stall(1.0, framing=framing)], asked=[WHOLE, rest(1.0), WHOLE]),
        )
    yield "stall after the end, length", Cell(faults=[Fault.stall(1.0)])
    yield (
        "stall at once for ever",
        Cell(faults=[Fault.stall(0)], for_ever=True, outcome=StalledDownloadError, asked=[WHOLE] * ATTEMPTS),
    )
    yield (
        "stall half-way for ever",
        # As long as each brings something they don't count.
        Cell(faults=[Fault.stall(0.5)], for_ever=True, outcome=StalledDownloadError, asked=halving, left="a part"),
    )
    slow = DownloadLimits(stall_seconds=30, stall_bytes_per_second=1000)
    yield (
        "too slow from half-way on",
        # The first 30 seconds have what came before; in the second there are 500 bytes each.
        Cell(
            faults=[Fault.trickle(500, at=0.5)],
            limits=slow,
            asked=lambda size: [WHOLE, Asked(0.5 + 29 * 500 / size, 0.5 + 62 * 500 / size)],
        ),
    )
    yield (
        "too slow, in pieces of 20 seconds",
        # Two pieces fill a window, and the first window has what came before.  The first piece may be on its way before
        # anybody waits for it, and then its time counts for neither.
        Cell(
            faults=[Fault.trickle(500, at=0.5, piece=10_000, framing="chunked")],
            limits=slow,
            asked=lambda size: [WHOLE, Asked(0.5 + 29 * 500 / size, 0.5 + 101 * 500 / size)],
        ),
    )
    yield "slow, but not too slow", Cell(faults=[Fault.trickle(2000, at=0.99)], limits=slow)
    yield (
        "not whole when the time is over",
        Cell(
            faults=[Fault.trickle(2000, at=0.5)],
            limits=DownloadLimits(total_seconds=40),
            outcome=StalledDownloadError,
            left="a part",
        ),
    )
    yield (
        "no attempt that would be too late",
        # Silence is found out without this clock, so the attempts are free; the waits are 0.5, 1 and 2 seconds.
        Cell(
            faults=[Fault.stall(0)],
            for_ever=True,
            limits=DownloadLimits(total_seconds=1.6),
            outcome=StalledDownloadError,
            asked=[WHOLE] * 3,
        ),
    )


def halving(size: int) -> list[Asked]:
    """Each request brings half of what is missing, and the last ones nothing."""
    asked, at = [WHOLE], 0
    while (half := (size - at) // 2) > 0:
        at += half
        asked.append(rest((at + 0.5) / size))
    # The last that brings something counts as the first of those that don't.
    return asked + [asked[-1]] * (ATTEMPTS - 2)


def lengths_that_lie() -> Iterator[tuple[str, Cell]]:
    yield (
        "length too large",
        Cell(
            faults=[Fault.lying_length(100)],
            # Behind the last byte there is nothing, or another total: either way it starts over.
            asked=[WHOLE, about(1.0), WHOLE],
        ),
    )
    yield (
        "length too large for ever",
        Cell(
            faults=[Fault.lying_length(100)],
            for_ever=True,
            # Which of them is the last depends on how many bytes are lost with their connections.
            outcome=(TruncatedArtifactError, BadRequestError, ArtifactChangedError),
            asked=[WHOLE, about(1.0)] * 2,
            at_most=2 * ATTEMPTS,
            left="a part or nothing",
        ),
    )
    for name, more in {"length too small": False, "length too small, the rest behind it": True}.items():
        fault = Fault.lying_length(-100, rest=more)
        yield name, Cell(faults=[fault], outcome=InvalidArtifactError, verify=ZIP)
        yield f"{name}, unseen", Cell(faults=[fault], outcome=lambda body: body[:-100], verify=UNCHECKED)
    yield "surplus behind the length", Cell(faults=[Fault.surplus(7)])
    for framing in ("chunked", "close"):
        fault = Fault.surplus(7, framing=framing)
        yield f"surplus, {framing}", Cell(faults=[fault], asked=[WHOLE, WHOLE], verify=ZIP)
        yield (
            f"surplus, {framing}, unseen",
            Cell(faults=[fault], outcome=lambda body: body + bytes(7), verify=UNCHECKED),
        )


HALF = Fault.stall(0.5)
"""Before the answer to a range can be wrong, one has to be asked for; and what a stall leaves is exact."""


def ranges_that_lie() -> Iterator[tuple[str, Cell]]:
    once_more = [WHOLE, rest(0.5), WHOLE]
    lies: dict[str, Fault] = {
        "later": Fault.wrong_range(10),
        "earlier": Fault.wrong_range(-10),
        "start too high": Fault.mislabelled_range(start=1),
        "start too low": Fault.mislabelled_range(start=-1),
        "end behind the total": Fault.mislabelled_range(end=1),
        "total too high": Fault.mislabelled_range(total=1),
        "total too low": Fault.mislabelled_range(total=-1),
        "total no number": Fault.mislabelled_range(form="bytes {start}-{end}/many"),
        "no total": Fault.mislabelled_range(form="bytes {start}-{end}"),
        "another unit": Fault.mislabelled_range(form="items {start}-{end}/{total}"),
        "empty": Fault.mislabelled_range(form=""),
        "missing": Fault.mislabelled_range(form=None),
        "multipart": Fault.multipart_range(),
    }
    for name, fault in lies.items():
        yield f"Content-Range, {name}", Cell(faults=[HALF, fault], asked=once_more)
    yield (
        "Content-Range, whole unknown",
        Cell(faults=[HALF, Fault.mislabelled_range(form="bytes {start}-{end}/*")], asked=[WHOLE, rest(0.5)]),
    )
    yield "Content-Range, end too low", Cell(faults=[HALF, Fault.mislabelled_range(end=-1)], asked=[WHOLE, rest(0.5)])
    yield (
        "a range that ends early",
        Cell(
            faults=[HALF, Fault.wrong_range(0, end=-1000)],
            asked=lambda size: [WHOLE, rest(0.5), rest(1 - 999.5 / size)],
        ),
    )
    yield (
        "other bytes than the label says",
        Cell(faults=[HALF, Fault.mislabelled_range(body=5)], asked=once_more, verify=ZIP),
    )
    yield "200 for 206", Cell(faults=[HALF, Fault.ignore_range()], asked=[WHOLE, rest(0.5)])
    yield (
        "200 for 206 for ever",
        Cell(
            faults=[HALF, Fault.cut(0.75, framing="chunked")],
            behaviour={"ranges": False},
            asked=[WHOLE, rest(0.5), about(0.75)],
        ),
    )
    for name, total in {"416": 0, "416 with another total": -1000, "416 without a total": None}.items():
        yield name, Cell(faults=[HALF, Fault.unsatisfiable(total)], asked=once_more)
    yield "a part, unasked", Cell(faults=[Fault.unasked_range(0.5)], asked=[WHOLE, WHOLE])
    yield "the first half, unasked", Cell(faults=[Fault.unasked_range(0, 0.5)], asked=[WHOLE, rest(0.5)])
    yield "all of it as a part, unasked", Cell(faults=[Fault.unasked_range(0, 1.0)])
    yield (
        "a part, unasked, for ever",
        Cell(
            faults=[Fault.unasked_range(0.5)],
            for_ever=True,
            outcome=ArtifactChangedError,
            asked=[WHOLE] * ATTEMPTS,
        ),
    )


def versions() -> Iterator[tuple[str, Cell]]:
    """An artifact that is another one half-way: never are two of them joined."""
    goes_on, starts_over = [WHOLE, rest(0.5)], [WHOLE, rest(0.5), WHOLE]
    compares, compares_in_vain = [WHOLE, overlapping(0.5)], [WHOLE, overlapping(0.5), WHOLE]
    kinds: dict[str, tuple[dict[str, Any], Sequence[Asked], Sequence[Asked], Sequence[Asked]]] = {
        # What is asked for where it stays the same; where it gets other bytes; where it gets another ETag only.
        # With a strong ETag the service decides: it sends all of another version.
        "strong": ({"etag": "strong"}, goes_on, goes_on, goes_on),
        "weak": ({"etag": "weak"}, compares, compares_in_vain, compares_in_vain),
        "no ETag": ({"etag": "none"}, compares, compares_in_vain, compares),
        "neither": ({"etag": "none", "last_modified": False}, compares, compares_in_vain, compares),
        "weak, undated": ({"etag": "weak", "last_modified": False}, compares, compares_in_vain, compares_in_vain),
    }
    for kind, (behaviour, same, other, renamed) in kinds.items():
        strong = kind == "strong"
        verify = ALL if strong else ZIP
        yield f"{kind}: the same", Cell(faults=[HALF], behaviour=behaviour, asked=same, verify=verify)
        for name, fault, asked in (
            ("other bytes", Fault.revise(), other),
            ("the same bytes", Fault.revise(same_bytes=True), renamed),
        ):
            yield f"{kind}: {name}", Cell(faults=[HALF, fault], behaviour=behaviour, asked=asked, verify=verify)
            if not strong:
                # Nothing could vouch for what is joined.
                for half in (HALF, Fault.cut(0.5), Fault.cut(0.5, framing="chunked")):
                    yield (
                        f"{kind}: {name}, unchecked, {half.kind} {half.framing}",
                        Cell(faults=[half, fault], behaviour=behaviour, asked=[WHOLE, WHOLE], verify=UNCHECKED),
                    )
        yield (
            f"{kind}: cut by the other one",
            Cell(
                faults=[Fault.revise(0.5)],
                behaviour=behaviour,
                asked=[WHOLE, about(0.5)] if strong else [WHOLE, Asked(0.0, 0.5, OVERLAP), WHOLE],
                verify=verify,
            ),
        )
    # A service that does not look at If-Range says by the ETag of its part that it is another one's.
    for name, same_bytes in {"other bytes": False, "the same bytes": True}.items():
        fault = Fault.ignore_if_range(same_bytes=same_bytes)
        yield f"strong, If-Range ignored: {name}", Cell(faults=[HALF, fault], asked=starts_over)
    unannounced = Fault.stall(0.5, framing="chunked")
    yield (
        "weak, but so little came that there is no overlap",
        Cell(faults=[Fault.stall(OVERLAP)], behaviour={"etag": "weak"}, asked=[WHOLE, WHOLE], verify=ZIP),
    )
    yield (
        "weak, and one byte more than an overlap",
        Cell(
            faults=[Fault.stall(OVERLAP + 1)],
            behaviour={"etag": "weak"},
            asked=lambda size: [WHOLE, overlapping((OVERLAP + 1.5) / size)],
            verify=ZIP,
        ),
    )
    yield (
        "weak, and its length is not known",
        Cell(
            faults=[unannounced],
            behaviour={"etag": "weak", "download_length": False},
            asked=[WHOLE, WHOLE],
            verify=ZIP,
        ),
    )
    yield (
        "strong, and its length is not known",
        Cell(faults=[HALF], behaviour={"download_length": False}, asked=goes_on),
    )
    yield (
        "overlap damaged on the way",
        Cell(faults=[HALF, Fault.corrupt(10)], behaviour={"etag": "weak"}, asked=compares_in_vain, verify=ZIP),
    )
    yield (
        "damaged behind the overlap",
        Cell(faults=[HALF, Fault.corrupt(0.9)], behaviour={"etag": "weak"}, asked=compares_in_vain, verify=ZIP),
    )


def contents() -> Iterator[tuple[str, Cell]]:
    """Answers with status 200 that are not the artifact, or not as it was asked for."""
    no_artifact = {
        "empty": Fault.empty(),
        "html": Fault.html(),
        "json": Fault.unsuccessful(),
        "called html": Fault.headers({"Content-Type": "text/html; charset=utf-8"}),
        "called a problem": Fault.headers({"Content-Type": "application/problem+json"}),
    }
    for name, fault in no_artifact.items():
        yield name, Cell(faults=[fault], outcome=InvalidArtifactError)
        # In passing it costs an attempt, and no byte: of what came first, or of what was joined to that.
        yield f"{name} once it goes on", Cell(faults=[HALF, fault], asked=[WHOLE, rest(0.5), rest(0.5)])
        yield (
            f"{name} once it went on",
            Cell(faults=[HALF, HALF, fault], asked=[WHOLE, rest(0.5), rest(0.75), rest(0.75)]),
        )
    yield "without a type", Cell(faults=[Fault.headers({"Content-Type": None})])
    yield "garbage", Cell(faults=[Fault.garbage()], outcome=InvalidArtifactError, verify=ZIP)
    # A body that came whole and is damaged is damaged at its source, as far as anybody can tell.
    yield "corrupt", Cell(faults=[Fault.corrupt(0.5)], outcome=InvalidArtifactError, verify=ZIP)
    yield "corrupt in its last byte", Cell(faults=[Fault.corrupt(LAST)], outcome=InvalidArtifactError, verify=ZIP)
    # What was put together may have been put together wrongly.
    yield (
        "corrupt once it goes on",
        Cell(faults=[HALF, Fault.corrupt(0.5)], asked=[WHOLE, rest(0.5), WHOLE], verify=ZIP),
    )
    yield (
        "corrupt in each part",
        Cell(
            faults=[HALF, Fault.corrupt(0.5)],
            for_ever=True,
            outcome=InvalidArtifactError,
            asked=[WHOLE, rest(0.5), WHOLE],
            verify=ZIP,
        ),
    )
    for framing in FRAMINGS:
        yield f"gzip, {framing}", Cell(faults=[Fault.encoded(framing=framing)])
    encoded = {"download_encoding": "gzip-always"}
    for framing in ("length", "chunked"):
        # Ranges would be of encoded bytes.
        yield (
            f"gzip, cut half-way, {framing}",
            Cell(faults=[Fault.cut(0.5, framing=framing)], behaviour=encoded, asked=[WHOLE, WHOLE]),
        )
    yield (
        "gzip, cut half-way, unframed",
        Cell(faults=[Fault.cut(0.5, framing="close")], behaviour=encoded, asked=[WHOLE, WHOLE], verify=ZIP),
    )
    yield "gzip, stalled", Cell(faults=[HALF], behaviour=encoded, asked=[WHOLE, WHOLE])
    yield "gzip, once it goes on", Cell(faults=[HALF, Fault.encoded()], asked=[WHOLE, rest(0.5)])


def refusals() -> Iterator[tuple[str, Cell]]:
    for status in (404, 410):
        behaviour = {"expired_status": status}
        yield (
            f"expired, {status}",
            Cell(behaviour=behaviour, late=WEEK_AND_A_DAY, outcome=NotFoundError),
        )
    # (What came of an artifact that is gone is kept: 404 may be a mistake of the moment, and bytes are not.)
    yield (
        "gone half-way",
        Cell(faults=[HALF, Fault.error(410)], outcome=NotFoundError, asked=[WHOLE, rest(0.5)], left="a part"),
    )
    yield "503 once", Cell(faults=[Fault.error(503)], asked=[WHOLE] * 2)
    yield "503 three times", Cell(faults=[Fault.error(503)] * 3, asked=[WHOLE] * 4)
    yield (
        "503 for ever",
        Cell(faults=[Fault.error(503)], for_ever=True, outcome=ServerError, asked=[WHOLE] * ATTEMPTS),
    )
    yield "503 half-way", Cell(faults=[HALF, Fault.error(503, form="html")], asked=[WHOLE, rest(0.5), rest(0.5)])
    yield (
        "503 half-way for ever",
        Cell(
            faults=[HALF, Fault.error(503)],
            for_ever=True,
            outcome=ServerError,
            # With the one that brought something there are as many as a call has.
            asked=[WHOLE] + [rest(0.5)] * (ATTEMPTS - 1),
            left="a part",
        ),
    )
    yield "429 half-way", Cell(faults=[HALF, Fault.rate_limited(7)], asked=[WHOLE, rest(0.5), rest(0.5)])
    yield "no answer", Cell(faults=[Fault.drop()], asked=[WHOLE] * 2)
    yield "no answer half-way", Cell(faults=[HALF, Fault.drop(reset=True)], asked=[WHOLE, rest(0.5), rest(0.5)])
    yield (
        "silence half-way for ever",
        Cell(
            faults=[HALF, Fault.silence(headers=False)],
            for_ever=True,
            outcome=TransportTimeoutError,
            # With the one that brought something there are as many as a call has.
            asked=[WHOLE] + [rest(0.5)] * (ATTEMPTS - 1),
            left="a part",
        ),
    )


def redirects() -> Iterator[tuple[str, Cell]]:
    for status in (301, 302, 303, 307, 308):
        yield (
            f"redirect with {status}",
            Cell(faults=[Fault.redirect(status=status)], asked=[WHOLE] * 2, origins=["api", "storage"]),
        )
    yield (
        "redirect, and cut there",
        # A signed URL may be over by then: from home again.
        Cell(
            faults=[Fault.slow(0), HALF],
            behaviour={"download_redirect": 307},
            asked=[WHOLE, WHOLE, rest(0.5), rest(0.5)],
            origins=["api", "storage"] * 2,
        ),
    )
    yield (
        "redirect, and 200 for 206 there",
        Cell(
            faults=[Fault.slow(0), HALF, Fault.slow(0), Fault.ignore_range()],
            behaviour={"download_redirect": 302},
            asked=[WHOLE, WHOLE, rest(0.5), rest(0.5)],
            origins=["api", "storage"] * 2,
        ),
    )
    yield (
        "redirect, and 503 there",
        Cell(
            faults=[Fault.slow(0), Fault.error(503)],
            behaviour={"download_redirect": 307},
            asked=[WHOLE] * 3,
            origins=["api", "storage", "storage"],
        ),
    )
    yield (
        "5 hops",
        Cell(faults=[Fault.redirect(hops=5)], asked=[WHOLE] * 6, origins=["api"] + ["storage"] * 5),
    )
    yield (
        "6 hops",
        Cell(
            faults=[Fault.redirect(hops=6)],
            outcome=DownloadError,
            asked=[WHOLE] * 6,
            origins=["api"] + ["storage"] * 5,
        ),
    )
    yield (
        "a loop",
        Cell(faults=[Fault.redirect("self")], for_ever=True, outcome=DownloadError, asked=[WHOLE] * 6),
    )
    yield (
        "a loop through two origins",
        Cell(
            faults=[Fault.redirect("other")],
            for_ever=True,
            outcome=DownloadError,
            asked=[WHOLE] * 6,
            origins=["api", "storage"] * 3,
        ),
    )
    nowhere: dict[str, str | None] = {
        "no Location": None,
        "an empty Location": "",
        "plain http": "http://192.0.2.7/artifact.zip",
        "plain http, without a scheme": "//192.0.2.7/artifact.zip",
        "another scheme": "ftp://127.0.0.1/artifact.zip",
        "a file": "file:///etc/passwd",
        "data": "data:application/zip,PK",
        "a host that is none": "http://[::1",
        "a port that is none": "https://example.net:port/",
        "no host": "https:///artifact.zip",
    }
    for name, to in nowhere.items():
        yield f"redirect to {name}", Cell(faults=[Fault.redirect(to)], outcome=DownloadError)
    # Not even on the way back home is the token told.
    yield (
        "redirect to another path",
        Cell(faults=[Fault.redirect("elsewhere.zip")], outcome=AuthenticationError, asked=[WHOLE] * 2),
    )


TABLE: dict[str, Cell] = {}
for group in (
    bodies_that_end,
    bodies_that_stop,
    lengths_that_lie,
    ranges_that_lie,
    versions,
    contents,
    refusals,
    redirects,
):
    for cell_name, one in group():
        assert cell_name not in TABLE
        TABLE[cell_name] = one


# --- How a cell is run


@attrs.define
class Connections:
    """Where connections of this process go; hooks can't be taken away again, but told to look away."""

    watching: bool = False
    seen: list[tuple[str, object]] = attrs.field(factory=list[tuple[str, object]])

    def hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.watching and event in ("socket.connect", "socket.getaddrinfo"):
            self.seen.append((event, args[1] if event == "socket.connect" else args[0]))


CONNECTIONS = Connections()
sys.addaudithook(CONNECTIONS.hook)


@pytest.fixture
def connections() -> Iterator[Connections]:
    CONNECTIONS.seen.clear()
    CONNECTIONS.watching = True
    yield CONNECTIONS
    CONNECTIONS.watching = False


@pytest.fixture
async def started(rig: Rig, request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    wait_for_threads()
    directly = "size" in request.fixturenames and request.getfixturevalue("size") == SIZES["direct"]
    with reading_directly() if directly else nullcontext():
        yield rig


def check_names(folder: Path, command_id: str, left: Left) -> bool:
    """Check what is in the folder, and tell whether it can be gone on from."""
    part = [f".{command_id}.zip.part", f".{command_id}.zip.part.json"]
    expected: dict[Left, list[list[str]]] = {
        "the file": [[f"{command_id}.zip"]],
        "a part": [part],
        "nothing": [[]],
        "a part or nothing": [part, []],
    }
    found = sorted(path.name for path in folder.iterdir())
    assert found in expected[left]
    return found == part


def check_requests(requests: Sequence[RecordedRequest], asked: Sequence[Asked], size: int, at_most: int) -> None:
    for request, one in zip(requests, asked, strict=False):
        one.check(request, size)
    # Where all that came was lost with its connection, one less is enough; and where all had come, any of it.
    later = zip(requests[1:], asked[1:], strict=False)
    lost = any(start_of(request) < (size if one.high == 1 else 1) for request, one in later)
    assert len(asked) - lost <= len(requests) <= max(len(asked), at_most)


def check_privacy(rig: Rig, requests: Sequence[RecordedRequest]) -> None:
    """Check that the token went to nobody but the API, and nothing else that tells of us to anybody else."""
    for request in requests:
        names = {name.lower() for name in request.headers}
        if request.origin == rig.sandbox.storage_origin:
            assert names <= TOLD_TO_ALL
        assert names <= TOLD_TO_ALL | {"authorization"}
        assert rig.sandbox.token not in str(request.query)


async def make(rig: Rig, size: int, cell: Cell) -> Command:
    await rig.start(1, artifact_size=size, behaviour=Behaviour.instant(**cell.behaviour), retry=POLICY, rate_limit=None)
    made = rig.sandbox.state.create(NewCommand(rig.sandbox.state.devices[0], "warp-diag"))
    rig.sandbox.clock.advance(cell.late)
    for fault in cell.faults[:-1]:
        rig.sandbox.faults.add(fault, on=sorted(fault.operations & set(FILES)))
    for fault in cell.faults[-1:]:
        times = None if cell.for_ever else 1
        rig.sandbox.faults.add(fault, on=sorted(fault.operations & set(FILES)), times=times)
    return Command(id=made.id)


@pytest.mark.parametrize(("cell", "size", "verify"), cells(TABLE))
async def test_save(started: Rig, tmp_path: Path, connections: Connections, cell: Cell, size: int, verify: Any) -> None:
    rig = started
    command = await make(rig, size, cell)
    assert command.id is not None
    final = tmp_path / f"{command.id}.zip"
    if isinstance(cell.outcome, type | tuple):
        with pytest.raises(cell.outcome) as caught:
            await rig.dex.downloads.save(command, tmp_path, verify=verify, limits=cell.limits)
        assert caught.type in (cell.outcome if isinstance(cell.outcome, tuple) else (cell.outcome,))
        assert not final.exists()
    else:
        saved = await rig.dex.downloads.save(command, tmp_path, verify=verify, limits=cell.limits)
        body = b"".join(rig.sandbox.artifact(command.id).read())
        expected = body if cell.outcome == "whole" else cell.outcome(body)
        assert final.read_bytes() == expected
        assert (saved.path, saved.size, saved.skipped) == (final, len(expected), False)
    requests = list(rig.sandbox.requests)
    check_requests(requests, cell.asked(size) if callable(cell.asked) else cell.asked, size, cell.at_most)
    check_privacy(rig, requests)
    origins = {"api": rig.sandbox.base_url.removesuffix("/client/v4"), "storage": rig.sandbox.storage_origin}
    assert [request.origin for request in requests] == [
        origins[name] for name in cell.origins or ["api"] * len(requests)
    ]
    assert {address for event, address in connections.seen if event == "socket.connect"} <= {
        ("127.0.0.1", int(origin.rpartition(":")[2])) for origin in origins.values()
    }
    assert {host for event, host in connections.seen if event == "socket.getaddrinfo"} <= {"127.0.0.1"}
    left = cell.left or ("nothing" if isinstance(cell.outcome, type | tuple) else "the file")
    part = check_names(tmp_path, command.id, left)
    if isinstance(cell.outcome, type | tuple) and not cell.late:
        await check_recovery(rig, command, tmp_path, verify, part=part)


async def check_recovery(rig: Rig, command: Command, folder: Path, verify: Any, *, part: bool) -> None:
    """Check that another client, which nothing strikes, ends whole, and takes up what was left."""
    assert command.id is not None
    rig.sandbox.faults.clear()
    before = len(rig.sandbox.requests)
    saved = await rig.client(retry=POLICY).downloads.save(command, folder, verify=verify)
    assert saved.path.read_bytes() == b"".join(rig.sandbox.artifact(command.id).read())
    check_names(folder, command.id, "the file")
    assert (start_of(rig.sandbox.requests[before]) > 0) == part


# --- `open` takes nothing up again

OPENED: dict[str, tuple[Fault, Any]] = {
    **{
        f"cut {where}, {framing}": (Fault.cut(at, framing=framing), TruncatedArtifactError)
        for where, at in spots().items()
        for framing in ("length", "chunked")
    },
    **{f"reset {where}": (Fault.cut(at, reset=True), TruncatedArtifactError) for where, at in spots().items()},
    **{
        f"stall {where}, {framing}": (Fault.stall(at, framing=framing), StalledDownloadError)
        for where, at in spots().items()
        for framing in FRAMINGS
    },
    "cut at once, unframed": (Fault.cut(0, framing="close"), TruncatedArtifactError),
    "cut half-way, unframed": (Fault.cut(0.5, framing="close"), cut(0.5)),
    "length too large": (Fault.lying_length(100), TruncatedArtifactError),
    "length too small": (Fault.lying_length(-100), cut(-100)),
    "surplus behind the length": (Fault.surplus(7), "whole"),
    "surplus, chunked": (Fault.surplus(7, framing="chunked"), lambda body: body + bytes(7)),
    "slow": (Fault.trickle(2000, at=0.99), "whole"),
    "gzip": (Fault.encoded(framing="chunked"), "whole"),
    "a part, unasked": (Fault.unasked_range(0.5), ArtifactChangedError),
    "the first half, unasked": (Fault.unasked_range(0, 0.5), TruncatedArtifactError),
    "empty": (Fault.empty(), InvalidArtifactError),
    "html": (Fault.html(), InvalidArtifactError),
    "json": (Fault.unsuccessful(), InvalidArtifactError),
    "another version": (Fault.revise(), "whole"),
    "another version half-way": (Fault.revise(0.5), TruncatedArtifactError),
    "redirect": (Fault.redirect(hops=5), "whole"),
    "too many redirects": (Fault.redirect(hops=6), DownloadError),
    "redirect to plain http": (Fault.redirect("http://192.0.2.7/artifact.zip"), DownloadError),
}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("name", OPENED)
async def test_open(started: Rig, name: str, size: int) -> None:
    rig = started
    fault, outcome = OPENED[name]
    command = await make(rig, size, Cell(faults=[fault]))
    assert command.id is not None
    body = b""
    if isinstance(outcome, type):
        with pytest.raises(outcome) as caught:
            async with rig.dex.downloads.open(command) as artifact:
                async for chunk in artifact:
                    body += chunk
        assert caught.type is outcome
        truth = b"".join(rig.sandbox.artifact(command.id).read())
        assert truth.startswith(body) or fault.kind == "revise"
    else:
        async with rig.dex.downloads.open(command) as artifact:
            async for chunk in artifact:
                body += chunk
        truth = b"".join(rig.sandbox.artifact(command.id).read())
        assert body == (truth if outcome == "whole" else outcome(truth))
    hops = 1 + min(fault.amount, 5) if fault.target == "storage" else 1
    assert len(rig.sandbox.requests) == hops
    check_privacy(rig, rig.sandbox.requests)


# --- What belongs to an injected session stays at home


async def test_headers_of_an_injected_session_stay_at_home(started: Rig, tmp_path: Path) -> None:
    rig = started
    command = await make(rig, SIZES["large"], Cell(faults=[Fault.redirect()]))
    assert command.id is not None
    cookies = {"session": "secret"}
    async with aiohttp.ClientSession(headers={"X-Secret": "secret"}, cookies=cookies) as session:
        dex = rig.client(session=session)
        saved = await dex.downloads.save(command, tmp_path)
        assert saved.path.read_bytes() == b"".join(rig.sandbox.artifact(command.id).read())
        await dex.close()
    home, away = rig.sandbox.requests
    assert home.headers["X-Secret"] == "secret"
    assert {name.lower() for name in away.headers} <= TOLD_TO_ALL
