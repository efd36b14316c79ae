"""`dexcmd demo` as its users run it: a process, its output, its files, its exit code."""

import os
import pty
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dexcmd.cli import main
from dexcmd.cli.demo import run
from tests.cli.conftest import PATIENCE, Start


def assert_whole(files: list[Path]) -> None:
    for path in files:
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            assert archive.read("capture-default.pcap")[:4] in (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4")


def test_a_small_fleet_piped(start: Start, tmp_path: Path):
    code, shown, stderr = start("demo", "--devices", "12").finish()
    assert (code, stderr) == (0, "")
    assert "\x1b" not in shown
    assert "12 of 12 found" in shown
    assert "12 of 12 created" in shown
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("dexcmd-demo-")
    assert folder.name in shown
    assert folder.stat().st_mode & 0o777 == 0o700
    files = list(folder.iterdir())
    assert {path.suffix for path in files} == {".zip"}
    saved = re.search(r"saved\s+\S\s+(\d+)", shown)
    assert saved is not None
    assert len(files) == int(saved[1]) > 6
    assert f"{len(files)} whole files in {folder.name}," in shown
    assert "dexcmd sandbox" in shown.splitlines()[-1]
    assert_whole(files)


def test_a_folder_that_was_used_before(start: Start, tmp_path: Path):
    """By a demo that saved what it could, and by one that was interrupted."""
    folder = tmp_path / "captures"
    folder.mkdir()
    (folder / ".of-before.zip.part").write_text("half of it")
    whole = 0
    for _ in range(2):
        code, shown, _ = start("demo", "--devices", "6", "--into", str(folder)).finish()
        # Devices may fail, others each time.
        found = re.search(r"(\d) whole files? in", shown)
        assert (code, found is not None) == (0, True), shown
        whole += int(found[1]) if found else 0
        assert len(list(folder.glob("*.zip"))) == whole


def test_ctrl_c_twice_leaves_whole_files_only(start: Start, tmp_path: Path):
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    mine = folder / "mine.zip"
    mine.write_text("of mine")
    process = start("demo", "--devices", "80", "--into", str(folder))
    process.wait_for(r"\d+ of \d+ saved")
    process.popen.send_signal(signal.SIGINT)
    process.popen.send_signal(signal.SIGINT)
    code, shown, stderr = process.finish()
    assert (code, stderr) == (130, "")
    assert list(tmp_path.iterdir()) == [tmp_path / "deep"]
    assert mine.read_text() == "of mine"
    files = [path for path in folder.glob("*.zip") if path != mine]
    assert 0 < len(files) < 80
    # And what can be gone on from.
    assert all(path.name.endswith((".zip.part", ".zip.part.json")) for path in {*folder.iterdir()} - {mine, *files})
    assert_whole(files)
    last = shown.splitlines()[-1]
    assert last == f"interrupted: {len(files)} of 80 artifacts are saved, each of them whole, in {folder}"


def test_sigterm_before_anything_is_saved(start: Start, tmp_path: Path):
    process = start("demo", "--devices", "80")
    process.wait_for(r"\d+ of \d+ found")
    process.popen.send_signal(signal.SIGTERM)
    code, shown, stderr = process.finish()
    assert (code, stderr) == (143, "")
    assert shown.splitlines()[-1] == "interrupted: nothing was saved"
    assert list(tmp_path.iterdir()) == []


def test_a_failed_check_is_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    async def play(*_: object) -> list[str]:
        return [f"file {number}: [not] whole" for number in range(12)]

    monkeypatch.setattr(run, "_play", play)
    assert main(["demo", "--devices", "1", "--into", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "file 9: [not] whole" in shown
    assert "file 10:" not in shown
    assert shown.endswith("12 checks failed\n")


def test_a_folder_that_can_not_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").touch()
    assert main(["demo", "--into", str(tmp_path / "file" / "folder")]) == 2
    assert capsys.readouterr().err.startswith("error: can't create the folder ")


def test_no_room_for_a_folder_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def refuse(**_: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run.tempfile, "mkdtemp", refuse)
    assert main(["demo"]) == 2
    error = capsys.readouterr().err
    assert error == "error: can't make a folder here: Permission denied; name one with --into\n"


def test_on_a_terminal(tmp_path: Path, environment: dict[str, str]):
    ours, theirs = pty.openpty()
    environment |= {"TERM": "xterm-256color", "LINES": "24", "COLUMNS": "80"}
    command = [sys.executable, "-m", "dexcmd.cli", "demo", "--devices", "2"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:
            pass  # How Linux tells that the other side has closed.
        finally:
            os.close(ours)
        assert process.wait(PATIENCE) == 0
    text = shown.decode()
    assert "━" in text
    # The cursor is hidden while it draws, and shown again.
    assert text.index("\x1b[?25l") < text.rindex("\x1b[?25h")
