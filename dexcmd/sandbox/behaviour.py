"""How the fake service behaves where the real one's behaviour is not certain."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import attrs
from attrs.validators import deep_iterable, ge, in_, le, optional

__all__ = ["Behaviour", "RowAlteration"]

RowAlteration = Literal["partial", "reordered", "duplicated", "foreign"]
"""A change to the rows of a create response.

- `partial`: only the first half of the rows (rounded down) is returned, although all commands were created;
- `reordered`: the rows come in reverse order;
- `duplicated`: the first row comes twice;
- `foreign`: there is an extra row, for a device that was not requested and a command that was not created.
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
    """Every switch of the sandbox; the defaults follow the public API reference, or else the likeliest guess.

    All durations are seconds of the sandbox's clock.  `Sandbox.behaviour` can be replaced while the sandbox runs
    (with `attrs.evolve`) and takes effect with the next request; the timeline of a command is fixed when it is
    created.  A value outside its documented range raises `ValueError`.
    """

    # --- devices, when `Sandbox(devices=N)` generates them

    multi_user_share: float = _share(0.04)
    """Share of device rows that belong to a device with two registrations (two rows, one device id)."""
    ineligible_share: float = _share(0.02)
    """Share of device rows with `eligible: false` and a reason."""
    disconnected_share: float = _share(0.02)
    """Share of device rows whose device is not connected: its commands time out."""

    # --- commands in time

    pickup_seconds: tuple[float, float] = attrs.field(default=(1.0, 5.0), validator=_span)
    """Minimum and maximum time until a connected device starts a command, during which it is PENDING_EXEC."""
    run_seconds: tuple[float, float] = attrs.field(default=(2.0, 20.0), validator=_span)
    """Minimum and maximum time that a command runs on the device; it is still PENDING_EXEC."""
    upload_seconds: tuple[float, float] = attrs.field(default=(1.0, 5.0), validator=_span)
    """Minimum and maximum time in PENDING_UPLOAD."""
    failure_rate: float = _share(0.0)
    """Share of commands on healthy devices that end as FAILED."""
    disconnected_timeout: float = attrs.field(default=600.0, validator=_not_negative)
    """Time after which a command for a disconnected device becomes FAILED."""
    exclusive_windows_captures: bool = True
    """On a Windows device, a second pcap fails at once while another one is still running."""
    oversized_capture: Literal["failed", "no-file", "uploaded"] = _one_of("failed", "no-file", "uploaded")
    """What happens to a pcap whose artifact exceeds its `max-file-size-mb` (of 10**6 bytes).

    `failed`: it ends as FAILED; `no-file`: it ends as SUCCESS, but its filename stays null; `uploaded`: the limit
    is ignored.
    """

    # --- lists

    result_info: Literal["full", "without-total-pages", "missing", "wrong"] = _one_of(
        "full", "without-total-pages", "missing", "wrong"
    )
    """How complete the `result_info` of list responses is; `wrong` has every number, and none of them is right."""
    total_count_ignores_filters: bool = True
    """`total_count`, and with it `total_pages`, ignores the filters and counts every row."""
    repeat_last_page: bool = False
    """A page past the end repeats the last page instead of having no rows."""
    list_lag: float = attrs.field(default=0.0, validator=_not_negative)
    """Delay before a created command appears in the list."""
    ignored_filters: frozenset[str] = _names(_filters)
    """Filters of the command list that have no effect, by their query parameter names."""
    null_when_empty: bool = False
    """A list response without rows has `result: null` instead of an empty list of rows."""

    # --- rows

    date_format: Literal["rfc3339", "postgres"] = _one_of("rfc3339", "postgres")
    """Time format: `2019-12-27T18:11:19.117Z`, or `2023-10-11 00:00:00+00` with fractions of a second cut off."""
    device_timestamp: Literal["date", "words"] = _one_of("date", "words")
    """Format of a device row's `timestamp`: a time in `date_format`, or words ("2 minutes ago")."""
    status_names: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Replacements for status values in rows, as in `{"SUCCESS": "DONE"}`; filters accept only the usual values."""
    omit_absent: bool = False
    """Row fields without a value (`completed_date`, `filename`, ...) are omitted instead of null."""
    null_fields: frozenset[str] = _names()
    """Names of row fields that are null in every row of every response."""
    omit_fields: frozenset[str] = _names()
    """Names of row fields that are omitted from every row of every response."""
    unknown_fields: bool = False
    """Rows, results and envelopes have additional, undocumented fields."""

    # --- creating

    max_commands: int = attrs.field(default=10, validator=ge(1))
    """Maximum number of commands in one POST (10 in the documentation, 20 in the published schema)."""
    registration_required: bool = True
    """A device with several registrations needs a `registration_id`; otherwise `user_email` selects the one."""
    enforce_maximums: bool = False
    """Arguments above their documented maximum are rejected."""
    target_acceptance: Literal["whole", "partial"] = _one_of("whole", "partial")
    """Whether a POST with an invalid command is rejected as a `whole`, or created in part with the rest in `errors`."""
    error_pointers: bool = True
    """Errors point at their cause (`source: {"pointer": "/commands/3/device_id"}`)."""
    every_error: bool = True
    """An error response lists every error, not just the first."""
    create_rows: tuple[RowAlteration, ...] = attrs.field(
        default=(),
        converter=tuple[RowAlteration, ...],
        validator=deep_iterable(in_(("partial", "reordered", "duplicated", "foreign"))),
    )
    """Changes to the rows of every create response, applied in this order."""
    read_only_token: bool = False
    """The token has only `Cloudflare DEX Read`: creating is refused with 403, code 10000."""

    # --- quota

    quota_acceptance: Literal["whole", "partial"] = _one_of("whole", "partial")
    """Whether a POST beyond the quota is refused as a `whole`, or created up to the quota, with fewer rows."""
    quota_status: int = attrs.field(default=403, validator=[ge(400), le(599)])
    """HTTP status when the quota is exceeded."""
    quota_code: int = 2012
    """Error code when the quota is exceeded (the real one is unknown)."""
    quota_message: str = "The daily quota of remote commands is used up"
    """Error message when the quota is exceeded (the real one is unknown)."""

    # --- downloads

    filename_style: Literal["name", "url", "null"] = _one_of("name", "url", "null")
    """The `filename` of a row: a bare name, an absolute URL (on the storage origin, unusable), or always null."""
    filename_delay: float = attrs.field(default=0.0, validator=_not_negative)
    """How long `filename` stays null after SUCCESS."""
    retention: float = attrs.field(default=_WEEK, validator=_not_negative)
    """How long after completion an artifact can be downloaded."""
    expired_status: Literal[404, 410] = _one_of(404, 410)
    """HTTP status for the download of an expired artifact."""
    ranges: bool = True
    """Downloads honour `Range` and declare `Accept-Ranges: bytes`; otherwise they ignore `Range`."""
    download_length: bool = True
    """Downloads declare `Content-Length`; otherwise they are chunked."""
    download_encoding: Literal["identity", "gzip-if-accepted", "gzip-always"] = _one_of(
        "identity", "gzip-if-accepted", "gzip-always"
    )
    """Content coding of downloads.  With gzip, lengths, ranges and the ETag refer to the encoded bytes."""
    download_redirect: Literal[301, 302, 303, 307, 308] | None = attrs.field(
        default=None, validator=optional(in_((301, 302, 303, 307, 308)))
    )
    """HTTP status with which downloads redirect to a signed URL on another origin; None to answer directly."""
    etag: Literal["strong", "weak", "none"] = _one_of("strong", "weak", "none")
    """Kind of ETag that downloads declare."""
    last_modified: bool = True
    """Downloads declare `Last-Modified`."""

    # --- limits and headers

    rate_limit: int | None = attrs.field(default=1200, validator=_limit)
    """Requests per window, for all clients together; None for no limit."""
    rate_window: float = attrs.field(default=300.0, validator=ge(0.001))
    """Length of the window, which starts with the first request; above the limit, requests get 429 until it ends."""
    other_users_rate: float = attrs.field(default=0.0, validator=_not_negative)
    """Requests per second that other users of the account consume from the limit."""
    ratelimit_headers: bool = True
    """Responses carry `Ratelimit` and `Ratelimit-Policy`."""
    retry_after: bool = True
    """A 429 for the rate limit carries `Retry-After`."""
    clock_skew: float = 0.0
    """How far the service's clock is ahead of the sandbox's (behind, if negative).

    It shifts everything the service dates: `Date` headers, row dates, filters and the quota's reset.
    """

    @classmethod
    def instant(cls, **changes: Any) -> "Behaviour":
        """Return a behaviour whose devices need no time at all: commands finish as soon as they are created."""
        settings: dict[str, Any] = dict.fromkeys(("pickup_seconds", "run_seconds", "upload_seconds"), (0.0, 0.0))
        settings.update(changes)
        return cls(**settings)


ArtifactSize = int | Callable[[dict[str, Any]], int | None] | None
"""Size of an artifact in bytes: the same for all, a function of the command's row, or None for a natural size."""
