"""Arguments that can't be right: each is told by its name, as one of our errors, before anything is sent."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dexcmd import (
    Command,
    CommandRequest,
    ConfigurationError,
    DexClient,
    DownloadLimits,
    FileSink,
    Outcome,
    Pcap,
    PlaceTemplate,
    RetryPolicy,
    SavedArtifact,
)
from dexcmd.clock import ManualClock, SystemClock
from dexcmd.sandbox import Behaviour
from tests.conftest import Rig

pytestmark = pytest.mark.anyio

SETTINGS: dict[str, Any] = {"api_token": "a-token", "account_id": "0" * 32}


REQUEST = CommandRequest(device_id="d", user_email="ada@example.com", args=Pcap())
OUTCOME = Outcome(REQUEST, "created", command_id="c")


async def late(*_: object) -> None:
    raise AssertionError("called")


class Late:
    async def __call__(self, _: object) -> None:
        raise AssertionError("called")


@pytest.fixture
async def dex() -> AsyncIterator[DexClient]:
    async with DexClient(**SETTINGS) as dex:
        yield dex


@pytest.mark.parametrize(
    ("call", "says"),
    [
        # Each letter of an id would be followed.
        (lambda dex: dex.commands.follow("an-id"), "commands must be an iterable of .* not 'an-id'"),
        (lambda dex: dex.commands.follow(None), "commands must be an iterable of"),
        (lambda dex: dex.commands.follow([], timeout=None), "timeout must be a finite number, not None"),
        (lambda dex: dex.commands.follow([], poll_interval=0), "^poll_interval must be above 0, not 0"),
        (lambda dex: dex.commands.follow(dex.commands.list()), "commands must be an iterable of .* collect them first"),
        (
            lambda dex: dex.commands.create_many(dex.devices.list()),
            "requests must be an iterable of .* collect them first",
        ),
        (lambda dex: dex.commands.list(status=["SUCCESS"]), "status must be a string, not .'SUCCESS'."),
        (lambda dex: dex.commands.list(device_id=5), "device_id must be a string, not 5"),
        (lambda dex: dex.devices.list(search=b"x"), "search must be a string, not b'x'"),
        (lambda dex: dex.devices.list(search="\udcff"), "search must be text, not '.udcff'"),
        # Nothing to filter by, as a variable is that was never set, would be no filter: everybody's rows.
        (lambda dex: dex.devices.list(search=""), "search is empty: omit it"),
        (lambda dex: dex.commands.list(user_email=""), "user_email is empty: omit it"),
        (lambda dex: dex.commands.list(device_id=""), "device_id is empty"),
        (lambda dex: dex.commands.list(status="", command_type="pcap"), "status is empty"),
        # It would be the current folder.
        (lambda dex: dex.capture([], ""), "into must be a folder or a Sink, not ''"),
        (lambda dex: dex.downloads.save_many([], ""), "into must be a folder or a Sink, not ''"),
        (lambda _: FileSink(""), "folder must be a folder, not ''"),
        # What is returned is thrown away, so what such a function does would never be done.
        (lambda _: DexClient(**SETTINGS, on_event=late), "on_event must be a plain function, not async"),
        (lambda _: DexClient(**SETTINGS, on_event=Late()), "on_event must be a plain function, not async"),
        (lambda dex: dex.capture([], "x", on_progress=partial(late, 1)), "on_progress must be a plain function"),
        (lambda dex: dex.downloads.save_many([], "x", on_progress=late), "on_progress must be a plain function"),
        # What it is, where all that is in it would be a page.
        (lambda dex: dex.commands.follow([OUTCOME]), "^expected a command or its id, not Outcome$"),
        (
            lambda dex: dex.commands.follow([10**5000]),
            "^expected a command or its id, not a number with thousands of digits$",
        ),
        (lambda dex: dex.commands.follow([Command(type="pcap")]), "^expected .*, not a command without an id$"),
        (lambda dex: dex.commands.follow(Command(id="a")), "^commands must be an iterable of .*, not Command$"),
        (lambda dex: dex.commands.create_many(REQUEST), "^requests must be an iterable of .*, not CommandRequest$"),
        (lambda dex: dex.capture([], "x", create_concurrency=0), "create_concurrency must be a whole number"),
        (lambda dex: dex.downloads.save_many("an-id", "x"), "commands must be an iterable of"),
        (lambda dex: dex.commands.create_many(None), "requests must be an iterable of CommandRequests, not None"),
        (lambda dex: dex.capture("ab", "x"), "requests must be an iterable of CommandRequests"),
        (lambda dex: dex.with_retry(5), "retry must be a RetryPolicy, not 5"),
        (lambda dex: dex.with_retry(None), "retry must be a RetryPolicy"),
        (lambda dex: dex.downloads.open("id", filename=5), "filename must be a string, not 5"),
        (lambda dex: dex.downloads.open("id", filename=b"x"), "filename must be a string"),
        (lambda dex: dex.downloads.save_many([], "x", on_progress=5), "on_progress must be a function, not 5"),
        (lambda dex: dex.capture([], "x", on_progress=5), "on_progress must be a function"),
        (lambda _: FileSink(5), "folder must be a folder, not 5"),
        (lambda _: FileSink(b"x"), "folder must be a folder"),
        (lambda _: FileSink("x", keep_part="no"), "keep_part must be True or False, not 'no'"),
        (lambda _: PlaceTemplate.parse(5), "a place template must be a string, not 5"),
        (lambda _: DexClient(**SETTINGS, session=5), "session must be an aiohttp.ClientSession, not 5"),
        (lambda _: DexClient(**SETTINGS, on_event=5), "on_event must be a function"),
        (lambda _: DexClient(**SETTINGS, random=None), "random must be a function, not None"),
        (lambda _: DexClient(**SETTINGS, clock=5), "clock must be a Clock, not 5"),
        (lambda _: DexClient(**SETTINGS, clock=Unreferable()), "clock must support weak references"),
    ],
)
async def test_bad_arguments_are_told(dex: DexClient, call: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        call(dex)


class Unreferable:
    __slots__ = ()

    monotonic = now = sleep = SystemClock.monotonic


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda saved: saved.extract(5), "into must be a folder, not 5"),
        (lambda saved: saved.extract(""), "into must be a folder, not ''"),
        (lambda saved: saved.extract("x", 5), "names must be an iterable of member names, not 5"),
        (lambda saved: saved.extract("x", "a"), "names must be an iterable of member names, not 'a'"),
        (lambda saved: saved.extract("x", [5]), "each member name must be a string, not 5"),
        (lambda saved: saved.extract("x", limits=DownloadLimits()), "limits must be ExtractLimits"),
    ],
)
async def test_bad_arguments_of_extract_are_told(tmp_path: Path, call: Any, says: str) -> None:
    saved = SavedArtifact(size=1, sha256="", path=tmp_path / "a.zip")
    with pytest.raises(ConfigurationError, match=says):
        await call(saved)
    with pytest.raises(ConfigurationError, match="name must be a string, not 5"):
        saved.read(5)  # type: ignore[arg-type]


async def test_a_save_with_a_bad_argument_asks_for_nothing(rig: Rig, tmp_path: Path) -> None:
    await rig.start()
    [command] = await rig.dex.commands.create(rig.requests(1))
    for bad in ({"filename": 5}, {"on_progress": 5}, {"limits": 5}):
        with pytest.raises(ConfigurationError):
            await rig.dex.downloads.save(command, tmp_path, **bad)
    with pytest.raises(ConfigurationError, match="expected a command"):
        await rig.dex.commands.wait([command])  # type: ignore[arg-type]
    assert rig.made("download") == 0


async def test_a_clock_may_be_any_object(rig: Rig) -> None:
    @dataclass
    class Counted(ManualClock):
        """Has no hash, for it may change, and is equal to others of its kind."""

        def __post_init__(self) -> None:
            super().__init__()

    await rig.start(clock=Counted())
    other = rig.client(clock=Counted())
    assert (await rig.dex.quota.get()).quota == 800
    assert rig.dex.session.polls is not other.session.polls
    assert rig.dex.session.polls is rig.client(clock=rig.dex.session.settings.clock).session.polls


async def test_an_artifact_is_opened_once(rig: Rig) -> None:
    await rig.start()
    [command] = await rig.dex.commands.create(rig.requests(1))
    opened = rig.dex.downloads.open(command)
    async with opened as artifact:
        assert [chunk async for chunk in artifact]
    with pytest.raises(RuntimeError, match="an artifact can be opened only once: ask for it again"):
        await opened.__aenter__()


@pytest.mark.parametrize("size", [None, 40 * 1024 * 1024], ids=["parsed", "direct"])
@pytest.mark.parametrize("reading", [True, False], ids=["begun", "not begun"])
async def test_an_artifact_is_not_iterated_after_its_block(rig: Rig, size: int | None, reading: bool) -> None:
    """As whoever returns it to a framework, which reads it later, would do; the service is not to blame."""
    await rig.start(artifact_size=size, behaviour=Behaviour.instant(oversized_capture="uploaded"))
    [command] = await rig.dex.commands.create(rig.requests(1))
    async with rig.dex.downloads.open(command) as artifact:
        if reading:
            await anext(artifact)
    with pytest.raises(RuntimeError, match="Artifact: iterate over it inside its `async with` block"):
        await anext(artifact)


async def test_results_are_not_iterated_after_their_block(rig: Rig, tmp_path: Path) -> None:
    await rig.start(retry=RetryPolicy(attempts=1))
    async with rig.dex.downloads.save_many(["id"], tmp_path) as results:
        pass
    with pytest.raises(RuntimeError, match="SaveMany: iterate over it inside its `async with` block"):
        await anext(results)
