"""`dexcmd capture`."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from dexcmd.cli import main
from dexcmd.cli.capture import run
from dexcmd.cli.ids import command_of_line
from dexcmd.cli.view import LinesView, Picture
from dexcmd.sandbox import Behaviour, Fault, Sandbox, make_devices
from tests.cli.conftest import PATIENCE, Process, Screen, Service, Start
from tests.faults.mounts import TMPFS, mounted


def documents(shown: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in shown.splitlines()]


def device_ids(service: Service, count: int) -> list[str]:
    return [device.device_id for device in service.sandbox.state.devices[:count]]


def commands(service: Service) -> set[str]:
    return set(service.sandbox.state.commands)


Serve = Callable[..., Service]


@pytest.fixture
def serve(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Serve]:
    """Return a service of one's own, which the environment names; in a folder of one's own."""
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:

        def serve(**options: Any) -> Service:
            settings: dict[str, Any] = {"behaviour": Behaviour.instant(), **options}
            sandbox = stack.enter_context(Sandbox(**settings).in_thread())
            for name, value in sandbox.environment.items():
                monkeypatch.setenv(name, value)
            return Service(sandbox)

        yield serve


def test_devices_become_whole_files(service: Service, capsys: pytest.CaptureFixture[str]):
    before, ids = commands(service), device_ids(service, 3)
    arguments = [*ids, "--yes", "--json", "--into", "there", "--time-limit-min", "2", "--packet-size-bytes", "100"]
    assert main(["capture", "pcap", *arguments]) == 0
    shown = capsys.readouterr()
    found = documents(shown.out)
    assert {document["device_id"] for document in found} == set(ids)
    assert {document["id"] for document in found} == commands(service) - before
    for document in found:
        assert (document["state"], document["status"], document["type"]) == ("saved", "SUCCESS", "pcap")
        with zipfile.ZipFile(str(document["path"])) as archive:
            assert archive.testzip() is None
    body = next(r.body for r in reversed(service.sandbox.requests) if r.operation == "create_commands")
    assert body["commands"][0]["args"] == {"packet-size-bytes": 100, "time-limit-min": 2}
    told = shown.err.splitlines()
    assert told[0] == "pcap (packet-size-bytes 100, time-limit-min 2) on:"
    assert all(device.user_email in shown.err for device in service.sandbox.state.devices[:3])
    assert any(line.startswith("takes 3 of ") for line in told)
    assert "3 of 3 created" in told
    assert "3 of 3 saved" in told
    assert told[-1].startswith("3 saved in there (")


def test_nothing_is_created_where_nobody_can_be_asked(service: Service, start: Start):
    before = commands(service)
    [device_id] = device_ids(service, 1)
    code, shown, told = start("capture", "warp-diag", device_id).finish()
    assert (code, shown) == (2, "")
    lines = told.splitlines()
    assert lines[0] == "warp-diag on:"
    assert service.sandbox.state.devices[0].user_email in lines[1]
    assert lines[-1] == "error: there is no terminal to ask on: pass --yes to go ahead without asking"
    assert commands(service) == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pcap"], "no device: name ids, or select"),
        (["pcap", "d1", "--all"], "devices are chosen in one way: by ids, or with --search,"),
        (["pcap", "--search", "x", "--all"], "and --platform, or with --all"),
        (["pcap", ""], "an id is empty: is a variable not set?"),
        (["pcap", "d1", " "], "an id is empty: is a variable not set?"),
        (["warp-diag", "d1", "--time-limit-min", "2"], "--time-limit-min is not for warp-diag"),
        (["pcap", "d1", "--interfaces", "tunnel"], "--interfaces is not for pcap"),
        (["pcap", "d1", "--time-limit-min", "0"], "Must be >= 1"),
        (["pcap", "d1", "--time-limit-min", "nan"], "Must be >= 1"),
        (["trace", "d1"], "trace"),
    ],
    ids=[
        "none",
        "ids-and-all",
        "search-and-all",
        "empty-id",
        "empty-id-besides",
        "time-limit",
        "interfaces",
        "zero",
        "nan",
        "type",
    ],
)
def test_mistakes(service: Service, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str):
    before = len(service.sandbox.requests)
    assert main(["capture", *arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert told in line
    assert len(service.sandbox.requests) == before


def test_what_is_above_a_documented_maximum_is_told(service: Service, capsys: pytest.CaptureFixture[str]):
    [device_id] = device_ids(service, 1)
    assert main(["capture", "pcap", device_id, "--time-limit-min", "11", "--no-wait", "--yes"]) == 0
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "warning: time_limit_min=11.0 is above the documented maximum of 10"


@pytest.mark.parametrize(
    ("arguments", "args"),
    [
        (["warp-diag", "--no-test-all-routes"], {"test-all-routes": False}),
        (["speed-test", "--interfaces", "default", "--interfaces", "tunnel"], {"interfaces": ["default", "tunnel"]}),
    ],
    ids=["warp-diag", "speed-test"],
)
def test_args_of_the_other_types(
    service: Service, capsys: pytest.CaptureFixture[str], arguments: list[str], args: dict[str, object]
):
    user = service.sandbox.state.devices[1].user_email
    assert main(["capture", *arguments, "--user", user, "--yes", "--no-wait"]) == 0
    body = next(r.body for r in reversed(service.sandbox.requests) if r.operation == "create_commands")
    assert [command["user_email"] for command in body["commands"]] == [user]
    assert body["commands"][0]["args"] == args
    said = {
        "warp-diag": "warp-diag (test-all-routes no) on:",
        "speed-test": "speed-test (interfaces default and tunnel)",
    }
    assert capsys.readouterr().err.startswith(said[arguments[0]])


def test_what_is_named_and_can_not_be_captured(serve: Serve, capsys: pytest.CaptureFixture[str]):
    asleep = {"eligible": False, "ineligible_reason": "asleep"}
    plain = make_devices(4)
    service = serve(devices=[*plain[:2], *(attrs.evolve(row, **asleep) for row in plain[2:])])
    rows = service.sandbox.state.devices
    eligible = [row.device_id for row in rows if row.eligible]
    others = [row.device_id for row in rows if not row.eligible]
    assert main(["capture", "pcap", eligible[0], others[0], "away", "--yes"]) == 3
    shown = capsys.readouterr()
    states = {cells[2]: cells for cells in (line.split("\t") for line in shown.out.splitlines())}
    assert states[eligible[0]][1] == "saved"
    assert states[others[0]][:2] == ["", "not_attempted"]
    assert states[others[0]][-1] == "not eligible: asleep"
    assert states["away"][-1].startswith("not found")
    assert "skipped of those named: 2" in shown.err
    assert "1 saved in captures" in shown.err
    assert shown.err.splitlines()[-1].endswith("2 not attempted")
    assert main(["capture", "pcap", others[0], "--yes"]) == 1
    shown = capsys.readouterr()
    assert shown.out.startswith("\tnot_attempted\t")
    assert shown.err == "error: none of them can be captured; `dexcmd devices` shows which there are\n"
    # Where nobody is named they are no failure.
    assert main(["capture", "pcap", "--all", "--yes", "--json"]) == 0
    shown = capsys.readouterr()
    assert {document["device_id"] for document in documents(shown.out)} == set(eligible)
    assert "skipped as not eligible: 2" in shown.err
    assert main(["capture", "pcap", "--search", "nobody has this name"]) == 1
    assert "no such device was connected" in capsys.readouterr().err


def test_devices_come_from_stdin_with_their_registration(serve: Serve, start: Start):
    row, other = make_devices(2)
    service = serve(devices=[row, attrs.evolve(other, device_id=row.device_id)])
    lines = {
        f"{row.device_id}\t{row.registration_id}\tname\n": 1,
        json.dumps({"device_id": row.device_id, "registration_id": row.registration_id}) + "\n": 1,
        f"\n{row.device_id} and more\n": 2,
    }
    for line, count in lines.items():
        before = commands(service)
        process = start("capture", "speed-test", "-", "--yes", "--no-wait", stdin=subprocess.PIPE)
        assert process.popen.stdin is not None
        process.popen.stdin.write(line)
        process.popen.stdin.close()
        assert process.finish()[0] == 0
        made = [service.sandbox.state.commands[command_id] for command_id in commands(service) - before]
        assert len(made) == count
        assert row.registration_id in {command.device.registration_id for command in made}


def test_commands_only(service: Service, capsys: pytest.CaptureFixture[str]):
    before, ids = commands(service), device_ids(service, 2)
    assert main(["capture", "pcap", *ids, "--yes", "--no-wait"]) == 0
    shown = capsys.readouterr()
    rows = [line.split("\t") for line in shown.out.splitlines()]
    assert [(cells[1], cells[2]) for cells in rows] == [("created", device_id) for device_id in ids]
    assert {cells[0] for cells in rows} == commands(service) - before
    named = [command_of_line(line) for line in shown.out.splitlines()]
    assert [None if command is None else command.id for command in named] == [cells[0] for cells in rows]
    assert shown.err.splitlines()[-1] == "2 created"


def test_a_quota_that_is_short(serve: Serve, capsys: pytest.CaptureFixture[str]):
    serve(devices=6, quota=4)
    assert main(["capture", "pcap", "--all", "--yes", "--json"]) == 3
    shown = capsys.readouterr()
    found = documents(shown.out)
    assert "warning: the quota has room for 4 of " in shown.err
    assert sum(document["state"] == "saved" for document in found) == 4
    rest = [document for document in found if document["state"] != "saved"]
    assert {(document["state"], document["reason"], document["id"]) for document in rest} == {
        ("not_attempted", "quota", None)
    }
    assert rest[0]["error"] == "the day's quota is used up"
    assert main(["capture", "pcap", "--all", "--yes"]) == 5
    told = capsys.readouterr().err
    assert told == "error: the day's quota is used up; `dexcmd quota` says when there is more\n"
    # Whoever waits for more is asked as ever.
    assert main(["capture", "pcap", "--all", "--on-quota", "wait"]) == 2
    assert "takes 6 of 0 commands left in the day's quota" in (told := capsys.readouterr().err)
    assert "there is no terminal to ask on" in told


def test_a_lost_answer_is_no_second_command(service: Service, capsys: pytest.CaptureFixture[str]):
    before = commands(service)
    service.sandbox.faults.add(Fault.drop(processed=True), on="create_commands")
    assert main(["capture", "pcap", *device_ids(service, 2), "--yes", "--json"]) == 0
    found = documents(capsys.readouterr().out)
    assert {document["id"] for document in found} == commands(service) - before
    assert [document["state"] for document in found] == ["saved", "saved"]


def test_what_can_not_be_told_is_told(service: Service, capsys: pytest.CaptureFixture[str]):
    service.sandbox.faults.add(Fault.drop(processed=True), on="create_commands")
    service.sandbox.faults.add(Fault.error(403), on="list_commands", times=None)
    assert main(["capture", "pcap", *device_ids(service, 2), "--yes", "--no-wait"]) == 1
    shown = capsys.readouterr()
    assert [line.split("\t")[1] for line in shown.out.splitlines()] == ["unknown"] * 2
    last = shown.err.splitlines()[-1]
    assert last.startswith("2 may have been created; before trying again, check: dexcmd commands --type pcap --since ")
    assert main(["commands", "--type", "pcap", "--since", last.split()[-1]]) == 5


def test_what_the_service_refuses(service: Service, capsys: pytest.CaptureFixture[str]):
    service.sandbox.faults.add(Fault.error(403), on="create_commands", times=None)
    assert main(["capture", "pcap", *device_ids(service, 2), "--yes"]) == 5
    shown = capsys.readouterr()
    assert shown.err.splitlines()[-1].startswith("error: POST /dex/commands: 403")
    assert "Cloudflare DEX Write" in shown.err
    assert "2 not attempted" in shown.err


def test_failures_have_their_reasons(service: Service, capsys: pytest.CaptureFixture[str]):
    service.sandbox.faults.add(Fault.error(404), on="download", times=None)
    assert main(["capture", "pcap", *device_ids(service, 2), "--yes", "--json"]) == 1
    shown = capsys.readouterr()
    found = documents(shown.out)
    assert {(document["state"], document["status"]) for document in found} == {("failed", "SUCCESS")}
    assert all("404" in str(document["error"]) for document in found)
    last = shown.err.splitlines()[-1]
    assert last.startswith("to continue: dexcmd follow --json ")
    assert last.endswith(" | dexcmd download - --into captures")
    assert all(str(document["id"]) in last for document in found)


def test_a_folder_that_can_not_be_is_known_before_anything_is_created(
    service: Service, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    (tmp_path / "file").touch()
    before = commands(service)
    assert main(["capture", "pcap", *device_ids(service, 1), "--yes", "--into", "file"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-1] == "error: can't create the folder file: it is a file"
    assert commands(service) == before


BUSY = Behaviour.instant(run_seconds=(3600.0, 3600.0))


def last_line(told: str) -> str:
    return [line for line in told.splitlines() if line != "interrupted"][-1]


def test_the_first_ctrl_c_tells_how_to_go_on(serve: Serve, start: Start):
    service = serve(devices=6, behaviour=BUSY)
    process = start("capture", "pcap", *device_ids(service, 3), "--yes", stderr=subprocess.STDOUT)
    process.wait_for("^3 of 3 created")
    process.popen.send_signal(signal.SIGINT)
    code, shown, _ = process.finish()
    assert code == 130
    assert "Ctrl-C again quits immediately" in shown
    rows = [line.split("\t") for line in shown.splitlines() if "\tcreated\t" in line]
    assert {cells[0] for cells in rows} == commands(service)
    assert {cells[-1] for cells in rows} == {"interrupted; it keeps running"}
    assert "3 created and not saved" in shown
    assert last_line(shown).startswith("to continue: dexcmd follow --json ")
    assert all(command_id in last_line(shown) for command_id in commands(service))


def test_ctrl_c_counts_where_nobody_reads_what_is_said_of_it(serve: Serve):
    service = serve(devices=6, behaviour=BUSY)
    with subprocess.Popen(
        [sys.executable, "-m", "dexcmd.cli", "capture", "pcap", *device_ids(service, 3), "--yes"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while "3 of 3 created" not in process.stderr.readline():
            assert process.poll() is None
        process.stderr.close()
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(PATIENCE)
        finally:
            process.kill()
        shown = process.stdout.read()
    assert code == 130
    rows = [line.split("\t") for line in shown.splitlines()]
    assert {cells[0] for cells in rows} == commands(service)
    assert {cells[1] for cells in rows} == {"created"}


def test_a_terminal_that_is_closed_loses_no_id(serve: Serve, tmp_path: Path):
    service = serve(devices=6, behaviour=BUSY)
    to_file = ("sh", "-c", 'exec "$0" "$@" > rows', sys.executable, "-m", "dexcmd.cli")
    screen = Screen(tmp_path, {}, *to_file, "capture", "pcap", *device_ids(service, 3), "--yes")
    try:
        while "3/3" not in screen.text:
            assert screen.read(), screen.text
        screen.hang_up()
        assert screen.process.wait(PATIENCE) == 129
    finally:
        screen.close()
    rows = [line.split("\t") for line in (tmp_path / "rows").read_text().splitlines()]
    assert {cells[0] for cells in rows} == commands(service)


def hanging(service: Service, start: Start, *arguments: str) -> Process:
    """Return a capture whose second POST is never answered."""
    service.sandbox.faults.add(Fault.silence(processed=True), on="create_commands", skip=1, times=None)
    process = start("capture", "pcap", "--all", "--yes", *arguments, stderr=subprocess.STDOUT)
    while service.made("create_commands") < 2:
        assert process.popen.poll() is None
    process.popen.send_signal(signal.SIGINT)
    process.wait_for("Ctrl-C again quits immediately")
    process.popen.send_signal(signal.SIGINT)
    return process


@pytest.mark.parametrize("arguments", [[], ["--no-wait"]], ids=["all", "no-wait"])
def test_the_second_ctrl_c_leaves_at_once_and_loses_no_id(serve: Serve, start: Start, arguments: list[str]):
    service = serve(devices=make_devices(20, ineligible_share=0.0, multi_user_share=0.0), behaviour=BUSY)
    code, shown, _ = hanging(service, start, *arguments).finish()
    assert code == 130
    rows = [line.split("\t") for line in shown.splitlines() if "\t" in line]
    made = {cells[0] for cells in rows if cells[1] == "created"}
    assert len(made) == 10
    assert made < commands(service)
    assert sum(cells[1] == "unknown" for cells in rows) == 10
    assert "10 may have been created; before trying again, check: dexcmd commands" in shown
    assert "to continue with 10 commands, and whatever else was created: dexcmd commands --type pcap --since " in shown
    assert shown.splitlines()[-1] == "interrupted"


@pytest.mark.parametrize("arguments", [[], ["--no-wait"]], ids=["all", "no-wait"])
def test_a_reader_that_has_gone_loses_no_id(service: Service, arguments: list[str]):
    before, ids = commands(service), device_ids(service, 2)
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(
        [sys.executable, "-m", "dexcmd.cli", "capture", "pcap", *ids, "--yes", *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(writing)
        _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 141
    made = commands(service) - before
    assert len(made) == 2
    saved = {path.stem for path in Path("captures").glob("*.zip")}
    # What is saved stands in the folder, under its id.
    assert made - saved <= {command_id for command_id in made if command_id in told.splitlines()[-1]}


# --- on a terminal


def test_a_yes(service: Service, show: Callable[..., Screen], tmp_path: Path):
    before, ids = commands(service), device_ids(service, 2)
    screen = show("capture", "pcap", *ids)
    screen.wait_for("Create 2 commands? [y/N] ")
    assert service.sandbox.state.devices[0].user_email in screen.text
    assert commands(service) == before
    screen.type("y\n")
    assert screen.finish() == 0
    made = commands(service) - before
    assert len(made) == 2
    # Who would give it again for that would capture again.
    assert "--json has all" not in screen.text
    heading = next(line for line in screen.text.splitlines() if line.startswith("device") and "file" in line)
    assert "state" in heading
    assert "━" in screen.text
    assert screen.text.splitlines()[-1].startswith("2 saved in captures (")
    assert {path.stem for path in (tmp_path / "captures").iterdir()} == made


def test_a_no(service: Service, show: Callable[..., Screen]):
    before = commands(service)
    screen = show("capture", "pcap", *device_ids(service, 1), TERM="dumb")
    screen.wait_for("Create 1 command? [y/N] ")
    screen.type("\n")
    assert screen.finish() == 4
    assert screen.text.splitlines()[-1] == "nothing was created"
    assert "\x1b" not in screen.raw
    assert commands(service) == before


def test_ctrl_c_at_the_question(service: Service, show: Callable[..., Screen]):
    before = commands(service)
    screen = show("capture", "pcap", *device_ids(service, 1))
    screen.wait_for("[y/N] ")
    screen.type("\x03")
    assert screen.finish() == 130
    assert screen.text.splitlines()[-1] == "interrupted"
    assert commands(service) == before


def test_commands_only_on_a_terminal_tell_how_to_go_on(service: Service, show: Callable[..., Screen]):
    before = commands(service)
    screen = show("capture", "pcap", *device_ids(service, 1), "--yes", "--no-wait", "--account", account(service))
    assert screen.finish() == 0
    [command_id] = commands(service) - before
    shown = screen.text.replace("\n", "")
    assert f"to continue: dexcmd --account {account(service)} follow --json {command_id} | dexcmd" in shown


def account(service: Service) -> str:
    return service.sandbox.account_id


def test_the_time_at_the_question_is_none_of_the_capture(service: Service, monkeypatch: pytest.MonkeyPatch):
    pictures: list[Picture] = []
    hours = 0

    class Seen(LinesView):
        def show(self, picture: Picture) -> None:
            pictures.append(picture)

    def an_hour_later(question: str, *, yes: bool) -> bool:
        nonlocal hours
        hours = 1
        return True

    monkeypatch.setattr(run, "confirm", an_hour_later)
    monkeypatch.setattr(run, "view_for", Seen)
    monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 3600 * hours))
    assert main(["capture", "pcap", *device_ids(service, 1), "--no-wait"]) == 0
    assert pictures
    assert not [picture.said for picture in pictures if "h" in picture.said]


@pytest.mark.parametrize("kind", [TMPFS])
def test_a_full_disk_is_no_reason_to_capture_again(serve: Serve, capsys: pytest.CaptureFixture[str], kind: str):
    service = serve(artifact_size=100_000)
    [device] = device_ids(service, 1)
    before = commands(service)
    with mounted(kind, size="8k") as disk:
        assert main(["capture", "pcap", device, "--yes", "--json", "--into", str(disk)]) == 1
    out, err = capsys.readouterr()
    [document] = documents(out)
    [command_id] = commands(service) - before
    assert str(document["error"]).endswith("; make room, then `dexcmd download` resumes")
    assert f"to continue: dexcmd follow --json {command_id} | dexcmd download - --into {disk}" in err
    assert "again" not in err
