"""What an error comes to."""

import pytest

from dexcmd import errors
from dexcmd.cli import main
from dexcmd.cli.failure import explain
from dexcmd.resources.command import Command
from dexcmd.sandbox import Fault
from tests.cli.conftest import Service

DOWNLOAD = "/dex/commands/c1/downloads/c1.zip"


def api(kind: type[errors.APIError], status: int, method: str = "GET", path: str = "/dex/x", **more: float):
    return kind(status, (errors.ErrorDetail("no"),), method=method, path=path, **more)  # type: ignore[arg-type]


CASES: list[tuple[BaseException, str, str | None, int]] = [
    (errors.ConfigurationError("a\nb"), "a b", None, 2),
    (errors.CampaignFileError("f.toml", ("a: b", "c: d")), "f.toml: a: b; c: d", None, 2),
    (api(errors.AuthenticationError, 401), "GET /dex/x: 401: no", "CLOUDFLARE_API_TOKEN or --token-file", 5),
    (api(errors.PermissionDeniedError, 403), "GET /dex/x: 403: no", "`Cloudflare DEX Read`", 5),
    (api(errors.PermissionDeniedError, 403, "POST"), "POST /dex/x: 403: no", "`Cloudflare DEX Write`", 5),
    (
        errors.PermissionDeniedError(403, (errors.ErrorDetail("Authentication error", 10000),)),
        "403: Authentication error (code 10000)",
        "--token-file), for this account and `Cloudflare DEX Read`?",
        5,
    ),
    (api(errors.QuotaExceededError, 403, "POST"), "POST /dex/x: 403: no", "dexcmd quota", 5),
    (api(errors.RateLimitError, 429), "GET /dex/x: 429: no", "a few minutes", 5),
    (
        api(errors.RateLimitError, 429, retry_after=300.0),
        "GET /dex/x: 429: no; retry after 300 s",
        "again in 300 s",
        5,
    ),
    (api(errors.NotFoundError, 404, path=DOWNLOAD), f"GET {DOWNLOAD}: 404: no", "kept for 7 days", 1),
    (api(errors.NotFoundError, 404), "GET /dex/x: 404: no", "--account", 1),
    (api(errors.ServerError, 503), "GET /dex/x: 503: no", "try again later", 1),
    (api(errors.BadRequestError, 400), "GET /dex/x: 400: no", None, 1),
    (errors.TransportError("cut"), "cut", "--base-url", 1),
    (errors.TransportTimeoutError("late"), "late", "--base-url", 1),
    (errors.TransportError("untrusted", permanent=True), "untrusted", "in the same way", 1),
    (errors.ResponseDecodeError("no JSON", "$"), "$: no JSON", "--base-url", 1),
    (errors.AmbiguousCreateError("who knows"), "who knows", "dexcmd commands --since 1h", 1),
    (errors.AmbiguousCreateError("who knows", [Command(id="c1")]), "who knows", "dexcmd commands --since 1h", 3),
    (
        errors.WaitTimeoutError("late", ("c1",)),
        "late",
        "it keeps running: run the same command again to wait for it",
        3,
    ),
    (
        errors.WaitTimeoutError("late", ("c1", "c2")),
        "late",
        "they keep running: run the same command again to wait for them",
        3,
    ),
    (errors.InsufficientSpaceError("full"), "full", "make room, then run the same command again to resume", 1),
    (errors.TruncatedArtifactError("cut"), "cut", "run the same command again to resume", 1),
    (errors.ArtifactExistsError("there"), "there", "another folder", 1),
    (errors.InvalidArtifactError("no zip"), "no zip", "--verify size", 1),
    (errors.DownloadError("no"), "no", None, 1),
    (errors.DexError("no"), "no", None, 1),
    (OSError(28, "No space left on device"), "No space left on device", None, 1),
    (FileNotFoundError(2, "No such file or directory", "x"), "x: No such file or directory", None, 1),
    (OSError("odd"), "odd", None, 1),
    (KeyError("k"), "KeyError: 'k'", "--debug", 1),
]


@pytest.mark.parametrize(("error", "line", "hint", "code"), CASES, ids=lambda case: type(case).__name__)
def test_every_error_is_a_line_and_says_what_to_do(error: BaseException, line: str, hint: str | None, code: int):
    failure = explain(error)
    assert (failure.line, failure.exit_code) == (line, code)
    if hint is None:
        assert failure.hint is None
        assert str(failure) == line
    else:
        assert hint in (failure.hint or "")
        assert str(failure) == f"{line}; {failure.hint}"


def test_every_error_of_the_service_has_its_case():
    kinds = {type(case[0]) for case in CASES}
    assert {kind for kind in errors.APIError.__subclasses__() if kind not in kinds} == set()


def test_what_was_under_way_is_told_as_well():
    error = errors.TransportError("cut")
    error.add_note("it keeps running")
    assert explain(error).hint == "check the network and --base-url; it keeps running"


def test_a_line_has_an_end():
    assert len(explain(errors.DexError("x" * 5000)).line) == 1000


def test_a_base_url_without_its_path(service: Service, capsys: pytest.CaptureFixture[str]):
    url = service.sandbox.base_url
    assert main(["quota", "--base-url", url.removesuffix("/client/v4")]) == 1
    said = capsys.readouterr().err
    assert "(code 7000)" in said
    assert "--account), and --base-url (CLOUDFLARE_BASE_URL), with its /client/v4?\n" in said
    service.sandbox.faults.add(Fault.error(404), on="get_quota")
    assert main(["quota"]) == 1
    assert "--base-url" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (errors.WaitTimeoutError("late", ("c1",)), "it keeps running: `dexcmd follow` waits for it"),
        (errors.InsufficientSpaceError("full"), "make room, then `dexcmd download` resumes"),
        (errors.TruncatedArtifactError("cut"), "`dexcmd download` resumes"),
        (errors.StalledDownloadError("slow"), "`dexcmd download` resumes"),
    ],
    ids=lambda case: type(case).__name__,
)
def test_nobody_is_told_to_create_commands_a_second_time(error: BaseException, hint: str):
    assert explain(error, created=True).hint == hint
