"""`dexcmd quota`, `devices` and `commands` against a sandbox."""

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dexcmd.cli import main
from dexcmd.sandbox import Fault
from tests.cli.conftest import PATIENCE, Service, Start


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out.splitlines()


def documents(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in lines(capsys)]


def test_quota(service: Service, capsys: pytest.CaptureFixture[str]):
    used = len(service.sandbox.state.commands)
    assert main(["quota"]) == 0
    [line] = lines(capsys)
    cells = line.split("\t")
    assert cells[:3] == ["800", str(used), str(800 - used)]
    assert main(["quota", "--json"]) == 0
    [document] = documents(capsys)
    assert (document["schema"], document["remaining"], document["reset_time"]) == ("quota/1", 800 - used, cells[3])


def test_devices(service: Service, capsys: pytest.CaptureFixture[str]):
    devices = service.sandbox.state.devices
    assert main(["devices"]) == 0
    found = [line.split("\t") for line in lines(capsys)]
    assert [cells[0] for cells in found] == [device.device_id for device in devices]
    assert {len(cells) for cells in found} == {10}
    platform = devices[0].platform
    assert main(["--json", "devices", "--platform", platform.upper()]) == 0
    same = [device.device_id for device in devices if device.platform == platform]
    assert [document["device_id"] for document in documents(capsys)] == same
    assert main(["devices", "--json", "--search", devices[2].user_email]) == 0
    assert [document["device_id"] for document in documents(capsys)] == [devices[2].device_id]
    assert main(["devices", "--json", "--user", devices[2].user_email.upper()]) == 0
    assert [document["device_id"] for document in documents(capsys)] == [devices[2].device_id]
    assert main(["devices", "--user", devices[2].user_email[1:]]) == 0
    assert lines(capsys) == []


def test_a_platform_that_there_is_not(service: Service, capsys: pytest.CaptureFixture[str]):
    user, *others = service.sandbox.state.devices
    assert main(["devices", "--platform", "amiga", "--user", user.user_email]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert f"no device has the platform amiga: the platforms are {user.platform}\n" in err
    # That nobody has such an address is another matter.
    assert main(["devices", "--platform", "amiga", "--user", "nobody@example.com"]) == 0
    assert "platform" not in capsys.readouterr().err
    assert main(["devices", "--platform", others[0].platform]) == 0
    assert "platform" not in capsys.readouterr().err


def test_commands(service: Service, capsys: pytest.CaptureFixture[str]):
    ids = service.create(3)
    assert main(["commands", "--limit", "3"]) == 0
    assert [line.split("\t")[0] for line in lines(capsys)] == ids
    stored = service.sandbox.state.commands[ids[1]]
    filters = ["--status", "SUCCESS", "--type", "pcap", "--since", "1h", "--until", "2100-01-01"]
    whose = ["--device", stored.device.device_id, "--user", stored.device.user_email]
    assert main(["commands", *filters, *whose, "--limit", "1", "--json"]) == 0
    [document] = documents(capsys)
    assert (document["id"], document["schema"]) == (ids[1], "command/1")
    assert main(["commands", "--until", "2000-01-01"]) == 0
    assert lines(capsys) == []


def test_a_time_that_ends_before_it_begins_is_told_by_the_names_of_the_options(
    service: Service, capsys: pytest.CaptureFixture[str]
):
    assert main(["commands", "--since", "1h", "--until", "2h"]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "error: --since is later than --until: nothing can be between them\n")
    assert not service.sandbox.requests


def test_what_goes_wrong_half_way_leaves_whole_lines(service: Service, capsys: pytest.CaptureFixture[str]):
    service.sandbox.faults.add(Fault.error(403), on="list_commands", times=None)
    assert main(["commands", "--json"]) == 5
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "`Cloudflare DEX Read`" in shown.err


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_verbose_tells_of_retries_and_twice_of_requests(
    service: Service, verbose: int, capsys: pytest.CaptureFixture[str]
):
    service.sandbox.faults.add(Fault.error(503), on="get_quota")
    before = logging.getLogger("dexcmd").level, len(logging.getLogger("dexcmd").handlers)
    assert main([*["-v"] * verbose, "quota"]) == 0
    told = capsys.readouterr().err
    assert ("WARNING" in told and "503" in told) is (verbose > 0)
    assert ("DEBUG" in told and "200" in told) is (verbose > 1)
    assert service.sandbox.token not in told
    assert (logging.getLogger("dexcmd").level, len(logging.getLogger("dexcmd").handlers)) == before


def test_a_log_that_can_not_be_written_stops_nothing(service: Service, monkeypatch: pytest.MonkeyPatch):
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("sys.stderr", Full())
    assert main(["-vv", "quota"]) == 0


def test_a_reader_that_has_gone_is_no_error(service: Service, start: Start):
    service.create(6)
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(
        [sys.executable, "-m", "dexcmd.cli", "commands"], stdout=writing, stderr=subprocess.PIPE
    ) as process:
        os.close(writing)
        _, told = process.communicate(timeout=PATIENCE)
    assert (process.returncode, told) == (141, b"")


def test_a_file_gets_results_only(service: Service, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    ids = service.create(2)
    with (tmp_path / "out").open("w") as file:
        subprocess.run(
            [sys.executable, "-m", "dexcmd.cli", "commands", "--limit", "2", "-vv", "--json"],
            env={**os.environ, "FORCE_COLOR": "1"},
            stdout=file,
            timeout=PATIENCE,
            check=True,
        )
    assert [json.loads(line)["id"] for line in (tmp_path / "out").read_text().splitlines()] == ids
    assert "DEBUG" in capfd.readouterr().err
