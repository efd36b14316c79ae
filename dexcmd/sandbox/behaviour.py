"""How the fake service behaves where the real one may behave in more than one way."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import attrs
from attrs.validators import deep_iterable, ge, in_, le, optional

__all__ = ["Behaviour", "RowAlteration"]

RowAlteration = Literal["partial", "reordered", "duplicated", "foreign"]
"""What may happen to the rows of a create answer.

- `partial`: only the first half of them (rounded down) is told of, although all were created;
- `reordered`: last first;
- `duplicated`: the first row comes twice;
- `foreign`: one more row, for a device that nobody asked for and that was not created.
"""

_WEEK = 7 * 24 * 3600.0

_not_negative = ge(0.0)


def _span(_: object, attribute: "attrs.Attribute[tuple[float, float]]", value: tuple[float, float]) -> None:
    low, high = value
    if not 0 <= low <= high:
        raise ValueError(f"{attribute.name} must be (low, high) seconds with 0 <= low <= high, not {value!r}")


def _share(default: float) -> float:
    return attrs.field(default=default, validator=[ge(0.0), le(1.0)])


def _one_of(default: Any, *others: Any) -> Any:
    return attrs.field(default=default, validator=in_((default, *others)))


def _limit(_: object, attribute: "attrs.Attribute[Any]", value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f"{attribute.name} must be at least 1, or None, not {value!r}")


def _filters(_: object, attribute: "attrs.Attribute[Any]", value: frozenset[str]) -> None:
    known = ("command_type", "device_id", "from", "status", "to", "user_email")
    if not value.issubset(known):
        raise ValueError(f"{attribute.name} must be of {', '.join(known)}, not {sorted(value)}")


def _set_of_names(names: Iterable[str]) -> frozenset[str]:
    if isinstance(names, str):
        raise ValueError(f"names must be in a set, as in {{{names!r}}}, not alone")
    return frozenset(names)


def _names(validator: Any = None) -> Any:
    nothing: frozenset[str] = frozenset()
    return attrs.field(default=nothing, converter=_set_of_names, validator=validator)


@attrs.frozen(kw_only=True)
class Behaviour:
    """Every switch of the sandbox; the defaults are what the public reference says, or the likeliest guess.

    All durations are seconds of the sandbox's clock.  `Sandbox.behaviour` may be replaced while it runs
    (with `attrs.evolve`), and the next request sees the new one; what was decided when a command was created
    (its timeline) stays.  A value outside its documented range raises `ValueError`.
    """

    # --- devices, when `Sandbox(devices=N)` makes them up

    multi_user_share: float = _share(0.04)
    """Share of the device rows that belong to a device with two registrations (two rows, one device id)."""
    ineligible_share: float = _share(0.02)
    """Share of the device rows with `eligible: false` and a reason."""
    disconnected_share: float = _share(0.02)
    """Share of the device rows whose device is not connected: its commands time out."""

    # --- commands in time

    pickup_seconds: tuple[float, float] = attrs.field(default=(1.0, 5.0), validator=_span)
    """Shortest and longest time until a connected device starts to work; still PENDING_EXEC."""
    run_seconds: tuple[float, float] = attrs.field(default=(2.0, 20.0), validator=_span)
    """Shortest and longest time that the work on the device takes; still PENDING_EXEC."""
    upload_seconds: tuple[float, float] = attrs.field(default=(1.0, 5.0), validator=_span)
    """Shortest and longest time in PENDING_UPLOAD."""
    failure_rate: float = _share(0.0)
    """Share of the commands on healthy devices that end as FAILED."""
    disconnected_timeout: float = attrs.field(default=600.0, validator=_not_negative)
    """After how long a command for a disconnected device becomes FAILED."""
    exclusive_windows_captures: bool = True
    """On a Windows device, a second pcap fails at once while one is not yet through with its work."""
    oversized_capture: Literal["failed", "no-file", "uploaded"] = _one_of("failed", "no-file", "uploaded")
    """What becomes of a pcap whose artifact weighs more than its `max-file-size-mb` (10**6 bytes each).

    `failed`: it ends as FAILED; `no-file`: as SUCCESS with a filename that stays null; `uploaded`: the limit
    is ignored, and it is an artifact like any other.
    """

    # --- lists

    result_info: Literal["full", "without-total-pages", "missing", "wrong"] = _one_of(
        "full", "without-total-pages", "missing", "wrong"
    )
    """How much of `result_info` a list answer has; `wrong` has all its numbers, none of them right."""
    total_count_ignores_filters: bool = True
    """`total_count` (and `total_pages` with it) counts every row, whatever the filters."""
    repeat_last_page: bool = False
    """A page past the end shows the last page again, instead of no rows."""
    list_lag: float = attrs.field(default=0.0, validator=_not_negative)
    """After how long a created command appears in the list."""
    ignored_filters: frozenset[str] = _names(_filters)
    """Filters of the command list that have no effect, by their names in the query."""
    null_when_empty: bool = False
    """A list answer without rows has `result: null`, instead of an empty list of rows."""

    # --- rows

    date_format: Literal["rfc3339", "postgres"] = _one_of("rfc3339", "postgres")
    """`2019-12-27T18:11:19.117Z`, or `2023-10-11 00:00:00+00` with the fraction of the second cut off."""
    device_timestamp: Literal["date", "words"] = _one_of("date", "words")
    """A device row's `timestamp`: a time in `date_format`, or words ("2 minutes ago")."""
    status_names: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Other words for statuses in rows, as in `{"SUCCESS": "DONE"}`; filters know the usual ones only."""
    omit_absent: bool = False
    """Row fields without a value (`completed_date`, `filename`, ...) are left out, instead of null."""
    null_fields: frozenset[str] = _names()
    """Names of row fields that are null in every row of every answer."""
    omit_fields: frozenset[str] = _names()
    """Names of row fields that are left out of every row of every answer."""
    unknown_fields: bool = False
    """Rows, results and envelopes have additional fields that no documentation mentions."""

    # --- creating

    max_commands: int = attrs.field(default=10, validator=ge(1))
    """How many commands one POST may hold (10 by the documentation, 20 by the published schema)."""
    registration_required: bool = True
    """A device with several registrations needs a `registration_id`; if not, `user_email` tells which."""
    enforce_maximums: bool = False
    """Arguments above their documented maximum are refused."""
    target_acceptance: Literal["whole", "partial"] = _one_of("whole", "partial")
    """A POST with an invalid command: refused as a `whole`, or created in part, with the rest in `errors`."""
    error_pointers: bool = True
    """Errors name their culprit (`source: {"pointer": "/commands/3/device_id"}`)."""
    every_error: bool = True
    """A refusal lists every error, not just the first."""
    create_rows: tuple[RowAlteration, ...] = attrs.field(
        default=(),
        converter=tuple[RowAlteration, ...],
        validator=deep_iterable(in_(("partial", "reordered", "duplicated", "foreign"))),
    )
    """What happens to the rows of every create answer, in this order."""
    read_only_token: bool = False
    """The token has `Cloudflare DEX Read` only: creating is refused with 403, code 10000."""

    # --- quota

    quota_acceptance: Literal["whole", "partial"] = _one_of("whole", "partial")
    """A POST beyond the quota: refused as a `whole`, or created up to the quota, with fewer rows."""
    quota_status: int = attrs.field(default=403, validator=[ge(400), le(599)])
    """HTTP status of a refusal for quota."""
    quota_code: int = 2012
    """Error code of a refusal for quota (the real one is unknown)."""
    quota_message: str = "The daily quota of remote commands is used up"
    """Error message of a refusal for quota (the real one is unknown)."""

    # --- downloads

    filename_style: Literal["name", "url", "null"] = _one_of("name", "url", "null")
    """`filename` of a row: bare name, absolute URL (on the storage origin, unusable), or never set."""
    filename_delay: float = attrs.field(default=0.0, validator=_not_negative)
    """For how long after SUCCESS `filename` is still null."""
    retention: float = attrs.field(default=_WEEK, validator=_not_negative)
    """How long after completion an artifact can be downloaded."""
    expired_status: Literal[404, 410] = _one_of(404, 410)
    """Answer to the download of an expired artifact."""
    ranges: bool = True
    """`Range` is honoured and `Accept-Ranges: bytes` declared; otherwise `Range` is ignored."""
    download_length: bool = True
    """Downloads declare `Content-Length`; otherwise they come chunked."""
    download_encoding: Literal["identity", "gzip-if-accepted", "gzip-always"] = _one_of(
        "identity", "gzip-if-accepted", "gzip-always"
    )
    """Content coding of downloads.  With gzip, lengths, ranges and the ETag are of the encoded bytes."""
    download_redirect: Literal[301, 302, 303, 307, 308] | None = attrs.field(
        default=None, validator=optional(in_((301, 302, 303, 307, 308)))
    )
    """Status with which downloads redirect to a signed URL on another origin, or None to answer directly."""
    etag: Literal["strong", "weak", "none"] = _one_of("strong", "weak", "none")
    """The kind of ETag that downloads declare."""
    last_modified: bool = True
    """Downloads declare `Last-Modified`."""

    # --- limits and headers

    rate_limit: int | None = attrs.field(default=1200, validator=_limit)
    """Requests per window, over all clients together; None for no limit."""
    rate_window: float = attrs.field(default=300.0, validator=ge(0.001))
    """The window: it starts with the first request, and what exceeds the limit waits for its end."""
    other_users_rate: float = attrs.field(default=0.0, validator=_not_negative)
    """Requests per second that other users of the account take out of the limit."""
    ratelimit_headers: bool = True
    """Answers carry `Ratelimit` and `Ratelimit-Policy`."""
    retry_after: bool = True
    """A 429 for the rate limit carries `Retry-After`."""
    clock_skew: float = 0.0
    """How far the service's clock is ahead of the sandbox's (behind, if negative).

    The service lives by its own clock: `Date` headers, row dates, filters and the quota's reset all shift.
    """

    @classmethod
    def instant(cls, **changes: Any) -> "Behaviour":
        """Return a behaviour whose devices need no time at all: commands are done when they are created."""
        settings: dict[str, Any] = dict.fromkeys(("pickup_seconds", "run_seconds", "upload_seconds"), (0.0, 0.0))
        settings.update(changes)
        return cls(**settings)


ArtifactSize = int | Callable[[dict[str, Any]], int | None] | None
"""Bytes of an artifact: the same for all, a function of the command's row, or None for a natural size."""
