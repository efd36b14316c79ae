"""The state of a part: what it says survives, and what can't be relied on is not believed."""

import json
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.transfer.partstate import PartState, parse_state
from dexcmd.transfer.ranges import Have, Version

STATE = PartState(
    command_id="c1", filename="a.zip", etag='"a"', last_modified=None, size=1000, durable=400, boot="this"
)


def changed(**fields: Any) -> bytes:
    """Return a state file in which fields have other values, or are missing where that is `...`."""
    described = {**json.loads(STATE.encode()), **fields}
    return json.dumps({name: value for name, value in described.items() if value is not ...}).encode()


texts = st.text(max_size=20)


@settings(deadline=None, max_examples=200)
@given(
    st.builds(
        PartState,
        command_id=texts,
        filename=texts,
        etag=st.none() | texts,
        last_modified=st.none() | texts,
        size=st.none() | st.integers(1, 2**63),
        durable=st.integers(0, 2**63),
        boot=st.none() | texts,
    )
)
def test_a_state_survives(state: PartState):
    assert parse_state(state.encode(), state.command_id, state.filename) == state


def test_it_tells_the_version():
    assert STATE.version == Version('"a"', None, 1000)


class TestParse:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"{}",
            b"[]",
            b"null",
            b"5",
            b'"text"',
            b"{",
            b"\xff\xfe",
            b"\x00" * 1000,
            STATE.encode()[:-1],
            STATE.encode() + b"}",
            b"NaN",
            b'{"durable": ' + b"9" * 5000 + b"}",
        ],
    )
    def test_what_is_no_state(self, data: bytes):
        assert parse_state(data, "c1", "a.zip") is None

    @pytest.mark.parametrize("opening", [b"[", b'{"etag":'])
    def test_deep_nesting(self, opening: bytes):
        # Seen: RecursionError.
        assert parse_state(opening * 100_000, "c1", "a.zip") is None

    @pytest.mark.parametrize(
        "fields",
        [
            {"format": 2},
            {"format": 0},
            {"format": "1"},
            {"format": None},
            {"command_id": "c2"},
            {"command_id": None},
            {"command_id": ["c1"]},
            {"filename": "b.zip"},
            {"filename": ...},
            {"etag": 5},
            {"etag": ...},
            {"last_modified": {}},
            {"size": 0},
            {"size": -1},
            {"size": "1000"},
            {"size": True},
            {"size": 0.5},
            {"durable": -1},
            {"durable": None},
            {"durable": True},
            {"durable": "400"},
            {"durable": 1e400},
            {"durable": ...},
            {"boot": 5},
        ],
        ids=str,
    )
    def test_what_is_not_believed(self, fields: dict[str, Any]):
        assert parse_state(changed(**fields), "c1", "a.zip") is None

    def test_what_is_added_does_no_harm(self):
        assert parse_state(changed(more=[1, 2]), "c1", "a.zip") == STATE

    @settings(deadline=None, max_examples=200)
    @given(st.data())
    def test_any_other_json_is_refused_or_read(self, data: st.DataObject):
        name = data.draw(st.sampled_from([field.name for field in attrs.fields(PartState)]))
        value = data.draw(
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
                max_leaves=5,
            )
        )
        state = parse_state(changed(**{name: value}), "c1", "a.zip")
        assert state is None or (state.durable >= 0 and (state.size is None or state.size > 0))

    @settings(deadline=None, max_examples=200)
    @given(at=st.integers(0, len(STATE.encode()) - 1), byte=st.integers(0, 255))
    def test_any_other_byte_is_refused_or_read(self, at: int, byte: int):
        data = bytearray(STATE.encode())
        data[at] = byte
        parse_state(bytes(data), "c1", "a.zip")


class TestHave:
    @pytest.mark.parametrize(
        ("state_boot", "boot", "written", "durable", "size", "offset"),
        [
            ("this", "this", 700, 400, 1000, 700),
            ("this", "this", 300, 400, 1000, 300),
            ("this", "this", 1200, 400, 1000, 1000),
            ("this", "this", 1200, 400, None, 1200),
            ("this", "next", 700, 400, 1000, 400),
            ("this", "next", 300, 400, 1000, 300),
            ("this", "next", 700, 0, 1000, 0),
            ("this", "next", 1500, 1200, 1000, 1000),
            # Where nothing tells one run of the system from another, it may have been another.
            (None, None, 700, 400, 1000, 400),
            (None, "this", 700, 400, 1000, 400),
            ("this", None, 700, 400, 1000, 400),
        ],
    )
    def test_what_can_be_relied_on(
        self, state_boot: str | None, boot: str | None, written: int, durable: int, size: int | None, offset: int
    ):
        state = attrs.evolve(STATE, boot=state_boot, durable=durable, size=size)
        assert state.have(written, boot) == Have(offset, Version('"a"', None, size))
