"""The temporary file for what can't be verified while it streams."""

import tempfile
from pathlib import Path

import pytest

from dexcmd.transfer.spool import Spool


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_gives_what_was_written_as_often_as_it_is_asked():
    spool = Spool()
    spool.write([b"a" * 700_000, b"b"])
    spool.write([b"c" * 700_000])
    expected = b"a" * 700_000 + b"b" + b"c" * 700_000
    with spool.open() as file:
        assert file.read() == expected
    pieces = list(spool.pieces())
    assert len(pieces) == 2
    assert b"".join(pieces) == expected
    with spool.open() as file:
        assert file.read(3) == b"aaa"
    spool.remove()


def test_it_has_no_name_which_a_kill_could_leave(temporary: Path):
    spool = Spool()
    spool.write([b"a"])
    assert list(temporary.iterdir()) == []
    spool.remove()
