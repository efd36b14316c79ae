"""The parts of `dexcmd capture` that decide and tell."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
from rich.console import Console

from dexcmd import CommandFailedError, ConfigurationError, NotFoundError, Outcome, Pcap, WaitTimeoutError
from dexcmd.capture import CaptureResult
from dexcmd.cli.capture.advice import advice
from dexcmd.cli.capture.choice import Choice, Left, Name, choose, name_of_line
from dexcmd.cli.capture.preview import preview, preview_lines
from dexcmd.cli.capture.rows import TABLE, Row, row_document
from dexcmd.cli.capture.standing import Standing
from dexcmd.cli.common import Common
from dexcmd.cli.view import Stage
from dexcmd.errors import AmbiguousCreateError, DexError
from dexcmd.events import CommandAdopted, CommandCreated, CommandFinished
from dexcmd.resources.command import Command
from dexcmd.resources.devices import Device
from dexcmd.resources.quota import Quota
from dexcmd.transfer.progress import Progress
from dexcmd.transfer.saved import SavedArtifact

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def device(device_id: str = "d", registration: str | None = "r", **fields: object) -> Device:
    return Device(**{"device_id": device_id, "registration_id": registration, "person_email": "a@b", **fields})


def row(state: str, **fields: object) -> Row:
    return Row(**{"device": device(), "type": "pcap", "state": state, **fields})


def saved(size: int = 1000) -> Row:
    artifact = SavedArtifact(path=Path("captures/c.zip"), size=size, sha256="")
    return row("saved", command_id="c", status="SUCCESS", artifact=artifact)


# --- which devices


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("", None),
        (" \n", None),
        ("d1\n", Name("d1")),
        ("d1 and more\n", Name("d1")),
        ("d1\tr1\tname\n", Name("d1", "r1")),
        ("d1\t\tname\n", Name("d1")),
        ("\tr1\tname\n", None),
        ('{"device_id":"d1"}', Name("d1")),
        ('{"device_id":"d1","registration_id":null}', Name("d1")),
        ('{"schema":"device/1","device_id":"d1","registration_id":"r1"}', Name("d1", "r1")),
    ],
)
def test_a_line_names_a_device(line: str, name: Name | None):
    assert name_of_line(line) == name


@pytest.mark.parametrize("line", ["{", "{}", '{"device_id":7}', '{"device_id":"d","registration_id":7}'])
def test_a_line_that_names_none(line: str):
    with pytest.raises(ConfigurationError, match=r"^stdin: "):
        name_of_line(line)


def test_choice():
    rows = [
        device("d1", "r1"),
        device("d1", "r2"),
        device("d2", "r3", eligible=False, ineligible_reason="asleep"),
        device("d3", None, status="disconnected"),
        device("d4", "r4", person_email=None),
        device("d5", "r5", status="Connected"),
        device("d6", "r6", status=None),
    ]
    everything = choose(rows, None)
    assert everything.devices == (rows[0], rows[1], rows[3], rows[5], rows[6])
    assert everything.left == (Left(rows[2], "not_eligible"), Left(rows[4], "not_eligible"))
    assert [left.text for left in everything.left] == [
        "not eligible: asleep",
        "not eligible: the service does not say why",
    ]
    assert everything.not_connected == 1
    assert choose(rows, [Name("d1")]).devices == choose(rows, [Name("D1")]).devices == (rows[0], rows[1])
    assert choose(rows, [Name("D1", "R2")]).devices == (rows[1],)
    named = choose(rows, [Name("d1", "r2"), Name("d9", "r9"), Name("d3")])
    assert named.devices == (rows[1], rows[3])
    assert [(left.device.device_id, left.reason) for left in named.left] == [("d9", "not_found")]


def test_preview():
    choice = Choice(
        tuple(device(f"d{number}", status="away") for number in range(12)), (Left(device(), "not_eligible"),)
    )
    quota = Quota(20, 15, NOW + timedelta(hours=2))
    assert list(preview_lines(choice, quota, NOW, named=False)) == [
        "and 2 more, 12 in all",
        "12 of them not connected now: their commands fail after 10 minutes, unless they reconnect",
        "skipped as not eligible: 1",
        "takes 12 of 5 commands left in the day's quota, which resets in 2 h",
        "warning: the quota has room for 5 of 12",
    ]
    assert list(preview_lines(Choice((device(),), ()), Quota(), NOW, named=True)) == []
    assert list(preview_lines(Choice((device(),), ()), Quota(5, 1), NOW, named=True)) == [
        "takes 1 of 4 commands left in the day's quota"
    ]
    # As many as are shown, and as there is room for.
    just = Choice(tuple(device(f"d{number}", status="connected") for number in range(10)), ())
    assert list(preview_lines(just, Quota(10, 0), NOW, named=False)) == [
        "takes 10 of 10 commands left in the day's quota"
    ]


def test_the_preview_names_devices_as_people_know_them():
    choice = Choice((device("d1", device_name="laptop", platform="linux"), device("d2")), ())
    written, drawn = io.StringIO(), io.StringIO()
    preview(Console(file=written), choice, Quota(), Pcap(), named=True)
    assert written.getvalue().splitlines() == ["pcap on:", "laptop\ta@b\tlinux\t", "d2\ta@b\t\t"]
    preview(Console(file=drawn, force_terminal=True, width=80), choice, Quota(), Pcap(), named=True)
    assert [line.split()[:2] for line in drawn.getvalue().splitlines()[-2:]] == [["laptop", "a@b"], ["d2", "a@b"]]
    assert "\t" not in drawn.getvalue()


# --- how it stands


def test_standing():
    standing = Standing(10, no_wait=False, started=0.0)
    standing.on_event(CommandCreated("c1", "d", None, "pcap"))
    standing.on_event(CommandAdopted("c2", "d", None, "pcap"))
    standing.on_event(CommandFinished("c1", "SUCCESS"))
    standing.on_row(row("rejected"))
    for second in range(1, 4):
        standing.on_row(saved())
        standing.on_progress(Progress("c9", "c9.zip", 500, 1000, 0.0))
        picture = standing.picture(float(second))
    assert picture.stages == (
        Stage("created", 2, 9),
        Stage("ended on the device", 1, 9),
        Stage("saved", 3, 9),
    )
    assert picture.said == "3 s, 3.5 kB, 1.0 kB/s, 1 in progress"
    standing.on_row(row("failed", command_id="c9"))
    standing.stop()
    picture = standing.picture(4.0)
    assert picture.stages[-1] == Stage("saved", 3, 8)
    assert picture.said.endswith("/s, 1 failed")
    assert standing.summary(Path("there")) == "3 saved in there (3.0 kB), 1 failed, 1 rejected"


def test_the_time_left_is_told_once_nothing_runs_on_a_device_any_more():
    standing = Standing(5, no_wait=False, started=0.0)
    # Neither has this one ended, nor does anybody wait for it any more.
    standing.on_row(row("failed", command_id="c0", error=WaitTimeoutError("late", ("c0",))))
    for second in range(1, 4):
        standing.on_event(CommandFinished(f"c{second}", "SUCCESS"))
        standing.on_row(saved())
        assert standing.picture(float(second)).stages[-1].note == ""
    standing.on_event(CommandFinished("c4", "SUCCESS"))
    assert standing.picture(4.0).stages[-1].note == "2 s left"
    standing.stop()
    assert standing.picture(5.0).stages[-1].note == ""


def test_standing_of_what_is_only_created():
    standing = Standing(3, no_wait=True, started=0.0)
    assert standing.picture(5.0).stages == (Stage("created", 0, 3),)
    standing.on_row(row("created", command_id="c"))
    assert standing.summary(Path("there")) == "1 created"


@pytest.mark.parametrize(
    ("rows", "interrupted", "code"),
    [
        ([saved()], True, 0),
        ([saved(), row("failed", error=NotFoundError(404))], False, 3),
        ([saved(), row("created", reason="cancelled")], True, 130),
        ([saved(), row("failed", error=NotFoundError(404))], True, 3),
        ([row("failed", error=CommandFailedError("no"))], False, 1),
        ([row("failed", error=WaitTimeoutError("late", ("c",)))], False, 3),
        ([row("not_attempted", reason="quota")], False, 5),
        ([row("not_attempted", reason="not_found")], False, 1),
    ],
    ids=["all", "some", "interrupted", "none-left", "failed", "late", "quota", "left"],
)
def test_exit_codes(rows: list[Row], interrupted: bool, code: int):
    standing = Standing(len(rows), no_wait=False, started=0.0)
    for one in rows:
        standing.on_row(one)
    assert standing.exit_code(interrupted=interrupted) == code


# --- rows


def result(state: str, command: Command | None = None, error: DexError | None = None, reason: str | None = None) -> Row:
    request = device().request(Pcap())
    return Row.of_result(device(), CaptureResult(request, state, command, error=error, reason=reason))


def test_rows_say_why():
    assert saved().why is None
    assert (
        result("created", Command(id="c", status="PENDING_EXEC"), reason="cancelled").why
        == "interrupted; it keeps running"
    )
    assert result("not_attempted", reason="cancelled").why == "interrupted"
    assert result("not_attempted", reason="quota").why == "the day's quota is used up"
    failed = result("failed", Command(id="c", status="FAILED"), CommandFailedError("no"))
    assert [column.cell(failed) for column in TABLE[3:]] == ["c", "", "the device reports FAILED"]
    assert TABLE[5].cell(result("failed", error=DexError("lost"))) == "lost"
    assert result("created", Command(id="c", created_date=NOW)).created == NOW
    assert (failed.why, failed.goes_on, failed.status) == ("no", False, "FAILED")
    pending = result("created", Command(id="c", status="PENDING_EXEC"), reason="cancelled")
    assert (pending.goes_on, pending.status) == (True, None)
    assert row_document(pending)["error"] == "interrupted; it keeps running"
    request = device().request(Pcap())
    for no_wait, reason in ((True, None), (False, "cancelled")):
        assert Row.of_outcome(device(), Outcome(request, "created", "c"), no_wait=no_wait).reason == reason
    assert Row.of_outcome(device(), Outcome(request, "unknown"), no_wait=False).reason is None


def lines(rows: list[Row], common: Common = Common()) -> list[str]:  # noqa: B008 - frozen
    return list(advice(rows, common, Path("my captures"), NOW))


def test_advice():
    assert lines([]) == []
    assert lines([saved(), row("failed", command_id="f", error=CommandFailedError("no")), row("not_attempted")]) == []
    left = [row("created", command_id=f"c{number}") for number in range(6)]
    assert lines(left[:2]) == [
        "to continue: dexcmd follow --json c0 c1 | dexcmd download - --into 'my captures'",
    ]
    assert lines(left[:5])[0].startswith("to continue: dexcmd follow --json c0 c1 c2 c3 c4 |")
    listed = "commands --type pcap --since 2026-01-31T12:00:00Z"
    dexcmd = "dexcmd --account a --token-file 'a file'"
    timed = [attrs.evolve(one, created=NOW + timedelta(seconds=0.5 * at)) for at, one in enumerate(left)]
    assert lines(timed)[0].startswith(
        "to continue with 6 commands, and whatever else was created: dexcmd commands --type pcap "
        "--since 2026-01-31T11:59:59Z --until 2026-01-31T12:00:04Z --json | "
    )
    unknown = row("unknown", error=AmbiguousCreateError("lost"))
    for rows in ([left[0], *timed[1:]], [unknown, *timed]):
        assert "--since 2026-01-31T12:00:00Z --json" in lines(rows)[-1]
    assert lines([unknown, *left], Common(account="a", token_file=Path("a file"))) == [
        f"1 may have been created; before trying again, check: {dexcmd} {listed}",
        f"to continue with 6 commands, and whatever else was created: {dexcmd} {listed} --json"
        f" | {dexcmd} follow --json - | {dexcmd} download - --into 'my captures'",
    ]
