"""Artifacts that go where somebody wants them below a sink, with real files and small stores."""

import asyncio
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import LocalStore, MemoryStore

from dexcmd import (
    ArtifactExistsError,
    ConfigurationError,
    DownloadError,
    ObjectStoreSink,
    PlaceTemplate,
    UnsafeFilenameError,
)
from dexcmd.clock import ManualClock
from dexcmd.transfer import files, folder
from dexcmd.transfer.folder import FileSink
from dexcmd.transfer.options import SaveOptions
from dexcmd.transfer.saver import saver
from dexcmd.transfer.sink import ArtifactName
from tests.conftest import Rig
from tests.test_downloads import content, make
from tests.test_extraction import tree
from tests.transfer.filerig import LARGE, SMALL, broken, download, receive, strong, target, there

pytestmark = pytest.mark.anyio


def named(*parts: str, command_id: str = "c1") -> ArtifactName:
    return ArtifactName(command_id, f"{command_id}.zip", parts)


DEEP = named("a", "b c", "1-c1.zip")


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """Have the calls of a function of a module noted."""
    calls, function = list[Any](), getattr(module, name)

    def noting(*arguments: Any) -> Any:
        calls.append(arguments)
        return function(*arguments)

    monkeypatch.setattr(module, name, noting)
    return calls


class TestNames:
    @pytest.mark.parametrize(
        "place",
        [
            *[(), [], "c1", "c1.zip", ["c1"], ("",), ("..", "c1"), ("a", ".", "c1"), ("a/b", "c1"), ("/", "c1")],
            *[
                ("a", "", "c1"),
                ("c1/..",),
                ("a\\c1",),
                ("con", "c1"),
                ("c1 ",),
                ("c1\x00",),
                ("\ud800", "c1"),
                (1, "c1"),
            ],
            *[("c" * 198 + "c1", "x"), ("x" * 199 + "c1",), ("e\u0301", "c1"), ("a",) * 32 + ("c1",)],
            *[("c1", "x.zip"), ("C1.zip",)],
        ],
        ids=ascii,
    )
    def test_what_is_no_place(self, place: Any):
        with pytest.raises(ConfigurationError, match=r"^place must be a tuple of safe names, the last one containing"):
            ArtifactName("c1", "c1.zip", place)

    @pytest.mark.parametrize("place", [("c1",), ("a", "x-c1.zip"), ("a",) * 31 + ("c1",), ("x" * 198 + "c1",)])
    def test_a_place_is_where_it_goes(self, place: tuple[str, ...]):
        assert ArtifactName("c1", "capture.zip", place).parts == place

    def test_without_one_it_goes_where_no_other_goes(self):
        assert ArtifactName("c1", "capture.zip").parts == ("c1-capture.zip",)


class TestFiles:
    @pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
    async def test_a_file_and_its_folders_are_private(self, tmp_path: Path, content: bytes) -> None:
        saved = await download(tmp_path / "out", content, name=DEEP)
        assert saved.path == tmp_path / "out" / "a" / "b c" / "1-c1.zip"
        assert tree(tmp_path / "out") == {"a": None, "a/b c": None, "a/b c/1-c1.zip": content}
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (saved.path, *saved.path.parents[:3])]
        assert modes == [0o600, 0o700, 0o700, 0o700]

    async def test_folders_that_are_there_are_left_as_they_are(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir(mode=0o755)
        await download(tmp_path, SMALL, name=DEEP)
        assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b c")] == [0o755, 0o700]

    async def test_a_folder_is_durable_before_anything_is_in_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a").mkdir()
        synced = counted(monkeypatch, files, "sync_folder")
        async with target(tmp_path, name=named("a", "b", "c", "c1.zip")):
            assert synced == [(tmp_path / "a",), (tmp_path / "a" / "b",)]
        synced.clear()
        async with target(tmp_path, name=named("a", "b", "c", "c1.zip")):
            assert synced == []

    async def test_one_that_may_not_be_is_an_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def failing(path: Path) -> None:
            raise OSError(errno.EIO, "the disk is gone")

        monkeypatch.setattr(files, "sync_folder", failing)
        with pytest.raises(DownloadError, match=r"can't write .*: the disk is gone$"):
            await download(tmp_path, SMALL, name=DEEP)
        assert tree(tmp_path) == {"a": None}

    @pytest.mark.parametrize("end", [300_000, 2_000_000])
    async def test_what_broke_off_is_gone_on_from(self, tmp_path: Path, end: int) -> None:
        await broken(tmp_path, LARGE, end, name=DEEP)
        assert sorted(path.name for path in (tmp_path / "a" / "b c").iterdir()) == [
            ".1-c1.zip.part",
            ".1-c1.zip.part.json",
        ]
        # Not for one of the same artifact that goes elsewhere.
        assert (await there(tmp_path, name=named("a", "c1.zip"))).offset == 0
        saved = await download(tmp_path, LARGE, name=DEEP)
        assert (saved.resumed_from, saved.path.read_bytes()) == (end, LARGE)
        assert [path.name for path in saved.path.parent.iterdir()] == ["1-c1.zip"]

    async def test_what_is_there_is_met_as_anywhere(self, tmp_path: Path) -> None:
        saved = await download(tmp_path, SMALL, name=DEEP)
        assert (await download(tmp_path, SMALL, name=DEEP)).skipped
        with pytest.raises(ArtifactExistsError):
            await download(tmp_path, SMALL, name=DEEP, existing="error")
        assert not (await download(tmp_path, SMALL, name=DEEP, existing="overwrite")).skipped
        renamed = await download(tmp_path, SMALL, name=DEEP, existing="rename")
        assert renamed.path == saved.path.with_name("1-c1 (1).zip")

    async def test_a_file_in_the_place_of_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"mine")
        with pytest.raises(DownloadError, match=r"can't write .*/a: Not a directory$"):
            await download(tmp_path, SMALL, name=DEEP)
        assert tree(tmp_path) == {"a": b"mine"}

    async def test_a_name_that_is_too_long_for_the_system(self, tmp_path: Path) -> None:
        with pytest.raises(DownloadError, match="File name too long"):
            await download(tmp_path, SMALL, name=named(*["x" * 200] * 30, "c1.zip"))


class TestLinks:
    """Links inside the folder that would lead an artifact elsewhere."""

    @pytest.mark.parametrize("leads", ["../outside", "/", ".", "..", "real", "nowhere", "../outside/file"])
    @pytest.mark.parametrize("at", ["a", "a/b c"])
    async def test_none_is_followed(self, tmp_path: Path, leads: str, at: str) -> None:
        inside, outside = tmp_path / "in", tmp_path / "outside"
        (inside / at).parent.mkdir(parents=True)
        outside.mkdir()
        (outside / "file").write_bytes(b"mine")
        ((inside / at).parent / "real").mkdir()
        (inside / at).symlink_to(leads.replace("../outside", str(outside)))
        before = tree(tmp_path)
        with pytest.raises(UnsafeFilenameError, match=f"{at} is a link to another folder$"):
            await download(inside, SMALL, name=DEEP)
        assert tree(tmp_path) == before

    async def test_one_to_a_part_of_the_same_artifact(self, tmp_path: Path) -> None:
        await broken(tmp_path / "outside", LARGE, 2_000_000, name=named("1-c1.zip"))
        (tmp_path / "in" / "a").mkdir(parents=True)
        (tmp_path / "in" / "a" / "b c").symlink_to(tmp_path / "outside")
        before = tree(tmp_path)
        with pytest.raises(UnsafeFilenameError):
            await download(tmp_path / "in", LARGE, name=DEEP)
        assert tree(tmp_path) == before

    async def test_one_refused_harms_no_other_place(self, tmp_path: Path) -> None:
        (tmp_path / "a").symlink_to(tmp_path / "nowhere")
        async with FileSink(tmp_path).open(ManualClock()) as store:
            for _ in range(2):
                with pytest.raises(UnsafeFilenameError):
                    async with store.target(named("a", "c1.zip"), "zip"):
                        pytest.fail("entered")
            async with store.target(named("b", "c1.zip"), "zip") as place:
                await receive(place, SMALL, strong(SMALL))
                await place.finish(0)
        assert (tmp_path / "b" / "c1.zip").read_bytes() == SMALL

    async def test_the_folder_itself_may_be_reached_by_one(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        saved = await download(tmp_path / "link", SMALL, name=DEEP)
        assert saved.path == tmp_path / "link" / "a" / "b c" / "1-c1.zip"
        assert (await download(tmp_path / "link", SMALL, name=DEEP)).skipped

    async def test_one_under_the_name_of_the_file_is_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "mine").write_bytes(b"mine")
        (tmp_path / "in" / "a" / "b c").mkdir(parents=True)
        (tmp_path / "in" / "a" / "b c" / "1-c1.zip").symlink_to(tmp_path / "mine")
        saved = await download(tmp_path / "in", SMALL, name=DEEP)
        assert (saved.path.is_symlink(), saved.path.read_bytes()) == (False, SMALL)
        assert (tmp_path / "mine").read_bytes() == b"mine"


class TestMany:
    """Many artifacts into one open folder."""

    async def save(self, path: Path, names: list[ArtifactName]) -> None:
        async with FileSink(path).open(ManualClock()) as store:

            async def one(name: ArtifactName) -> None:
                async with store.target(name, "zip") as place:
                    if await place.find(None) is None:
                        await receive(place, SMALL, strong(SMALL))
                        await place.finish(0)

            await asyncio.gather(*map(one, names))

    async def test_each_folder_is_made_once_and_a_new_one_needs_no_look(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = counted(monkeypatch, folder, "make_below")
        looks = counted(monkeypatch, os, "listdir")
        taken = counted(monkeypatch, folder.FileTarget, "check_existing")
        names = [named(above, f"c{number}.zip", command_id=f"c{number}") for above in "xyz" for number in range(9)]
        await self.save(tmp_path, names)
        assert made == [(tmp_path, (above,)) for above in "xyz"]
        assert (looks, taken) == ([], [])
        assert len(tree(tmp_path)) == 30

    async def test_for_one_that_is_there_one_look_answers_for_all(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = [named(above, f"c{number}.zip", command_id=f"c{number}") for above in "xyz" for number in range(9)]
        await self.save(tmp_path, names[::2])
        before = {path: path.stat().st_ino for path in tmp_path.glob("*/*")}
        looks = counted(monkeypatch, os, "listdir")
        await self.save(tmp_path, names)
        assert sorted(looks) == [(tmp_path / above,) for above in "xyz"]
        assert len(tree(tmp_path)) == 30
        assert {path: path.stat().st_ino for path in before} == before

    async def test_a_name_of_another_folder_is_another_one(self, tmp_path: Path) -> None:
        await self.save(
            tmp_path, [ArtifactName("c1", "c1.zip"), named("c1.zip"), named("x", "c1.zip"), named("x", "y", "c1")]
        )
        assert tree(tmp_path) == {"c1.zip": SMALL, "x": None, "x/c1.zip": SMALL, "x/y": None, "x/y/c1": SMALL}

    async def test_without_places_no_folder_is_looked_at(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = counted(monkeypatch, folder, "make_below")
        await self.save(tmp_path, [ArtifactName(f"c{number}", f"c{number}.zip") for number in range(9)])
        assert made == []

    @pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
    async def test_a_folder_that_somebody_puts_away_is_made_anew(self, tmp_path: Path, content: bytes) -> None:
        """As one does with yesterday's, while a campaign of days goes on."""
        inside, away = tmp_path / "in", tmp_path / "away"

        async def save(number: int) -> None:
            async with store.target(named("x", f"c{number}.zip", command_id=f"c{number}"), "zip") as place:
                await receive(place, content, strong(content))
                await place.finish(0)

        async with FileSink(inside).open(ManualClock()) as store:
            await save(1)
            (inside / "x").rename(away)
            with pytest.raises(DownloadError, match="No such file or directory"):
                await save(2)
            await save(2)
            await save(3)
        assert tree(inside) == {"x": None, "x/c2.zip": content, "x/c3.zip": content}
        assert tree(away) == {"c1.zip": content}

    async def test_a_folder_that_is_gone_is_made_anew_but_not_the_one_above(self, tmp_path: Path) -> None:
        async with FileSink(tmp_path / "in").open(ManualClock()) as store:
            (tmp_path / "in").rmdir()
            with pytest.raises(DownloadError, match="No such file or directory"):
                async with store.target(DEEP, "zip"):
                    pytest.fail("entered")
        assert tree(tmp_path) == {}


ONE, TWO = "8f0a2c61-4b7e-4a55-9d0c-2f1f0f6f7a10", "11ff2c61-4b7e-4a55-9d0c-2f1f0f6f7a10"
TEMPLATE = PlaceTemplate.parse("{device_name}-{command_id}-{user_email}.zip")


@pytest.mark.parametrize(
    "meeting",
    [
        *[ArtifactName(TWO, name) for name in (f"{ONE}.zip", f".{ONE}.zip.part", f".{ONE}.zip.part.json")],
        ArtifactName(TWO, f"{ONE}.zip.sha256"),
        ArtifactName(TWO, f"{ONE}-{TWO}.zip"),
    ],
    ids=lambda name: name.filename,
)
@pytest.mark.parametrize("kind", ["file", "object"])
async def test_no_name_brings_two_commands_together(tmp_path: Path, kind: str, meeting: ArtifactName) -> None:
    sink = FileSink(tmp_path) if kind == "file" else ObjectStoreSink(LocalStore(tmp_path), attributes=None)
    async with sink.open(ManualClock()) as store, store.target(ArtifactName(ONE, f"{ONE}.zip"), "zip") as first:
        await receive(first, LARGE, strong(LARGE), end=2_000_000)
        for name in (meeting, ArtifactName(ONE, f"{ONE}-{TWO}.zip")):
            async with store.target(name, "zip") as second:
                assert await second.find(None) is None
                await receive(second, SMALL, strong(SMALL))
                await second.finish(0)
        await receive(first, LARGE, strong(LARGE), 2_000_000)
        await first.finish(0)
    files = {name: data for name, data in tree(tmp_path).items() if data in (SMALL, LARGE)}
    assert len(files) == 3
    assert files[f"{ONE}.zip"] == LARGE
    assert not [name for name in tree(tmp_path) if name.startswith(".")]


async def test_no_value_brings_two_commands_to_one_place(tmp_path: Path) -> None:
    async with FileSink(tmp_path).open(ManualClock()) as store:
        for command_id, device, email in ((ONE, "x", f"y-{TWO}-z"), (TWO, f"x-{ONE}-y", "z")):
            fields = {"command_id": command_id, "device_name": device, "user_email": email}
            name = ArtifactName(command_id, f"{command_id}.zip", TEMPLATE.place(fields))
            async with store.target(name, "zip") as place:
                assert await place.find(None) is None
                await receive(place, SMALL, strong(SMALL))
                await place.finish(0)
    assert len(tree(tmp_path)) == 2


def memory() -> ObjectStoreSink:
    return ObjectStoreSink(MemoryStore(), "2026/")


class TestCalls:
    """Places through `save`, and through what saves many."""

    async def test_save(self, rig: Rig, tmp_path: Path) -> None:
        await rig.start()
        command = await make(rig)
        place = ("london", f"x-{command.id}.zip")
        saved = await rig.dex.downloads.save(command, tmp_path, place=place)
        assert saved.path == tmp_path.joinpath(*place)
        asked = len(rig.sandbox.requests)
        assert (await rig.dex.downloads.save(command, tmp_path, place=place)).skipped
        assert len(rig.sandbox.requests) == asked

    @pytest.mark.parametrize("sink", [lambda path: FileSink(path / "new"), lambda _: memory()], ids=["file", "object"])
    async def test_a_place_that_is_none_is_told_before_anything_is_done(
        self, rig: Rig, tmp_path: Path, sink: Callable[[Path], Any]
    ) -> None:
        await rig.start()
        with pytest.raises(ConfigurationError, match="place must be"):
            await rig.dex.downloads.save("c1", sink(tmp_path), place=("..", "c1.zip"))
        assert (rig.sandbox.requests, tree(tmp_path)) == ([], {})

    async def test_a_saver_takes_a_place_for_each(self, rig: Rig, tmp_path: Path) -> None:
        await rig.start()
        first, second = await make(rig), await make(rig)
        async with saver(rig.dex.session, FileSink(tmp_path), SaveOptions()) as save:
            with_place, without = await save(first, place=("a", f"{first.id}.zip")), await save(second)
            with pytest.raises(ConfigurationError):
                await save(first, place=("a", "x.zip"))
        assert with_place.path == tmp_path / "a" / f"{first.id}.zip"
        assert without.path == tmp_path / f"{second.id}.zip"

    async def test_objects(self, rig: Rig) -> None:
        await rig.start()
        command, sink = await make(rig), memory()
        place = ("a b", "é", f"x-{command.id}.zip")
        stored = await rig.dex.downloads.save(command, sink, place=place)
        assert stored.key == f"2026/a b/é/x-{command.id}.zip"
        assert bytes(obstore.get(sink.store, stored.key).bytes()) == await content(rig, command)
        mark = bytes(obstore.get(sink.store, f"{stored.key}.sha256").bytes())
        assert mark.decode() == f"{stored.sha256}  x-{command.id}.zip\n"
        assert (await rig.dex.downloads.save(command, sink, place=place)).skipped
        assert not (await rig.dex.downloads.save(command, sink, place=place[1:])).skipped

    async def test_objects_in_a_folder(self, rig: Rig, tmp_path: Path) -> None:
        await rig.start(artifact_size=12_000_000)
        command = await make(rig)
        sink = ObjectStoreSink(LocalStore(tmp_path), attributes=None)
        stored = await rig.dex.downloads.save(command, sink, place=("a b", "#", f"{command.id}~%.zip"))
        assert (tmp_path / stored.key).read_bytes() == await content(rig, command)
        assert stored.key == f"a b/#/{command.id}~%.zip"
