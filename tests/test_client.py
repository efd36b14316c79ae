"""Settings: what a client takes, what it refuses before anything is sent, and what it never shows."""

import asyncio
import os
import pickle
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import attrs
import pytest

from dexcmd import (
    Command,
    CommandRequest,
    ConfigurationError,
    DexClient,
    DexError,
    Pcap,
    RateLimit,
    RetryPolicy,
    SpeedTest,
    StalledDownloadError,
    TruncatedArtifactError,
    UnsafeFilenameError,
    WarpDiag,
)
from dexcmd.sandbox import Behaviour, Fault
from tests.conftest import Rig

pytestmark = pytest.mark.anyio

ACCOUNT = "0123456789abcdef0123456789abcdef"
TOKEN = "a-secret-token"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"account_id": ACCOUNT}, "no api_token: pass it to DexClient, or set CLOUDFLARE_API_TOKEN"),
        ({"api_token": TOKEN}, "no account_id: pass it to DexClient, or set CLOUDFLARE_ACCOUNT_ID"),
        ({"api_token": ACCOUNT, "account_id": TOKEN}, "account_id must be 32 hex digits"),
        ({"api_token": TOKEN, "account_id": 123}, "account_id must be 32 hex digits"),
        ({"api_token": TOKEN, "account_id": ACCOUNT, "base_url": "https://a..b"}, "base_url is not a URL"),
        ({"api_token": TOKEN, "account_id": ACCOUNT, "base_url": 7}, "base_url must be a string"),
        ({"api_token": TOKEN, "account_id": ACCOUNT, "base_url": 0}, "base_url must be a string"),
        ({"api_token": TOKEN, "account_id": ACCOUNT, "base_url": ""}, "base_url is empty: omit it"),
        ({"api_token": TOKEN, "account_id": ACCOUNT, "base_url": f"ftp://u:{TOKEN}@h"}, "absolute http(s) URL"),
        ({"api_token": TOKEN, "account_id": ACCOUNT, "retry": 3}, "retry must be a RetryPolicy"),
        ({"api_token": TOKEN, "account_id": "abc"}, "account_id must be 32 hex digits"),
        ({"api_token": f"{TOKEN}\n", "account_id": ACCOUNT}, "is there a newline at its end?"),
        ({"api_token": "", "account_id": ACCOUNT}, "no api_token"),
        ({"api_token": TOKEN, "account_id": ACCOUNT, "base_url": "http://example.com"}, "unencrypted"),
        (
            {"api_token": TOKEN, "account_id": ACCOUNT, "base_url": "ftp://example.com"},
            "absolute http(s) URL",
        ),
        ({"api_token": TOKEN, "account_id": ACCOUNT, "settle_seconds": -1}, "must not be negative"),
        (
            {"api_token": TOKEN, "account_id": ACCOUNT, "settle_seconds": float("nan")},
            "must be a finite number",
        ),
    ],
)
async def test_bad_settings_are_told(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        DexClient(**settings)
    assert says in str(caught.value)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RetryPolicy(attempts=0),
        lambda: RetryPolicy(total_seconds=float("inf")),
        lambda: RateLimit(requests=0),
        lambda: RateLimit(seconds=-1.0),
    ],
)
async def test_bad_policies_are_refused(make: Any) -> None:
    with pytest.raises(ConfigurationError):
        make()


async def test_settings_come_from_the_environment(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.start()
    for name, value in rig.sandbox.environment.items():
        monkeypatch.setenv(name, value)
    async with DexClient() as dex:
        quota = await dex.quota.get()
    assert quota.remaining == 800


async def test_a_variable_that_is_empty_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFLARE_BASE_URL", "")
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "")
    assert "https://api.cloudflare.com/client/v4" in repr(DexClient(api_token=TOKEN, account_id=ACCOUNT))
    with pytest.raises(ConfigurationError, match="no account_id"):
        DexClient(api_token=TOKEN)


async def test_the_token_shows_nowhere(rig: Rig) -> None:
    await rig.start()
    token = rig.sandbox.token
    assert token not in repr(rig.dex)
    assert token not in repr(vars(rig.dex))
    assert token not in repr(rig.dex._session.settings)
    with pytest.raises(TypeError):
        pickle.dumps(rig.dex._session.settings)


async def test_a_closed_client_says_so(rig: Rig) -> None:
    await rig.start()
    await rig.dex.quota.get()
    await rig.dex.close()
    sent = len(rig.sandbox.requests)
    with pytest.raises(ConfigurationError, match="closed"):
        await rig.dex.quota.get()
    with pytest.raises(ConfigurationError, match="closed"):
        await rig.dex.commands.create(rig.requests(1))
    assert len(rig.sandbox.requests) == sent


@pytest.mark.parametrize("injected", [False, True])
async def test_closing_ends_a_body_that_is_waited_for(rig: Rig, injected: bool) -> None:
    async with aiohttp.ClientSession() as session:
        await rig.start(1, session=session if injected else None, retry=RetryPolicy(attempt_seconds=3600))
        rig.sandbox.faults.add(Fault.stall(0.5), on="download")
        [command] = await rig.dex.commands.create(rig.requests())
        async with rig.dex.downloads.open(command) as artifact:
            await anext(artifact)
            rest = asyncio.create_task(anext(artifact))
            await asyncio.sleep(0)
            await rig.dex.close()
            with pytest.raises(TruncatedArtifactError, match="Connection closed"):
                async with asyncio.timeout(60):
                    await rest


@pytest.mark.parametrize(
    ("waiting", "error"), [(True, StalledDownloadError), (False, TruncatedArtifactError)], ids=["waiting", "not yet"]
)
async def test_a_body_whose_session_somebody_else_closes(rig: Rig, waiting: bool, error: type[DexError]) -> None:
    # Seen: it was waited for for ever, or aiohttp's RuntimeError came out.
    async with aiohttp.ClientSession() as session:
        await rig.start(1, session=session, retry=RetryPolicy(attempts=1, attempt_seconds=1))
        rig.sandbox.faults.add(Fault.stall(0.5), on="download")
        [command] = await rig.dex.commands.create(rig.requests())
        async with rig.dex.downloads.open(command) as artifact:
            await anext(artifact)
            if waiting:
                rest = asyncio.ensure_future(anext(artifact))
                await asyncio.sleep(0)
                await session.close()
            else:
                await session.close()
                rest = asyncio.ensure_future(anext(artifact))
            with pytest.raises(error):
                async with asyncio.timeout(60):
                    await rest


async def test_two_that_read_one_body_at_a_time_are_a_mistake(rig: Rig) -> None:
    await rig.start(1)
    rig.sandbox.faults.add(Fault.stall(0.5), on="download")
    [command] = await rig.dex.commands.create(rig.requests())
    async with rig.dex.downloads.open(command) as artifact:
        await anext(artifact)
        first = asyncio.ensure_future(anext(artifact))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another coroutine"):
            await anext(artifact)
        first.cancel()
        await asyncio.wait([first])


async def test_closing_ends_an_answer_that_is_waited_for(rig: Rig) -> None:
    await rig.start(1, retry=RetryPolicy(attempt_seconds=3600))
    rig.sandbox.faults.add(Fault.stall(0.5), on="get_quota")
    quota = asyncio.create_task(rig.dex.quota.get())
    while not rig.sandbox.requests:
        await asyncio.sleep(0.01)
    # By then half of the body is there; were it not, this would hold as well.
    await asyncio.sleep(0.1)
    await rig.dex.close()
    with pytest.raises(ConfigurationError, match="closed"):
        async with asyncio.timeout(60):
            await quota


async def test_a_save_whose_client_is_closed_says_so(rig: Rig, tmp_path: Path) -> None:
    await rig.start(
        1,
        artifact_size=3_000_000,
        behaviour=Behaviour.instant(oversized_capture="uploaded"),
        retry=RetryPolicy(attempt_seconds=3600),
    )
    rig.sandbox.faults.add(Fault.stall(0.5), on="download")
    [command] = await rig.dex.commands.create(rig.requests())
    async with rig.dex.downloads.save_many([command], tmp_path) as results:
        result = asyncio.create_task(anext(results))
        while not rig.made("download"):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        await rig.dex.close()
        async with asyncio.timeout(60):
            assert isinstance((await result).error, ConfigurationError)


async def test_a_client_that_was_never_used_closes() -> None:
    async with DexClient(api_token=TOKEN, account_id=ACCOUNT) as dex:
        assert ACCOUNT in repr(dex)
    with pytest.raises(ConfigurationError, match="closed"):
        await dex.quota.get()


async def test_an_injected_session_is_used_and_left_open(rig: Rig) -> None:
    async with aiohttp.ClientSession(headers={"X-Of-The-User": "yes"}, raise_for_status=True) as session:
        await rig.start(session=session)
        await rig.dex.quota.get()
        await rig.dex.close()
        assert not session.closed
        assert rig.sandbox.requests[0].headers["X-Of-The-User"] == "yes"
    dex = rig.client(session=session)
    with pytest.raises(ConfigurationError, match="closed"):
        await dex.quota.get()


async def test_bad_batches_are_refused_before_anything_is_sent(rig: Rig) -> None:
    await rig.start(30)
    create = rig.dex.commands.create
    with pytest.raises(ConfigurationError, match="1 to 10 commands, not 0"):
        await create([])
    with pytest.raises(ConfigurationError, match="1 to 10 commands, not 11"):
        await create(rig.requests(11))
    with pytest.raises(ConfigurationError, match="the same target twice"):
        await create(rig.requests(1) * 2)
    with pytest.raises(ConfigurationError, match="expected a CommandRequest, not str"):
        await create(["x"])  # type: ignore[list-item]
    with pytest.raises(ConfigurationError, match="the same target twice"):
        rig.dex.commands.create_many(rig.requests(1) * 2)
    [one] = rig.requests(1)
    with pytest.raises(ConfigurationError, match="both with and without a registration"):
        await create([one, attrs.evolve(one, registration_id=None)])
    with pytest.raises(ConfigurationError, match="both with and without a registration"):
        rig.dex.commands.create_many([attrs.evolve(one, registration_id=None), one])
    assert rig.sandbox.requests == []


async def test_one_device_may_be_asked_for_two_kinds_of_command(rig: Rig) -> None:
    await rig.start()
    made = await rig.dex.commands.create([*rig.requests(1, WarpDiag()), *rig.requests(1, SpeedTest())])
    assert [command.type for command in made] == ["warp-diag", "speed-test"]


@pytest.mark.parametrize(
    "call",
    [
        lambda dex: dex.commands.list(since=datetime(2026, 1, 1)),  # noqa: DTZ001 - naive on purpose
        lambda dex: dex.commands.list(until="2026-01-01"),
        lambda dex: dex.commands.list(per_page=51),
        lambda dex: dex.devices.list(per_page=0),
        lambda dex: dex.devices.list(per_page=True),
        lambda dex: dex.commands.follow([None]),
        lambda dex: dex.commands.follow(["id"], timeout=0),
        lambda dex: dex.commands.follow(["id"], poll_interval=float("nan")),
        lambda dex: dex.commands.follow([Command()]),
        lambda dex: dex.commands.create_many([], concurrency=0),
        lambda dex: dex.commands.follow(["../x"]),
        lambda dex: dex.downloads.open(),
        lambda dex: dex.downloads.open("../x"),
        lambda dex: dex.downloads.open(command_id="../x", filename="x.zip"),
        lambda dex: dex.downloads.open(Command(id="a"), command_id="b"),
        lambda dex: dex.downloads.save_many([], "x", concurrency=0),
        lambda dex: dex.capture([], into="x", concurrency=0),
        lambda dex: dex.capture([], into="x", most_in_flight=0),
    ],
)
async def test_bad_arguments_are_refused_at_once(call: Any) -> None:
    async with DexClient(api_token=TOKEN, account_id=ACCOUNT) as dex:
        with pytest.raises(ConfigurationError):
            call(dex)


async def test_a_hostile_file_name_is_no_path() -> None:
    async with DexClient(api_token=TOKEN, account_id=ACCOUNT) as dex:
        with pytest.raises(UnsafeFilenameError):
            dex.downloads.open(command_id="a", filename="../../etc/passwd")


@pytest.mark.parametrize(
    "make",
    [
        lambda dex: dex,
        lambda dex: dex.commands.follow(["id"]),
        lambda dex: dex.downloads.open(command_id="a"),
        lambda dex: dex.downloads.save_many([], "x"),
        lambda dex: dex.capture([], into="x"),
    ],
)
async def test_sync_with_says_what_to_write(make: Any) -> None:
    async with DexClient(api_token=TOKEN, account_id=ACCOUNT) as dex:
        with pytest.raises(TypeError, match="write `async with`, not `with`"), make(dex):
            pass


@pytest.mark.parametrize(
    "make",
    [
        lambda dex: dex.devices.list(),
        lambda dex: dex.devices.list().pages(),
        lambda dex: dex.commands.follow(["id"]),
        lambda dex: dex.capture([], into="x"),
    ],
)
async def test_sync_for_says_what_to_write(make: Any) -> None:
    async with DexClient(api_token=TOKEN, account_id=ACCOUNT) as dex:
        with pytest.raises(TypeError, match="write `async for`, not `for`"):
            list(make(dex))


async def test_results_are_iterated_inside_their_block() -> None:
    async with DexClient(api_token=TOKEN, account_id=ACCOUNT) as dex:
        with pytest.raises(RuntimeError, match="enter it with `async with`"):
            await anext(dex.capture([], into="x"))


async def test_a_device_gives_a_request(rig: Rig) -> None:
    await rig.start()
    device = (await rig.dex.devices.list())[0]
    request = device.request(Pcap(time_limit_min=2))
    assert request == CommandRequest(
        device_id=device.device_id or "",
        registration_id=device.registration_id,
        user_email=device.person_email or "",
        args=Pcap(time_limit_min=2),
    )

    with pytest.raises(ConfigurationError, match="a device id and an email"):
        attrs.evolve(device, person_email=None).request(Pcap())


A_FIRST_CALL = """
import asyncio
import subprocess
import sys
from dexcmd import DexClient

async def main():
    async with DexClient() as dex:
        assert (await dex.quota.get()).quota == 800

asyncio.run(main())
print(*{name.partition(".")[0] for name in sys.modules} & {"aiohttp", "anyio", "cattrs", "tenacity"})
print(*(name for name in sys.modules if name.startswith(("dexcmd.capture", "dexcmd.resources.", "dexcmd.transfer"))))
"""


async def test_a_first_call_loads_what_it_takes_and_no_more(rig: Rig) -> None:
    await rig.start()
    environment = {
        **os.environ,
        "CLOUDFLARE_API_TOKEN": rig.sandbox.token,
        "CLOUDFLARE_ACCOUNT_ID": rig.sandbox.account_id,
        "CLOUDFLARE_BASE_URL": rig.sandbox.base_url,
    }
    ended = await anyio.run_process([sys.executable, "-c", A_FIRST_CALL], env=environment)
    assert ended.stdout.decode().split() == ["aiohttp", "dexcmd.resources.quota"]


FORGETFUL = """
import asyncio, aiohttp
from dexcmd import DexClient
from dexcmd.sandbox import Sandbox

async def main():
    async with Sandbox(1) as sandbox:
        settings = dict(api_token=sandbox.token, account_id=sandbox.account_id, base_url=sandbox.base_url)
        {use}

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("use", "told"),
    [
        ("await DexClient(**settings).quota.get()", 1),
        ("DexClient(**settings)", 0),
        ("async with DexClient(**settings) as dex: await dex.quota.get()", 0),
        ("async with aiohttp.ClientSession() as own: await DexClient(**settings, session=own).quota.get()", 0),
    ],
    ids=["not closed", "not used", "closed", "of an injected session"],
)
def test_a_client_that_is_never_closed_is_named(use: str, told: int) -> None:
    command = [sys.executable, "-W", "default::ResourceWarning", "-c", FORGETFUL.format(use=use)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    warning = "ResourceWarning: unclosed DexClient: use it as `async with DexClient(...)`, or await its `close()`\n"
    assert ended.stderr.count(warning) == told
    if not told:
        assert ended.stderr == ""
