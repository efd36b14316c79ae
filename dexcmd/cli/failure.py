"""Turns an error into a message for the user, a hint, and an exit code.  Pure."""

import attrs

from dexcmd.cli.exits import FAILED, PARTLY, REFUSED, USAGE
from dexcmd.cli.texts import LONGEST_LINE, TOKEN_VARIABLE, token_text
from dexcmd.errors import (
    AmbiguousCreateError,
    APIError,
    ArtifactExistsError,
    AuthenticationError,
    CampaignBusyError,
    CampaignExistsError,
    CampaignFileError,
    CampaignNotFoundError,
    ConfigurationError,
    DexError,
    InsufficientSpaceError,
    InvalidArtifactError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ResponseDecodeError,
    ServerError,
    StalledDownloadError,
    TransportError,
    TruncatedArtifactError,
    WaitTimeoutError,
)
from dexcmd.safe_text import one_line

__all__ = ["Failure", "explain", "explain_each"]

TOKEN_REFUSED = 10000
"""The code with which the service refuses a token without giving a reason."""

NO_ROUTE = (7003, 7000)
"""The service's codes for a URL that is not part of the API, and for the cause of that."""

ACCOUNT_RIGHT = "is the account right (CLOUDFLARE_ACCOUNT_ID or --account)"


@attrs.frozen
class Failure:
    """An error, as reported to the user."""

    line: str
    """What went wrong, in one line."""

    hint: str | None
    """What to do about it, if known."""

    exit_code: int

    def __str__(self) -> str:
        """Return both in one line."""
        return self.line if self.hint is None else f"{self.line}; {self.hint}"


def explain(error: BaseException, token_env: str = TOKEN_VARIABLE, *, created: bool = False) -> Failure:
    """Return the failure for an error; `token_env` is the environment variable of the token.

    `created` is whether running the same command again would create commands a second time.
    """
    line = one_line(_text(error), LONGEST_LINE)
    hint, code = _advice(error, token_text(token_env), created=created)
    return Failure(line, hint, code)


def explain_each(error: BaseException) -> list[Failure]:
    """Return the failures for an error: more than one if it reports several mistakes."""
    if isinstance(error, CampaignFileError):
        return [
            Failure(one_line(f"{error.source}: {mistake}", LONGEST_LINE), None, USAGE) for mistake in error.mistakes
        ]
    return [explain(error)]


def _text(error: BaseException) -> str:
    if isinstance(error, OSError) and not isinstance(error, DexError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    if isinstance(error, DexError | OSError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _advice(error: BaseException, token: str, *, created: bool) -> tuple[str | None, int]:
    resume = "`dexcmd download` resumes" if created else "run the same command again to resume"
    match error:
        case ConfigurationError():
            return None, USAGE
        case APIError():
            return _of_the_service(error, token)
        case TransportError():
            if error.permanent:
                return "retrying would fail in the same way", FAILED
            return _with_note("check the network and --base-url", error), FAILED
        case ResponseDecodeError():
            return "check that --base-url is that of the API", FAILED
        case AmbiguousCreateError():
            hint = "check `dexcmd commands --since 1h` before trying again"
            return hint, PARTLY if error.created else FAILED
        case WaitTimeoutError():
            they_keep, them = ("it keeps", "it") if len(error.pending) == 1 else ("they keep", "them")
            wait = "`dexcmd follow` waits" if created else "run the same command again to wait"
            return f"{they_keep} running: {wait} for {them}", PARTLY
        case InsufficientSpaceError():
            return f"make room, then {resume}", FAILED
        case TruncatedArtifactError() | StalledDownloadError():
            return resume, FAILED
        case ArtifactExistsError():
            return "move it away, or save into another folder", FAILED
        case InvalidArtifactError():
            return "--verify size accepts it as it is", FAILED
        case CampaignNotFoundError() | CampaignExistsError():
            return _noted(error), USAGE
        case CampaignBusyError():
            return _noted(error), FAILED
        case DexError() | OSError():
            return None, FAILED
        case _:
            return "this is a bug in dexcmd: run it with --debug and report the output", FAILED


def _noted(error: BaseException) -> str | None:
    """Return the hint of whoever knew what was under way, or where the journal is."""
    return next(iter(getattr(error, "__notes__", ())), None)


def _with_note(hint: str, error: BaseException) -> str:
    noted = _noted(error)
    return hint if noted is None else f"{hint}; {noted}"


def _of_the_service(error: APIError, token: str) -> tuple[str | None, int]:
    match error:
        case AuthenticationError():
            return f"the token is not valid: check {token}", REFUSED
        case PermissionDeniedError():
            needed = f"`Cloudflare DEX {'Write' if error.method == 'POST' else 'Read'}`"
            if any(detail.code == TOKEN_REFUSED for detail in error.errors):
                return f"is the token right ({token}), for this account and {needed}?", REFUSED
            return f"the token lacks {needed}", REFUSED
        case QuotaExceededError():
            return "`dexcmd quota` says when there is more", REFUSED
        case RateLimitError():
            wait = "a few minutes" if error.retry_after is None else f"{error.retry_after:.0f} s"
            return f"try again in {wait}", REFUSED
        case NotFoundError():
            if "/downloads/" in error.path:
                return "artifacts exist from SUCCESS on and are kept for 7 days", FAILED
            if any(detail.code in NO_ROUTE for detail in error.errors):
                return f"{ACCOUNT_RIGHT}, and --base-url (CLOUDFLARE_BASE_URL), with its /client/v4?", FAILED
            return f"{ACCOUNT_RIGHT}?", FAILED
        case ServerError():
            return _with_note("the service is having problems: try again later", error), FAILED
        case _:
            return None, FAILED
