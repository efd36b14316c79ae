"""From an answer to an envelope or a typed error, whatever the body is."""

import json
import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from dexcmd.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ErrorDetail,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ResponseDecodeError,
    ServerError,
)
from dexcmd.wire.answer import Answer
from dexcmd.wire.envelope import MAX_CHAINED, Envelope, PageInfo, api_error, read_envelope

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LONGEST_LINE = 300
"""200 characters of what was said, and room for method, path, status and content type."""


def answer(body: object = b"", status: int = 200, **headers: str) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return Answer("GET", "/dex/commands", status, named, raw)


def refused(body: object = b"", status: int = 400, **headers: str) -> APIError:
    with pytest.raises(APIError) as caught:
        read_envelope(answer(body, status, **headers), NOW)
    return caught.value


def garbled(body: object, status: int = 200, **headers: str) -> ResponseDecodeError:
    with pytest.raises(ResponseDecodeError) as caught:
        read_envelope(answer(body, status, **headers), NOW)
    return caught.value


def is_one_line(text: str) -> bool:
    return text.splitlines() == [text] and not any(unicodedata.category(char) == "Cc" for char in text)


HTML_502 = (
    b"<!DOCTYPE html>\r\n<html><head>\n<title>example.com |\n 502: Bad   gateway</title>\n<style>\n"
    + b"body { color: red }\n" * 150
    + b"</style></head><body>\n"
    + b"<p>Some text of the page</p>\n" * 80
    + b"</body></html>"
)


class TestGoodEnvelope:
    def test_result_and_what_goes_with_it(self):
        body = {
            "success": True,
            "errors": [],
            "messages": [],
            "result": {"commands": []},
            "result_info": {"count": 0, "page": 2, "per_page": 50, "total_count": 51, "total_pages": 2},
        }
        found = read_envelope(answer(body, Date="Thu, 01 Jan 2026 11:59:58 GMT"), NOW)
        assert found == Envelope(
            {"commands": []},
            PageInfo(count=0, page=2, per_page=50, total_count=51, total_pages=2),
            datetime(2026, 1, 1, 11, 59, 58, tzinfo=UTC),
        )

    @pytest.mark.parametrize("status", [200, 201, 202, 206, 299])
    def test_every_2xx_is_good(self, status: int):
        assert read_envelope(answer({"success": True, "result": 1}, status), NOW).result == 1

    @pytest.mark.parametrize("result", [{}, [], 0, False, "", {"commands": [None]}])
    def test_a_result_that_is_falsy_is_a_result(self, result: object):
        assert read_envelope(answer({"success": True, "result": result}), NOW).result == result

    def test_a_missing_success_passes(self):
        assert read_envelope(answer({"result": {"quota": 1}}), NOW).result == {"quota": 1}

    def test_a_byte_order_mark_is_no_garbage(self):
        assert read_envelope(answer(b'\xef\xbb\xbf{"result": 3}'), NOW).result == 3

    def test_no_date_and_no_page_info(self):
        found = read_envelope(answer({"success": True, "result": {}}), NOW)
        assert found.served_at is None
        assert found.page_info is None

    @pytest.mark.parametrize(
        ("info", "expected"),
        [
            (None, None),
            ("page 2", None),
            ([1], None),
            ({}, PageInfo()),
            ({"page": None, "per_page": "50", "total_count": True, "total_pages": 2.5}, PageInfo()),
            ({"page": 1, "count": 7, "cursor": "x"}, PageInfo(count=7, page=1)),
            ({"total_count": 12, "total_pages": 0}, PageInfo(total_count=12, total_pages=0)),
        ],
    )
    def test_page_info_is_what_of_it_could_be_read(self, info: object, expected: PageInfo | None):
        body = {"success": True, "result": {}, "result_info": info}
        assert read_envelope(answer(body), NOW).page_info == expected


class TestGoodStatusBadEnvelope:
    @pytest.mark.parametrize("body", [{"success": True}, {"success": True, "result": None}, {}])
    def test_no_result(self, body: object):
        error = garbled(body)
        assert error.path == "$.result"
        assert str(error) == "$.result: GET /dex/commands: 200: the response has no result"

    @pytest.mark.parametrize(
        ("success", "kind"),
        [
            (None, "null"),
            ("false", "a string"),
            (1, "a number"),
            (0.0, "a number"),
            ([], "a list"),
            ({}, "an object"),
        ],
    )
    def test_success_of_another_type(self, success: object, kind: str):
        error = garbled({"success": success, "result": {}})
        assert error.path == "$.success"
        assert str(error).endswith(f"expected a boolean, found {kind}")

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (b"[]", "a list"),
            (b"[1, 2]", "a list"),
            (b"17", "a number"),
            (b"-1.5e3", "a number"),
            (b"NaN", "a number"),
            (b'"done"', "a string"),
            (b"true", "a boolean"),
            (b"null", "null"),
        ],
    )
    def test_json_that_is_no_object(self, body: bytes, kind: str):
        error = garbled(body)
        assert error.path == "$"
        assert str(error) == f"$: GET /dex/commands: 200: the response is {kind}, not an object"

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b"", "empty body"),
            (b"   \n ", "empty body"),
            (b"OK", "OK"),
            (b'{"result": ', '{"result":'),
            (b"\xff\xfe\x00", "\N{REPLACEMENT CHARACTER}" * 2),
            (b'{"result": "\xff"}', '{"result": "\N{REPLACEMENT CHARACTER}"}'),
            (b"<html><title>Sign in</title><body>x</body></html>", "Sign in"),
            (b"<p>one</p>\n<p>two</p>", "one two"),
            (b"1" * 5000, "1" * 199 + "…"),
        ],
    )
    def test_not_json(self, body: bytes, said: str):
        error = garbled(body, Content_Type="text/html; charset=utf-8")
        assert error.path is None
        assert str(error) == f"GET /dex/commands: 200: not JSON (text/html; charset=utf-8): {said}"

    def test_not_json_and_no_content_type(self):
        assert "not JSON (no content type): gone" in str(garbled(b"gone"))

    def test_a_long_content_type_is_cut(self):
        assert len(str(garbled(b"x", Content_Type="y" * 5000))) < LONGEST_LINE


class TestSuccessFalse:
    def test_with_200_it_is_an_error_that_says_so(self):
        error = refused({"success": False, "errors": [{"code": 1000, "message": "no"}], "result": None}, 200)
        assert type(error) is APIError
        assert error.status == 200
        assert error.errors == (ErrorDetail("no", 1000),)
        assert str(error) == "GET /dex/commands: 200: no (code 1000)"

    @pytest.mark.parametrize("errors", [None, [], {}, "no", 5])
    def test_without_a_readable_error(self, errors: object):
        error = refused({"success": False, "errors": errors, "result": {"commands": []}}, 200)
        assert error.errors == ()
        assert str(error) == "GET /dex/commands: 200: no reason given"


class TestClasses:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, BadRequestError),
            (401, AuthenticationError),
            (402, BadRequestError),
            (403, PermissionDeniedError),
            (404, NotFoundError),
            (405, BadRequestError),
            (408, BadRequestError),
            (409, BadRequestError),
            (410, NotFoundError),
            (413, BadRequestError),
            (422, BadRequestError),
            (429, RateLimitError),
            (499, BadRequestError),
            (500, ServerError),
            (502, ServerError),
            (503, ServerError),
            (504, ServerError),
            (520, ServerError),
            (525, ServerError),
            (526, ServerError),
            (599, ServerError),
            (100, APIError),
            (199, APIError),
            (300, APIError),
            (301, APIError),
            (304, APIError),
            (307, APIError),
            (399, APIError),
        ],
    )
    def test_by_status(self, status: int, kind: type[APIError]):
        for body in (b"", b"<html>", {"success": False, "errors": [{"code": 1, "message": "x"}]}):
            error = refused(body, status)
            assert type(error) is kind
            assert error.status == status

    @pytest.mark.parametrize(
        ("status", "codes", "kind"),
        [
            (400, [6003], AuthenticationError),
            (400, [1, 6003], AuthenticationError),
            (400, [971], BadRequestError),
            (400, ["6003"], BadRequestError),
            (422, [6003], BadRequestError),
            (403, [10000], PermissionDeniedError),
            (403, [6003], PermissionDeniedError),
            (429, [971], RateLimitError),
            (500, [6003], ServerError),
        ],
    )
    def test_status_goes_before_code(self, status: int, codes: list[object], kind: type[APIError]):
        errors = [{"code": code, "message": "x"} for code in codes]
        assert type(refused({"success": False, "errors": errors}, status)) is kind

    def test_success_false_with_200_and_6003_is_not_taken_for_a_400(self):
        assert type(refused({"success": False, "errors": [{"code": 6003, "message": "x"}]}, 200)) is APIError

    def test_method_path_ray_and_wait(self):
        error = refused(b"", 429, CF_Ray="8f0-LHR", Retry_After="300")
        assert (error.method, error.path, error.ray_id) == ("GET", "/dex/commands", "8f0-LHR")
        assert error.retry_after == 300.0
        assert str(error) == "GET /dex/commands: 429: no reason given; retry after 300 s [cf-ray 8f0-LHR]"

    def test_a_retry_after_date_is_set_against_now(self):
        assert refused(b"", 503, Retry_After="Thu, 01 Jan 2026 12:00:30 GMT").retry_after == 30.0

    @pytest.mark.parametrize("hour", ["11", "13"])
    def test_the_clock_that_wrote_a_retry_after_date_is_the_one_it_is_set_against(self, hour: str):
        date, later = (f"Thu, 01 Jan 2026 {hour}:00:{seconds} GMT" for seconds in ("00", "30"))
        assert refused(b"", 429, Date=date, Retry_After=later).retry_after == 30.0

    def test_neither_ray_nor_wait(self):
        error = refused(b"", 503, Retry_After="soon")
        assert error.ray_id is None
        assert error.retry_after is None

    def test_api_error_reads_an_answer_with_a_good_status_too(self):
        error = api_error(answer({"success": True, "result": {}}, 200), NOW)
        assert type(error) is APIError
        assert error.errors == ()


class TestDetails:
    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            ({"code": 971, "message": "low"}, ErrorDetail("low", 971)),
            ({"message": "no code"}, ErrorDetail("no code")),
            ({"code": 7}, ErrorDetail("no message", 7)),
            ({"code": "7", "message": 8}, ErrorDetail("no message")),
            ({"code": True, "message": None}, ErrorDetail("no message")),
            ({}, ErrorDetail("no message")),
            ("plain text", ErrorDetail("plain text")),
            (None, ErrorDetail("None")),
            (12, ErrorDetail("12")),
            ([1, "a"], ErrorDetail("[1, 'a']")),
            ({"message": "two\n lines\tand \u202ebidi"}, ErrorDetail("two lines and bidi")),
            (
                {
                    "code": 1,
                    "message": "m",
                    "documentation_url": "https://example.com/d",
                    "source": {"pointer": "/commands/3/device_id"},
                },
                ErrorDetail("m", 1, "https://example.com/d", "/commands/3/device_id"),
            ),
            ({"message": "m", "documentation_url": 5, "source": {"pointer": 6}}, ErrorDetail("m")),
            ({"message": "m", "source": "/commands"}, ErrorDetail("m")),
            ({"message": "m", "source": {}}, ErrorDetail("m")),
            (
                {"code": 1, "message": "outer", "error_chain": [{"code": 2, "message": "inner"}]},
                ErrorDetail("outer: inner (code 2)", 1),
            ),
            (
                {"message": "a", "error_chain": ["b", {"message": "c", "error_chain": [{"code": 3}]}]},
                ErrorDetail("a: b: c: no message (code 3)"),
            ),
            ({"message": "a", "error_chain": []}, ErrorDetail("a")),
            ({"message": "a", "error_chain": "b"}, ErrorDetail("a")),
        ],
    )
    def test_one_error(self, error: object, expected: ErrorDetail):
        assert refused({"success": False, "errors": [error]}).errors == (expected,)

    def test_several_errors_make_one_line(self):
        errors = [{"code": 1, "message": "a", "source": {"pointer": "/x"}}, {"message": "b"}]
        assert str(refused({"errors": errors})) == "GET /dex/commands: 400: a (code 1) at /x; b"

    @pytest.mark.parametrize(
        "body",
        [
            {"errors": [{"message": "x" * 5000}]},
            {"errors": [{"message": "x"}] * 500},
            {"errors": ["x\n" * 5000]},
            {"errors": [{"message": "a", "error_chain": [{"message": "x" * 300}] * 50}]},
            {"title": "t" * 500, "detail": "d" * 500},
            ["x" * 5000],
            b"x" * 5000,
            b"<title>" + b"x" * 5000 + b"</title>",
        ],
    )
    def test_what_is_long_is_cut(self, body: object):
        error = refused(body)
        assert len(str(error)) < LONGEST_LINE
        assert is_one_line(str(error))
        assert all(len(detail.message) <= 200 for detail in error.errors)

    def test_a_chain_is_followed_so_far(self):
        error: dict[str, object] = {"message": "20"}
        for depth in reversed(range(20)):
            error = {"message": str(depth), "error_chain": [error]}
        [detail] = refused({"errors": [error]}).errors
        assert detail.message == ": ".join(map(str, range(1 + MAX_CHAINED)))

    @pytest.mark.parametrize("depth", [5, 100, 400])
    def test_deep_chains_and_lists(self, depth: int):
        chain = b'{"errors":[' + b'{"message":"x","error_chain":[' * depth + b"]}" * depth + b"]}"
        nested = b'{"errors":[' + b"[" * depth + b"]" * depth + b"]}"
        for body in (chain, nested, b"[" * depth + b"]" * depth):
            assert len(str(refused(body))) < LONGEST_LINE

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"[]", "[]"),
            (b'["a", 1]', '["a", 1]'),
            (b"17", "17"),
            (b'"overloaded"', '"overloaded"'),
            (b"null", "null"),
            (b"false", "false"),
        ],
    )
    def test_json_that_is_no_object_is_quoted(self, body: bytes, message: str):
        assert refused(body, 500).errors == (ErrorDetail(message),)


class TestProblems:
    def test_rfc_9457(self):
        problem = {
            "type": "https://example.com/522",
            "title": "Error 522: Connection timed out",
            "status": 522,
            "detail": "The origin did not\nanswer.",
            "error_code": 522,
            "retryable": True,
        }
        error = refused(problem, 522, Content_Type="application/problem+json")
        assert type(error) is ServerError
        assert error.errors == (
            ErrorDetail(
                "Error 522: Connection timed out: The origin did not answer.",
                522,
                "https://example.com/522",
            ),
        )

    @pytest.mark.parametrize(
        ("body", "errors"),
        [
            ({"title": "only a title"}, (ErrorDetail("only a title"),)),
            ({"detail": "only a detail"}, (ErrorDetail("only a detail"),)),
            ({"title": 5, "detail": None, "error_code": 1}, ()),
            ({"title": "", "detail": "  "}, ()),
            ({"title": "t", "error_code": "x", "type": 4}, (ErrorDetail("t"),)),
            ({"errors": [], "title": "t"}, (ErrorDetail("t"),)),
            ({"errors": ["e"], "title": "t"}, (ErrorDetail("e"),)),
            ({"errors": {"message": "m"}, "title": "t"}, (ErrorDetail("t"),)),
        ],
    )
    def test_parts_of_one(self, body: object, errors: tuple[ErrorDetail, ...]):
        assert refused(body, 502).errors == errors


class TestNotJson:
    def test_an_html_page_is_its_title_in_one_line(self):
        assert len(HTML_502) > 5000
        error = refused(HTML_502, 502, CF_Ray="1-AMS")
        assert error.errors == (ErrorDetail("example.com | 502: Bad gateway"),)
        assert str(error) == "GET /dex/commands: 502: example.com | 502: Bad gateway [cf-ray 1-AMS]"
        assert len(str(error)) <= 200

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b"", ()),
            (b"\n\n", ()),
            (b"<html></html>", ()),
            (b"error code: 1015", ("error code: 1015",)),
            (b"<TITLE lang=en>Up <b>per</b></TITLE>", ("Up per",)),
            (b"<script>var x = 1 < 2</script><p>shown</p>", ("shown",)),
            (b"<p>cut <scr", ("cut <scr",)),
            (b"\xc3\x28 caf\xe9", ("\N{REPLACEMENT CHARACTER}( caf\N{REPLACEMENT CHARACTER}",)),
            (b"a\x00b\x1b[31mred", ("a b [31mred",)),
        ],
    )
    def test_other_bodies(self, body: bytes, said: tuple[str, ...]):
        assert tuple(detail.message for detail in refused(body, 503).errors) == said

    @pytest.mark.parametrize(
        ("location", "said"),
        [
            ("https://example.com/login", "unexpected redirect to https://example.com/login"),
            ("", "unexpected redirect to nowhere"),
            ("https://example.com/" + "x" * 5000, "unexpected redirect to https://example.com/xxx"),
        ],
    )
    @pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
    def test_a_redirect_names_its_target_and_not_its_body(self, status: int, location: str, said: str):
        headers = {"Location": location} if location else {}
        error = refused(b"<title>Moved</title>", status, **headers)
        assert error.errors[0].message.startswith(said)
        assert "Moved" not in str(error)
        assert len(str(error)) < LONGEST_LINE


# Text of every kind but half surrogates, for which there are tests of their own.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
error_like = st.fixed_dictionaries(
    {},
    optional={
        "code": json_values,
        "message": json_values,
        "documentation_url": json_values,
        "source": json_values | st.fixed_dictionaries({"pointer": json_values}),
        "error_chain": json_values | st.lists(st.fixed_dictionaries({"message": json_values}), max_size=3),
    },
)
envelope_like = st.fixed_dictionaries(
    {},
    optional={
        "success": st.booleans() | json_values,
        "errors": st.lists(error_like | json_values, max_size=4) | json_values,
        "result": json_values,
        "result_info": json_values,
        "title": json_values,
        "detail": json_values,
        "error_code": json_values,
    },
)
bodies = (
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: text.encode())
    | st.text(alphabet="<>/titlescrp \n{}[]\":,'0", max_size=200).map(lambda text: text.encode())
    | json_values.map(lambda value: json.dumps(value).encode())
    | envelope_like.map(lambda value: json.dumps(value).encode())
)


@settings(deadline=None, max_examples=400)
@given(
    body=bodies,
    status=st.integers(100, 599) | st.sampled_from([200, 200, 200, 400, 429, 502]),
    content_type=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=100),
)
def test_any_answer_is_an_envelope_or_a_typed_error_of_one_line(body: bytes, status: int, content_type: str):
    found: object
    try:
        found = read_envelope(answer(body, status, Content_Type=content_type), NOW)
    except (APIError, ResponseDecodeError) as error:
        found = error
    if isinstance(found, Envelope):
        assert 200 <= status < 300
        assert found.result is not None
        return
    assert is_one_line(str(found))
    assert len(str(found)) < LONGEST_LINE
    if isinstance(found, APIError):
        assert found.status == status
        assert not 200 <= status < 300 or json.loads(body)["success"] is False
    else:
        assert 200 <= status < 300
