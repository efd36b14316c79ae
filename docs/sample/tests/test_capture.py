"""The sample, tested with the fixtures that come with dexcmd."""

import zipfile
from pathlib import Path

import pytest
from helpdesk.capture import capture_tickets, main
from helpdesk.tickets import Ticket

from dexcmd import DexClient
from dexcmd.clock import ManualClock
from dexcmd.sandbox import Behaviour, Fault, Sandbox, SandboxDevice

ADA = {"ada@example.com": Ticket("T1", "ada@example.com", "open")}
BOTH = {**ADA, "bo@example.com": Ticket("T2", "bo@example.com", "open")}


@pytest.mark.anyio
async def test_who_has_a_ticket_is_captured(
    dex_sandbox: Sandbox, dex_client: DexClient, ada: SandboxDevice, tmp_path: Path
) -> None:
    notes = await capture_tickets(dex_client, ADA, tmp_path)
    [command] = dex_sandbox.state.commands.values()
    assert command.device == ada
    assert notes == {"T1": [f"captured: {command.filename}"]}
    with zipfile.ZipFile(tmp_path / command.filename) as archive:
        assert archive.testzip() is None
    order = {"device_id": ada.device_id, "type": "pcap", "args": {"time-limit-min": 2}}
    dex_sandbox.assert_requested("POST", "/commands", json={"commands": [order]}, times=1)


@pytest.mark.anyio
async def test_a_lost_answer_makes_no_second_capture(
    dex_sandbox: Sandbox, dex_client: DexClient, ada: SandboxDevice, bo: SandboxDevice, tmp_path: Path
) -> None:
    dex_sandbox.faults.add(Fault.drop(processed=True), on="create_commands")
    dex_sandbox.faults.add(Fault.cut(0.5), on="download")
    await capture_tickets(dex_client, BOTH, tmp_path)
    assert {command.device for command in dex_sandbox.state.commands.values()} == {ada, bo}
    assert len(list(tmp_path.iterdir())) == 2
    dex_sandbox.assert_requested("POST", "/commands", times=1)
    dex_sandbox.assert_requested("GET", "/commands/*/downloads/*", times=3)


@pytest.mark.anyio
@pytest.mark.dex_sandbox(quota=1)
async def test_a_quota_that_is_too_small(
    dex_client: DexClient, ada: SandboxDevice, bo: SandboxDevice, tmp_path: Path
) -> None:
    notes = await capture_tickets(dex_client, BOTH, tmp_path)
    assert sorted(note.split(":")[0] for [note] in notes.values()) == ["captured", "no capture (not_attempted)"]


@pytest.mark.anyio
@pytest.mark.dex_sandbox(behaviour=Behaviour(failure_rate=1.0))
async def test_a_capture_that_fails(dex_client: DexClient, ada: SandboxDevice, tmp_path: Path) -> None:
    notes = await capture_tickets(dex_client, ADA, tmp_path)
    assert [note.split(":")[0] for note in notes["T1"]] == ["no capture (failed)"]


@pytest.mark.anyio
async def test_a_device_that_can_not_capture(dex_sandbox: Sandbox, dex_client: DexClient, tmp_path: Path) -> None:
    phone = SandboxDevice(name="PHONE", user_email="ada@example.com", eligible=False, ineligible_reason="too small")
    dex_sandbox.state.add_device(phone)
    assert await capture_tickets(dex_client, ADA, tmp_path) == {"T1": ["PHONE: too small"]}
    dex_sandbox.assert_requested("POST", "/commands", times=0)


def test_the_command_line(
    dex_sandbox: Sandbox,
    dex_clock: ManualClock,
    ada: SandboxDevice,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tickets = tmp_path / "tickets.jsonl"
    tickets.write_text(
        '{"id": "T0", "user": "bo@example.com", "status": "closed"}\n'
        '{"id": "T1", "user": "Ada@example.com", "status": "open"}\n'
        '{"id": "T2", "user": "ada@example.com", "status": "open"}\n'
        '{"id": "T3", "user": "nobody@example.com", "status": "open"}\n'
    )
    # The environment leads the application here, and its waits cost no time.
    dex_sandbox.faults.add(Fault.rate_limited(retry_after=300), on="list_devices")
    assert main([str(tickets), str(tmp_path / "captures")]) == 0
    [command] = dex_sandbox.state.commands.values()
    assert capsys.readouterr().out == f"T1\tcaptured: {command.filename}\nT3\tno device\n"
    assert 300.0 in dex_clock.slept


def test_a_token_that_is_refused(
    dex_sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tickets.jsonl").write_text('{"id": "T1", "user": "ada@example.com", "status": "open"}\n')
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "revoked")
    assert main([str(tmp_path / "tickets.jsonl"), str(tmp_path)]) == 1
    assert "revoked" not in capsys.readouterr().err
    dex_sandbox.assert_requested("GET", "/commands/devices", status=403, times=1)
