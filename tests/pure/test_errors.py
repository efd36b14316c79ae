"""The tree of errors: who is whose parent, one line each, and no loss on the way to another process."""

import copy
import inspect
import pickle
from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd import errors
from dexcmd.errors import (
    AmbiguousCreateError,
    APIError,
    ArtifactChangedError,
    ArtifactExistsError,
    ArtifactTooLargeError,
    AuthenticationError,
    BadRequestError,
    CampaignBusyError,
    CampaignError,
    CampaignExistsError,
    CampaignFileError,
    CampaignNotFoundError,
    CommandFailedError,
    ConfigurationError,
    DexError,
    DexWarning,
    DownloadError,
    ErrorDetail,
    InsufficientSpaceError,
    InvalidArtifactError,
    MemberNotFoundError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ResponseDecodeError,
    ServerError,
    StalledDownloadError,
    TargetBusyError,
    TransportError,
    TransportTimeoutError,
    TruncatedArtifactError,
    UnreadableMemberError,
    UnsafeFilenameError,
    WaitTimeoutError,
)
from dexcmd.resources.command import Command
from dexcmd.safe_text import one_line

TREE = {
    DexError: (Exception,),
    ConfigurationError: (DexError, ValueError),
    TransportError: (DexError,),
    TransportTimeoutError: (TransportError, TimeoutError),
    APIError: (DexError,),
    BadRequestError: (APIError,),
    AuthenticationError: (APIError,),
    PermissionDeniedError: (APIError,),
    NotFoundError: (APIError,),
    RateLimitError: (APIError,),
    QuotaExceededError: (APIError,),
    ServerError: (APIError,),
    ResponseDecodeError: (DexError,),
    AmbiguousCreateError: (DexError,),
    CommandFailedError: (DexError,),
    WaitTimeoutError: (DexError, TimeoutError),
    DownloadError: (DexError,),
    TruncatedArtifactError: (DownloadError,),
    StalledDownloadError: (DownloadError,),
    ArtifactChangedError: (DownloadError,),
    InvalidArtifactError: (DownloadError,),
    UnsafeFilenameError: (DownloadError,),
    InsufficientSpaceError: (DownloadError,),
    ArtifactExistsError: (DownloadError,),
    ArtifactTooLargeError: (DownloadError,),
    MemberNotFoundError: (DownloadError, LookupError),
    UnreadableMemberError: (DownloadError,),
    CampaignError: (DexError,),
    CampaignExistsError: (CampaignError,),
    CampaignNotFoundError: (CampaignError, LookupError),
    CampaignBusyError: (CampaignError,),
    TargetBusyError: (CampaignError,),
    CampaignFileError: (ConfigurationError,),
}
DETAILS = (
    ErrorDetail("low", 971, "https://example.com/d", "/commands/3/device_id"),
    ErrorDetail("high"),
)
COMMAND = Command(id="c1", created_date=datetime(2026, 1, 1, tzinfo=UTC), args={"a": "b"})
API_ERRORS = [kind for kind in TREE if issubclass(kind, APIError)]

INSTANCES: list[DexError] = [
    *(kind("what happened") for kind in TREE if not attrs.has(kind)),
    TransportError("broken", sent=False, permanent=True),
    TransportError("broken"),
    TransportTimeoutError("late", sent=False, permanent=False),
    *(kind(418, DETAILS, "8f0-LHR", "POST", "/dex/commands", 2.5) for kind in API_ERRORS),
    *(kind(418) for kind in API_ERRORS),
    ResponseDecodeError("expected a string", "$.result"),
    ResponseDecodeError("not JSON"),
    AmbiguousCreateError("can't be told", (COMMAND,), TransportTimeoutError("late")),
    AmbiguousCreateError("can't be told"),
    WaitTimeoutError("2 commands have not ended", ("c1", "c2")),
    TargetBusyError((3, 7)),
    CampaignFileError("london.toml", ("name: missing", "accounts[1].name: the same as accounts[0].name")),
]


class TestTree:
    @pytest.mark.parametrize(("kind", "bases"), TREE.items())
    def test_parents(self, kind: type, bases: tuple[type, ...]):
        assert kind.__bases__ == bases

    def test_it_is_all_of_the_tree(self):
        defined = {
            value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, BaseException)
        }
        assert defined == {*TREE, DexWarning}

    def test_the_module_names_what_it_defines(self):
        assert set(errors.__all__) == {kind.__name__ for kind in (*TREE, DexWarning, ErrorDetail)}

    def test_a_warning_is_no_error(self):
        assert DexWarning.__bases__ == (UserWarning,)

    def test_every_class_has_an_instance_below(self):
        assert {type(error) for error in INSTANCES} == set(TREE)

    @pytest.mark.parametrize("kind", TREE)
    def test_documented(self, kind: type):
        assert kind.__doc__
        assert "Method generated" not in kind.__doc__


class TestText:
    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (DexError("plain"), "plain"),
            (ConfigurationError("x must be y"), "x must be y"),
            (TransportError("broken", sent=False), "broken"),
            (TransportTimeoutError("late"), "late"),
            (ResponseDecodeError("wrong", "$.result"), "$.result: wrong"),
            (ResponseDecodeError("wrong"), "wrong"),
            (AmbiguousCreateError("unclear", (COMMAND,)), "unclear"),
            (WaitTimeoutError("late", ("c1",)), "late"),
            (TargetBusyError((3, 7)), "a POST is already open for the targets 3, 7"),
            (CampaignFileError("a.toml", ("name: missing", "deadline: past")), "a.toml: name: missing; deadline: past"),
            (APIError(500, method="GET", path="/x"), "GET /x: 500: no reason given"),
            (
                RateLimitError(429, (ErrorDetail("slow"),), "r", "GET", "/x", 300.0),
                "GET /x: 429: slow; retry after 300 s [cf-ray r]",
            ),
            (
                APIError(400, DETAILS, method="GET", path="/x"),
                "GET /x: 400: low (code 971) at /commands/3/device_id; high",
            ),
            (
                APIError(429, method="GET", path="/x", retry_after=0.25),
                "GET /x: 429: no reason given; retry after 0.25 s",
            ),
        ],
    )
    def test_what_it_says(self, error: DexError, text: str):
        assert str(error) == text

    def test_a_detail_with_code_0(self):
        assert str(ErrorDetail("m", 0, pointer="")) == "m (code 0) at "

    @pytest.mark.parametrize("error", INSTANCES, ids=lambda error: type(error).__name__)
    def test_one_line(self, error: DexError):
        assert len(str(error).splitlines()) == 1
        assert len(str(error)) < 300

    @pytest.mark.parametrize("kind", API_ERRORS)
    def test_what_the_service_says_is_cut(self, kind: type[APIError]):
        details = tuple(ErrorDetail("many\nlines\u2028" * 100, 1, pointer="/a\n" * 100) for _ in range(50))
        text = str(kind(400, details, method="GET", path="/x"))
        assert len(text.splitlines()) == 1
        assert len(text) <= len("GET /x: 400: ") + 200


class TestOneLine:
    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("", ""),
            (" \t\r\n\x0b\x0c ", ""),
            ("a", "a"),
            ("  a  b\n\nc ", "a b c"),
            ("a\r\nb\x00c\x1bd\x7fe\x85f\u00a0g\u2028h\u2029i", "a b c d e f g h i"),
            ("\u202eabc\u2066d\u200be\u200ff", "abc d e f"),
            ("é 漢 🎈", "é 漢 🎈"),
            ("x" * 200, "x" * 200),
            ("x" * 201, "x" * 199 + "…"),
            ("x " * 200, "x " * 99 + "x…"),
            ("a" + " " * 300 + "b", "a b"),
        ],
    )
    def test_table(self, text: str, line: str):
        assert one_line(text) == line

    @pytest.mark.parametrize(("length", "line"), [(1, "…"), (5, "abcd…"), (6, "abcdef"), (60, "abcdef")])
    def test_length(self, length: int, line: str):
        assert one_line("abcdef", length) == line

    def test_of_a_large_text_only_the_start_is_looked_at(self):
        assert one_line("ab\n" * 10_000_000, 8) == "ab ab a…"

    @settings(deadline=None, max_examples=200)
    @given(st.text(max_size=100) | st.text(alphabet="a \n\t\x00\u2028\u202e", max_size=1000), st.integers(1, 250))
    def test_always_one_line_of_bounded_length(self, text: str, length: int):
        line = one_line(text, length)
        assert len(line) <= length
        assert line.splitlines() in ([], [line])
        assert line == line.strip()
        assert "  " not in line
        assert one_line(line, length) == line


def state_of(error: DexError) -> tuple[object, ...]:
    """Return all that an error holds, with errors inside it as their text: they don't compare equal."""
    held = {name: str(value) if isinstance(value, DexError) else value for name, value in vars(error).items()}
    return type(error), str(error), held


class TestCopies:
    @pytest.mark.parametrize("error", INSTANCES, ids=lambda error: type(error).__name__)
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_pickled(self, error: DexError, protocol: int):
        found = pickle.loads(pickle.dumps(error, protocol))
        assert found is not error
        assert state_of(found) == state_of(error)

    @pytest.mark.parametrize("error", INSTANCES, ids=lambda error: type(error).__name__)
    def test_copied(self, error: DexError):
        assert state_of(copy.copy(error)) == state_of(error)
        assert state_of(copy.deepcopy(error)) == state_of(error)

    def test_notes_go_along(self):
        error = WaitTimeoutError("late", ("c1",))
        error.add_note("while testing")
        assert pickle.loads(pickle.dumps(error)).__notes__ == ["while testing"]

    @pytest.mark.parametrize("error", INSTANCES, ids=lambda error: type(error).__name__)
    def test_raised_and_caught_as_what_it_is(self, error: DexError):
        for base in type(error).__mro__[:-1]:
            with pytest.raises(base) as caught:
                raise error
            assert caught.value is error

    @pytest.mark.parametrize("error", INSTANCES, ids=lambda error: type(error).__name__)
    def test_errors_are_told_apart_and_can_be_hashed(self, error: DexError):
        assert error == error
        assert copy.copy(error) != error
        assert len({error, copy.copy(error)}) == 2
