"""`dexcmd sandbox`."""

import json
import shlex
import signal
import socket
from pathlib import Path

import pytest

from dexcmd import DexClient, Pcap
from dexcmd.cli import main
from dexcmd.cli.sandbox import export_lines
from tests.cli.conftest import Process, Start


def variables(process: Process, count: int = 3) -> dict[str, str]:
    """Return what the first lines export."""
    lines = [process.wait_for("").string for _ in range(count)]
    pairs = [shlex.split(line) for line in lines]
    assert [words[0] for words in pairs] == ["export"] * count
    return dict(words[1].split("=", 1) for words in pairs)


def test_values_are_quoted_for_the_shell():
    assert export_lines({"A": "b", "C": "d e'f"}) == "export A=b\nexport C='d e'\"'\"'f'\n"


@pytest.mark.anyio
async def test_a_client_can_use_what_it_prints(start: Start, monkeypatch: pytest.MonkeyPatch):
    process = start("sandbox", "--devices", "7", "--quota", "3", "--speed", "1000")
    for name, value in variables(process).items():
        monkeypatch.setenv(name, value)
    async with DexClient() as dex:
        devices = await dex.devices.list()
        assert len(devices) == 7
        assert (await dex.quota.get()).quota == 3
        (command,) = await dex.commands.create([devices[0].request(Pcap())])
        assert (await dex.commands.wait(command, poll_interval=0.05)).succeeded
    process.popen.send_signal(signal.SIGINT)
    code, _, stderr = process.finish()
    assert code == 130
    # In the background, where its own help puts it, Ctrl-C does not reach it.
    stop = f"Ctrl-C or `kill {process.popen.pid}` stops it"
    assert stderr == f"7 devices, 1000 times as fast as real ones; {stop}\ninterrupted\n"


@pytest.mark.anyio
async def test_the_same_fleet_again_and_no_command_twice(start: Start, monkeypatch: pytest.MonkeyPatch):
    fleets: list[list[str | None]] = []
    commands: set[str | None] = set()
    for _ in range(2):
        for name, value in variables(start("sandbox", "--devices", "30", "--seed", "7")).items():
            monkeypatch.setenv(name, value)
        async with DexClient() as dex:
            devices = await dex.devices.list()
            fleets.append([device.registration_id for device in devices])
            commands |= {command.id for command in await dex.commands.create([devices[0].request(Pcap())])}
    assert fleets[0] == fleets[1]
    assert len(commands) == 2


CAMPAIGN = """\
name = "both"
command = {{ type = "pcap" }}

[[accounts]]
account_id = "{CLOUDFLARE_ACCOUNT_ID}"
name = "emea"

[[accounts]]
account_id = "{CLOUDFLARE_ACCOUNT_ID_2}"
name = "apac"
token_env = "CLOUDFLARE_API_TOKEN_2"
"""


def test_a_campaign_of_two_accounts(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    process = start("sandbox", "--accounts", "2", "--devices", "9")
    found = variables(process, 5)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "both.toml").write_text(CAMPAIGN.format(**found))
    assert main(["campaign", "plan", str(tmp_path / "both.toml"), "--json", "--all"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [(account["name"], account["error"]) for account in plan["accounts"]] == [("emea", None), ("apac", None)]
    emea, apac = ({target["device_id"] for target in account["targets"]} for account in plan["accounts"])
    assert emea
    assert apac
    assert not emea & apac
    process.popen.send_signal(signal.SIGTERM)
    code, _, stderr = process.finish()
    assert code == 0
    assert stderr.startswith("2 accounts with 9 devices each, 60 times as fast as real ones; Ctrl-C or ")


def test_its_variables_as_json(start: Start):
    process = start("sandbox", "--json")
    assert set(json.loads(process.wait_for("").string)) == {
        "CLOUDFLARE_API_TOKEN",
        "CLOUDFLARE_ACCOUNT_ID",
        "CLOUDFLARE_BASE_URL",
    }
    process.popen.send_signal(signal.SIGTERM)
    assert process.finish()[0] == 0


def test_sigterm_is_how_a_service_ends_well(start: Start):
    process = start("sandbox")
    assert set(variables(process)) == {
        "CLOUDFLARE_API_TOKEN",
        "CLOUDFLARE_ACCOUNT_ID",
        "CLOUDFLARE_BASE_URL",
    }
    process.popen.send_signal(signal.SIGTERM)
    code, _, stderr = process.finish()
    assert code == 0
    assert "Traceback" not in stderr


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["sandbox", "--port", str(port)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"error: can't listen on port {port}: ")
    assert "address already in use" in shown.err.lower()
    assert shown.err.count("\n") == 1
