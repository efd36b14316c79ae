"""What to ask for, what the headers of a download say, and where bytes meet."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from dexcmd.errors import ArtifactChangedError, DownloadError
from dexcmd.transfer.ranges import OVERLAP, Ask, Body, Have, Joint, Version, describe_body, is_strong, what_to_ask

NAMED = Version('"a"', None, 100)
UNNAMED = Version(None, "Thu, 01 Jan 2026 12:00:00 GMT", 100)
LATER = "Thu, 01 Jan 2026 12:00:01 GMT"


def headers(**named: str) -> CIMultiDict[str]:
    return CIMultiDict({name.replace("_", "-"): value for name, value in named.items()})


@pytest.mark.parametrize(
    ("etag", "strong"),
    [
        ('"abc"', True),
        ('""', True),
        ('"!#~\'"', True),
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


class TestVersion:
    @pytest.mark.parametrize(
        ("version", "checked", "unchecked"),
        [
            (Version('"a"'), True, True),
            (Version('"a"', None, 100), True, True),
            (Version('W/"a"'), False, False),
            (Version('W/"a"', None, 100), True, False),
            (Version(None, LATER), False, False),
            (Version(None, LATER, 100), True, False),
            (Version(None, None, 100), True, False),
            (Version(), False, False),
        ],
    )
    def test_whether_more_can_be_joined(self, version: Version, checked: bool, unchecked: bool):
        assert version.joinable(checked=True) is checked
        assert version.joinable(checked=False) is unchecked


class TestHave:
    @pytest.mark.parametrize(
        ("have", "whole"),
        [
            (Have(), False),
            (Have(0, Version(size=0)), False),
            (Have(100, Version()), False),
            (Have(99, NAMED), False),
            (Have(100, NAMED), True),
            (Have(100, UNNAMED), True),
            (Have(101, NAMED), False),
        ],
    )
    def test_whether_it_is_whole(self, have: Have, whole: bool):
        assert have.whole is whole

    @pytest.mark.parametrize(
        ("have", "checked", "unchecked"),
        [
            (Have(), False, False),
            (Have(0, Version('"a"')), False, False),
            (Have(1, Version('"a"')), True, True),
            (Have(1, Version()), False, False),
            (Have(OVERLAP + 1, Version()), False, False),
            (Have(OVERLAP + 1, Version('W/"a"')), False, False),
            (Have(OVERLAP, Version('W/"a"', None, 2 * OVERLAP)), False, False),
            (Have(OVERLAP + 1, Version('W/"a"', None, 2 * OVERLAP)), True, False),
            (Have(OVERLAP + 1, Version(None, None, 2 * OVERLAP)), True, False),
            # Nothing has to be joined to what is whole, so there is no need for an overlap.
            (Have(100, UNNAMED), True, False),
            (Have(99, UNNAMED), False, False),
        ],
    )
    def test_whether_it_can_be_gone_on_from(self, have: Have, checked: bool, unchecked: bool):
        assert have.can_go_on(checked=True) is checked
        assert have.can_go_on(checked=False) is unchecked


class TestWhatToAsk:
    @pytest.mark.parametrize(
        ("have", "ask"),
        [
            (Have(0, Version('"a"')), Ask()),
            (Have(10, Version('"a"')), Ask(10, {"Range": "bytes=10-", "If-Range": '"a"'})),
            (Have(2**40, Version('"a"')), Ask(2**40, {"Range": "bytes=1099511627776-", "If-Range": '"a"'})),
        ],
    )
    @pytest.mark.parametrize("checked", [True, False])
    def test_a_strong_etag_goes_on_from_the_last_byte(self, have: Have, ask: Ask, checked: bool):
        assert what_to_ask(have, checked=checked) == ask

    @pytest.mark.parametrize("etag", [None, 'W/"a"', "a", ""])
    @pytest.mark.parametrize("modified", [None, LATER])
    def test_any_other_one_goes_on_from_before_it_and_says_nothing_in_if_range(
        self, etag: str | None, modified: str | None
    ):
        have = Have(OVERLAP + 10, Version(etag, modified, 10 * OVERLAP))
        assert what_to_ask(have, checked=True) == Ask(10, {"Range": "bytes=10-"})
        assert what_to_ask(have, checked=False) == Ask()

    @pytest.mark.parametrize("etag", [None, 'W/"a"'])
    def test_without_a_size_it_starts_over(self, etag: str | None):
        assert what_to_ask(Have(OVERLAP + 10, Version(etag)), checked=True) == Ask()

    @pytest.mark.parametrize("etag", [None, 'W/"a"'])
    @pytest.mark.parametrize("offset", [0, 1, OVERLAP])
    def test_with_no_more_than_an_overlap_it_starts_over(self, etag: str | None, offset: int):
        assert what_to_ask(Have(offset, Version(etag, None, 10 * OVERLAP)), checked=True) == Ask()


etags = st.sampled_from([None, '"a"', 'W/"a"', "a"])


@settings(deadline=None, max_examples=300)
@given(
    offset=st.integers(0, 4 * OVERLAP),
    size=st.none() | st.integers(1, 4 * OVERLAP),
    etag=etags,
    modified=st.sampled_from([None, LATER]),
    checked=st.booleans(),
)
def test_what_is_asked_for_always_continues_what_is_there(
    offset: int, size: int | None, etag: str | None, modified: str | None, checked: bool
):
    have = Have(offset, Version(etag, modified, size))
    if have.whole:
        # Then nothing is asked for.
        return
    ask = what_to_ask(have, checked=checked)
    assert 0 <= ask.start <= offset
    assert ("Range" in ask.headers) is (ask.start > 0)
    if ask.start == 0:
        assert not have.can_go_on(checked=checked)
        assert not ask.headers
    else:
        assert ask.headers["Range"] == f"bytes={ask.start}-"
        assert ("If-Range" in ask.headers) is (ask.start == offset)
        assert ask.start == offset or offset - ask.start == OVERLAP
        assert checked or "If-Range" in ask.headers


class TestWhole:
    @pytest.mark.parametrize(
        ("answered", "body"),
        [
            (headers(Content_Length="100", ETag='"a"'), Body(0, Version('"a"', None, 100))),
            (headers(content_length="0"), Body(0, Version(size=0))),
            (headers(ETag='W/"a"'), Body(0, Version('W/"a"'))),
            (headers(Last_Modified=LATER, Content_Length="1"), Body(0, Version(None, LATER, 1))),
            (headers(Content_Length="100", Content_Encoding="gzip"), Body(0, Version(), coding="gzip")),
            (headers(ETag='"a"', Content_Length="9", Content_Encoding="br"), Body(0, Version('"a"'), coding="br")),
            (headers(Content_Length="100", Content_Encoding="identity"), Body(0, Version(size=100))),
            (headers(Content_Length="100", Content_Encoding=" IDENTITY "), Body(0, Version(size=100))),
            (headers(Content_Length="100", Content_Encoding=""), Body(0, Version(size=100))),
            (headers(Content_Length="-1"), Body(0, Version())),
            (headers(Content_Length="1e3"), Body(0, Version())),
            (headers(Content_Length=""), Body(0, Version())),
        ],
    )
    @pytest.mark.parametrize("ask", [Ask(), Ask(50)])
    @pytest.mark.parametrize("version", [Version(), Version('"old"', None, 70)])
    def test_it_starts_at_0_whatever_was_asked_for(
        self, answered: CIMultiDict[str], body: Body, ask: Ask, version: Version
    ):
        described = describe_body(200, answered, ask, version)
        assert described == body
        assert described.size == body.version.size


class TestPart:
    @pytest.mark.parametrize(
        ("content_range", "start", "size"),
        [
            ("bytes 50-99/100", 50, 100),
            (" bytes 50-99/100 ", 50, 100),
            ("bytes 99-99/100", 99, 100),
            ("bytes 50-99/*", 50, 100),
            # Shorter than asked for: the body breaks off, and another attempt goes on.
            ("bytes 50-98/100", 50, 100),
            ("bytes 50-50/100", 50, 100),
        ],
    )
    def test_the_one_that_was_asked_for(self, content_range: str, start: int, size: int):
        answered = headers(Content_Range=content_range, Content_Length="50", ETag='"a"')
        assert describe_body(206, answered, Ask(start), NAMED) == Body(start, Version('"a"', None, size))

    def test_a_size_that_was_not_known_is_learnt(self):
        answered = headers(Content_Range="bytes 50-99/100", ETag='"a"')
        assert describe_body(206, answered, Ask(50), Version('"a"')) == Body(50, Version('"a"', None, 100))

    def test_a_part_of_nobody_knows_how_much_may_be_cut_short(self):
        answered = headers(Content_Range="bytes 50-99/*", ETag='"a"')
        with pytest.raises(ArtifactChangedError, match="without a total size"):
            describe_body(206, answered, Ask(50), Version('"a"'))

    @pytest.mark.parametrize("version", [UNNAMED, Version('W/"a"', None, 100), Version(None, None, 100)])
    def test_the_same_validators_where_there_is_no_strong_one(self, version: Version):
        answered = headers(Content_Range="bytes 50-99/100")
        if version.etag is not None:
            answered["ETag"] = version.etag
        if version.last_modified is not None:
            answered["Last-Modified"] = version.last_modified
        assert describe_body(206, answered, Ask(50), version) == Body(50, version)

    @pytest.mark.parametrize("modified", [None, LATER])
    def test_a_strong_etag_does_not_need_the_date(self, modified: str | None):
        version = Version('"a"', "Thu, 01 Jan 2026 12:00:00 GMT", 100)
        answered = headers(Content_Range="bytes 50-99/100", ETag='"a"')
        if modified is not None:
            answered["Last-Modified"] = modified
        assert describe_body(206, answered, Ask(50), version) == Body(50, version)

    @pytest.mark.parametrize(
        "content_range",
        [
            "",
            "bytes",
            "bytes 49-99/100",
            "bytes 51-99/100",
            "bytes 0-99/100",
            "bytes 50-49/100",
            "bytes 50-100/100",
            "bytes 50-99/99",
            "bytes */100",
            "bytes 50-99",
            "bytes=50-99/100",
            "items 50-99/100",
            "bytes -50-99/100",
            "bytes 50-99/100, 0-1/100",
            "bytes 50-9999999999999999999999/100",
            "bytes 50-99/9999999999999999999999",
        ],
    )
    @pytest.mark.parametrize("version", [NAMED, UNNAMED])
    def test_another_part(self, content_range: str, version: Version):
        answered = headers(Content_Range=content_range, ETag='"a"')
        with pytest.raises(ArtifactChangedError) as caught:
            describe_body(206, answered, Ask(50), version)
        assert repr(content_range) in str(caught.value)
        assert "from 50 on" in str(caught.value)

    @pytest.mark.parametrize("ask", [Ask(), Ask(50)])
    def test_no_content_range(self, ask: Ask):
        with pytest.raises(ArtifactChangedError, match="got ''"):
            describe_body(206, headers(ETag='"a"'), ask, NAMED)

    @pytest.mark.parametrize("ask", [Ask(), Ask(50)])
    def test_an_encoded_part_counts_other_bytes(self, ask: Ask):
        answered = headers(Content_Range=f"bytes {ask.start}-99/100", Content_Encoding="gzip", ETag='"a"')
        with pytest.raises(ArtifactChangedError):
            describe_body(206, answered, ask, NAMED)

    @pytest.mark.parametrize(
        ("answered", "told"), [('"b"', '"b"'), ('W/"a"', 'W/"a"'), ("", "missing"), (None, "missing")]
    )
    def test_a_part_of_another_version(self, answered: str | None, told: str):
        named = headers(Content_Range="bytes 50-99/100")
        if answered is not None:
            named["ETag"] = answered
        with pytest.raises(ArtifactChangedError, match=f'^the artifact changed: ETag was "a", and is now {told}$'):
            describe_body(206, named, Ask(50), NAMED)

    @pytest.mark.parametrize("version", [UNNAMED, Version('W/"a"', UNNAMED.last_modified, 100)])
    @pytest.mark.parametrize("modified", [None, LATER, ""])
    def test_a_part_of_another_date(self, version: Version, modified: str | None):
        answered = headers(Content_Range="bytes 50-99/100")
        if version.etag is not None:
            answered["ETag"] = version.etag
        if modified is not None:
            answered["Last-Modified"] = modified
        with pytest.raises(ArtifactChangedError, match="Last-Modified was"):
            describe_body(206, answered, Ask(50), version)

    @pytest.mark.parametrize("name", ["ETag", "Last-Modified", "Content-Range"])
    def test_what_is_told_of_a_header_is_short_and_fit_for_any_log(self, name: str):
        # Seen: 5000 characters, and some that no log can encode.
        version = UNNAMED if name == "Last-Modified" else NAMED
        answered = CIMultiDict({"Content-Range": "bytes 50-99/100", name: "\udce9" + "x" * 5000})
        with pytest.raises(ArtifactChangedError) as caught:
            describe_body(206, answered, Ask(50), version)
        assert len(str(caught.value).encode()) < 300

    @pytest.mark.parametrize("version", [NAMED, Version(None, None, 100)])
    def test_a_part_of_another_size(self, version: Version):
        answered = headers(Content_Range="bytes 50-99/101")
        if version.etag is not None:
            answered["ETag"] = version.etag
        with pytest.raises(ArtifactChangedError, match="changed from 100 to 101 bytes"):
            describe_body(206, answered, Ask(50), version)

    @pytest.mark.parametrize("etag", [None, 'W/"a"'])
    def test_a_part_without_a_total_where_nothing_else_vouches_for_the_version(self, etag: str | None):
        answered = headers(Content_Range="bytes 50-99/*")
        if etag is not None:
            answered["ETag"] = etag
        with pytest.raises(ArtifactChangedError):
            describe_body(206, answered, Ask(50), Version(etag, None, 100))


class TestUnasked:
    """A part though all was asked for."""

    @pytest.mark.parametrize(
        ("content_range", "size"), [("bytes 0-99/100", 100), ("bytes 0-49/100", 100), ("bytes 0-99/*", None)]
    )
    @pytest.mark.parametrize("version", [Version(), Version('"old"', None, 70)])
    def test_one_from_the_start_is_a_start(self, content_range: str, size: int | None, version: Version):
        answered = headers(Content_Range=content_range, Content_Length="50", ETag='"a"')
        assert describe_body(206, answered, Ask(), version) == Body(0, Version('"a"', None, size))

    @pytest.mark.parametrize("content_range", ["bytes 1-99/100", "bytes 50-99/100", "bytes 50-99/*"])
    @pytest.mark.parametrize("version", [Version(), NAMED])
    def test_one_from_elsewhere_is_not(self, content_range: str, version: Version):
        with pytest.raises(ArtifactChangedError, match="from 0 on"):
            describe_body(206, headers(Content_Range=content_range, ETag='"a"'), Ask(), version)


@settings(deadline=None, max_examples=300)
@given(
    start=st.integers(0, 60),
    first=st.integers(0, 60),
    length=st.integers(1, 60),
    total=st.none() | st.integers(1, 60),
    etag=etags,
    known=etags,
    size=st.none() | st.integers(1, 60),
)
def test_a_part_is_never_taken_for_another(
    start: int, first: int, length: int, total: int | None, etag: str | None, known: str | None, size: int | None
):
    last = first + length - 1
    answered = headers(Content_Range=f"bytes {first}-{last}/{'*' if total is None else total}")
    if etag is not None:
        answered["ETag"] = etag
    version = Version(known, None, size)
    try:
        body = describe_body(206, answered, Ask(start), version)
    except DownloadError as error:
        body = error
    right = first == start and (total is None or last < total)
    if start > 0:
        right = (
            right
            and etag == known
            and (total is not None or (known == '"a"' and size is not None))
            and (total is None or size is None or total == size)
        )
    assert isinstance(body, Body) is right
    if isinstance(body, Body):
        assert body.offset == start
        assert body.version.etag == etag
        assert body.size == (total if total is not None or start == 0 else size)


class TestJoint:
    @settings(deadline=None, max_examples=200)
    @given(tail=st.binary(max_size=40), new=st.binary(max_size=40), data=st.data())
    def test_what_is_behind_the_overlap_in_any_pieces(self, tail: bytes, new: bytes, data: st.DataObject):
        whole, joint, joined = tail + new, Joint(tail), b""
        while whole:
            size = data.draw(st.integers(1, len(whole)))
            joined += joint.join(whole[:size])
            whole = whole[size:]
        assert joined == new

    @settings(deadline=None, max_examples=200)
    @given(tail=st.binary(min_size=1, max_size=40), new=st.binary(max_size=40), data=st.data())
    def test_another_overlap_in_any_pieces(self, tail: bytes, new: bytes, data: st.DataObject):
        at, bit = data.draw(st.integers(0, len(tail) - 1)), data.draw(st.integers(0, 7))
        other = bytearray(tail)
        other[at] ^= 1 << bit
        whole, joint = bytes(other) + new, Joint(tail)
        with pytest.raises(ArtifactChangedError, match="where the download resumed"):
            while whole:
                size = data.draw(st.integers(1, len(whole)))
                assert joint.join(whole[:size]) == b""
                whole = whole[size:]

    def test_without_an_overlap_chunks_pass_as_they_are(self):
        chunk = b"abc"
        assert Joint(b"").join(chunk) is chunk


class TestHostile:
    @pytest.mark.parametrize(
        "etag", ['"\udce9"', '"é"', '"a\r\nX: y"', '"a\n"', '"a b"', '"a"b"', '"a\x00"', '"a\x7f"']
    )
    def test_an_etag_that_may_not_stand_in_a_request_is_not_strong(self, etag: str):
        # Seen: UnicodeEncodeError, and ValueError for a header of two lines.
        assert not is_strong(etag)
        ask = what_to_ask(Have(10, Version(etag)), checked=True)
        assert ask == Ask()

    @pytest.mark.parametrize("length", ["9" * 5000, "9" * 20, "٣"])
    def test_a_length_that_no_file_has_is_none(self, length: str):
        # Seen: ValueError, for Python reads no number of more than 4300 digits.
        assert describe_body(200, headers(Content_Length=length), Ask(), Version()).size is None
