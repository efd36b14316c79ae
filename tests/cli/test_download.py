"""`dexcmd download`."""

import json
import signal
import subprocess
import zipfile
from pathlib import Path

import attrs
import pytest

from dexcmd import DownloadError, NotFoundError
from dexcmd.cli import main
from dexcmd.cli.download.run import Row, Standing
from dexcmd.cli.view import Stage
from dexcmd.errors import AuthenticationError
from dexcmd.sandbox import Fault
from dexcmd.transfer.progress import Progress
from dexcmd.transfer.saved import SavedArtifact
from tests.cli.conftest import Service, Start

LARGE = 3_000_000


def documents(shown: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in shown.splitlines()]


def test_artifacts_become_files_and_are_not_fetched_twice(service: Service, capsys: pytest.CaptureFixture[str]):
    ids = service.create(3)
    assert main(["download", *ids, "--into", "there", "--json", "--concurrency", "2", "--verify", "zip"]) == 0
    shown = capsys.readouterr()
    found = documents(shown.out)
    assert {document["id"] for document in found} == set(ids)
    for document in found:
        assert document["state"] == "saved"
        with zipfile.ZipFile(str(document["path"])) as archive:
            assert archive.testzip() is None
    size = sum(int(str(document["size"])) for document in found)
    assert shown.err.splitlines()[-1] == f"3 saved ({size / 1000:.1f} kB)"
    before = service.made("download")
    assert main(["download", *ids, "--into", "there"]) == 0
    shown = capsys.readouterr()
    assert {line.split("\t")[1] for line in shown.out.splitlines()} == {"skipped"}
    assert shown.err.splitlines()[-1] == "0 saved (0 bytes), 3 already there"
    assert service.made("download") == before


def test_some_can_not_be_had(service: Service, capsys: pytest.CaptureFixture[str]):
    [command_id] = service.create(1)
    assert main(["download", command_id, "gone", "away"]) == 3
    shown = capsys.readouterr()
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in shown.out.splitlines()}
    assert rows[command_id][0] == "saved"
    assert rows[command_id][1] == f"captures/{command_id}.zip"
    assert rows["gone"][:4] == ["failed", "", "", ""]
    assert "kept for 7 days" in rows["gone"][4]
    summary, error = shown.err.splitlines()[-2:]
    assert summary.endswith("2 failed")
    assert error.startswith("error: GET /dex/commands/")
    assert error.endswith("(and 1 more)")


def test_nothing_could_be_had(service: Service, capsys: pytest.CaptureFixture[str]):
    assert main(["download", "gone"]) == 1
    assert "404" in capsys.readouterr().err


def test_a_refused_token_is_soon_given_up(service: Service, capsys: pytest.CaptureFixture[str]):
    service.sandbox.faults.add(Fault.error(401), on="download", times=None)
    before = service.made("download")
    assert main(["download", *(f"c{number}" for number in range(60)), "--concurrency", "1"]) == 5
    shown = capsys.readouterr()
    failed = service.made("download") - before
    assert len(shown.out.splitlines()) == failed < 60
    assert f"{failed} failed, {60 - failed} not started" in shown.err


def test_a_command_without_an_artifact_costs_no_request(service: Service, start: Start):
    ids = service.create(2)
    before = service.made("download")
    process = start("download", "-", "--json", stdin=subprocess.PIPE)
    assert process.popen.stdin is not None
    for document in (
        {"id": ids[0], "status": "SUCCESS", "filename": f"https://storage.example/{ids[0]}.zip?x"},
        {"id": ids[1], "status": "FAILED"},
    ):
        process.popen.stdin.write(json.dumps(document) + "\n")
    process.popen.stdin.close()
    code, shown, _ = process.finish()
    assert code == 3
    found = {document["id"]: document for document in documents(shown)}
    assert found[ids[0]]["state"] == "saved"
    assert found[ids[1]]["error"] == f"command {ids[1]} is FAILED: it has no artifact"
    assert service.made("download") == before + 1


def test_what_lines_say_is_known_without_asking(service: Service, start: Start, capsys: pytest.CaptureFixture[str]):
    def fed(command: str, lines: str) -> tuple[int, str]:
        process = start(command, "-", stdin=subprocess.PIPE)
        assert process.popen.stdin is not None
        process.popen.stdin.write(lines)
        process.popen.stdin.close()
        code, shown, _ = process.finish()
        return code, shown

    service.sandbox.behaviour = attrs.evolve(service.sandbox.behaviour, failure_rate=1.0)
    [command_id] = service.create(1)
    assert main(["commands", "--status", "FAILED", "--limit", "1"]) == 0
    listed = capsys.readouterr().out
    before = service.made("download")
    assert fed("follow", listed) == (3, listed.rstrip("\n"))
    code, row = fed("download", listed)
    assert code == 1
    assert row.endswith(f"\tcommand {command_id} is FAILED: it has no artifact")
    assert service.made("download") == before


def test_downloads_begin_as_the_lines_come(service: Service, start: Start):
    first, second = service.create(2)
    process = start("download", "-", stdin=subprocess.PIPE)
    stdin = process.popen.stdin
    assert stdin is not None
    stdin.write(f"{first}\n")
    stdin.flush()
    process.wait_for(f"{first}\tsaved")
    stdin.write(second)
    stdin.close()
    process.wait_for(f"{second}\tsaved")
    assert process.finish()[0] == 0


def test_a_bad_line_of_stdin_ends_it_after_what_came_before(service: Service, start: Start):
    [command_id] = service.create(1)
    process = start("download", "-", stdin=subprocess.PIPE)
    assert process.popen.stdin is not None
    process.popen.stdin.write(f"{command_id}\n{{\n")
    process.popen.stdin.flush()
    code, shown, told = process.finish()
    assert code == 2
    assert shown.startswith(f"{command_id}\tsaved\t")
    assert told.splitlines()[-1].startswith("error: stdin: can't read '{': ")


slow = pytest.mark.dex_sandbox(artifact_size=LARGE)


@slow
def test_the_first_ctrl_c_finishes_what_is_under_way(service: Service, start: Start, tmp_path: Path):
    ids = service.create(6)
    process = start("download", *ids, "--concurrency", "1", "--bytes-per-second", "6M")
    process.wait_for(r"\tsaved\t")
    process.popen.send_signal(signal.SIGINT)
    code, shown, told = process.finish()
    assert code == 130
    assert "finishing the downloads in progress; Ctrl-C again quits immediately\n" in told
    saved = len(shown.splitlines())
    assert 1 <= saved < 6
    assert told.splitlines()[-1] == f"{saved} saved ({saved * 3}.0 MB), {6 - saved} not started"
    assert len(list((tmp_path / "captures").iterdir())) == saved
    assert service.made("download") == saved


@slow
def test_ctrl_c_ends_the_wait_for_stdin(service: Service, start: Start):
    [command_id] = service.create(1)
    process = start("download", "-", stdin=subprocess.PIPE)
    assert process.popen.stdin is not None
    process.popen.stdin.write(f"{command_id}\n")
    process.popen.stdin.flush()
    process.wait_for(r"\tsaved\t")
    process.popen.send_signal(signal.SIGINT)
    code, _, told = process.finish()
    assert code == 130
    assert told.splitlines()[-1] == "1 saved (3.0 MB)"


@slow
def test_the_second_ctrl_c_leaves_at_once_and_what_came_is_gone_on_from(service: Service, start: Start, tmp_path: Path):
    [command_id] = service.create(1)
    process = start("download", command_id, "--bytes-per-second", "2M", "-vv", stderr=subprocess.STDOUT)
    # What stands on disk of it.
    part = tmp_path / "captures" / f".{command_id}.zip.part"
    process.wait_for("200")
    while not part.exists() or not part.stat().st_size:
        assert process.popen.poll() is None
    process.popen.send_signal(signal.SIGINT)
    process.wait_for("Ctrl-C again quits immediately")
    process.popen.send_signal(signal.SIGINT)
    code, shown, _ = process.finish()
    assert code == 130
    assert shown.splitlines()[-2:] == [
        "partial downloads are kept: run the same command again to resume",
        "interrupted",
    ]
    assert part.exists()
    code, shown, _ = start("download", command_id, "--json").finish()
    assert code == 0
    [document] = documents(shown)
    assert int(str(document["resumed_from"])) > 0


# --- how it stands


def saved(command_id: str, size: int = 1000, *, skipped: bool = False) -> Row:
    return Row(command_id, SavedArtifact(path=Path(f"{command_id}.zip"), size=size, sha256="", skipped=skipped))


def test_rows_for_people():
    assert saved("c1").line == "saved    c1.zip  1.0 kB"
    assert saved("c1", skipped=True).line == "skipped  c1.zip  1.0 kB"
    assert Row("c1", error=DownloadError("no")).line == "failed   c1: no"


def test_standing_counts_and_tells_the_time_left():
    standing = Standing(named=10)
    assert standing.picture(0.0).stages == (Stage("done", 0, None),)
    standing.all_named = True
    for second in range(1, 4):
        standing.on_row(saved(f"c{second}"))
        standing.on_progress(Progress("c9", "c9.zip", 500, 1000, 0.0))
        picture = standing.picture(float(second))
    assert picture.stages == (Stage("done", 3, 10, "6 s left"),)
    assert picture.said == "3.5 kB, 1.2 kB/s, 1 in progress"
    standing.on_row(saved("c4", skipped=True))
    standing.on_row(Row("c9", error=DownloadError("no")))
    standing.finishing = True
    picture = standing.picture(4.0)
    assert picture.stages == (Stage("done", 5, 10),)
    assert picture.said.endswith("0 in progress, 1 already there, 1 failed")
    assert standing.summary == "3 saved (3.0 kB), 1 already there, 1 failed, 5 not started"


def test_exit_codes():
    standing = Standing(named=2, all_named=True)
    assert standing.exit_code(interrupted=True) == 130
    standing.on_row(saved("c1"))
    standing.on_row(saved("c2"))
    # All of it was done before.
    assert standing.exit_code(interrupted=True) == 0
    assert Standing(named=0, all_named=False).exit_code(interrupted=True) == 130
    standing.on_row(Row("c3", error=NotFoundError(404)))
    assert standing.exit_code(interrupted=False) == 3
    refused = Standing(named=1, all_named=True)
    refused.on_row(Row("c3", error=AuthenticationError(401)))
    assert refused.exit_code(interrupted=False) == 5
