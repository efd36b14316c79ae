"""Where artifacts go below a sink, by a template."""

import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.errors import ConfigurationError, UnsafeFilenameError
from dexcmd.transfer.names import MAX_NAME_BYTES, MAX_PARTS
from dexcmd.transfer.sink import ArtifactName
from dexcmd.transfer.template import FIELDS, MAX_TEXT_BYTES, PlaceTemplate
from dexcmd.validators import SeveralMistakesError
from tests.pure.test_names import taken_by

ID = "8f0a2c61-4b7e-4a55-9d0c-2f1f0f6f7a10"
CREATED = datetime(2026, 3, 7, 1, 2, 3, 456789, timezone(timedelta(hours=2)))
KNOWN = {
    "campaign": "spring",
    "account": "Example Ltd",
    "wave": "2",
    "user_email": "ann@example.com",
    "command_id": ID,
    "created": CREATED,
}


def place(text: str, **fields: Any) -> str:
    return "/".join(PlaceTemplate.parse(text).place({**KNOWN, **fields}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{command_id}", ID),
        (
            "{account}/{created:%Y-%m-%d}/{user_email}-{command_id}.zip",
            f"Example Ltd/2026-03-06/ann@example.com-{ID}.zip",
        ),
        ("{campaign}/wave {wave}/{command_id}.zip", f"spring/wave 2/{ID}.zip"),
        # Not this machine's zone, nor that of whoever asks.
        ("{created:%Y%m%dT%H.%M_%S %j %y}/{command_id}", f"20260306T23.02_03 065 26/{ID}"),
        ("{created:%G-W%V-%u}/{command_id}", f"2026-W10-5/{ID}"),
        ("{created}/{command_id}", f"20260306T230203Z/{ID}"),
        ("{created:}/{command_id}", f"20260306T230203Z/{ID}"),
        ("{device_name}/{platform}-{command_id}", f"unknown/unknown-{ID}"),
        ("{command_id}/{command_id}", f"{ID}/{ID}"),
        ("{command_id}-{command_id}/{command_id}", f"{ID}-{ID}/{ID}"),
        ("{{a}}/{command_id}}}", f"{{a}}/{ID}}}"),
        ("cafe\u0301/{command_id}", f"café/{ID}"),
        (".hidden/{command_id}", f".hidden/{ID}"),
        ("con{wave}/{command_id}", f"con2/{ID}"),
    ],
)
def test_places(text: str, expected: str):
    assert place(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a/b", "a_b"),
        ("../../etc", ".._.._etc"),
        ("..", "unknown"),
        (".", "unknown"),
        ("/", "_"),
        ("\\\\host\\share", "__host_share"),
        ("C:", "C_"),
        ("con", "_con"),
        ("a\x00\u202eb\ud800", "a__b_"),
        ("{user_email}", "{user_email}"),
        ("%Y", "%Y"),
        (" a ", "a"),
        ("a. .", "a"),
        ("", "unknown"),
        (" \n", "_"),
        ("\u3000", "unknown"),
        (None, "unknown"),
        ("e\u0301", "é"),
        ("\u0301", "_\u0301"),
        ("a" * 300, "a" * 199),
        ("é" * 300, "é" * 99),
        ("a" * 300 + ".com", "a" * 195 + ".com"),
    ],
)
def test_a_value_is_one_part_whatever_is_in_it(value: str | None, expected: str):
    assert place("{device_name}/{command_id}", device_name=value) == f"{expected}/{ID}"


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        (f"{ID}.zip", f"{ID}-{ID}.zip"),
        ("https://files.example.com/a/x.zip?signature=secret", f"{ID}-x.zip"),
        (None, f"{ID}-unknown"),
        ("a" * 300 + ".zip", f"{ID}-{'a' * 158}.zip"),
    ],
)
def test_the_name_of_the_file(filename: str | None, expected: str):
    assert place("{command_id}-{filename}", filename=filename) == expected


@pytest.mark.parametrize("filename", ["../x", "https://files.example.com/", "a\\b"])
def test_the_name_of_no_file(filename: str):
    with pytest.raises(UnsafeFilenameError, match="the service sent an unusable artifact name:"):
        place("{command_id}-{filename}", filename=filename)


@pytest.mark.parametrize(
    ("text", "fields", "expected"),
    [
        ("{user_email}-{command_id}.zip", {"user_email": "a" * 300}, f"{'a' * 158}-{ID}.zip"),
        ("{command_id}-{user_email}.zip", {"user_email": "é" * 300}, f"{ID}-{'é' * 79}.zip"),
        # The long one gives way to the short one.
        ("{account}-{user_email}-{command_id}", {"account": "a" * 300}, f"{'a' * 146}-ann@example.com-{ID}"),
        ("{user_email}-{account}-{command_id}", {"account": "a" * 300}, f"ann@example.com-{'a' * 146}-{ID}"),
        ("{account}-{type}-{command_id}", {"account": "a" * 300, "type": "b" * 300}, f"{'a' * 80}-{'b' * 81}-{ID}"),
        # A reserved name gets a character more.
        ("con.{user_email}{command_id}", {"user_email": "a" * 300}, f"_con.{'a' * 159}{ID}"),
        ("{user_email}{command_id}", {"command_id": "c" * 199}, "c" * 199),
        ("{user_email}{command_id}", {"command_id": "c" * 200}, "c" * 200),
        ("{user_email}{command_id}", {"command_id": "c" * 198, "user_email": "é"}, "c" * 198),
        # In a folder's name nothing hangs on it.
        ("{command_id}-{command_id}/{command_id}", {"command_id": "c" * 150}, f"{'c' * 150}-{'c' * 49}/{'c' * 150}"),
        ("{command_id}{wave}{command_id}/{command_id}", {"command_id": "c" * 150}, f"{'c' * 200}/{'c' * 150}"),
    ],
)
def test_the_id_survives_the_cut(text: str, fields: dict[str, str], expected: str):
    assert place(text, **fields) == expected


def test_a_mark_does_not_change_the_id_before_it():
    assert place("{command_id}{device_name}", device_name="\u0301x") == f"{ID}_\u0301x"


@pytest.mark.parametrize(
    ("text", "command_id"),
    [
        *[
            ("{command_id}.zip", value)
            for value in (None, "", "a/b", "..", "a:b", "a ", "con", "\ud800", "e\u0301", CREATED)
        ],
        ("{command_id}.zip", "c" * 201),
        ("-{command_id}", "c" * 200),
        ("{command_id}\u0301", "e"),
    ],
)
def test_an_id_that_can_be_in_no_name(text: str, command_id: Any):
    with pytest.raises(UnsafeFilenameError, match=r"^no file name can contain the command id") as caught:
        place(text, command_id=command_id)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it has an empty part"),
        ("/", "it must not begin with '/'"),
        ("/captures/{command_id}", "it must not begin with '/'"),
        ("//{command_id}", "it must not begin with '/'"),
        ("a//{command_id}", "it has an empty part"),
        ("a/{command_id}/", "it has an empty part"),
        ("../{command_id}", "'..' can't be a file name"),
        ("a/../{command_id}", "'..' can't be a file name"),
        ("./{command_id}", "'.' can't be a file name"),
        (" /{command_id}", "' ' can't be a file name"),
        ("a./{command_id}", "'a.' can't be a file name"),
        ("nul/{command_id}", "'nul' can't be a file name"),
        ("C:/{command_id}", "'C:' has characters that file names can't have"),
        ("a\\{command_id}", r"'a\\' has characters that file names can't have"),
        ("{account}*/{command_id}", "'*' has characters that file names can't have"),
        ("a\n{command_id}", r"'a\n' has characters that file names can't have"),
        ("\u202e{command_id}", r"'\u202e' has characters that file names can't have"),
        ("\ud800{command_id}", r"'\ud800' has characters that file names can't have"),
        ("{account}", "the last part must contain {command_id} exactly once"),
        ("{command_id}/a", "the last part must contain {command_id} exactly once"),
        ("{{command_id}}", "the last part must contain {command_id} exactly once"),
        ("{command_id}-{command_id}", "the last part must contain {command_id} exactly once"),
        ("{command}{command_id}", "there is no field 'command', only campaign, account, "),
        ("{}{command_id}", "there is no field '', only "),
        ("{0}{command_id}", "there is no field '0', only "),
        ("{account.__class__}{command_id}", "there is no field 'account.__class__', only "),
        ("{account[0]}{command_id}", "there is no field 'account[0]', only "),
        ("{ account}{command_id}", "there is no field ' account', only "),
        ("{account!r}{command_id}", "account can't be converted by !r"),
        ("{account:>9}{command_id}", "account is not a time, so it can't have a format"),
        ("{command_id:%Y}", "command_id is not a time, so it can't have a format"),
        *[
            (f"{{created:{spec}}}/{{command_id}}", f"{spec!r} is not a valid format: it may have %Y %y %m %d")
            for spec in ("%H:%M", "%Y/%m", "%-d", "%B", "%", "%Y%", "day", "%%", "{wave}", "%Y\n", "é%Y")
        ],
        ("{command_id", "expected '}' before end of string"),
        ("{command_id}}", "Single '}' encountered"),
        ("x" * (MAX_TEXT_BYTES + 1) + "{command_id}", f"{'x' * (MAX_TEXT_BYTES + 1)!r} has more than 100 bytes"),
        ("x" * 60 + "{command_id}" + "é" * 21, "has more than 100 bytes"),
        ("a/" * MAX_PARTS + "{command_id}", "it has more than 32 parts"),
    ],
)
def test_what_is_no_template(text: str, reason: str):
    with pytest.raises(ConfigurationError) as caught:
        PlaceTemplate.parse(text)
    assert " is not a valid place template: " in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        (
            "/a//b",
            [
                "it must not begin with '/'",
                "it has an empty part",
                "the last part must contain {command_id} exactly once",
            ],
        ),
        (
            "{user}{account!r}/C:/..",
            [
                "there is no field 'user'",
                "account can't be converted by !r",
                "'C:' has characters that file names can't have",
                "'..' can't be a file name",
                "the last part must contain {command_id} exactly once",
            ],
        ),
        (
            "{wave!r:%Y}/{created:%B}-{command_id}",
            [
                "wave can't be converted by !r",
                "wave is not a time, so it can't have a format",
                "'%B' is not a valid format",
            ],
        ),
        ("{user}/{command_id", ["there is no field 'user'", "expected '}' before end of string"]),
        # What is meant to be the id is told of once.
        ("{id}.zip", ["there is no field 'id'"]),
        (
            "{id}-{command_id}-{command_id}",
            ["there is no field 'id'", "the last part must contain {command_id} exactly once"],
        ),
        ("{id}/{account}", ["there is no field 'id'", "the last part must contain {command_id} exactly once"]),
    ],
)
def test_every_mistake_of_a_template(text: str, reasons: list[str]):
    with pytest.raises(SeveralMistakesError) as caught:
        PlaceTemplate.parse(text)
    found = [mistake.partition(" is not a valid place template: ")[2] for mistake in caught.value.mistakes]
    assert [reason for reason, mistake in zip(reasons, found, strict=True) if not mistake.startswith(reason)] == []


def test_as_much_as_may_be():
    assert place("a/" * (MAX_PARTS - 1) + "x" * MAX_TEXT_BYTES + "{command_id}").endswith(f"x{ID}")


def test_templates_are_equal_by_their_text():
    text = "{account}/{created:%Y}-{command_id}"
    assert PlaceTemplate.parse(text) == PlaceTemplate.parse(text) != PlaceTemplate.parse(text + ".zip")
    assert repr(PlaceTemplate.parse(text)) == f"PlaceTemplate(text={text!r})"


ANY_TEXT = st.text(max_size=30) | st.text(
    alphabet='aà\u0301.\u202e\u200b\x00\n :*?"<>|/\\%-_~{}conNUL1漢🎈', max_size=400
)
PIECES = st.sampled_from([f"{{{name}}}" for name in FIELDS if name != "filename"]) | st.sampled_from(
    ["a", "-", ".", "é", "c"]
)
PARTS = st.lists(PIECES, min_size=1, max_size=5).map("".join)
VALUES = st.none() | ANY_TEXT | st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1))  # noqa: DTZ001
IDS = st.sampled_from([ID, "c1", "c" * 90, "É漢"])


@settings(deadline=None, max_examples=500)
@given(st.lists(PARTS, max_size=3), PARTS, PARTS, IDS, st.fixed_dictionaries(dict.fromkeys(FIELDS, VALUES)))
def test_any_place_is_one(folders: list[str], before: str, after: str, command_id: str, fields: dict[str, Any]):
    """Nothing that devices or people are called keeps an artifact from its place, or brings it to another folder."""
    before, after = (text.replace("{command_id}", "") for text in (before, after))
    text = "/".join([*(folder for folder in folders if "{" in folder), f"{before}{{command_id}}{after}"])
    fields["filename"] = None
    parts = PlaceTemplate.parse(text).place({**fields, "command_id": command_id})
    # It checks that each is safe, and that the last one holds the id.
    assert ArtifactName(command_id, "x.zip", parts).parts == parts
    assert len(parts) == text.count("/") + 1
    assert all(len(part.encode()) <= MAX_NAME_BYTES and unicodedata.is_normalized("NFC", part) for part in parts)


UUIDS = [ID, "11ff2c61-4b7e-4a55-9d0c-2f1f0f6f7a10"]
SAID = st.lists(
    st.sampled_from(
        [*UUIDS, *map(str.upper, UUIDS), *"-_.x", ".zip", ".part", ".json", UUIDS[1].replace("ff", "\ufb00")]
    )
    | st.sampled_from([one[:9] for one in UUIDS] + [one[9:] for one in UUIDS]),
    max_size=6,
).map("".join)
BETWEEN = st.sampled_from(["", "-", "_", ".", " ", "x", "--", "é"])
AT_THE_ENDS = st.sampled_from(["", "-", "_", ".", "..", "x", ".zip", ".part", "con.", "{platform}", "{platform}-"])


@settings(deadline=None, max_examples=500)
@given(AT_THE_ENDS, BETWEEN, BETWEEN, AT_THE_ENDS, st.data())
def test_two_commands_never_meet_in_a_place(start: str, before: str, after: str, end: str, data: st.DataObject):
    """Whatever devices, people and files are called, and whatever else lies beside an artifact while it comes."""
    template = PlaceTemplate.parse(f"{start}{{device_name}}{before}{{command_id}}{after}{{user_email}}{end}")
    first, second = UUIDS
    one, two, three, left, right = (data.draw(SAID) for _ in range(5))
    around = data.draw(st.sampled_from([("", ""), (".", ".part"), (".", ".part.json"), ("", ".sha256")]))
    # Each has the other's id where that could be its own.
    values = [
        (f"{around[0]}{one}", f"{two}{before}{second}{after}{three}{around[1]}"),
        (f"{one}{before}{first}{after}{two}", three),
        (left, right),
    ]

    def taken(command_id: str, names: tuple[str, str]) -> set[str]:
        fields = {"device_name": names[0], "user_email": names[1], "platform": data.draw(SAID)}
        [found] = template.place({**fields, "command_id": command_id})
        return taken_by(found)

    assert not taken(first, values[0]) & taken(second, data.draw(st.sampled_from(values[1:])))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{device_id}-{command_id}-{type}.zip", "{other}-{id}-pcap.zip"),
        ("{device_id}_{command_id}_{registration_id}.zip", "{other}_{id}_{other}.zip"),
        ("{command_id}-{user_email}", "{id}-x-{other}-y"),
        ("{user_email}-{command_id}.zip", "x-{other}-y-{id}.zip"),
        # It could be the other one's, with more before or behind it.
        ("{type}-{command_id}-{user_email}", "pcap-{id}-x_{bare}_y"),
        ("{user_email}-{command_id}-{type}", "x_{bare}_y-{id}-pcap"),
    ],
)
def test_a_value_with_an_id_of_another_is_changed_where_it_could_be_its_place(text: str, expected: str):
    other = UUIDS[1]
    fields = {"device_id": other, "registration_id": other, "type": "pcap", "user_email": f"x-{other}-y"}
    assert place(text, **fields) == expected.format(id=ID, other=other, bare=other.replace("-", "_"))


def test_a_template_of_many_fields_is_looked_at_in_little_time():
    # A pattern that tries all ways would take years.
    value = "-" * 40
    fields = dict.fromkeys(("campaign", "account", "wave", "device_name", "user_email", "platform"), value)
    text = "-".join(f"{{{name}}}" for name in fields)
    assert ID in place(f"{text}-{{command_id}}-{text}x", **{**fields, "platform": ID})
