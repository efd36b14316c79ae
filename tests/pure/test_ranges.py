"""What the headers of a download say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from dexcmd.errors import ArtifactChangedError, DownloadError
from dexcmd.transfer.ranges import Body, describe_body, is_strong, range_headers


def headers(**named: str) -> CIMultiDict[str]:
    return CIMultiDict({name.replace("_", "-"): value for name, value in named.items()})


@pytest.mark.parametrize(
    ("etag", "strong"),
    [
        ('"abc"', True),
        ('""', True),
        ('W/"abc"', False),
        ('w/"abc"', False),
        ('"', False),
        ("", False),
        ("abc", False),
        ('"abc', False),
        ('abc"', False),
        (None, False),
    ],
)
def test_strong_etags(etag: str | None, strong: bool):
    assert is_strong(etag) is strong


@pytest.mark.parametrize(
    ("offset", "etag", "expected"),
    [
        (0, None, {}),
        (0, '"a"', {}),
        (10, None, {}),
        (10, 'W/"a"', {}),
        (10, "a", {}),
        (10, '"a"', {"Range": "bytes=10-", "If-Range": '"a"'}),
        (2**40, '"a"', {"Range": "bytes=1099511627776-", "If-Range": '"a"'}),
    ],
)
def test_what_is_asked_for(offset: int, etag: str | None, expected: dict[str, str]):
    assert range_headers(offset, etag) == expected


class TestWhole:
    @pytest.mark.parametrize(
        ("answered", "body"),
        [
            (headers(Content_Length="100", ETag='"a"'), Body(0, 100, '"a"')),
            (headers(content_length="0"), Body(0, 0, None)),
            (headers(ETag='W/"a"'), Body(0, None, 'W/"a"')),
            (headers(Content_Length="100", Content_Encoding="gzip"), Body(0, None, None, encoded=True)),
            (headers(Content_Length="100", Content_Encoding="identity"), Body(0, 100, None)),
            (headers(Content_Length="100", Content_Encoding=" IDENTITY "), Body(0, 100, None)),
            (headers(Content_Length="100", Content_Encoding=""), Body(0, 100, None)),
            (headers(Content_Length="-1"), Body(0, None, None)),
            (headers(Content_Length="1e3"), Body(0, None, None)),
            (headers(Content_Length=""), Body(0, None, None)),
        ],
    )
    @pytest.mark.parametrize("offset", [0, 50])
    def test_it_starts_at_0_whatever_was_asked_for(self, answered: CIMultiDict[str], body: Body, offset: int):
        assert describe_body(200, answered, offset, '"old"') == body


class TestPart:
    @pytest.mark.parametrize(
        ("content_range", "offset", "body"),
        [
            ("bytes 50-99/100", 50, Body(50, 100, '"a"')),
            (" bytes 50-99/100 ", 50, Body(50, 100, '"a"')),
            ("bytes 99-99/100", 99, Body(99, 100, '"a"')),
            ("bytes 50-99/*", 50, Body(50, None, '"a"')),
            ("bytes 0-99/100", 0, Body(0, 100, '"a"')),
        ],
    )
    @pytest.mark.parametrize("etag", [{"ETag": '"a"'}, {}])
    def test_the_one_that_was_asked_for(self, content_range: str, offset: int, body: Body, etag: dict[str, str]):
        answered = headers(Content_Range=content_range, Content_Length="50", **etag)
        assert describe_body(206, answered, offset, '"a"') == body

    @pytest.mark.parametrize(
        "content_range",
        [
            "",
            "bytes",
            "bytes 49-99/100",
            "bytes 51-99/100",
            "bytes 0-99/100",
            "bytes 50-98/100",
            "bytes 50-100/100",
            "bytes 50-99/99",
            "bytes */100",
            "bytes 50-99",
            "bytes=50-99/100",
            "items 50-99/100",
            "bytes -50-99/100",
            "bytes 50-99/100, 0-1/100",
            "bytes 50-9999999999999999999999/100",
        ],
    )
    def test_another_part(self, content_range: str):
        with pytest.raises(DownloadError) as caught:
            describe_body(206, headers(Content_Range=content_range), 50, '"a"')
        assert repr(content_range) in str(caught.value)
        assert "from 50 on" in str(caught.value)

    def test_no_content_range(self):
        with pytest.raises(DownloadError, match="got None"):
            describe_body(206, headers(), 50, '"a"')

    def test_an_encoded_part_counts_other_bytes(self):
        with pytest.raises(DownloadError):
            describe_body(206, headers(Content_Range="bytes 50-99/100", Content_Encoding="gzip"), 50, '"a"')

    @pytest.mark.parametrize("answered", ['"b"', 'W/"a"', ""])
    def test_a_part_of_another_version(self, answered: str):
        with pytest.raises(ArtifactChangedError, match="the artifact changed from"):
            describe_body(206, headers(Content_Range="bytes 50-99/100", ETag=answered), 50, '"a"')


@settings(deadline=None, max_examples=200)
@given(
    offset=st.integers(0, 60),
    first=st.integers(0, 60),
    length=st.integers(1, 60),
    total=st.none() | st.integers(1, 60),
    etag=st.sampled_from([None, '"a"', '"b"']),
)
def test_a_part_is_never_taken_for_another(offset: int, first: int, length: int, total: int | None, etag: str | None):
    last = first + length - 1
    answered = headers(Content_Range=f"bytes {first}-{last}/{'*' if total is None else total}")
    if etag is not None:
        answered["ETag"] = etag
    try:
        body = describe_body(206, answered, offset, '"a"')
    except DownloadError as error:
        body = error
    right = first == offset and etag != '"b"' and total in (None, last + 1)
    assert isinstance(body, Body) is right
    if right:
        assert body == Body(offset, total, '"a"')
