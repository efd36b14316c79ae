"""File names out of what the service says."""

import hashlib
import unicodedata
from contextlib import suppress
from pathlib import PurePosixPath

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dexcmd.errors import UnsafeFilenameError
from dexcmd.transfer.names import MAX_NAME_BYTES, MAX_PARTS, distinct_paths, final_name, safe_name, safe_parts

RESERVED = {
    *("CON", "PRN", "AUX", "NUL"),
    *(f"{port}{number}" for port in ("COM", "LPT") for number in "123456789¹²³"),
}
names = st.text(max_size=30) | st.text(alphabet='aà\u0301.\u202e\u200b\x00\n :*?"<>|/\\%-_~conNUL1', max_size=30)


def is_good_everywhere(name: str) -> bool:
    """Tell whether a name is good on every system, by rules that are written down here once more."""
    return (
        name not in ("", ".", "..")
        and not set(name) & set('/\\:*?"<>|')
        and not any(unicodedata.category(char).startswith("C") for char in name)
        and name == name.strip(" ")
        and not name.endswith(".")
        and name.partition(".")[0].upper() not in RESERVED
        and len(name.encode()) <= MAX_NAME_BYTES
    )


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("8a2f.zip", "8a2f.zip"),
        ("https://files.example.com/a/8a2f.zip?x=y", "8a2f.zip"),
        ("https://files.example.com/a%20b.zip", "a b.zip"),
        ("a:b.zip", "a_b.zip"),
        ('a*?"<>|b.zip', "a______b.zip"),
        ("a\x00b\nc\x7f.zip", "a_b_c_.zip"),
        ("\u202egnp.piz", "_gnp.piz"),
        ("a\u200b\u2066b\ufeff\u061c.zip", "a__b__.zip"),
        ("a\ud800.zip", "a_.zip"),
        ("a\ue000.zip", "a_.zip"),
        ("cafe\u0301.zip", "café.zip"),
        ("  a.zip  ", "a.zip"),
        ("a.zip...", "a.zip"),
        ("a.zip. . .", "a.zip"),
        (".hidden", ".hidden"),
        ("...a", "...a"),
        ("-rf.zip", "-rf.zip"),
        ("con", "_con"),
        ("CON.zip", "_CON.zip"),
        ("nul.tar.gz", "_nul.tar.gz"),
        ("Aux.", "_Aux"),
        ("com1.zip", "_com1.zip"),
        ("LPT9", "_LPT9"),
        ("com¹.zip", "_com¹.zip"),
        ("com10.zip", "com10.zip"),
        ("console.zip", "console.zip"),
        ("acon.zip", "acon.zip"),
        ("a.con", "a.con"),
        ("漢字.zip", "漢字.zip"),
        ("a" * 300 + ".zip", "a" * 196 + ".zip"),
        ("é" * 150 + ".zip", "é" * 98 + ".zip"),
        ("x" + "é" * 150 + ".zip", "x" + "é" * 97 + ".zip"),
        ("漢" * 100, "漢" * 66),
        ("a" * 200, "a" * 200),
        ("a" * 201, "a" * 200),
        ("a." + "b" * 300, "a." + "b" * 198),
        ("a" * 300 + "." + "b" * 16, "a" * 183 + "." + "b" * 16),
        ("a" * 300 + "." + "b" * 17, "a" * 200),
    ],
)
def test_table(filename: str, name: str):
    assert safe_name(filename) == name
    assert is_good_everywhere(name)


@pytest.mark.parametrize(
    "filename",
    [
        *("", ".", "..", "...", " ", " . ", "_", "\x00", "::", "._.", "?*", "\u202e"),
        *("a/b", "../x", "a\\b", "..\\x", "https://files.example.com/", "https://files.example.com/..%2Fx"),
        *("https://files.example.com/%2e%2e", "https://files.example.com/%00", "/"),
    ],
)
def test_nothing_is_left(filename: str):
    with pytest.raises(UnsafeFilenameError, match="the service sent an unusable artifact name: ") as caught:
        safe_name(filename)
    assert str(caught.value).isprintable()


def test_a_long_bad_name_is_cut_in_the_error():
    with pytest.raises(UnsafeFilenameError) as caught:
        safe_name("." * 10_000)
    assert len(str(caught.value)) < 300


@settings(deadline=None, max_examples=400)
@given(names)
def test_any_name_is_good_everywhere_or_refused(filename: str):
    # Half an address may be refused by `urlsplit`; there is a test of its own for that.
    assume("//" not in filename)
    try:
        name = safe_name(filename)
    except UnsafeFilenameError:
        return
    assert is_good_everywhere(name)
    assert safe_name(name) == name
    assert unicodedata.is_normalized("NFC", name)


@settings(deadline=None, max_examples=100)
@given(st.text(alphabet="aé漢🎈", min_size=1, max_size=400), st.sampled_from(["", ".zip", ".tar.gz"]))
def test_long_names_keep_their_suffix(stem: str, suffix: str):
    name = safe_name(stem + suffix)
    ending = "." + suffix.rpartition(".")[2] if suffix else ""
    assert is_good_everywhere(name)
    assert name.endswith(ending)
    assert (stem + suffix).startswith(name.removesuffix(ending))
    assert len(name.encode()) > MAX_NAME_BYTES - 4 or name == stem + suffix


members = st.text(max_size=30) | st.lists(
    st.sampled_from(["..", ".", "", " ", "a", "A", "\u0301", "C:", "con", "\x00", "\u202e", ". .", "a.log", "a-2.log"]),
    max_size=6,
).flatmap(lambda parts: st.sampled_from(["/", "\\"]).map(lambda separator: separator.join(parts)))


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a", "a"),
        ("a/b/c.log", "a/b/c.log"),
        ("a\\b/c.log", "a/b/c.log"),
        ("a/", "a"),
        ("a//b/./c", "a/b/c"),
        ("./a", "a"),
        ("a/ /b", "a/b"),
        ("a/b:c", "a/b_c"),
        ("a/C:/b", "a/C_/b"),
        ("ab:c", "ab_c"),
        ("a/con/nul.txt", "a/_con/_nul.txt"),
        ("a./b. ", "a/b"),
        ("..a/b..", "..a/b"),
        ("...a", "...a"),
        ("a\x00.exe/b\n", "a_.exe/b_"),
        ("a/\u202egnp.piz", "a/_gnp.piz"),
        ("cafe\u0301/x", "café/x"),
        ("_/__", "_/__"),
        (".hidden/.x", ".hidden/.x"),
        ("x" * 300 + "/" + "y" * 300 + ".log", "x" * 200 + "/" + "y" * 196 + ".log"),
        ("https://a.example/b%2F..", "https_/a.example/b%2F"),
        ("/".join("a" * MAX_PARTS), "/".join("a" * MAX_PARTS)),
    ],
)
def test_where_members_go(name: str, place: str):
    assert "/".join(safe_parts(name)) == place


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "/", "./", " ", "a/../../x", "..", "../x", "a/..", "a/../b", "..\\x", "a\\..\\..\\x"),
        *("/etc/passwd", "\\x", "\\\\server\\share\\x", "//server/x", "/../x", "\\\\?\\C:\\x"),
        *("C:\\x", "c:/x", "C:x", "z:", "C:..\\x"),
        *("a/.. /x", ".. ", " ..", "a/. ./x", "..../x", "a/... /x", ". . ."),
        *("/".join("a" * (MAX_PARTS + 1)), "a/" * 30_000),
    ],
)
def test_members_that_have_no_place(name: str):
    with pytest.raises(UnsafeFilenameError, match=r"^the archive has an unsafe member name: '") as caught:
        safe_parts(name)
    assert len(str(caught.value)) < 300


@settings(deadline=None, max_examples=400)
@given(members)
def test_any_member_is_inside_and_good_everywhere_or_refused(name: str):
    try:
        parts = safe_parts(name)
    except UnsafeFilenameError:
        return
    assert parts
    assert all(map(is_good_everywhere, parts))
    assert safe_parts("/".join(parts)) == parts
    assert safe_parts("\\".join(parts)) == parts


@pytest.mark.parametrize(
    ("files", "folders", "places"),
    [
        ([], [], []),
        (["a", "b/a", "c/a"], ["b", "d"], ["a", "b/a", "c/a"]),
        (["a.log", "A.log", "a.LOG"], [], ["a.log", "A-2.log", "a-3.LOG"]),
        (["a", "a", "a"], [], ["a", "a-2", "a-3"]),
        (["a.log", "a-2.log", "A.log"], [], ["a.log", "a-2.log", "A-3.log"]),
        (["a.log", "A.log", "a-2.log"], [], ["a.log", "A-2.log", "a-2-2.log"]),
        (["café", "cafe\u0301"], [], ["café", "cafe\u0301-2"]),
        (["straße", "STRASSE"], [], ["straße", "STRASSE-2"]),
        (["x/a", "X/a"], [], ["x/a", "X/a-2"]),
        (["a", "a/b"], [], ["a-2", "a/b"]),
        (["A", "x/y/z", "X", "x/Y"], ["a"], ["A-2", "x/y/z", "X-2", "x/Y-2"]),
        ([".hidden", ".HIDDEN"], [], [".hidden", ".HIDDEN-2"]),
    ],
)
def test_files_are_told_apart(files: list[str], folders: list[str], places: list[str]):
    split = [[tuple(name.split("/")) for name in names] for names in (files, folders)]
    assert ["/".join(place) for place in distinct_paths(*split)] == places


def test_many_of_one_name_take_no_time_to_speak_of():
    places = distinct_paths([("a.log",)] * 20_000, [])
    assert places[-1] == ("a-20000.log",)


@settings(deadline=None, max_examples=200)
@given(st.lists(members, max_size=12), st.lists(members, max_size=4))
def test_no_two_files_are_one_on_any_system(files: list[str], folders: list[str]):
    def parts_of(names: list[str]) -> list[tuple[str, ...]]:
        found = []
        for name in names:
            try:
                found.append(safe_parts(name))
            except UnsafeFilenameError:
                continue
        return found

    def key(path: tuple[str, ...]) -> str:
        return unicodedata.normalize("NFD", unicodedata.normalize("NFD", "/".join(path)).casefold())

    places = distinct_paths(parts_of(files), parts_of(folders))
    keys = [key(place) for place in places]
    assert len(set(keys)) == len(places) == len(parts_of(files))
    above = {key(place[:length]) for place in places for length in range(1, len(place))}
    assert not set(keys) & (above | {key(folder) for folder in parts_of(folders)})
    for place in places:
        assert safe_parts("/".join(place)) == place


ID = "8f0a2c61-4b7e-4a55-9d0c-2f1f0f6f7a10"
OTHER = "11ff2c61-4b7e-4a55-9d0c-2f1f0f6f7a10"
LIGATURE = "\N{LATIN SMALL LIGATURE FF}"
IGNORED = "\N{COMBINING GRAPHEME JOINER}"
"""Nothing at all, for file systems that don't tell case."""


class TestFinalName:
    @pytest.mark.parametrize(
        ("command_id", "filename", "name"),
        [
            (ID, f"{ID}.zip", f"{ID}.zip"),
            (ID, f"{ID}-0.zip", f"{ID}-0.zip"),
            (ID, f"pcap_{ID}.zip", f"pcap_{ID}.zip"),
            (ID, f"mitschnitt_für_{ID}.zip", f"mitschnitt_für_{ID}.zip"),
            (ID, f"{ID}-{OTHER}.zip", f"{ID}-{OTHER}.zip"),
            # Of another command, and of what helps one.
            (ID, f"{OTHER}.zip", f"{ID}-{OTHER}.zip"),
            (ID, f"{OTHER}-{ID}.zip", f"{ID}-{OTHER}-{ID}.zip"),
            (ID, f"{OTHER.upper()}-{ID}.zip", f"{ID}-{OTHER.upper()}-{ID}.zip"),
            (ID, f"{OTHER.replace('ff', LIGATURE)}-{ID}.zip", f"{ID}-{OTHER.replace('ff', LIGATURE)}-{ID}.zip"),
            (ID, f".{ID}.zip.part", f"{ID}-.{ID}.zip.part"),
            ("c1", "c10.zip", "c1-c10.zip"),
            ("c1", "c10-c1.zip", "c1-c10-c1.zip"),
            ("c1", "capture.zip", "c1-capture.zip"),
            ("c1", "capture", "c1-capture"),
            ("c1", "a:b.zip", "c1-a_b~{}.zip"),
            ("c1", "a?b.zip", "c1-a_b~{}.zip"),
            ("c1", "con", "c1-_con~{}"),
            ("c1", "cafe\u0301.zip", "c1-café~{}.zip"),
            ("c1", ".hidden", "c1-.hidden"),
        ],
    )
    def test_table(self, command_id: str, filename: str, name: str):
        digest = hashlib.sha256(f"{command_id}/{filename}".encode()).hexdigest()[:8]
        assert final_name(command_id, filename) == name.format(digest)
        assert is_good_everywhere(name)

    @pytest.mark.parametrize("stem", ["a:", "a:" + "a" * 150])
    @pytest.mark.parametrize("suffix", [f".{'b' * 198}", f".{'é' * 98}", f".{'b' * 17}", "", ".zip"])
    def test_a_long_name_that_is_changed_is_no_longer_for_it(self, stem: str, suffix: str):
        # Seen: a name of 205 bytes, for a suffix so long that less than nothing was left for what is before it.
        name = final_name("c1", stem + suffix)
        assert is_good_everywhere(name)
        assert "~" in name

    def test_what_is_refused(self):
        for command_id, filename in (("c1", ".."), ("c1", "a/b"), ("a/b", "c.zip")):
            with pytest.raises(UnsafeFilenameError):
                final_name(command_id, filename)


@settings(deadline=None, max_examples=400)
@given(
    st.sampled_from([ID, "c1", "x" * 190, "x" * 250, "a:b", "con", "é", " a "]) | st.text(min_size=1, max_size=10),
    names | st.text(alphabet="aé漢:. ", min_size=150, max_size=400),
)
def test_any_final_name_is_good_everywhere_and_tells_whose_it_is(command_id: str, filename: str):
    assume("//" not in filename and "//" not in command_id)
    try:
        name = final_name(command_id, filename)
    except UnsafeFilenameError:
        return
    assert is_good_everywhere(name)
    digest = hashlib.sha256(f"{command_id}/{filename}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
    assert f"~{digest}" in name or name in (filename, f"{command_id}-{filename}")
    assert command_id in name or f"~{digest}" in name


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([ID, "c1"]), names, st.data())
def test_names_that_become_one_stay_apart(command_id: str, filename: str, data: st.DataObject):
    assume("//" not in filename)
    # What is replaced, composed or cut makes one name of many.
    others = [
        filename.replace(":", "?"),
        filename.replace("_", "\x00"),
        unicodedata.normalize("NFD", filename),
        unicodedata.normalize("NFC", filename),
        f" {filename}",
        f"{filename}.",
        f"{filename[:2]}{'a' * 300}",
        f"{filename[:2]}{'a' * 301}",
    ]
    other = data.draw(st.sampled_from(others))
    assume(other != filename)
    try:
        first, second = final_name(command_id, filename), final_name(command_id, other)
    except UnsafeFilenameError:
        return
    assert first != second


def least_told(name: str) -> str:
    """Return a name as the file system has it that tells the least apart: ext4's folders without case."""
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
    return folded.replace(IGNORED, "")


def taken_by(name: str) -> set[str]:
    """Return all names that an artifact takes for itself, on disk and in a store."""
    part, path = f".{name}.part", PurePosixPath(name)
    own = f".{name}.0a1b2c3d.part"
    of_parts = {f"{one}{ending}" for one in (part, own) for ending in ("", ".json", ".json.new")}
    return {least_told(one) for one in {name, str(path.with_stem(f"{path.stem} (1)")), f"{name}.sha256", *of_parts}}


ids = st.uuids().map(str) | st.sampled_from([ID, OTHER, "ffffffff-ffff-ffff-ffff-ffffffffffff"])


@st.composite
def names_with_ids(draw: st.DrawFn, known: list[str]) -> str:
    """Return a name such as one would make up who wants two artifacts to meet."""
    said = [
        text
        for one in known
        for text in (one, one.upper(), one.replace("ff", LIGATURE), f"{one[:9]}{IGNORED}{one[9:]}")
    ]
    said += [piece for one in known for piece in (one[:18], one[18:])]
    words = ["-", "_", ".", " ", ":", "x", "é", "\u0301", IGNORED, ".zip", ".part", ".json", ".new", ".sha256", " (1)"]
    text = "".join(draw(st.lists(st.sampled_from([*said, *words, "a" * 150, ".0a1b2c3d"]), min_size=1, max_size=6)))
    for one in known:
        if draw(st.booleans()):
            with suppress(UnsafeFilenameError):
                # As another one has it.
                text = draw(st.sampled_from(sorted(taken_by(final_name(one, text)))))
    return text


@settings(deadline=None, max_examples=500)
@given(st.data(), st.lists(ids, min_size=2, max_size=2, unique=True))
def test_artifacts_of_two_commands_never_meet(data: st.DataObject, command_ids: list[str]):
    """Whatever the service calls them, and whatever else lies beside them while they come."""
    filenames = [data.draw(names_with_ids(command_ids)) for _ in command_ids]
    try:
        first, second = map(final_name, command_ids, filenames)
    except UnsafeFilenameError:
        return
    assert not taken_by(first) & taken_by(second)


@settings(deadline=None)
@given(ids, st.text(alphabet="abc-_.09", max_size=20), st.sampled_from(["", "pcap_", "x-"]))
def test_a_name_with_its_own_id_is_kept(command_id: str, rest: str, before: str):
    filename = f"{before}{command_id}{rest}z"
    assert final_name(command_id, filename) == filename
