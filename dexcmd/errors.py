"""The exceptions of dexcmd, in one tree under `DexError`.

The text of each is one line and safe to log: bodies are cut to 200 characters and the API token never appears.
Misuse of an object raises Python's own `TypeError` or `RuntimeError` instead.
"""

from collections.abc import Sequence

import attrs

import dexcmd
from dexcmd.safe_text import one_line

__all__ = [
    "APIError",
    "AmbiguousCreateError",
    "ArtifactChangedError",
    "ArtifactExistsError",
    "ArtifactTooLargeError",
    "AuthenticationError",
    "BadRequestError",
    "CampaignBusyError",
    "CampaignError",
    "CampaignExistsError",
    "CampaignFileError",
    "CampaignNotFoundError",
    "CommandFailedError",
    "ConfigurationError",
    "DexError",
    "DexWarning",
    "DownloadError",
    "ErrorDetail",
    "InsufficientSpaceError",
    "InvalidArtifactError",
    "MemberNotFoundError",
    "NotFoundError",
    "PermissionDeniedError",
    "QuotaExceededError",
    "RateLimitError",
    "ResponseDecodeError",
    "ServerError",
    "StalledDownloadError",
    "TargetBusyError",
    "TransportError",
    "TransportTimeoutError",
    "TruncatedArtifactError",
    "UnreadableMemberError",
    "UnsafeFilenameError",
    "WaitTimeoutError",
]


class DexWarning(UserWarning):
    """A value is outside the documented range, but the service may still accept it."""


class DexError(Exception):
    """The base class of dexcmd's exceptions.

    Misuse of an object raises `TypeError` or `RuntimeError` instead, such as a plain `with` on an async object.
    """


class ConfigurationError(DexError, ValueError):
    """An argument or a setting is invalid, or the client is closed or belongs to another event loop.

    Raised before the request is sent.
    """


@attrs.define(eq=False, slots=False)
class TransportError(DexError):
    """No complete response arrived: no connection, a broken connection, or a truncated body."""

    message: str
    sent: bool = True
    """Whether the request may have reached the service."""

    permanent: bool = False
    """Whether the same request would fail the same way again, as with an untrusted certificate."""

    def __str__(self) -> str:
        """Return the message."""
        return self.message


class TransportTimeoutError(TransportError, TimeoutError):
    """The service did not respond in time."""


@attrs.frozen
class ErrorDetail:
    """One error from a response, as the service words it."""

    message: str
    code: int | None = None
    """Cloudflare's error code; codes below 1000 occur, so classify by HTTP status first."""

    documentation_url: str | None = None
    pointer: str | None = None
    """A JSON pointer to the offending part of the request, such as `/commands/3/device_id`."""

    def __str__(self) -> str:
        """Return the message, followed by the code and the pointer if present."""
        code = "" if self.code is None else f" (code {self.code})"
        where = "" if self.pointer is None else f" at {self.pointer}"
        return f"{self.message}{code}{where}"


@attrs.define(eq=False, slots=False)
class APIError(DexError):
    """The service responded with a refusal or a failure."""

    status: int
    """The HTTP status; 200 if the response said `success: false` under that status."""

    errors: tuple[ErrorDetail, ...] = ()
    ray_id: str | None = None
    """The response's `cf-ray`, which Cloudflare's support asks for."""

    method: str = ""
    path: str = ""
    retry_after: float | None = None
    """How many seconds to wait before retrying, according to the service or the rate limit."""

    def __str__(self) -> str:
        """Return the method, path, status, service messages and ray id, in one line."""
        said = one_line("; ".join(str(error) for error in self.errors)) or "no reason given"
        wait = "" if self.retry_after is None else f"; retry after {self.retry_after:g} s"
        ray = "" if self.ray_id is None else f" [cf-ray {one_line(self.ray_id, 64)}]"
        call = f"{self.method} {self.path}".strip()
        return f"{call}{': ' if call else ''}{self.status}: {said}{wait}{ray}"


class BadRequestError(APIError):
    """The service refused the request because of its content (400 and the rarer 4xx)."""


class AuthenticationError(APIError):
    """The token is missing, malformed (400 with code 6003) or unknown (401)."""


class PermissionDeniedError(APIError):
    """The token was refused or lacks a permission (403).

    Creating commands requires `Cloudflare DEX Write`; everything else also works with `Cloudflare DEX Read`.
    """


class NotFoundError(APIError):
    """The resource does not exist, or no longer does (404, 410); artifacts are kept for 7 days."""


class RateLimitError(APIError):
    """The rate limit is used up (429), and the retry policy allows no further wait or attempt.

    `retry_after` is the wait in seconds, if known.
    """


class QuotaExceededError(APIError):
    """The daily command quota is used up."""


class ServerError(APIError):
    """The service or its gateway failed (5xx)."""


@attrs.define(eq=False, slots=False)
class ResponseDecodeError(DexError):
    """A response does not match the API's documentation: not JSON, no envelope, or a value of the wrong type."""

    message: str
    path: str | None = None
    """The place in the response, such as `$.result.commands[3].created_date`."""

    def __str__(self) -> str:
        """Return the message, preceded by the path if there is one."""
        return self.message if self.path is None else f"{self.path}: {self.message}"


@attrs.define(eq=False, slots=False)
class AmbiguousCreateError(DexError):
    """Not all requested commands are known to exist; some may have been created without confirmation.

    Each command costs quota and a user's privacy: check `dex.commands.list` before trying again.
    """

    message: str
    created: "Sequence[dexcmd.Command]" = ()
    """The commands known to have been created."""

    cause: DexError | None = None
    """What happened to the POST."""

    outcomes: "Sequence[dexcmd.Outcome]" = ()
    """The outcome of each request, if raised by `create`."""

    def __str__(self) -> str:
        """Return the message."""
        return self.message


class CommandFailedError(DexError):
    """The service reports a command as FAILED.  The API gives no reason."""


@attrs.define(eq=False, slots=False)
class WaitTimeoutError(DexError, TimeoutError):
    """Commands did not end in time; they keep running, since the service can't cancel them."""

    message: str
    pending: tuple[str, ...] = ()
    """The ids of the commands that have not ended."""

    unlisted: tuple[str, ...] = ()
    """Those that never appeared in the list: they belong to another account, or are not command ids."""

    last_seen: "Sequence[dexcmd.Command]" = ()
    """The others, as the list last showed them; those in `PENDING_EXEC` are waiting for their device."""

    def __str__(self) -> str:
        """Return the message."""
        return self.message


class DownloadError(DexError):
    """An artifact could not be downloaded, stored or read.  No incomplete artifact has its final name."""


class TruncatedArtifactError(DownloadError):
    """The body was shorter or longer than announced."""


class StalledDownloadError(DownloadError):
    """No bytes arrived for too long, or they arrived too slowly."""


class ArtifactChangedError(DownloadError):
    """The response can't be appended to the partial download.

    It is another version of the artifact, or not the requested range.
    """


class InvalidArtifactError(DownloadError):
    """The artifact is not a complete zip archive."""


class UnsafeFilenameError(DownloadError):
    """A name from the service can't become a file name, or a member of an artifact would escape the folder."""


class InsufficientSpaceError(DownloadError):
    """The disk is full, or has too little space left."""


class ArtifactExistsError(DownloadError):
    """A file with the final name already exists."""


class ArtifactTooLargeError(DownloadError):
    """An artifact or one of its members unpacks to more than the caller allows."""


class MemberNotFoundError(DownloadError, LookupError):
    """The artifact has no member with that name."""


class UnreadableMemberError(DownloadError):
    """A member of an artifact is encrypted, or uses an unsupported compression method."""


class CampaignError(DexError):
    """A campaign can't continue."""


class CampaignExistsError(CampaignError):
    """A campaign with that name already exists, with a different plan."""


class CampaignNotFoundError(CampaignError, LookupError):
    """The journal has no campaign with that name."""


class CampaignBusyError(CampaignError):
    """Another process is running the campaign."""


@attrs.define(eq=False, slots=False)
class TargetBusyError(CampaignError):
    """A POST of the same type for the same target is open, in this campaign or another one in the journal."""

    targets: tuple[int, ...]
    """The numbers of the busy targets."""

    def __str__(self) -> str:
        """Name the targets."""
        return f"a POST is already open for the targets {', '.join(map(str, self.targets))}"


@attrs.define(eq=False, slots=False)
class CampaignFileError(ConfigurationError):
    """A campaign file has mistakes; all are reported at once."""

    source: str
    """The name of the file."""

    mistakes: tuple[str, ...]
    """One line each, beginning with the path, such as `accounts[1].token_env: ...`."""

    def __str__(self) -> str:
        """Return all of them in one line."""
        return f"{self.source}: {'; '.join(self.mistakes)}"
