"""The benchmarks run, and their arithmetic is right."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.case import Metric
from benchmarks.cases import NAMES, load
from benchmarks.downloading import CURL, download_folder
from benchmarks.figures import median_ratios, medians, spread
from benchmarks.table import comparison, markdown_table
from benchmarks.tally import tally
from benchmarks.usage import cpu_seconds, peak_mib, watched_peak_mib

ROOT = Path(__file__).parent.parent


def run(*arguments: str, path: str = os.environ["PATH"]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PATH": path}
    )


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def table_of(case: str, report: str) -> list[dict[str, str]]:
    """Return the rows of a case's table, each cell by its column's title."""
    lines = [line for line in report.partition(f"## {case}:")[2].splitlines() if line.startswith("|")]
    header, _, *rows = [cells(line) for line in lines]
    return [dict(zip(header, row, strict=True)) for row in rows]


def assert_all_is_measured(case: str, report: str) -> None:
    table = table_of(case, report)
    assert [row[""] for row in table] == list(load(case).contenders)
    for row in table:
        # The figure comes first in a cell, then what it is compared with.
        seconds, rate, cpu, peak = (float(row[key].split()[0]) for key in ("time s", "MiB/s", "CPU s", "peak MiB"))
        assert 0 < seconds < 30, row
        assert 0 < rate < 100_000, row
        assert 0 <= cpu < 30, row
        # Of another program it is looked at every 10 ms, and a small download of curl's may be over before the first.
        assert peak > 0 or row[""].startswith("curl"), row
        assert 0 <= peak < 1_000, row


def test_a_small_storm_doubles_and_loses_nothing():
    done = run("storm", "--scale", "0.05", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert "| Python |" in done.stdout
    dexcmd, cloudflare = table_of("storm", done.stdout)
    assert (dexcmd[""], dexcmd["commands"], dexcmd["doubled"], dexcmd["lost"]) == ("dexcmd", "100", "0", "0")
    assert int(dexcmd["POSTs struck"]) > 0
    assert cloudflare[""] == "cloudflare"


@pytest.mark.parametrize("case", ["download", "many-downloads-tls"])
def test_a_small_download(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(os.environ, "TMPDIR", str(tmp_path))
    done = run(case, "--scale", "0.005", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
    assert_all_is_measured(case, done.stdout)
    assert ("sent by nginx/" if shutil.which("nginx") else "sent by aiohttp/") in " ".join(done.stdout.split())


@pytest.mark.parametrize("case", ["download-tls", "many-downloads"])
def test_a_small_download_where_there_is_no_nginx(case: str, tmp_path: Path):
    if CURL:
        (tmp_path / "curl").symlink_to(CURL)
    done = run(case, "--scale", "0.005", "--rounds", "1", path=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert_all_is_measured(case, done.stdout)
    assert "sent by aiohttp/" in " ".join(done.stdout.split())


def test_a_small_journal():
    done = run("journal", "--scale", "0.01", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    dexcmd, bare, nothing = table_of("journal", done.stdout)
    assert [row[""] for row in (dexcmd, bare, nothing)] == ["dexcmd", "(bare events)", "(nothing)"]
    assert 0 < float(nothing["CPU s"].split()[0]) < float(dexcmd["CPU s"].split()[0]) < 30
    assert 0 < float(dexcmd["asked s"]) < 5
    assert float(dexcmd["file MiB"]) >= 1


@pytest.mark.parametrize(
    ("case", "scale"),
    [
        ("first-call", 1),
        # What they measure in is that of `walk-devices` and `decode`, and each kind of list is met once.
        ("decode-devices", 0.01),
        ("walk", 0.01),
        ("create", 0.01),
        ("follow", 0.02),
        ("sizes", 0.001),
        ("sizes-create", 0.001),
        ("campaign-5000", 0.004),
        ("campaign", 0.0005),
        ("kill", 0.02),
    ],
)
def test_each_other_case_measures_something_in_each_row(case: str, scale: float):
    done = run(case, "--scale", str(scale), "--rounds", "1")
    assert done.returncode == 0, done.stderr
    table = table_of(case, done.stdout)
    assert [row.pop("") for row in table] == list(load(case).contenders)
    for row in table:
        figures = [float(cell.split()[0].replace(",", "")) for cell in row.values() if cell != "-"]
        assert figures, row
        assert all(figure >= 0 for figure in figures), row
        assert max(figures) > 0, row


@pytest.mark.parametrize(
    ("saved", "words"),
    [
        ({}, "0 files were saved, 0 of them whole"),
        ({"a": b"whole"}, "1 files were saved, 1 of them whole"),
        ({"a": b"whole", "b": b"whale"}, "2 files were saved, 1 of them whole"),
        ({"a": b"whole", "b": b"whole", "c": b"whole"}, "3 files were saved, 3 of them whole"),
    ],
)
def test_what_is_not_saved_whole_is_no_measurement(saved: dict[str, bytes], words: str, tmp_path: Path):
    artifact, folder = tmp_path / "artifact", tmp_path / "folder"
    artifact.write_bytes(b"whole")
    folder.mkdir()
    with (
        pytest.raises(RuntimeError, match=words),
        download_folder({"artifact": str(artifact), "folder": str(folder), "files": 2}) as into,
    ):
        for name, content in saved.items():
            (into / name).write_bytes(content)
    assert [path.stat().st_size for path in into.iterdir()] == [0] * len(saved)


def test_what_is_saved_whole_is_emptied_as_well(tmp_path: Path):
    artifact, folder = tmp_path / "artifact", tmp_path / "folder"
    artifact.write_bytes(b"whole")
    folder.mkdir()
    with download_folder({"artifact": str(artifact), "folder": str(folder)}) as into:
        (into / "a").write_bytes(b"whole")
    assert (into / "a").read_bytes() == b""


def test_what_a_process_uses_is_seen_from_outside():
    spin = "import time\nwhile time.process_time() < 0.1: pass\nprint(flush=True); input()"
    command = [sys.executable, "-c", spin]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert 0.05 < cpu_seconds(process.pid) < 10
        assert 1 < peak_mib(process.pid) < 1_000
        process.communicate(b"\n")
    with pytest.raises(OSError, match=str(process.pid)):
        cpu_seconds(process.pid)


def test_the_peak_of_a_process_is_known_when_it_has_ended():
    # It lives for thirty looks, and holds most only at first.
    hold = "import time; held = bytearray(64 << 20); del held; time.sleep(0.3)"
    with subprocess.Popen([sys.executable, "-c", hold]) as process:
        assert 64 < watched_peak_mib(process) < 1_000
    assert process.returncode == 0


def test_what_must_not_be_fails_the_run():
    good = {"doubled": 0.0, "lost": 0.0, "false": 0.0}
    check = load("storm").check
    assert check({"dexcmd": [good, good], "cloudflare": [{**good, "doubled": 7.0}]}) == []
    assert check({"dexcmd": [good, {**good, "lost": 2.0}]}) == ["dexcmd, round 2: 2 lost"]


@pytest.mark.parametrize(("case", "first"), [("journal", "asked"), ("campaign", "resumed")])
def test_what_a_large_campaign_must_not_take_fails_the_run(case: str, first: str):
    check = load(case).check
    # 80 MB are 76.3 MiB.
    good = {"targets": 100_000, "grown": 76.2, "cpu": 14.9, first: 0.99}
    others = {"(bare events)": {"cpu": 15.0}, "(nothing)": {"cpu": 3.0}}

    def checked(*rounds: dict[str, float]) -> list[str]:
        return check({"dexcmd": list(rounds), **{name: [figures] * len(rounds) for name, figures in others.items()}})

    assert checked(good, good) == []
    assert checked(good, {**good, "grown": 76.3}) == ["dexcmd, round 2: grown by 80.0 MB, not less than 80"]
    assert checked({**good, first: 1.0}) == [f"dexcmd, round 1: {first} after 1.00 s, not less than 1"]
    assert len(checked({**good, "grown": 200.0, first: 3.0})) == 2
    # The machine may be busy in one round.
    assert checked(good, {**good, "cpu": 30.0}, good) == []
    slow = checked(good, {**good, "cpu": 18.0}, {**good, "cpu": 18.1})
    assert slow == (["dexcmd: 1.25 of the CPU time of (bare events), not less than 1"] if case == "journal" else [])
    # On a small scale nothing is said of the large one.
    small = {**good, "targets": 1_000, "grown": 200.0, "cpu": 30.0, first: 3.0}
    assert checked(small) == []


@pytest.mark.parametrize("arguments", [["no-such-case"], ["--scale", "0"], ["--scale", "nan"], ["--rounds", "0"]])
def test_wrong_arguments_are_refused(arguments: list[str]):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("name", NAMES)
def test_each_case_compares_with_a_peer_of_its_own(name: str):
    case = load(name)
    assert case.name == name
    assert {"dexcmd", case.peer} <= set(case.contenders)
    assert case.rounds > 0


def test_medians_are_of_the_rounds_that_have_the_figure():
    assert medians([{"a": 1.0}, {"a": 5.0, "b": 2.0}, {"a": 3.0}]) == {"a": 3.0, "b": 2.0}
    assert medians([]) == {}


def test_the_spread_is_over_the_rounds_that_have_the_figure():
    assert spread([{"a": 2.0}, {"b": 9.0}, {"a": 1.0}], "a") == (1.0, 2.0)


def test_ratios_are_taken_within_a_round():
    own, peer = [{"a": 1.0}, {"a": 10.0}, {"a": 3.0}], [{"a": 2.0}, {"a": 10.0}, {"a": 1.0}]
    assert median_ratios(own, peer) == {"a": 1.0}
    # The ratio of the medians would be 1.5.
    assert medians(own)["a"] / medians(peer)["a"] == 1.5


def test_there_is_no_ratio_to_nothing():
    assert median_ratios([{"a": 1.0, "b": 1.0}], [{"a": 0.0}]) == {}


def test_a_table():
    assert markdown_table(["name", "s"], [["x", "1"]]) == "| name | s |\n| --- | ---: |\n| x | 1 |"


def test_a_comparison_shows_medians_and_ratios():
    metrics = [Metric("s", "time s", 1, compared=True), Metric("n", "rows", 0), Metric("m", "MiB", 1, compared=True)]
    runs = {"ours": [{"s": 1.0, "n": 20000.0}], "peer": [{"s": 4.0, "n": 20000.0, "m": 3.0}]}
    assert [cells(line) for line in comparison(metrics, "peer", runs).splitlines()] == [
        ["", "time s", "rows", "MiB"],
        ["---", "---:", "---:", "---:"],
        ["ours", "1.0 (0.25x)", "20,000", "-"],
        ["peer", "4.0", "20,000", "3.0"],
    ]


def test_a_comparison_shows_the_spread_of_more_than_one_round():
    metrics = [Metric("s", "time s", 1, compared=True, spread=True)]
    runs = {"ours": [{"s": 1.0}, {"s": 3.0}], "peer": [{"s": 4.0}, {"s": 4.0}]}
    assert [cells(line) for line in comparison(metrics, "peer", runs).splitlines()[2:]] == [
        ["ours", "2.0 [1.0-3.0] (0.50x)"],
        ["peer", "4.0 [4.0-4.0]"],
    ]
    assert "[" not in comparison(metrics, "peer", {name: rounds[:1] for name, rounds in runs.items()})


@pytest.mark.parametrize(
    ("held", "told", "failed", "answered", "expected"),
    [
        ({"1": "a"}, {"1"}, set(), True, {}),
        ({}, set(), {"a"}, False, {"failed": 1}),
        ({"1": "a", "2": "a"}, {"2"}, set(), True, {"doubled": 1, "untold": 1, "lost": 1}),
        # Created, and the caller got an error.
        ({"1": "a"}, set(), {"a"}, False, {"untold": 1, "failed": 1, "lost": 1}),
        # Created, and the caller got nothing: one loss, not two.
        ({"1": "a"}, set(), set(), False, {"untold": 1, "silent": 1, "lost": 1}),
        ({}, set(), set(), False, {"silent": 1, "lost": 1}),
        # The caller was told of a command that does not exist.
        ({}, {"1"}, set(), True, {"false": 1}),
    ],
)
def test_the_tally_of_a_storm(held, told, failed, answered, expected):
    nothing = dict.fromkeys(("doubled", "untold", "silent", "lost", "failed", "false"), 0)
    assert tally(held, told, failed, {"a": answered}) == {**nothing, "held": len(held), **expected}
