"""Every exception that a public call of dexcmd raises, in one tree under `DexError`.

The text of each is one line, safe to log: bodies are cut to 200 characters and the API token never shows.
"""

import re
from collections.abc import Sequence

import attrs

import dexcmd

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

EXCERPT_LENGTH = 200

_NOT_PRINTABLE = re.compile(
    # Blanks and control characters; zero-width and bidi ones, which change what a reader sees; half surrogates, which
    # no log can encode.
    "[\x00-\x20\x7f-\xa0\u061c\u2028\u2029\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+"
)
_MOST_READ = 65536

_QUERY = re.compile(r"(https?://[^\s?\"'<>()]*)\?[^\s\"'<>()]*")

_USER = re.compile(r"(//)[^\s/@\"'<>()]*@")


def repr_text(value: object) -> str:
    """Return the `repr` of a value; for a whole number of more digits than Python writes, what it is."""
    try:
        return repr(value)
    except ValueError:
        return "a number of thousands of digits"


def one_line(text: str, length: int = EXCERPT_LENGTH) -> str:
    """Return `text` with runs of blank, control and bidi characters made one blank, cut to `length`."""
    line = _NOT_PRINTABLE.sub(" ", text[:_MOST_READ]).strip()
    return line if len(line) <= length else line[: length - 1] + "…"


def without_secrets(text: str) -> str:
    """Return `text` with what may let anybody in struck out of the URLs in it: queries, users and passwords."""
    return _USER.sub(r"\1", _QUERY.sub(r"\1", text))


def told_url(location: str) -> str:
    """Return as much of what is to be a URL, absolute or not, as may be told."""
    return without_secrets(location.partition("?")[0].partition("#")[0])


class DexWarning(UserWarning):
    """A value that is outside what the service documents, but that it may accept all the same."""


class DexError(Exception):
    """The base of all that dexcmd raises."""


class ConfigurationError(DexError, ValueError):
    """An argument or a setting can't be right; raised before anything is sent."""


@attrs.define(eq=False, slots=False)
class TransportError(DexError):
    """No answer could be had: no connection, a broken connection, or a body cut short."""

    message: str
    sent: bool = True
    """Whether the request may have reached the service."""

    permanent: bool = False
    """Whether the same request would fail in the same way again, as with a certificate that isn't trusted."""

    def __str__(self) -> str:
        """Return the message."""
        return self.message


class TransportTimeoutError(TransportError, TimeoutError):
    """The service did not answer in time."""


@attrs.frozen
class ErrorDetail:
    """One error of an answer, as the service words it."""

    message: str
    code: int | None = None
    """Cloudflare's own number; codes below 1000 occur, so go by the HTTP status first."""

    documentation_url: str | None = None
    pointer: str | None = None
    """A JSON pointer to the part of the request that is to blame, such as `/commands/3/device_id`."""

    def __str__(self) -> str:
        """Return the message, with the code and the pointer where there are any."""
        code = "" if self.code is None else f" (code {self.code})"
        where = "" if self.pointer is None else f" at {self.pointer}"
        return f"{self.message}{code}{where}"


@attrs.define(eq=False, slots=False)
class APIError(DexError):
    """The service answered, and refused or failed."""

    status: int
    """The HTTP status.  It is 200 where the envelope said `success: false`."""

    errors: tuple[ErrorDetail, ...] = ()
    ray_id: str | None = None
    """The `cf-ray` of the answer: what Cloudflare's support asks for."""

    method: str = ""
    path: str = ""
    retry_after: float | None = None
    """How many seconds the service, or the rate limit, wants this client to wait."""

    def __str__(self) -> str:
        """Return method, path, status, what the service said, and the ray id, in one line."""
        said = one_line("; ".join(str(error) for error in self.errors)) or "no reason given"
        wait = "" if self.retry_after is None else f"; retry after {self.retry_after:g} s"
        ray = "" if self.ray_id is None else f" [cf-ray {one_line(self.ray_id, 64)}]"
        call = f"{self.method} {self.path}".strip()
        return f"{call}{': ' if call else ''}{self.status}: {said}{wait}{ray}"


class BadRequestError(APIError):
    """The service refused the request for what it says (400 and the rarer 4xx)."""


class AuthenticationError(APIError):
    """The token is missing, malformed (400 with code 6003) or unknown (401)."""


class PermissionDeniedError(APIError):
    """The token was refused or lacks a permission (403).

    Creating commands needs `Cloudflare DEX Write`; all else also works with `Cloudflare DEX Read`.
    """


class NotFoundError(APIError):
    """There is no such thing, or no longer (404, 410); artifacts are kept for 7 days."""


class RateLimitError(APIError):
    """The rate limit is used up (429), and the wait for it, `retry_after`, does not fit the call's budget."""


class QuotaExceededError(APIError):
    """The day's quota of commands is used up."""


class ServerError(APIError):
    """The service or its gateway failed (5xx)."""


@attrs.define(eq=False, slots=False)
class ResponseDecodeError(DexError):
    """An answer is not what the API documents: not JSON, no envelope, or a value of another type."""

    message: str
    path: str | None = None
    """Where in the answer, such as `$.result.commands[3].created_date`."""

    def __str__(self) -> str:
        """Return the message, led by the path where there is one."""
        return self.message if self.path is None else f"{self.path}: {self.message}"


@attrs.define(eq=False, slots=False)
class AmbiguousCreateError(DexError):
    """It can't be told whether a POST created its commands, so it was not sent again.

    Each command costs quota and a user's privacy: look at `dex.commands.list` before trying again.
    """

    message: str
    created: "Sequence[dexcmd.Command]" = ()
    """The commands that are known to have been created."""

    cause: DexError | None = None
    """What happened to the POST."""

    outcomes: "Sequence[dexcmd.Outcome]" = ()
    """What is known of each request, where `create` raises it."""

    def __str__(self) -> str:
        """Return the message."""
        return self.message


class CommandFailedError(DexError):
    """The service reports a command as FAILED.  The API gives no reason."""


@attrs.define(eq=False, slots=False)
class WaitTimeoutError(DexError, TimeoutError):
    """Commands did not end in the time given; they go on, for the service can't cancel them."""

    message: str
    pending: tuple[str, ...] = ()
    """The ids of the commands that had not ended."""

    unlisted: tuple[str, ...] = ()
    """Those of them that the list has never shown: of another account, or no ids of commands at all."""

    last_seen: "Sequence[dexcmd.Command]" = ()
    """What the list last showed of the others: those in `PENDING_EXEC` wait for their device."""

    def __str__(self) -> str:
        """Return the message."""
        return self.message


class DownloadError(DexError):
    """An artifact could not be brought to its place.  Nothing is left under its final name."""


class TruncatedArtifactError(DownloadError):
    """The body ended before, or went on past, the length that was announced."""


class StalledDownloadError(DownloadError):
    """No bytes arrived for too long."""


class ArtifactChangedError(DownloadError):
    """What comes can't be joined to what is there.

    Another version of the artifact, or other bytes than asked for.
    """


class InvalidArtifactError(DownloadError):
    """What was served is not a whole zip archive."""


class UnsafeFilenameError(DownloadError):
    """A name from the service can't be made a file name, or a member of an artifact would leave the folder."""


class InsufficientSpaceError(DownloadError):
    """The disk is full."""


class ArtifactExistsError(DownloadError):
    """There is already a file under the final name."""


class ArtifactTooLargeError(DownloadError):
    """An artifact, or a member of it, unpacks to more than the caller allows."""


class MemberNotFoundError(DownloadError, LookupError):
    """There is no member of that name in the artifact."""


class UnreadableMemberError(DownloadError):
    """A member of an artifact is encrypted, or compressed in a way that can't be undone here."""


class CampaignError(DexError):
    """A campaign can't go on."""


class CampaignExistsError(CampaignError):
    """There is already a campaign of that name, with another plan."""


class CampaignNotFoundError(CampaignError, LookupError):
    """The journal has no campaign of that name."""


class CampaignBusyError(CampaignError):
    """Another process runs the campaign at this moment."""


@attrs.define(eq=False, slots=False)
class TargetBusyError(CampaignError):
    """A POST of the same type for the same target is open, in this campaign or another of the journal."""

    targets: tuple[int, ...]
    """The numbers of the targets that are busy."""

    def __str__(self) -> str:
        """Say which."""
        return f"a POST is open already for the targets {', '.join(map(str, self.targets))}"


@attrs.define(eq=False, slots=False)
class CampaignFileError(ConfigurationError):
    """A campaign file has mistakes; all of them are told at once."""

    source: str
    """What the file is called."""

    mistakes: tuple[str, ...]
    """One line each, led by its path, such as `accounts[1].token_env: ...`."""

    def __str__(self) -> str:
        """Return all of them in one line."""
        return f"{self.source}: {'; '.join(self.mistakes)}"
