"""`dexcmd follow`."""

import asyncio
import json
import os
import signal
import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest

from dexcmd import ConfigurationError, WaitTimeoutError
from dexcmd.cli import main
from dexcmd.cli.documents import command_document
from dexcmd.cli.follow.run import _line, late
from dexcmd.cli.ids import Lines, command_of_line
from dexcmd.cli.lists.run import COMMANDS
from dexcmd.cli.rows import json_line, plain_line
from dexcmd.resources.command import Command
from dexcmd.sandbox import Behaviour, Fault
from tests.cli.conftest import Service, Start, until


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("", None),
        ("  \n", None),
        ("c1\n", Command(id="c1")),
        ("\tnot_attempted\td1", None),
        ('{"schema":"capture/1","id":null}', None),
        (" c1\tpcap\tSUCCESS", Command(id="c1")),
        ("c1 and more", Command(id="c1")),
        ('{"schema":"x/1","id":"c1","status":"SUCCESS"}', Command(id="c1", status="SUCCESS")),
    ],
)
def test_a_line_of_stdin(line: str, command: Command | None):
    assert command_of_line(line) == command


WHOLE = Command(
    id="c1",
    type="pcap",
    status="FAILED",
    device_id="d1",
    registration_id="r1",
    user_email="a@b",
    created_date=datetime(2026, 1, 31, 9, 30, 0, 250000, tzinfo=UTC),
    completed_date=datetime(2026, 1, 31, 9, 40, tzinfo=UTC),
    filename="c1.zip",
)


@pytest.mark.parametrize("changes", [{}, {"status": "SUCCESS", "user_email": None}, {"completed_date": None}])
def test_a_line_of_commands_says_what_its_document_does(changes: dict[str, object]):
    command = attrs.evolve(WHOLE, **changes)  # type: ignore[arg-type]
    line = plain_line(COMMANDS, command)
    assert command_of_line(line) == command_of_line(f"{line}\n") == command
    assert command_of_line(json_line(command_document(command))) == command


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "DONE"},
        {"filename": "c  1.zip"},
        {"filename": "c\t1.zip"},
        {"filename": "c" * 1001},
        {"status": None},
    ],
)
def test_a_line_whose_cells_may_be_others_has_an_id_only(changes: dict[str, object]):
    assert command_of_line(plain_line(COMMANDS, attrs.evolve(WHOLE, **changes))) == Command(id="c1")  # type: ignore[arg-type]


@pytest.mark.parametrize("line", ["c1\tpcap\tFAILED\twhen\t\t\t\t\t", "c1\tpcap\tFAILED\t\t\t\t\t\t\tmore"])
def test_a_line_that_only_looks_like_one_of_commands_has_an_id(line: str):
    assert command_of_line(line) == Command(id="c1")


@pytest.mark.parametrize("line", ["{", '{"id":7}', '{"id":null}', '{"status":"SUCCESS"}', '{"id":""}', '{"id":[[['])
def test_a_line_that_names_no_command(line: str):
    with pytest.raises(ConfigurationError, match=r"^stdin: "):
        command_of_line(line)


def test_all_succeeded(service: Service, capsys: pytest.CaptureFixture[str]):
    ids = service.create(3)
    # A name that comes twice is one command.
    assert main(["follow", *ids, ids[0], "--json"]) == 0
    shown = capsys.readouterr()
    documents = [json.loads(line) for line in shown.out.splitlines()]
    assert {document["id"] for document in documents} == set(ids)
    assert {document["status"] for document in documents} == {"SUCCESS"}
    assert len(documents) == 3
    assert shown.err == "3 of 3 ended\n"


def test_some_failed_or_did_not_end(service: Service, capsys: pytest.CaptureFixture[str]):
    sandbox = service.sandbox
    sandbox.behaviour = Behaviour.instant(failure_rate=1.0)
    [failed] = service.create(1)
    assert main(["follow", failed, "unknown", "--timeout", "0.1"]) == 3
    shown = capsys.readouterr()
    rows = [line.split("\t") for line in shown.out.splitlines()]
    assert [(cells[0], cells[2]) for cells in rows] == [(failed, "FAILED"), ("unknown", "")]
    assert shown.err.splitlines()[-1] == (
        "error: 1 command has not ended after 0.1 s; unknown was never in the list; is the id right, and the account?"
    )


def test_what_goes_on(service: Service, capsys: pytest.CaptureFixture[str]):
    service.sandbox.behaviour = Behaviour.instant(run_seconds=(1e6, 1e6))
    [command] = service.create(1)
    assert main(["follow", command, "--timeout", "0.1"]) == 3
    assert capsys.readouterr().err == (
        "error: 1 command has not ended after 0.1 s; last seen: 1 in PENDING_EXEC; it keeps running: "
        "run the same command again to wait for it\n"
    )


def test_an_id_that_no_list_shows_is_told_while_it_is_waited_for(service: Service, start: Start):
    service.sandbox.behaviour = Behaviour.instant(run_seconds=(1e6, 1e6))
    [command] = service.create(1)
    process = start("follow", command, "mistyped", stderr=subprocess.STDOUT)
    process.wait_for("^not in the list yet: mistyped; waiting for it anyway$")
    polls = service.made("list_commands")
    until(lambda: service.made("list_commands") > polls)
    process.popen.send_signal(signal.SIGINT)
    code, shown, _ = process.finish()
    assert code == 130
    assert shown.count("not in the list") == 1


def test_what_did_not_end_and_what_never_was():
    pending = tuple("abcdefgh")
    assert (
        str(late(WaitTimeoutError("late", pending)))
        == "late; they keep running: run the same command again to wait for them"
    )
    one = late(WaitTimeoutError("late", pending, ("a",)))
    assert (str(one), one.exit_code) == ("late; is the id right, and the account? 7 others keep running", 3)
    assert str(late(WaitTimeoutError("late", pending, pending[1:]))) == (
        "late; are the ids right, and the account? 1 other keeps running"
    )
    assert str(late(WaitTimeoutError("late", ("a",), ("a",)))) == "late; is the id right, and the account?"


def test_ids_come_from_stdin(service: Service, start: Start):
    ids = service.create(3)
    process = start("follow", ids[0], "-", "--timeout", "1m", stdin=subprocess.PIPE)
    assert process.popen.stdin is not None
    # One that comes twice is one command, and the last line is one without its end, too.
    process.popen.stdin.write(f"{ids[1]}\tpcap\n\n{ids[0]}\n{ids[1]}\n" + json.dumps({"id": ids[2]}))
    process.popen.stdin.close()
    code, shown, said = process.finish()
    assert code == 0
    assert {line.split("\t")[0] for line in shown.splitlines()} == set(ids)
    assert said == "3 of 3 ended\n"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{}", "there is no id in '{}'"),
        ('{"id":" "}', "' ' can't be the id of a command"),
        ('{"id":"c1 c2"}', "'c1 c2' can't be the id of a command"),
        ("../x\tpcap", "'../x' can't be the id of a command"),
    ],
)
def test_a_bad_line_of_stdin_is_a_mistake(service: Service, start: Start, line: str, told: str):
    process = start("follow", "-", stdin=subprocess.PIPE)
    assert process.popen.stdin is not None
    process.popen.stdin.write(f"{line}\n")
    process.popen.stdin.flush()
    assert process.finish() == (2, "", f"error: stdin: {told}\n")


def test_nothing_to_follow(service: Service, start: Start):
    assert start("follow", "-").finish() == (0, "", "")


def test_what_the_service_refuses(service: Service, capsys: pytest.CaptureFixture[str]):
    service.sandbox.faults.add(Fault.error(401), on="list_commands")
    assert main(["follow", "c1"]) == 5
    assert "the token is not valid" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["follow", "download"])
@pytest.mark.parametrize(
    ("command_id", "told"),
    [
        ("", "an id is empty: is a variable not set?"),
        (" ", "an id is empty: is a variable not set?"),
        ("..", "'..' can't be the id of a command"),
        ("../x", "'../x' can't be the id of a command"),
        ("a\\b", r"'a\\b' can't be the id of a command"),
        ("c2 c3", "'c2 c3' can't be the id of a command"),
        ("c2\nc3", r"'c2\nc3' can't be the id of a command"),
        ("c\udcff", r"'c\udcff' can't be the id of a command"),
    ],
)
def test_what_can_be_no_id(
    service: Service, capsys: pytest.CaptureFixture[str], command: str, command_id: str, told: str
):
    before = len(service.sandbox.requests)
    assert main([command, *service.create(1), command_id]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.splitlines()[-1]) == ("", f"error: {told}")
    assert len(service.sandbox.requests) == before


def test_a_service_that_is_away_ends_no_command(service: Service, capsys: pytest.CaptureFixture[str]):
    service.sandbox.faults.add(Fault.error(503, retry_after=0), on="list_commands", times=100)
    assert main(["follow", *service.create(1)]) == 1
    told = capsys.readouterr().err
    assert told.endswith("try again later; the commands keep running; run the same command again to wait for them\n")


def test_a_line_for_people():
    assert _line(Command(id="c1", status="SUCCESS", type="pcap", device_id="d")) == "SUCCESS    c1  pcap  d"
    assert _line(Command(id="c1", user_email="e", device_id="d")) == "not ended  c1  e"


async def collect(lines: Lines) -> list[str]:
    return [line async for line in lines.read()]


def test_stdin_that_is_closed_or_can_not_be_read_is_empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    async def read() -> list[str]:
        return await collect(Lines())

    monkeypatch.setattr("sys.stdin", None)
    assert asyncio.run(read()) == []
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(fileno=lambda: folder))
        assert asyncio.run(read()) == []
    finally:
        os.close(folder)


def test_nothing_waits_for_what_stdin_still_brings(monkeypatch: pytest.MonkeyPatch):
    reading, writing = os.pipe()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(fileno=lambda: reading))

    async def read() -> list[str]:
        lines = Lines()
        lines.stop()
        return await collect(lines)

    before = set(threading.enumerate())
    assert asyncio.run(read()) == []
    [reader] = set(threading.enumerate()) - before
    # What comes when nobody listens any more ends the thread.
    os.write(writing, b"late\n")
    reader.join()
    os.close(writing)
    os.close(reading)
