"""Every fault against every call: the outcome, the requests, what the service did, and what is left behind.

What is expected is told in three steps, each short enough to be checked by reading:

1. `FAULTS`: what one struck request looks like to a read, to a create, to `open` and to `save`;
2. `reads`, `creates`, `bulk`, `saves` and their like: what a call makes of such a request, of two in a row, and of
   nothing but such;
3. `EXPECTATIONS`: which of these rules holds for which call.

The matrix has one client policy (`POLICY`, 4 attempts) and one settling time (10 s), and its clock stands still
unless somebody sleeps.  The fixture `rig` fails each cell that leaves a connection or a task behind.
"""

import zipfile
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from dexcmd import (
    AmbiguousCreateError,
    APIError,
    AuthenticationError,
    BadRequestError,
    Command,
    DownloadError,
    InvalidArtifactError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ResponseDecodeError,
    RetryPolicy,
    ServerError,
    StalledDownloadError,
    TransportError,
    TransportTimeoutError,
    TruncatedArtifactError,
    WaitTimeoutError,
)
from dexcmd.sandbox import Behaviour, Fault
from dexcmd.sandbox.state import NewCommand
from tests.conftest import Rig
from tests.faults.loops import HastyLoop, wait_for_threads

pytestmark = pytest.mark.anyio

ATTEMPTS = 4
POLICY = RetryPolicy(attempts=ATTEMPTS, attempt_seconds=5.0)
SETTLE_SECONDS = 10.0
TARGETS = 4
ARTIFACT_BYTES = 3000

TIMES = {"once": 1, "twice": 2, "for ever": 100}
"""For ever is as often as no call may try: one that does gets through at last, and its cell fails."""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": HastyLoop}


# --- 1. What one struck request looks like


@attrs.frozen
class Effect:
    """What the struck request is to the call that made it."""

    kind: str
    error: type[Exception] | None = None
    """What it ends in, where the call does not get over it."""

    wait: float | None = None
    """What a Retry-After asks for."""


FINE = Effect("fine")
"""Nothing is wrong with it."""

LONGER = Effect("longer")
"""It does not tell the last page, so a walk takes one more request."""


def again(error: type[Exception]) -> Effect:
    """Transient: sent again as often as the policy says."""
    return Effect("again", error)


GARBLED = Effect("once more", ResponseDecodeError)
"""No envelope: tried once more."""


def final(error: type[Exception]) -> Effect:
    """Not tried again."""
    return Effect("final", error)


def held(error: type[Exception], wait: float | None) -> Effect:
    """To be sent again after a wait; None for a guess of 10, 20 and 40 s."""
    return Effect("held", error, wait)


# Only creates.
DONE = Effect("done")
"""The commands are there, but the answer does not tell."""
UNDONE = Effect("undone")
"""The commands are not there, and the answer does not tell."""
HALF = Effect("half")
"""The commands are there, and the answer tells half of them."""


def refused(error: type[Exception]) -> Effect:
    """Refused for what it says, without a pointer to the culprit."""
    return Effect("refused", error)


def stops(error: type[Exception]) -> Effect:
    """Refused as the next one would be."""
    return Effect("stops", error)


# Only downloads.
OTHER = Effect("other")
"""A good answer with bytes that are not the artifact's."""


def breaks(error: type[Exception], kind: str = "half") -> Effect:
    """The body breaks after none of it (`none`), half of what was asked for (`half`), or all of it (`all`)."""
    return Effect(f"breaks {kind}", error)


CHANGES = Effect("changes", TruncatedArtifactError)
"""The body breaks half-way, and then it is another artifact."""
SHIFTED = Effect("shifted")
"""Another range than asked for (after a body that broke, for nothing else asks for a range)."""


@attrs.frozen
class Line:
    """A fault, and what it makes of a request; None where it can't strike one, or see the comment there."""

    fault: Fault
    read: Effect | None
    create: Effect | None
    open: Effect | None
    save: Effect | None


def at_the_gate(fault: Fault, read: Effect, create: Effect) -> Line:
    """Return the line of a fault that strikes whatever was asked for in the same way."""
    return Line(fault, read, create, read, read)


def on_json(fault: Fault, read: Effect | None, create: Effect) -> Line:
    return Line(fault, read, create, None, None)


def on_files(fault: Fault, open_: Effect, save: Effect) -> Line:
    return Line(fault, None, None, open_, save)


SERVER = again(ServerError)
CUT_OFF = again(TransportError)
TOO_LATE = again(TransportTimeoutError)
NO_ARTIFACT = final(InvalidArtifactError)
TRUNCATED = final(TruncatedArtifactError)
STALLED = final(StalledDownloadError)

FAULTS: dict[str, Line] = {
    # The gateway's own failures are transient, in whatever form its body comes.
    "500": at_the_gate(Fault.error(500), SERVER, UNDONE),
    "500 after the work": at_the_gate(Fault.error(500, processed=True), SERVER, DONE),
    "500 as envelope": at_the_gate(Fault.error(500, form="envelope"), SERVER, UNDONE),
    "502 as html": at_the_gate(Fault.error(502, form="html"), SERVER, UNDONE),
    "502 as html after the work": at_the_gate(Fault.error(502, form="html", processed=True), SERVER, DONE),
    "503 without body": at_the_gate(Fault.error(503, form="empty"), SERVER, UNDONE),
    "504 as problem": at_the_gate(Fault.error(504, form="problem"), SERVER, UNDONE),
    "520": at_the_gate(Fault.error(520), SERVER, UNDONE),
    "521": at_the_gate(Fault.error(521), SERVER, UNDONE),
    "522": at_the_gate(Fault.error(522), SERVER, UNDONE),
    "523": at_the_gate(Fault.error(523), SERVER, UNDONE),
    "524 after the work": at_the_gate(Fault.error(524, processed=True), SERVER, DONE),
    "408": at_the_gate(Fault.error(408), again(BadRequestError), UNDONE),
    "408 after the work": at_the_gate(Fault.error(408, processed=True), again(BadRequestError), DONE),
    "503, retry after 300": at_the_gate(Fault.error(503, retry_after=300), held(ServerError, 300), UNDONE),
    # These stay as they are, and a create may have been done all the same.
    "501": at_the_gate(Fault.error(501), final(ServerError), UNDONE),
    "525": at_the_gate(Fault.error(525), final(ServerError), UNDONE),
    "526 after the work": at_the_gate(Fault.error(526, processed=True), final(ServerError), DONE),
    "302 to nowhere": Line(Fault.error(302), final(APIError), UNDONE, final(DownloadError), final(DownloadError)),
    # A 4xx is a refusal: nothing was done.  (One after the work would be a lie that nobody can see through.)
    "400": at_the_gate(Fault.error(400), final(BadRequestError), refused(BadRequestError)),
    "409 as html": at_the_gate(Fault.error(409, form="html"), final(BadRequestError), refused(BadRequestError)),
    "422 without body": at_the_gate(Fault.error(422, form="empty"), final(BadRequestError), refused(BadRequestError)),
    "400 for the token": at_the_gate(
        Fault.error(400, code=6003), final(AuthenticationError), stops(AuthenticationError)
    ),
    "401": at_the_gate(Fault.error(401), final(AuthenticationError), stops(AuthenticationError)),
    "403": at_the_gate(Fault.error(403), final(PermissionDeniedError), stops(PermissionDeniedError)),
    "404": at_the_gate(Fault.error(404), final(NotFoundError), stops(NotFoundError)),
    "410 as problem": at_the_gate(Fault.error(410, form="problem"), final(NotFoundError), stops(NotFoundError)),
    # The rate limit: refused before the work, so even a create is sent again.
    "429, retry after 5": at_the_gate(Fault.rate_limited(5), held(RateLimitError, 5), held(RateLimitError, 5)),
    "429, retry after 300": at_the_gate(Fault.rate_limited(300), held(RateLimitError, 300), held(RateLimitError, 300)),
    "429 without a time": at_the_gate(Fault.rate_limited(None), held(RateLimitError, None), held(RateLimitError, None)),
    "429, retry after words": at_the_gate(
        Fault.rate_limited("soon"), held(RateLimitError, None), held(RateLimitError, None)
    ),
    "429 as html": at_the_gate(Fault.error(429, form="html"), held(RateLimitError, None), held(RateLimitError, None)),
    # No answer, or one that is late.
    "drop": at_the_gate(Fault.drop(), CUT_OFF, UNDONE),
    "drop after the work": at_the_gate(Fault.drop(processed=True), CUT_OFF, DONE),
    "silence": at_the_gate(Fault.silence(headers=False), TOO_LATE, UNDONE),
    "silence after the work": at_the_gate(Fault.silence(headers=False, processed=True), TOO_LATE, DONE),
    "silence after the headers": Line(Fault.silence(), TOO_LATE, UNDONE, STALLED, breaks(StalledDownloadError, "none")),
    "silence after the work and the headers": Line(
        Fault.silence(processed=True), TOO_LATE, DONE, STALLED, breaks(StalledDownloadError, "none")
    ),
    "slow": at_the_gate(Fault.slow(3.0), FINE, FINE),
    "slow before the work": at_the_gate(Fault.slow(3.0, processed=False), FINE, FINE),
    # (Slow before the work, too slow for the client, is a create that is done after the settling time has passed by
    # this clock: nobody can tell.)
    "too slow": at_the_gate(Fault.slow(60.0, real_time=True), TOO_LATE, DONE),
    # Another answer with status 200.
    "html": Line(Fault.html(), GARBLED, UNDONE, NO_ARTIFACT, NO_ARTIFACT),
    "html after the work": Line(Fault.html(processed=True), GARBLED, DONE, NO_ARTIFACT, NO_ARTIFACT),
    "unsuccessful": Line(Fault.unsuccessful(), final(APIError), UNDONE, NO_ARTIFACT, NO_ARTIFACT),
    "unsuccessful after the work": Line(
        Fault.unsuccessful(processed=True), final(APIError), DONE, NO_ARTIFACT, NO_ARTIFACT
    ),
    # A damaged answer.
    "garbage": Line(Fault.garbage(), GARBLED, DONE, OTHER, NO_ARTIFACT),
    "null result": on_json(Fault.null_result(), GARBLED, DONE),
    "wrong type inside": on_json(Fault.wrong_types(value=["x"]), final(ResponseDecodeError), DONE),
    "wrong type of result": on_json(Fault.wrong_types("result", 7), final(ResponseDecodeError), DONE),
    "wrong type of success": on_json(Fault.wrong_types("success", "yes"), GARBLED, DONE),
    "wrong type of errors": on_json(Fault.wrong_types("errors", 7), FINE, FINE),
    "wrong type of result_info": on_json(Fault.wrong_types("result_info", 7), LONGER, FINE),
    "rows partial": on_json(Fault.rows("partial"), None, HALF),
    "rows reordered": on_json(Fault.rows("reordered"), None, FINE),
    "rows duplicated": on_json(Fault.rows("duplicated"), None, FINE),
    "rows foreign": on_json(Fault.rows("foreign"), None, FINE),
    "rows of every kind": on_json(Fault.rows("partial", "duplicated", "foreign", "reordered"), None, HALF),
    # A body that ends, or stops, before its end.
    "cut at once": Line(Fault.cut(0), CUT_OFF, DONE, TRUNCATED, breaks(TruncatedArtifactError, "none")),
    "cut half-way": Line(Fault.cut(0.5), CUT_OFF, DONE, TRUNCATED, breaks(TruncatedArtifactError)),
    "cut half-way, chunked": Line(
        Fault.cut(0.5, framing="chunked"), CUT_OFF, DONE, TRUNCATED, breaks(TruncatedArtifactError)
    ),
    "cut half-way, unframed": Line(
        Fault.cut(0.5, framing="close"), GARBLED, DONE, OTHER, breaks(InvalidArtifactError, "none")
    ),
    "cut after the end": at_the_gate(Fault.cut(1.0), FINE, FINE),
    "cut after the end, chunked": Line(
        Fault.cut(1.0, framing="chunked"), CUT_OFF, DONE, TRUNCATED, breaks(TruncatedArtifactError, "all")
    ),
    "cut after the end, unframed": at_the_gate(Fault.cut(1.0, framing="close"), FINE, FINE),
    "stall half-way": Line(Fault.stall(0.5), TOO_LATE, DONE, STALLED, breaks(StalledDownloadError)),
    "stall half-way, chunked": Line(
        Fault.stall(0.5, framing="chunked"), TOO_LATE, DONE, STALLED, breaks(StalledDownloadError)
    ),
    "stall half-way, unframed": Line(
        Fault.stall(0.5, framing="close"), TOO_LATE, DONE, STALLED, breaks(StalledDownloadError)
    ),
    "stall after the end, chunked": Line(
        Fault.stall(1.0, framing="chunked"), TOO_LATE, DONE, STALLED, breaks(StalledDownloadError, "all")
    ),
    "stall after the end, unframed": Line(
        Fault.stall(1.0, framing="close"), TOO_LATE, DONE, STALLED, breaks(StalledDownloadError, "all")
    ),
    "length too large": Line(Fault.lying_length(100), CUT_OFF, DONE, TRUNCATED, breaks(TruncatedArtifactError, "all")),
    "length too small": Line(Fault.lying_length(-7), GARBLED, DONE, OTHER, NO_ARTIFACT),
    # Artifacts only.
    "corrupt": on_files(Fault.corrupt(0.5), OTHER, NO_ARTIFACT),
    "revised": on_files(Fault.revise(), FINE, FINE),
    "revised half-way": on_files(Fault.revise(0.5), TRUNCATED, CHANGES),
    "range too late": on_files(Fault.wrong_range(1), FINE, SHIFTED),
    "range too early": on_files(Fault.wrong_range(-1), FINE, SHIFTED),
}


# --- 2. What a call makes of it

Requests = Mapping[str, int | range]
Failure = type[Exception] | tuple[type[Exception], ...] | None


@attrs.frozen(kw_only=True)
class Expect:
    """What a cell is held to."""

    outcome: object = "right"
    """`right`: what was asked for, compared with what the service holds; `other bytes`; the class of the error (or
    several, of which one); or, for a bulk and a capture, how many targets are in which state.
    """
    error: Failure = None
    """The class of the error in each result of a bulk or a capture that is in no good state."""
    requests: Requests
    """How many of each operation arrive; none of any other."""
    processed: int = 0
    """How many POSTs the service did the work of."""
    held: int
    """How many commands it holds at the end."""
    files: int = 0
    """How many files there are, each whole."""
    parts: range = range(1)
    """How many parts of files there may be, to be gone on from."""


def tries(effect: Effect, times: str) -> tuple[int, bool]:
    """Return how many requests a call makes of one that is struck, and whether it gets over it."""
    struck = TIMES[times]
    match effect.kind:
        case "fine":
            return 1, True
        case "longer":
            return 2, True
        case "final" | "stops" | "refused":
            return 1, False
        case "once more":
            most = 2
        case "held" if effect.wait == 300:
            # The budget of 330 s has room for one such wait.
            most = 2
        case _:
            most = ATTEMPTS
    return min(struck + 1, most), struck < most


def reads(operation: str, *, walks: bool = False) -> "Rule":
    """Return the rule for a call that reads; `walks`: it wants to know the last page."""

    def rule(effect: Effect, times: str, fault: Fault) -> Expect:
        requests, right = tries(effect, times) if walks or effect is not LONGER else (1, True)
        return Expect(outcome="right" if right else effect.error, requests={operation: requests}, held=TARGETS)

    return rule


LOOKS = 5
"""Looks for what is not there: after 0, 1, 3, 7 and 10 s, when it has settled."""


@attrs.frozen
class Created:
    """What comes of creating, whatever call does it."""

    states: Mapping[str, int]
    error: type[Exception] | None = None
    posts: int = 1
    processed: int = 1
    looks: int = 0
    asked_quota: int = 0
    """How often the quota was asked for the reason of a refusal."""


def created(effect: Effect, times: str, *, split: bool) -> Created:
    """Return what comes of creating four commands with a POST that is struck; `split`: a refusal is looked into."""
    once, ever = times == "once", times == "for ever"
    match effect.kind:
        case "fine" | "longer":
            return Created({"created": 4})
        case "done":
            return Created({"adopted": 4}, looks=1)
        case "half":
            return Created({"created": 2, "adopted": 2}, looks=1)
        case "undone" if once:
            return Created({"created": 4}, posts=2, looks=LOOKS)
        case "undone":
            return Created({"unknown": 4}, AmbiguousCreateError, posts=2, processed=0, looks=2 * LOOKS)
        case "held":
            posts, right = tries(effect, times)
            if right:
                return Created({"created": 4}, posts=posts)
            # It may be about a quota that is used up, but to ask has to wait as well: 300 s are not left any more.
            asked = int(effect.wait != 300)
            return Created({"not_attempted": 4}, effect.error, posts=posts, processed=0, asked_quota=asked)
        case "refused" if split and once:
            # 4 refused, 2 + 2 taken
            return Created({"created": 4}, posts=3, processed=2, asked_quota=1)
        case "refused" if split and not ever:
            # 4 and 2 refused, 1 + 1 + 2 taken
            return Created({"created": 4}, posts=5, processed=3, asked_quota=2)
        case "refused" if split:
            # 4, 2 + 2, and 1 + 1 + 1 + 1 refused
            return Created({"rejected": 4}, effect.error, posts=7, processed=0, asked_quota=7)
        case "refused":
            return Created({"rejected": 4}, effect.error, processed=0, asked_quota=1)
        case _:
            assert effect.kind == "stops"
            return Created({"not_attempted": 4}, effect.error, processed=0, asked_quota=1)


def known(states: Mapping[str, int]) -> int:
    return states.get("created", 0) + states.get("adopted", 0)


def creates(effect: Effect, times: str, fault: Fault) -> Expect:
    came = created(effect, times, split=False)
    return Expect(
        outcome="right" if came.error is None else came.error,
        requests={
            "create_commands": came.posts,
            "list_commands": came.looks,
            "get_quota": 0 if fault.status == 401 else came.asked_quota,
        },
        processed=came.processed,
        held=known(came.states),
    )


def bulk(effect: Effect, times: str, fault: Fault) -> Expect:
    came = created(effect, times, split=True)
    return Expect(
        outcome=came.states,
        error=came.error,
        requests={
            "create_commands": came.posts,
            "list_commands": came.looks,
            "get_quota": 1 + (0 if fault.status == 401 else came.asked_quota),
        },
        processed=came.processed,
        held=known(came.states),
    )


def captured(effect: Effect, times: str, fault: Fault) -> Expect:
    """Expect what `bulk` does, with a file for each command: a poll shows all that are known to have been created."""
    expect = bulk(effect, times, fault)
    states = dict(expect.outcome)  # type: ignore[call-overload]
    saved = states.pop("created", 0) + states.pop("adopted", 0)
    looks, posts = expect.requests["list_commands"], expect.requests["create_commands"]
    assert isinstance(looks, int)
    assert isinstance(posts, int)
    # Those that are known first may be looked for before the others are known.
    polls = range(1, posts + 1 + (effect is HALF)) if saved else range(1)
    return attrs.evolve(
        expect,
        outcome={**states, "saved": saved} if saved else states,
        requests={
            **expect.requests,
            "list_commands": range(looks + polls.start, looks + polls.stop),
            "download": saved,
        },
        files=saved,
    )


def bulk_without_quota(effect: Effect, times: str, fault: Fault) -> Expect:
    """The quota is asked first; where it can't be told, the POST itself will tell."""
    requests = 1 if effect is LONGER else tries(effect, times)[0]
    return Expect(outcome={"created": 4}, requests={"get_quota": requests, "create_commands": 1}, processed=1, held=4)


UNREADABLE = (AuthenticationError, PermissionDeniedError, NotFoundError)

LOOKS_IN_VAIN: dict[tuple[str, float | None], int] = {
    # Looks begin after the waits of 0, 1, 2, 4, 8, 8 s, one of them when 10 s have passed.  Once the list can't be
    # read for 20 s it is given up.
    ("final", None): 7,  # at 0, 1, 3, 7, 10, 18 and 26 s
    ("once more", None): 7 * 2,  # at 0, 1.5, 4, 8.5, 10, 18.5 and 27 s, as each takes half a second
    ("again", None): 5 * ATTEMPTS,  # at 0, 4.5, 10, 17.5 and 29 s, as each takes 3.5 s
    ("held", None): 2 * ATTEMPTS,  # each takes 70 s
    ("held", 5): 3 * ATTEMPTS,  # each takes 15 s
    ("held", 300): 3,  # the first look has two requests; the second waits 299 s first, and has room for one
}


def looked(effect: Effect, times: str, fault: Fault) -> Expect:
    """The answer to the POST is lost, and the list, which would tell, is struck."""
    if effect.kind in ("fine", "longer"):
        looks = 1
    elif effect.error in UNREADABLE:
        return Expect(
            outcome=AmbiguousCreateError,
            requests={"create_commands": 1, "list_commands": 1},
            processed=1,
            held=4,
        )
    elif times != "for ever":
        # Over all looks: what one does not get over, the next does.
        looks = TIMES[times] + 1
    else:
        looks = LOOKS_IN_VAIN[effect.kind, effect.wait]
        if effect.error is ServerError and effect.kind == "held":
            looks = 4  # no rate limit that holds back the second look, so both have two requests
        return Expect(
            outcome=AmbiguousCreateError,
            requests={"create_commands": 1, "list_commands": looks},
            processed=1,
            held=4,
        )
    return Expect(requests={"create_commands": 1, "list_commands": looks}, processed=1, held=4)


POLL_TIMEOUT = 8.0
POLLS_IN_VAIN: dict[tuple[str, float | None], int] = {
    # Polls begin 2 s after the creation, then 3 and 4.5 s after the one before, and one when the time of 8 s is over,
    # or later: only that one can tell that a command has not ended in time.
    ("final", None): 3,  # at 2, 5 and 8 s
    ("once more", None): 3 * 2,  # at 2, 5.5 and 8 s, as each takes half a second
    ("again", None): 2 * ATTEMPTS,  # at 2 and 8 s, as each takes 3.5 s
    ("held", None): 2 * ATTEMPTS,  # at 2 s, for 70 s, and then
    ("held", 5): 2 * ATTEMPTS,  # at 2 s, for 15 s, and then
    ("held", 300): 3,  # the first has two requests; the second waits 300 s first, and has room for one
}


def polled(effect: Effect, times: str, fault: Fault) -> Expect:
    requests: dict[str, int | range] = {"get_quota": 1, "create_commands": 1}
    polls, failure = 1, None
    if effect.error in UNREADABLE:
        failure = effect.error
    elif effect.kind in ("fine", "longer"):
        pass
    elif times != "for ever":
        # Over all polls: what one does not get over, the next does.
        polls = TIMES[times] + 1
    else:
        polls, failure = POLLS_IN_VAIN[effect.kind, effect.wait], WaitTimeoutError
        if effect.error is ServerError and effect.kind == "held":
            polls = 4  # no rate limit that holds back the second poll, so both have two requests
    saved = 0 if failure else TARGETS
    requests |= {"list_commands": polls, "download": saved}
    return Expect(
        outcome={"failed" if failure else "saved": TARGETS},
        error=failure,
        requests=requests,
        processed=1,
        held=TARGETS,
        files=saved,
    )


def opens(effect: Effect, times: str, fault: Fault) -> Expect:
    if effect is OTHER:
        return Expect(outcome="other bytes", requests={"download": 1}, held=TARGETS)
    requests, right = tries(effect, times)
    return Expect(outcome="right" if right else effect.error, requests={"download": requests}, held=TARGETS)


def halvings(size: int) -> int:
    """Return how many requests bring something, if each brings half of what is left."""
    count = 0
    while size > 1:
        size -= size // 2
        count += 1
    return count


def saved(effect: Effect, times: str) -> tuple[int | range, bool]:
    """Return how many requests `save` makes, and whether the artifact is saved."""
    ever, struck = times == "for ever", TIMES[times]
    match effect.kind:
        case "breaks none" | "changes" if ever:
            return ATTEMPTS, False
        case "breaks half" if ever and effect.error is StalledDownloadError:
            # The last that brings something counts as the first of those that don't.
            return halvings(ARTIFACT_BYTES) + ATTEMPTS - 1, False
        case "breaks half" if ever:
            # What came just before the connection broke may be lost; if it is each time, none brings anything.
            return range(ATTEMPTS, halvings(ARTIFACT_BYTES) + ATTEMPTS), False
        case "breaks all" if ever:
            return range(ATTEMPTS, 2 * ATTEMPTS + 1), False
        case "breaks all":
            # Where nothing was lost, a range past the end is asked for, refused, and then the whole asked for again.
            return range(struck + 1, 2 * struck + 2), True
        case "breaks none" | "breaks half" | "changes":
            return struck + 1, True
        case "shifted":
            # The first breaks, the second asks for a range, the third for the whole.
            return 3, True
        case _:
            return tries(effect, times)


def parts(effect: Effect, times: str) -> range:
    """Return how many parts `save` may leave; what came just before a connection broke may be lost."""
    if times != "for ever" or effect.kind not in ("breaks half", "breaks all"):
        return range(1)
    return range(1, 2) if effect.error is StalledDownloadError and effect.kind == "breaks half" else range(2)


def failure(effect: Effect) -> Failure:
    """Return what `save` ends in: where all bytes came, that may also be the refusal of a range past the end."""
    if effect.error is None or effect.kind != "breaks all":
        return effect.error
    return effect.error, BadRequestError, TransportTimeoutError


def saves(effect: Effect, times: str, fault: Fault) -> Expect:
    requests, right = saved(effect, times)
    return Expect(
        outcome="right" if right else failure(effect),
        requests={"download": requests},
        held=TARGETS,
        files=int(right),
        parts=parts(effect, times),
    )


def capture_saves(effect: Effect, times: str, fault: Fault) -> Expect:
    requests, right = saved(effect, times)
    return Expect(
        outcome={"saved" if right else "failed": 1},
        error=None if right else failure(effect),
        requests={"get_quota": 1, "create_commands": 1, "list_commands": 1, "download": requests},
        processed=1,
        held=1,
        files=int(right),
        parts=parts(effect, times),
    )


# --- 3. The calls

Rule = Callable[[Effect, str, Fault], Expect]


@attrs.define
class Cell:
    """A rig with commands to read, whose list and artifacts are what they will be."""

    rig: Rig
    folder: Path
    commands: list[Command] = attrs.field(factory=list[Command])
    requests: Counter[str] = attrs.field(factory=Counter[str])
    """How many of each operation the call made."""
    processed: int = 0
    """How many POSTs of the call the service did the work of."""
    _before: int = 0
    _ended: bool = False

    def __attrs_post_init__(self) -> None:
        wait_for_threads()

    def prepare(self) -> None:
        """Let the service hold commands that this client did not make."""
        state = self.rig.sandbox.state
        made = [state.create(NewCommand(device, "pcap")) for device in state.devices[:TARGETS]]
        self.commands = [Command(id=each.id) for each in made]

    def begin(self) -> None:
        """Let what arrives from now on be the call's."""
        self._before = len(self.rig.sandbox.requests)

    def end(self) -> None:
        """Let what arrives from now on not be the call's, and be struck by nothing.  The first time counts."""
        if self._ended:
            return
        self._ended = True
        self.rig.sandbox.faults.clear()
        made = self.rig.sandbox.requests[self._before :]
        self.requests = Counter(request.operation for request in made)
        self.processed = sum(request.processed for request in made if request.method == "POST")

    @property
    def held(self) -> set[str]:
        return set(self.rig.sandbox.state.commands)

    async def artifact(self) -> bytes:
        """Return the artifact of the first command as it is now."""
        async with self.rig.client().downloads.open(self.commands[0]) as artifact:
            return b"".join([chunk async for chunk in artifact])


Outcome = tuple[object, list[type[Exception]]]
"""What `Expect.outcome` is compared with, and the classes of the errors in results."""


async def call_quota(cell: Cell) -> Outcome:
    quota = await cell.rig.dex.quota.get()
    assert (quota.quota, quota.quota_usage) == (800, TARGETS)
    return "right", []


async def call_devices(cell: Cell) -> Outcome:
    devices = await cell.rig.dex.devices.list()
    assert [device.registration_id for device in devices] == [
        device.registration_id for device in cell.rig.sandbox.state.devices
    ]
    return "right", []


async def call_list(cell: Cell) -> Outcome:
    commands = await cell.rig.dex.commands.list()
    assert {command.id for command in commands} == cell.held
    assert len(commands) == TARGETS
    return "right", []


async def call_wait(cell: Cell) -> Outcome:
    command = await cell.rig.dex.commands.wait(cell.commands[2])
    assert (command.id, command.status) == (cell.commands[2].id, "SUCCESS")
    return "right", []


async def call_follow(cell: Cell) -> Outcome:
    async with cell.rig.dex.commands.follow(cell.commands) as ended:
        assert Counter([command.id async for command in ended]) == dict.fromkeys(cell.held, 1)
    return "right", []


async def call_create(cell: Cell) -> Outcome:
    requests = cell.rig.requests(TARGETS)
    made = await cell.rig.dex.commands.create(requests)
    assert [command.device_id for command in made] == [request.device_id for request in requests]
    assert {command.id for command in made} == cell.held
    assert len(made) == TARGETS
    return "right", []


async def call_create_without_answer(cell: Cell) -> Outcome:
    cell.rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands")
    return await call_create(cell)


async def call_create_many(cell: Cell) -> Outcome:
    requests = cell.rig.requests(TARGETS)
    result = await cell.rig.dex.commands.create_many(requests)
    assert [outcome.request for outcome in result.outcomes] == requests
    good = result.in_state("created", "adopted")
    assert {outcome.command_id for outcome in good} == cell.held
    assert all(outcome.error is None for outcome in good)
    errors = [type(outcome.error) for outcome in result.outcomes if outcome not in good]
    return Counter(outcome.state for outcome in result.outcomes), errors  # type: ignore[return-value]


async def call_capture(cell: Cell, targets: int = TARGETS) -> Outcome:
    requests = cell.rig.requests(targets)
    capture = cell.rig.dex.capture(requests, into=cell.folder, timeout=POLL_TIMEOUT)
    async with capture as results:
        found = [result async for result in results]
    assert sorted(result.request.device_id for result in found) == sorted(one.device_id for one in requests)
    good = [result for result in found if result.state == "saved"]
    for result in good:
        assert result.command is not None
        assert result.command.id in cell.held
        assert result.artifact is not None
        assert result.artifact.path.stat().st_size == result.artifact.size == ARTIFACT_BYTES
    errors = [type(result.error) for result in found if result not in good]
    return Counter(result.state for result in found), errors  # type: ignore[return-value]


async def call_capture_one(cell: Cell) -> Outcome:
    return await call_capture(cell, 1)


async def call_open(cell: Cell) -> Outcome:
    async with cell.rig.dex.downloads.open(cell.commands[0]) as artifact:
        body = b"".join([chunk async for chunk in artifact])
    cell.end()
    return "right" if body == await cell.artifact() else "other bytes", []


async def call_save(cell: Cell) -> Outcome:
    saved = await cell.rig.dex.downloads.save(cell.commands[0], cell.folder)
    cell.end()
    assert saved.path.read_bytes() == await cell.artifact()
    return "right", []


@attrs.frozen
class Subject:
    """A call, which of its requests is struck, what a line says of such a request, and what is then expected."""

    call: Callable[[Cell], Awaitable[Outcome]]
    operation: Any
    column: str
    expect: Rule
    prepared: bool = True
    """Whether there are commands before."""


EXPECTATIONS: dict[str, Subject] = {
    "quota.get": Subject(call_quota, "get_quota", "read", reads("get_quota")),
    "devices.list": Subject(call_devices, "list_devices", "read", reads("list_devices", walks=True)),
    "commands.list": Subject(call_list, "list_commands", "read", reads("list_commands", walks=True)),
    "wait": Subject(call_wait, "list_commands", "read", reads("list_commands")),
    "follow": Subject(call_follow, "list_commands", "read", reads("list_commands")),
    "create": Subject(call_create, "create_commands", "create", creates, prepared=False),
    "create, at its look": Subject(call_create_without_answer, "list_commands", "read", looked, prepared=False),
    "create_many": Subject(call_create_many, "create_commands", "create", bulk, prepared=False),
    "create_many, at the quota": Subject(call_create_many, "get_quota", "read", bulk_without_quota, prepared=False),
    "downloads.open": Subject(call_open, "download", "open", opens),
    "downloads.save": Subject(call_save, "download", "save", saves),
    "capture, at the create": Subject(call_capture, "create_commands", "create", captured, prepared=False),
    "capture, at the poll": Subject(call_capture, "list_commands", "read", polled, prepared=False),
    "capture, at the download": Subject(call_capture_one, "download", "save", capture_saves, prepared=False),
}


def cells() -> list[Any]:
    """Return the cells: once, twice and for ever, or only the last where a call makes one such request anyway."""
    found: list[Any] = []
    for name, subject in EXPECTATIONS.items():
        for fault, line in FAULTS.items():
            effect = getattr(line, subject.column)
            if effect is None:
                continue
            expected = {times: subject.expect(effect, times, line.fault) for times in TIMES}
            one = expected["once"] == expected["twice"] == expected["for ever"]
            for times in ["for ever"] if one else TIMES:
                found.append(
                    pytest.param(subject, line.fault, effect, times, expected[times], id=f"{name}-{fault}-{times}")
                )
    return found


def check_files(folder: Path, count: int, parts: range) -> None:
    """Check that there are `count` files, whole ones, and so many parts with a state each, and nothing else."""
    paths = list(folder.glob("[!.]*.zip"))
    left = list(folder.glob(".*.zip.part"))
    states = [path.with_name(f"{path.name}.json") for path in left]
    assert {*paths, *left, *states} == set(folder.iterdir())
    assert len(paths) == count
    assert len(left) in parts
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None


def check_requests(came: Counter[str], expected: Requests) -> None:
    """Check that as many requests came of each operation as expected, and none of any other."""
    for operation in came.keys() | expected.keys():
        count = expected.get(operation, 0)
        if isinstance(count, range):
            assert came[operation] in count, operation
        else:
            assert came[operation] == count, operation


def classes(failure: Any) -> set[type[Exception]]:
    return set(failure) if isinstance(failure, tuple) else set() if failure is None else {failure}


async def check(cell: Cell, call: Callable[[Cell], Awaitable[Outcome]], expect: Expect) -> None:
    """Make the call, and compare all there is to see with what is expected."""
    cell.begin()
    if isinstance(expect.outcome, type | tuple):
        with pytest.raises(expect.outcome) as caught:
            await call(cell)
        cell.end()
        assert caught.type in classes(expect.outcome)
    else:
        outcome, errors = await call(cell)
        cell.end()
        assert outcome == expect.outcome
        assert bool(errors) == (expect.error is not None)
        assert set(errors) <= classes(expect.error)
    check_requests(cell.requests, expect.requests)
    assert cell.processed == expect.processed
    assert len(cell.held) == expect.held
    check_files(cell.folder, expect.files, expect.parts)


@pytest.mark.parametrize(("subject", "fault", "effect", "times", "expect"), cells())
async def test_cell(
    rig: Rig, tmp_path: Path, subject: Subject, fault: Fault, effect: Effect, times: str, expect: Expect
) -> None:
    await rig.start(artifact_size=ARTIFACT_BYTES, retry=POLICY, settle_seconds=SETTLE_SECONDS)
    cell = Cell(rig, tmp_path)
    if subject.prepared:
        cell.prepare()
    # The client knows the service's time, and has a connection that a fault may break.
    await rig.dex.quota.get()
    if effect is SHIFTED:
        rig.sandbox.faults.add(Fault.stall(0.5), on="download")
    rig.sandbox.faults.add(fault, on=subject.operation, times=TIMES[times])
    await check(cell, subject.call, expect)


# --- The list that lags is no fault of a request, and has a table of its own


@attrs.frozen
class Lagging:
    """A call, whether the answer of its POST is lost, and what is expected of it."""

    call: Callable[[Cell], Awaitable[Outcome]]
    expect: Expect
    prepared: bool = False
    lost: bool = False


LAG_SECONDS = 4.0
LAGGING: dict[str, Lagging] = {
    # Polls begin at 0, 3 and 7.5 s.
    "wait": Lagging(call_wait, Expect(requests={"list_commands": 3}, held=TARGETS), prepared=True),
    "follow": Lagging(call_follow, Expect(requests={"list_commands": 3}, held=TARGETS), prepared=True),
    # Looks begin at 0, 1, 3 and 7 s.
    "create": Lagging(
        call_create,
        Expect(requests={"create_commands": 1, "list_commands": 4}, processed=1, held=TARGETS),
        lost=True,
    ),
    "create_many": Lagging(
        call_create_many,
        Expect(
            outcome={"adopted": TARGETS},
            requests={"get_quota": 1, "create_commands": 1, "list_commands": 4},
            processed=1,
            held=TARGETS,
        ),
        lost=True,
    ),
    # Polls begin at 2 and 5 s.
    "capture": Lagging(
        call_capture,
        Expect(
            outcome={"saved": TARGETS},
            requests={"get_quota": 1, "create_commands": 1, "list_commands": 2, "download": TARGETS},
            processed=1,
            held=TARGETS,
            files=TARGETS,
        ),
    ),
    # The last look, at 7 s, tells; a poll, 2 s after it, finds them all.
    "capture, its create lost": Lagging(
        call_capture,
        Expect(
            outcome={"saved": TARGETS},
            requests={"get_quota": 1, "create_commands": 1, "list_commands": 5, "download": TARGETS},
            processed=1,
            held=TARGETS,
            files=TARGETS,
        ),
        lost=True,
    ),
}


@pytest.mark.parametrize("name", LAGGING)
async def test_a_list_that_lags(rig: Rig, tmp_path: Path, name: str) -> None:
    lagging = LAGGING[name]
    await rig.start(
        artifact_size=ARTIFACT_BYTES,
        behaviour=Behaviour.instant(list_lag=LAG_SECONDS),
        retry=POLICY,
        settle_seconds=SETTLE_SECONDS,
    )
    cell = Cell(rig, tmp_path)
    if lagging.prepared:
        cell.prepare()
    if lagging.lost:
        rig.sandbox.faults.add(Fault.drop(processed=True), on="create_commands")
    await rig.dex.quota.get()
    await check(cell, lagging.call, lagging.expect)
