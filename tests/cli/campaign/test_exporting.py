"""A campaign as a table, on stdout and in files."""

import csv
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.campaign.conftest import Office, Say
from tests.cli.conftest import PATIENCE


@pytest.fixture
def done(office: Office, say: Say) -> Office:
    """A campaign that is done with."""
    assert say("run", office.write(name="paris"), "--yes")[0] == 0
    return office


def rows_of(office: Office, *arguments: str) -> bytes:
    command = [sys.executable, "-m", "dexcmd.cli", "campaign", "export", "paris", *arguments]
    return subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True).stdout


def test_csv_on_stdout(done: Office):
    # As the format says it, whatever the system's line ends are.
    written = rows_of(done)
    assert written.count(b"\r\n") == written.count(b"\n") == 7
    rows = [*csv.DictReader(written.decode().splitlines())]
    assert {row["outcome"] for row in rows} == {"saved"}
    assert {Path(row["path"]) for row in rows} == {*done.files}


@pytest.mark.parametrize("arguments", [["--format", "jsonl"], ["--json"]], ids=["format", "json"])
def test_json_lines_on_stdout(done: Office, arguments: list[str]):
    rows = [json.loads(line) for line in rows_of(done, *arguments).splitlines()]
    assert [row["target"] for row in rows] == [1, 2, 3, 4, 5, 6]


def test_into_files(done: Office, say: Say):
    assert say("export", "paris", "--output", "paris.db") == (0, "", "6 rows in paris.db\n")
    with closing(sqlite3.connect(done.folder / "paris.db")) as database:
        assert database.execute("SELECT count(*) FROM target").fetchone() == (6,)
    database.close()
    code, _, err = say("export", "paris", "--output", "paris.db")
    assert code == 2
    assert "already exists: --overwrite replaces it" in err
    assert say("export", "paris", "--output", "paris.db", "--overwrite")[0] == 0
    assert say("export", "paris", "--output", "paris.txt", "--format", "jsonl")[0] == 0
    assert len((done.folder / "paris.txt").read_text().splitlines()) == 6


def test_not_over_the_journal(done: Office, say: Say):
    (done.folder / "link").symlink_to(done.journal.parent)
    code, _, err = say("export", "paris", "--output", "link/journal.db", "--overwrite")
    assert (code, err) == (2, f"error: {done.folder}/link/journal.db is a journal: choose another file\n")
    assert say("status", "paris")[0] == 0


def test_no_parquet_on_stdout(done: Office, say: Say):
    code, out, err = say("export", "paris", "--format", "parquet")
    assert (code, out) == (2, "")
    assert "name a file with --output" in err


@pytest.mark.parametrize("name", ["rows.json", "rows.xlsx", "rows.tsv"])
def test_a_name_that_is_of_no_format(done: Office, say: Say, name: str):
    code, out, err = say("export", "paris", "--output", name)
    assert (code, out) == (2, "")
    assert err == (
        f"error: {name}: no format has this extension: use --format, or one of .csv, .jsonl, .ndjson, .parquet, .db, "
        ".sqlite, .sqlite3\n"
    )
    assert not (done.folder / name).exists()
    assert say("export", "paris", "--output", name, "--format", "csv")[0] == 0


def test_whoever_reads_it_may_go(done: Office):
    command = [sys.executable, "-m", "dexcmd.cli", "campaign", "export", "paris"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(PATIENCE) == 141
        assert process.stderr.read() == b""
