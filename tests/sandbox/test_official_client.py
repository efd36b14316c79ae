"""Cloudflare's own client drives the sandbox: what works with it anywhere has to work here."""

import io
import zipfile
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import cloudflare
import pytest

from dexcmd.clock import ManualClock
from dexcmd.sandbox import Behaviour, Fault, Sandbox, SandboxDevice

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sandbox(clock: ManualClock) -> AsyncIterator[Sandbox]:
    async with Sandbox(60, clock=clock, behaviour=Behaviour.instant()) as sandbox:
        yield sandbox


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[cloudflare.AsyncCloudflare]:
    async with cloudflare.AsyncCloudflare(api_token=sandbox.token, base_url=sandbox.base_url, max_retries=0) as client:
        yield client


def orders(devices: Sequence[SandboxDevice]) -> list[dict[str, object]]:
    return [
        {
            "device_id": each.device_id,
            "registration_id": each.registration_id,
            "user_email": each.user_email,
            "type": "pcap",
            "args": {"time_limit_min": 1, "packet_size_bytes": 120},
        }
        for each in devices
    ]


async def test_create_list_download(client: cloudflare.AsyncCloudflare, sandbox: Sandbox):
    commands, account = client.zero_trust.dex.commands, sandbox.account_id
    made = await commands.create(account_id=account, commands=orders(sandbox.state.devices[:3]))
    assert [row.id for row in made.commands] == list(sandbox.state.commands)
    assert made.commands[0].args == {"time-limit-min": "1", "packet-size-bytes": "120"}
    assert made.commands[0].status == "SUCCESS"

    raw = await commands.with_raw_response.list(account_id=account, page=1, per_page=50)
    rows = (await raw.json())["result"]["commands"]
    assert [row["id"] for row in rows] == list(sandbox.state.commands)[::-1]

    artifact = await commands.downloads.get(rows[0]["filename"], account_id=account, command_id=rows[0]["id"])
    archive = zipfile.ZipFile(io.BytesIO(await artifact.read()))
    assert archive.testzip() is None
    assert "results.json" in archive.namelist()


async def test_iterating_yields_nothing_although_there_are_rows(client: cloudflare.AsyncCloudflare, sandbox: Sandbox):
    commands, account = client.zero_trust.dex.commands, sandbox.account_id
    await commands.create(account_id=account, commands=orders(sandbox.state.devices[:2]))
    assert [row async for row in commands.list(account_id=account, page=1, per_page=50)] == []
    assert [row async for row in commands.devices.list(account_id=account, page=1, per_page=50)] == []


async def test_filters(client: cloudflare.AsyncCloudflare, sandbox: Sandbox, clock: ManualClock):
    commands, account = client.zero_trust.dex.commands, sandbox.account_id
    for device in sandbox.state.devices[:3]:
        await commands.create(account_id=account, commands=orders([device]))
        clock.advance(60)
    raw = await commands.with_raw_response.list(
        account_id=account,
        page=1,
        per_page=10,
        status="SUCCESS",
        command_type="pcap",
        from_=datetime(2026, 1, 1, 12, 1, tzinfo=UTC),
        to="2026-01-01 12:01:00+00",
    )
    (row,) = (await raw.json())["result"]["commands"]
    assert row["device_id"] == sandbox.state.devices[1].device_id


async def test_devices_and_quota(client: cloudflare.AsyncCloudflare, sandbox: Sandbox):
    commands, account = client.zero_trust.dex.commands, sandbox.account_id
    raw = await commands.devices.with_raw_response.list(
        account_id=account, page=1, per_page=50, search=sandbox.state.devices[4].name
    )
    (row,) = (await raw.json())["result"]["devices"]
    assert row["deviceId"] == sandbox.state.devices[4].device_id
    quota = await commands.quota.get(account_id=account)
    assert (quota.quota, quota.quota_usage) == (800, 0)
    assert quota.reset_time == datetime(2026, 1, 2, tzinfo=UTC)


async def test_errors_have_their_status_and_code(client: cloudflare.AsyncCloudflare, sandbox: Sandbox):
    commands, account = client.zero_trust.dex.commands, sandbox.account_id
    with pytest.raises(cloudflare.BadRequestError) as bad:
        await commands.create(account_id=account, commands=[{**orders(sandbox.state.devices[:1])[0], "device_id": "x"}])
    assert bad.value.errors[0].source.pointer == "/commands/0/device_id"
    sandbox.faults.add(Fault.rate_limited())
    with pytest.raises(cloudflare.RateLimitError):
        await commands.quota.get(account_id=account)
    with pytest.raises(cloudflare.PermissionDeniedError) as refused:
        await client.with_options(api_token="another").zero_trust.dex.commands.quota.get(account_id=account)
    assert refused.value.errors[0].code == 10000


async def test_lost_answers_become_doubled_commands(
    client: cloudflare.AsyncCloudflare, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    # What dexcmd is there to avoid; and the sandbox is there to show.
    monkeypatch.setattr("cloudflare._base_client.INITIAL_RETRY_DELAY", 0.001)
    sandbox.faults.add(Fault.drop(processed=True), on="create_commands", times=2)
    await client.with_options(max_retries=2).zero_trust.dex.commands.create(
        account_id=sandbox.account_id, commands=orders(sandbox.state.devices[:1])
    )
    assert len(sandbox.state.commands) == 3


async def test_a_redirected_download(client: cloudflare.AsyncCloudflare, sandbox: Sandbox):
    sandbox.behaviour = Behaviour.instant(download_redirect=302)
    commands, account = client.zero_trust.dex.commands, sandbox.account_id
    made = await commands.create(account_id=account, commands=orders(sandbox.state.devices[:1]))
    command_id = made.commands[0].id
    artifact = await commands.downloads.get(f"{command_id}.zip", account_id=account, command_id=command_id)
    assert zipfile.is_zipfile(io.BytesIO(await artifact.read()))
    hop = sandbox.requests[-1]
    assert (hop.operation, hop.status) == ("storage", 200)
    assert "Authorization" not in hop.headers


async def test_a_slow_download_through_a_chain(
    client: cloudflare.AsyncCloudflare, sandbox: Sandbox, clock: ManualClock
):
    commands, account = client.zero_trust.dex.commands, sandbox.account_id
    made = await commands.create(account_id=account, commands=orders(sandbox.state.devices[:1]))
    command_id = made.commands[0].id
    sandbox.faults.add(Fault.redirect("storage", hops=6), on="download")
    sandbox.faults.add(Fault.trickle(10_000), on="storage", skip=5)
    artifact = await commands.downloads.get(f"{command_id}.zip", account_id=account, command_id=command_id)
    assert await artifact.read() == b"".join(sandbox.artifact(command_id).read())
    assert [each.operation for each in sandbox.requests[1:]] == ["download"] + ["storage"] * 6
    assert sum(clock.slept) == pytest.approx(sandbox.artifact(command_id).size / 10_000)
