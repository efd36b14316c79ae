"""Whatever saves artifacts into one folder by two clients, and whatever goes wrong meanwhile: files are whole, results
are true, and nothing is left.

A few courses, always the same ones, run with the other tests.  For many more, others each time:

    DEXCMD_CAMPAIGNS=thorough pytest -o faulthandler_timeout=0 tests/test_downloading_together.py
"""

import asyncio
import hashlib
import itertools
import os
import stat
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from dexcmd import (
    ArtifactExistsError,
    DexClient,
    DexError,
    DownloadError,
    FileSink,
    Progress,
    RetryPolicy,
    SavedArtifact,
    SaveResult,
)
from dexcmd.events import Event, RequestSent
from dexcmd.loading import load
from dexcmd.sandbox import Behaviour, Fault, Sandbox
from dexcmd.sandbox.state import NewCommand
from dexcmd.transfer import resumable
from dexcmd.transfer.limits import DownloadLimits
from dexcmd.transfer.partfile import part_names, state_name
from dexcmd.transfer.partstate import PartState, parse_state
from tests.courses import DOWNLOAD_BEHAVIOURS, mostly, profile
from tests.faults.directly import reading_directly
from tests.faults.loops import LoopClock, StillLoop, wait_for_threads

PROFILE = profile(20, 1000, shrinks=False)

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
SIZES = (1_200_000, 1_500_000, 70_000, 300_000)
FILES: Any = ("download", "storage")
LIMITS = DownloadLimits(stall_seconds=60, total_seconds=3600)
LONGEST = 100_000.0
"""Seconds.  No course takes so long; one that does waits for what does not come."""

SYNC_EVERY = 250_000
"""As little is synced behind the writer's back, for the artifacts are small."""

# --- what may happen

WHEN = st.sampled_from([0.0, 0.0, 0.0, 0.1, 0.3, 4.0, 31.0, 100.0])
SPOTS = st.one_of(
    st.sampled_from([0.6, 0.3, 0.9]),
    st.floats(0.1, 1.0),
    st.sampled_from([0, 1, 1.0, 1 - 1e-7, 64 * 1024 + 1, 1024 * 1024, 1024 * 1024 + 1]),
)


def one_of(*strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return one of these, each as often as the others: hypothesis' own counts what these are made of."""
    return st.sampled_from(strategies).flatmap(lambda chosen: chosen)


def faults(framings: st.SearchStrategy[Any]) -> st.SearchStrategy[Fault]:
    """What a length, a strong ETag or an overlap is enough against, where `framings` tell the end of a body."""
    cut = st.builds(Fault.cut, SPOTS, framing=framings, reset=st.booleans())
    stall = st.builds(Fault.stall, SPOTS, framing=framings)
    other = st.one_of(
        st.builds(Fault.trickle, st.sampled_from([100, 50_000]), at=st.sampled_from([0.5, 0.95]), piece=st.just(5000)),
        st.builds(Fault.revise, st.none() | SPOTS, same_bytes=st.booleans()),
        st.builds(Fault.ignore_if_range, same_bytes=st.booleans()),
        st.builds(Fault.wrong_range, st.sampled_from([0, 1, -1, 70_000]), end=st.sampled_from([0, -1, -70_000])),
        st.builds(Fault.unasked_range, st.floats(0, 0.5), st.floats(0.5, 1)),
        st.builds(Fault.encoded, framing=framings),
        st.builds(Fault.slow, st.sampled_from([0.1, 3.0, 32.0])),
        st.builds(Fault.error, st.sampled_from([503, 404, 410])),
        st.sampled_from(
            [
                Fault.ignore_range(),
                Fault.multipart_range(),
                Fault.unsatisfiable(),
                Fault.mislabelled_range(form=None),
                Fault.mislabelled_range(total=1),
                Fault.redirect(hops=2),
                Fault.redirect("self"),
                Fault.html(),
                Fault.empty(),
                Fault.drop(),
                Fault.silence(),
            ]
        ),
    )
    return one_of(cut, cut, stall, other)


LYING: st.SearchStrategy[Fault] = st.one_of(
    # Where there is data: nothing tells of a time in a header.
    st.builds(Fault.corrupt, st.floats(0.1, 0.9)),
    st.builds(Fault.lying_length, st.sampled_from([-1, 1, -70_000, 1000]), rest=st.booleans()),
    st.builds(Fault.surplus, st.integers(1, 2000), framing=st.sampled_from(["length", "chunked", "close"])),
    st.builds(Fault.mislabelled_range, body=st.integers(1, 50_000)),
    st.just(Fault.garbage()),
)
"""What only the checksums in the zip are enough against."""

LIES = ("corrupt", "lying_length", "surplus", "mislabelled_range", "garbage")


@attrs.frozen
class Call:
    """One that saves."""

    many: bool
    client: int
    commands: list[int]
    place: bool
    """Whether they go to a folder below, under names that are longer."""

    existing: Any
    verify: Any
    begins: float
    leaves: float | tuple[int, int] | None
    """When it is cancelled: after so many seconds, or after which of its client's requests and how many turns of the
    loop later.
    """

    stops: float | None
    """After how many seconds it is told to begin no more."""

    attempts: int
    patience: float
    concurrency: int
    bytes_per_second: float | None


@attrs.frozen
class Course:
    """What happens to some calls."""

    sizes: list[int]
    found: list[str | None]
    """What an earlier process has left of each artifact."""

    calls: list[Call]
    faults: list[tuple[int, Fault]]
    """Each after how many requests that pass."""

    never: Fault | None
    """What strikes each request for the first artifact."""

    revisions: list[tuple[float, int]]
    """When which artifact is replaced by another version."""

    behaviour: dict[str, Any]
    directly: bool
    keep_part: bool

    @property
    def lying(self) -> bool:
        """Whether bytes may come that are none of the artifact's."""
        return any(fault.kind in LIES for _, fault in self.faults)


FOUND = mostly(
    None, "half a file", "a link", "a bare part", "a bare state", "a further part", "two names", "a whole part"
)


def courses(*, checked: bool) -> st.SearchStrategy[Course]:
    """Return courses; `checked` are those in which each call looks at the checksums, so the service may lie."""
    call = st.builds(
        Call,
        many=st.booleans(),
        client=st.integers(0, 1),
        commands=st.lists(st.sampled_from([0, 0, 0, 1, 2]), min_size=1, max_size=4),
        place=mostly(False, True),
        existing=st.sampled_from(["verify", "verify", "verify", "overwrite", "rename", "error"]),
        verify=st.sampled_from(["zip", None] if checked else [None, "size", "none"]),
        begins=WHEN,
        leaves=st.one_of(st.none(), st.none(), st.none(), st.tuples(st.integers(1, 4), st.integers(0, 60)), WHEN),
        stops=mostly(None, 0.0, 0.2),
        attempts=st.sampled_from([1, 6, 6]),
        patience=st.sampled_from([5.0, 60.0]),
        concurrency=st.integers(1, 3),
        bytes_per_second=mostly(None, 100_000.0),
    )
    framings = mostly("length", "chunked", *(["close"] if checked else []))
    striking = one_of(*[faults(framings)] * 4, LYING) if checked else faults(framings)
    return st.builds(
        Course,
        sizes=st.lists(st.sampled_from(SIZES), min_size=3, max_size=3),
        found=st.lists(FOUND, min_size=3, max_size=3),
        calls=st.lists(call, min_size=3, max_size=6),
        faults=st.lists(st.tuples(st.sampled_from([0, 0, 1, 3]), striking), min_size=3, max_size=8),
        never=mostly(None, None, None, None, Fault.stall(0), Fault.error(503), Fault.drop()),
        revisions=st.lists(st.tuples(WHEN, st.integers(0, 2)), max_size=1),
        behaviour=DOWNLOAD_BEHAVIOURS,
        directly=st.booleans(),
        keep_part=st.sampled_from([True, True, False]),
    )


# --- how it runs


@attrs.define
class Client:
    """One of the two, and who waits for its requests."""

    dex: DexClient = attrs.field(init=False)
    on_sent: list[Callable[[], None]] = attrs.field(factory=list[Callable[[], None]])


@attrs.define
class Told:
    """What a call was told of one artifact."""

    call: Call
    command: int
    saved: SavedArtifact | None
    error: BaseException | None


_HASHES: dict[tuple[str, int, int], str] = {}
"""Of each version of an artifact, which are the same in all courses."""


@attrs.define
class Together:
    """Calls into one folder, and what they were told."""

    course: Course
    outer: Path
    sandbox: Sandbox = attrs.field(init=False)
    clock: LoopClock = attrs.field(init=False)
    clients: list[Client] = attrs.field(factory=list[Client])
    ids: list[str] = attrs.field(factory=list[str])
    planted: dict[Path, bytes | None] = attrs.field(factory=dict[Path, "bytes | None"])
    told: list[Told] = attrs.field(factory=list[Told])
    checked: set[tuple[int, int]] = attrs.field(factory=set[tuple[int, int]])
    """Which files were looked at, and when they were written."""

    events: set[str] = attrs.field(factory=set[str])
    main: "asyncio.Task[Any] | None" = None
    endless: bool = False

    @property
    def folder(self) -> Path:
        return self.outer / "captures"

    @property
    def outside(self) -> Path:
        return self.outer / "outside.zip"

    def final(self, command: int, *, place: bool) -> Path:
        command_id = self.ids[command]
        return self.folder / "below" / f"a-{command_id}.zip" if place else self.folder / f"{command_id}.zip"

    async def __call__(self) -> None:
        wait_for_threads()
        # The thread that does it is none that skipping time waits for.
        await load("dexcmd.transfer.saver")
        self.clock = LoopClock(START)
        self.main = asyncio.current_task()
        behaviour = Behaviour.instant(rate_limit=None, **self.course.behaviour)
        self.sandbox = Sandbox(
            3, clock=self.clock, behaviour=behaviour, artifact_size=self.size_of, token="t" * 40, account_id="a" * 32
        )
        async with self.sandbox as sandbox:
            for device in sandbox.state.devices:
                self.ids.append(sandbox.state.create(NewCommand(device, "speed-test")).id)
            self.plant()
            self.clients = [self.client(), self.client()]
            if self.course.never is not None:
                first = self.ids[0]
                sandbox.faults.add(
                    self.course.never, on=FILES, times=None, where=lambda request: request.params["command_id"] == first
                )
            for skip, fault in self.course.faults:
                sandbox.faults.add(fault, on=sorted(fault.operations & set(FILES)), skip=skip)
            try:
                async with asyncio.timeout(LONGEST):
                    await asyncio.gather(*map(self.take, self.course.calls), *map(self.revise, self.course.revisions))
                    self.check_at_rest()
                    self.check_told()
                    await self.end()
            except asyncio.CancelledError:
                assert not self.endless, "it goes round in circles"
                raise
            finally:
                for client in self.clients:
                    await client.dex.close()
        check_nothing_runs()

    def size_of(self, row: Any) -> int:
        devices = [device.device_id for device in self.sandbox.state.devices]
        return self.course.sizes[devices.index(row["device_id"])]

    def client(self) -> Client:
        client = Client()

        def note(sent: Event) -> None:
            if isinstance(sent, RequestSent):
                for on_sent in [*client.on_sent]:
                    on_sent()
                self.check_files()
                if len(self.sandbox.requests) > self.most_requests() and self.main is not None:
                    self.endless = True
                    self.main.cancel()

        client.dex = DexClient(
            api_token=self.sandbox.token,
            account_id=self.sandbox.account_id,
            base_url=self.sandbox.base_url,
            clock=self.clock,
            random=lambda: 0.0,
            on_event=note,
            rate_limit=None,
        )
        return client

    def most_requests(self) -> int:
        """Return how many there may be: each save some in vain, one for each version and fault, all with redirects."""
        course = self.course
        saves = sum(len(call.commands) for call in course.calls) + len(self.ids) * 2
        return saves * (6 + len(course.revisions) + len(course.faults)) * 3

    def plant(self) -> None:
        """Leave what an earlier process, or somebody, has left."""
        self.outside.write_bytes(b"not to be touched")
        self.folder.mkdir(mode=0o700)
        for command, found in enumerate(self.course.found):
            if found is None:
                continue
            final = self.final(command, place=False)
            part, *further = part_names(final.name)
            body = b"".join(self.sandbox.artifact(self.ids[command]).read())
            match found:
                case "half a file":
                    self.leave(final, body[: len(body) // 2])
                case "a link":
                    final.symlink_to(self.outside)
                    self.planted[final] = None
                case "a bare part":
                    self.leave(self.folder / part, body[:-1])
                case "a bare state":
                    self.leave(self.folder / state_name(part), b"{}")
                case "a further part":
                    self.leave(self.folder / further[1], body)
                case "two names":
                    self.leave(final, body)
                    (self.folder / part).hardlink_to(final)
                    self.planted[self.folder / part] = body
                    # Of another version, as the service sees it by now.
                    state = PartState(
                        command_id=self.ids[command],
                        filename=final.name,
                        etag='"earlier"',
                        last_modified=None,
                        size=len(body) + 1,
                        durable=len(body),
                        boot=None,
                    )
                    self.leave(self.folder / state_name(part), state.encode())
                case "a whole part":
                    self.leave(self.folder / part, body)
                case _:
                    pass

    def leave(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        path.chmod(0o600)
        self.planted[path] = content

    async def revise(self, revision: tuple[float, int]) -> None:
        at, command = revision
        await self.clock.sleep(at)
        self.sandbox.state.revise(self.ids[command])

    async def take(self, call: Call) -> None:
        await self.clock.sleep(call.begins)
        client = self.clients[call.client]
        dex = client.dex.with_retry(RetryPolicy(attempts=call.attempts, attempt_seconds=call.patience))
        doing = asyncio.ensure_future(self.save_many(call, dex) if call.many else self.save(call, dex))
        with ExitStack() as stack:
            if isinstance(call.leaves, tuple):
                requests, turns = call.leaves
                stack.enter_context(after_requests(client, requests, partial(after_turns, turns, doing.cancel)))
            elif call.leaves is not None:
                stack.callback(asyncio.get_running_loop().call_later(call.leaves, doing.cancel).cancel)
            await asyncio.wait([doing])
        self.check_files()
        if doing.cancelled():
            self.events.add("a call is cancelled")
        else:
            doing.result()

    async def save(self, call: Call, dex: DexClient) -> None:
        [command, *_] = call.commands
        progress: list[Progress] = []
        known: list[Told] = []

        def on_progress(report: Progress) -> None:
            progress.append(report)
            known[:] = self.told

        place = ("below", f"a-{self.ids[command]}.zip") if call.place else None
        try:
            saved = await dex.downloads.save(
                self.ids[command],
                FileSink(self.folder, existing=call.existing, keep_part=self.course.keep_part),
                place=place,
                verify=call.verify,
                limits=LIMITS,
                on_progress=on_progress,
            )
        except DexError as error:
            self.note(call, command, None, error)
        else:
            self.note(call, command, saved, None)
            assert saved.skipped or (progress[-1].received, progress[-1].size) == (saved.size, saved.size)
            if call.existing in ("rename", "error"):
                # Its file got its name after its last byte had come.
                assert all(told.saved is None or told.saved.path != saved.path for told in known)
        assert all(report.received <= (report.size or report.received) for report in progress)

    async def save_many(self, call: Call, dex: DexClient) -> None:
        wanted = [self.ids[command] for command in call.commands]
        results: list[SaveResult[SavedArtifact]] = []
        async with dex.downloads.save_many(
            wanted,
            FileSink(self.folder, existing=call.existing, keep_part=self.course.keep_part),
            concurrency=call.concurrency,
            bytes_per_second=call.bytes_per_second,
            verify=call.verify,
            limits=LIMITS,
        ) as saving:
            if call.stops is not None:
                asyncio.get_running_loop().call_later(call.stops, saving.stop)
            async for result in saving:
                results.append(result)
                self.note(call, self.ids.index(str(result.command)), result.artifact, result.error)
        totals = saving.totals
        assert totals.saved + totals.skipped + totals.failed == len(results)
        assert totals.skipped == sum(result.artifact is not None and result.artifact.skipped for result in results)
        assert totals.failed == sum(result.error is not None for result in results)
        if call.stops is None:
            assert sorted(str(result.command) for result in results) == sorted(wanted)

    def note(self, call: Call, command: int, saved: SavedArtifact | None, error: BaseException | None) -> None:
        """Take what a call was told, which is true by now."""
        self.told.append(Told(call, command, saved, error))
        if saved is None:
            self.events.add(type(error).__name__)
            # So one of the disk would be told.
            assert type(error) is not DownloadError
            if isinstance(error, ArtifactExistsError):
                assert call.existing == "error"
                assert os.path.lexists(self.final(command, place=call.place and not call.many))
            return
        self.events.add("skipped" if saved.skipped else "resumed" if saved.resumed_from else "saved")
        assert saved.path.stat().st_size == saved.size
        assert saved.sha256 in self.hashes(command)
        assert saved.size == self.course.sizes[command]
        assert 0 <= saved.resumed_from <= saved.size
        assert not saved.skipped or (call.existing == "verify" and not saved.resumed_from)

    # --- what must be so

    def hashes(self, command: int) -> list[str]:
        """Return those of each version that the service has had of an artifact."""
        command_id = self.ids[command]
        stored = self.sandbox.state.commands[command_id]
        newest, found = stored.revision, list[str]()
        for revision in range(newest + 1):
            key = (command_id, self.course.sizes[command], revision)
            if key not in _HASHES:
                stored.revision = revision
                _HASHES[key] = hashlib.sha256(b"".join(self.sandbox.artifact(command_id).read())).hexdigest()
                stored.revision = newest
            found.append(_HASHES[key])
        return found

    def files(self) -> Iterator[Path]:
        """Give all that is in the folder."""
        for path in sorted(self.folder.rglob("*")):
            if path != self.folder / "below":
                yield path

    def check_files(self) -> None:
        """Check that each file with a final name is a version of that very artifact, or as it was found."""
        for path in self.files():
            if path.name.startswith(".") or path.is_symlink():
                continue
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                if (key := (status.st_ino, status.st_mtime_ns)) in self.checked:
                    continue
                content = file.read()
            [command] = [command for command, command_id in enumerate(self.ids) if command_id in path.name]
            if content != self.planted.get(path):
                assert hashlib.sha256(content).hexdigest() in self.hashes(command), path
                assert stat.S_IMODE(status.st_mode) == 0o600
            self.checked.add(key)
        assert sorted(path.name for path in self.outer.iterdir()) == ["captures", "outside.zip"]
        assert self.outside.read_bytes() == b"not to be touched"

    def check_at_rest(self) -> None:
        """Check what is left when all calls are over: of an artifact a part at the most, with what it is gone on by."""
        self.check_files()
        check_nothing_is_open(self.folder)
        hidden = {path for path in self.files() if path.name.startswith(".")} - {*self.planted}
        for path in hidden:
            final = path.with_name(path.name.removeprefix(".").removesuffix(".json").removesuffix(".part"))
            part = final.with_name(part_names(final.name)[0])
            state = part.with_name(state_name(part.name))
            assert path in (part, state)
            assert {part, state} <= hidden | {*self.planted}
            assert self.course.keep_part
            self.events.add("a part is left")

    def check_told(self) -> None:
        """Check that what must not be replaced was not."""
        saved = [(told, told.saved) for told in self.told if told.saved is not None]
        own = [one.path for told, one in saved if told.call.existing in ("rename", "error")]
        assert len(own) == len(set(own))
        bases = {self.final(told.command, place=told.call.place and not told.call.many) for told in self.told}
        for told, one in saved:
            assert one.path in bases or told.call.existing == "rename"
            replaced = any(call.existing in ("verify", "overwrite") for call in self.course.calls)
            if one.path not in bases or not replaced:
                assert hashlib.sha256(one.path.read_bytes()).hexdigest() == one.sha256

    async def end(self) -> None:
        """Check that calls which nothing befalls end whole, whatever was left, and leave nothing but files."""
        self.sandbox.faults.clear()
        self.sandbox.behaviour = Behaviour.instant(rate_limit=None)
        wanted = {(command, False) for command in range(len(self.ids))}
        wanted |= {(call.commands[0], True) for call in self.course.calls if call.place and not call.many}
        for command, place in sorted(wanted):
            await self.end_one(command, place=place)
        renames = {told.saved.path for told in self.told if told.saved is not None}
        left = {*self.files()} - {self.final(command, place=place) for command, place in wanted} - renames
        # A call that was cancelled as its file got a name has told nobody.
        assert all(path.stem.endswith(")") for path in left), left
        assert len(left) <= sum(len(call.commands) for call in self.course.calls if call.existing == "rename")
        check_nothing_is_open(self.folder)

    async def end_one(self, command: int, *, place: bool) -> None:
        final, command_id = self.final(command, place=place), self.ids[command]
        part = final.with_name(part_names(final.name)[0])
        versions, artifact = self.hashes(command), self.sandbox.artifact(command_id)
        whole = not final.is_symlink() and final.exists() and sha256_of(final) in versions
        there, described = 0, None
        with suppress(OSError):
            there = part.stat().st_size
            described = parse_state(part.with_name(state_name(part.name)).read_bytes(), command_id, f"{command_id}.zip")
        sent = len(self.sandbox.requests)
        saved = await self.clients[0].dex.downloads.save(
            command_id, self.folder, place=("below", final.name) if place else None
        )
        ranges = [request.headers.get("Range") for request in self.sandbox.requests[sent:]]
        assert saved.path == final
        assert saved.skipped == whole
        assert sha256_of(final) == saved.sha256
        if whole:
            assert not ranges
        elif not saved.resumed_from:
            # Once more where what was there is of another version, or damaged.
            assert len(ranges) in (1, 2)
        elif saved.resumed_from == saved.size:
            assert not ranges
        else:
            assert len(ranges) == 1
            assert ranges[0] is not None
        retagged = self.sandbox.state.commands[command_id].retagged
        current = described is not None and described.etag == artifact.etag and not retagged
        if current and there < artifact.size and not whole and not self.course.lying:
            # What was there is not fetched again.
            assert saved.resumed_from == there
            self.events.add("gone on from what was left")
        assert saved.sha256 == versions[-1] or (saved.sha256 in versions and not ranges)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def after_requests(client: Client, requests: int, act: Callable[[], object]) -> Generator[None]:
    """Do something when a client has sent so many more."""
    left = itertools.count(requests - 1, -1)

    def count() -> None:
        if next(left) == 0:
            act()

    client.on_sent.append(count)
    try:
        yield
    finally:
        client.on_sent.remove(count)


def after_turns(turns: int, act: Callable[[], object]) -> None:
    """Do something so many turns of the loop later."""
    if turns:
        asyncio.get_running_loop().call_soon(after_turns, turns - 1, act)
    else:
        act()


def check_nothing_is_open(folder: Path) -> None:
    """Check that this process has nothing open below a folder, and so no lock."""
    found: list[str] = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(os.readlink(link))  # noqa: PTH115
    assert not [path for path in found if path.startswith(f"{folder}/")]


def check_nothing_runs() -> None:
    """Check that no task is left, nor a thread; one that is told to end by the end of a call may take a moment."""
    assert asyncio.all_tasks() == {asyncio.current_task()}
    for thread in threading.enumerate():
        if thread.name.startswith(("dexcmd-", "Thread-")):
            thread.join(60)
            assert not thread.is_alive()


def run(course: Course) -> set[str]:
    with ExitStack() as stack:
        if course.directly:
            stack.enter_context(reading_directly())
        stack.enter_context(pytest.MonkeyPatch.context()).setattr(resumable, "SYNC_EVERY", SYNC_EVERY)
        outer = stack.enter_context(tempfile.TemporaryDirectory())
        runner = stack.enter_context(asyncio.Runner(loop_factory=StillLoop))
        together = Together(course, Path(outer).resolve())
        runner.run(together())
        return together.events


@PROFILE
@given(courses(checked=True) | courses(checked=False))
def test_files_are_whole_and_results_true(course: Course) -> None:
    for what in run(course):
        event(what)
