"""A saved artifact looks inside itself."""

import zipfile
from pathlib import Path

import pytest

from dexcmd import ArtifactTooLargeError, ExtractLimits, MemberNotFoundError, SavedArtifact

pytestmark = pytest.mark.anyio

CONTENT = {"results.json": b'{"ok": true}', "logs/daemon.log": b"line\n" * 1000}


@pytest.fixture
def saved(tmp_path: Path) -> SavedArtifact:
    path = tmp_path / "c1.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in CONTENT.items():
            archive.writestr(name, data)
    return SavedArtifact(path=path, size=path.stat().st_size, sha256="0" * 64)


async def test_it_lists_its_members(saved: SavedArtifact) -> None:
    assert {member.name: member.size for member in await saved.members()} == {
        name: len(data) for name, data in CONTENT.items()
    }


async def test_it_reads_one(saved: SavedArtifact) -> None:
    for name, data in CONTENT.items():
        async with saved.read(name) as member:
            assert await member.read_all() == data
    with pytest.raises(MemberNotFoundError):
        async with saved.read("other"):
            pass


async def test_it_unpacks_all_or_some(saved: SavedArtifact, tmp_path: Path) -> None:
    for names in (None, ["logs/daemon.log"]):
        into = tmp_path / f"into-{names is None}"
        files = await saved.extract(into, names)
        assert {path.relative_to(into).as_posix(): path.read_bytes() for path in files} == {
            name: data for name, data in CONTENT.items() if names is None or name in names
        }


async def test_its_limits_are_those_that_are_given(saved: SavedArtifact, tmp_path: Path) -> None:
    with pytest.raises(ArtifactTooLargeError):
        await saved.extract(tmp_path / "into", limits=ExtractLimits(total_bytes=10))
    assert not list(tmp_path.rglob("daemon.log"))
