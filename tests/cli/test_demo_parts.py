"""What the demo is made of, without its service."""

import io
import zipfile
from pathlib import Path

import attrs
import pytest
from rich.console import Console

from dexcmd.capture import CaptureResult, CaptureState
from dexcmd.cli.demo.check import Truth, check_file, check_folder, check_results
from dexcmd.cli.demo.faults import inject
from dexcmd.cli.demo.fleet import LARGE, SMALL, artifact_size, is_large, make_fleet
from dexcmd.cli.demo.progress import Progress
from dexcmd.cli.demo.report import closing_table, interrupted_line, rows
from dexcmd.cli.view import Stage
from dexcmd.errors import CommandFailedError, DexError, WaitTimeoutError
from dexcmd.events import CommandAdopted, CommandCreated, CommandFinished, Paced, RequestFinished, Retrying
from dexcmd.resources.command import Command
from dexcmd.resources.devices import Device
from dexcmd.resources.requests import CommandRequest, Pcap
from dexcmd.sandbox import FaultScript, RecordedRequest
from dexcmd.transfer.saved import SavedArtifact

PCAP = b"\xd4\xc3\xb2\xa1" + bytes(20)


@attrs.frozen
class Fault:
    kind: str
    count: int


def result(
    number: int, state: CaptureState = "saved", *, error: DexError | None = None, command: bool = True
) -> CaptureResult:
    request = CommandRequest(device_id=f"device-{number}", user_email="a@example.com", args=Pcap())
    artifact = None
    if state == "saved":
        artifact = SavedArtifact(
            path=Path(f"{number}.zip"), size=1000, sha256="00", resumed_from=500 if number == 0 else 0
        )
    return CaptureResult(request, state, Command(id=str(number)) if command else None, artifact, error, reason=None)


SUCCESS, FAILURE = Truth("SUCCESS", 1000), Truth("FAILED", 1000)
REPORTED = CommandFailedError("the device reports FAILED")


# --- results


def test_results_as_the_sandbox_has_them():
    results = [result(0), result(1, "failed", error=REPORTED)]
    assert check_results(results, {"0": SUCCESS, "1": FAILURE}, 2) == []


@pytest.mark.parametrize(
    ("results", "truth", "problem"),
    [
        ([result(0)], {"0": FAILURE}, "0: FAILED in the sandbox, but saved: None"),
        (
            [result(0, "failed", error=REPORTED)],
            {"0": SUCCESS},
            "0: SUCCESS in the sandbox, but failed: the device reports FAILED",
        ),
        (
            [result(0, "failed", error=WaitTimeoutError("too late"))],
            {"0": FAILURE},
            "0: FAILED in the sandbox, but failed: too late",
        ),
        (
            [result(0, "failed", error=REPORTED)],
            {"0": Truth("PENDING_EXEC", None)},
            "0: PENDING_EXEC in the sandbox, but failed: the device reports FAILED",
        ),
        ([result(0)], {}, "0: not a command of the sandbox, or told of more than once"),
        (
            [result(0, "unknown", error=DexError("lost"), command=False)],
            {},
            "device-0: unknown: lost",
        ),
        ([result(0)], {"0": SUCCESS, "1": SUCCESS}, "1: no result tells of it"),
        ([], {}, "0 results for 1 targets"),
    ],
)
def test_results_that_differ(results: list[CaptureResult], truth: dict[str, Truth], problem: str):
    assert check_results(results, truth, 1) == [problem]


def test_a_target_and_a_command_that_come_twice():
    assert check_results([result(0), result(0)], {"0": SUCCESS}, 2) == [
        "2 results for 2 targets",
        *["0: not a command of the sandbox, or told of more than once"] * 2,
    ]


# --- files


def archive(path: Path, **members: bytes) -> int:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name.replace("_", "."), data)
    return path.stat().st_size


def test_a_whole_file(tmp_path: Path):
    path = tmp_path / "a.zip"
    assert check_file(path, archive(path, default_pcap=PCAP, results_json=b"{}")) is None


def test_files_that_are_not_whole(tmp_path: Path):
    path = tmp_path / "a.zip"
    size = archive(path, default_pcap=PCAP)
    assert check_file(path, size + 1) == f"{size} bytes, {size + 1} in the sandbox"

    data = bytearray(path.read_bytes())
    data[data.index(PCAP) + 10] ^= 1
    path.write_bytes(data)
    assert check_file(path, size) == "default.pcap does not match its checksum"

    path.write_bytes(bytes(size))
    assert check_file(path, size) == "can't be read: File is not a zip file"

    size = archive(path, default_pcap=PCAP, tunnel_pcap=b"nonsense")
    assert check_file(path, size) == "tunnel.pcap is no packet capture"

    size = archive(path, results_json=b"{}")
    assert check_file(path, size) == "no packet capture in it"

    missing = check_file(tmp_path / "b.zip", size)
    assert missing is not None
    assert missing.startswith("can't be read: ")


def test_a_folder(tmp_path: Path):
    size = archive(tmp_path / "0.zip", default_pcap=PCAP)
    good = result(0)
    assert good.artifact is not None
    good = attrs.evolve(good, artifact=attrs.evolve(good.artifact, path=tmp_path / "0.zip"))
    results = [good, result(1, "failed", error=REPORTED)]
    assert check_folder(results, {"0": Truth("SUCCESS", size)}, tmp_path) == []
    (tmp_path / ".0.zip.1234.part").touch()
    assert check_folder(results, {"0": Truth("SUCCESS", 7)}, tmp_path) == [
        ".0.zip.1234.part: half a file was left behind",
        f"0.zip: {size} bytes, 7 in the sandbox",
    ]
    # The half file is another demo's then.
    assert check_folder(results, {}, tmp_path) == [f"0.zip: {size} bytes, None in the sandbox"]


# --- the service


@pytest.mark.parametrize("count", [1, 2, 12, 25, 49, 50, 99, 199, 200, 333, 1000])
@pytest.mark.parametrize("seed", [0, 5])
def test_a_fleet_has_as_many_eligible_rows_as_asked_for(count: int, seed: int):
    fleet = make_fleet(count, seed)
    assert sum(device.eligible for device in fleet) == count
    assert len(fleet) == count + count // 50


def test_artifact_sizes():
    sizes = [artifact_size(str(number)) for number in range(1000)]
    assert all(SMALL[0] <= size < SMALL[1] or LARGE[0] <= size < LARGE[1] for size in sizes)
    assert 50 < sum(is_large(str(number)) for number in range(1000)) < 150


def test_creates_that_lose_their_answers_are_done_first():
    # What was not done would have to settle for minutes before it is sent again.
    script = FaultScript()
    injected = inject(script, 0)
    struck = [script.take(post()) for _ in range(1000)]
    hits = [fault for fault in struck if fault is not None]
    assert [fault.kind for fault in hits] == ["rate_limited", "drop", "drop", "error"]
    assert all(fault.processed for fault in hits[1:])
    assert sum(each.count for each in injected) == 4


def post() -> RecordedRequest:
    return RecordedRequest(at=0.0, operation="create_commands", method="POST", path="/", query={}, headers={})


# --- counting


def test_progress_counts_events_and_results():
    progress = Progress(5, [Fault("a", 2), Fault("b", 3)])
    for eligible in (True, True, False, None):
        progress.on_device(Device(eligible=eligible))
    for event in (
        RequestFinished("GET", "/", 1, 200, 0.1, None),
        RequestFinished("POST", "/", 1, 429, 0.1, None),
        Retrying("POST", "/", 1, 0.1, "429"),
        CommandCreated("1", "d", None, "pcap"),
        CommandAdopted("2", "d", None, "pcap"),
        CommandFinished("1", "SUCCESS"),
        Paced("GET", "/", 1.0),
    ):
        progress.on_event(event)
    for each in (result(0), result(1), result(2, "failed", error=REPORTED), result(3, "unknown")):
        progress.on_result(each)
    assert attrs.asdict(progress, filter=attrs.filters.exclude("faults")) == {
        "targets": 5,
        "seconds": 0.0,
        "eligible": 2,
        "ineligible": 2,
        "created": 2,
        "ended": 1,
        "saved": 2,
        "device_failed": 1,
        "lost": 1,
        "size": 2000,
        "resumed": 1,
        "requests": 2,
        "posts": 1,
        "retries": 1,
        "paced": 1,
    }
    assert progress.injected == 5
    assert progress.stages == (
        Stage("found", 2, 5),
        Stage("created", 2, 5),
        Stage("done on the device", 1, 5),
        Stage("saved", 2, 3),
    )


# --- what is shown


def test_the_closing_rows():
    faults = [Fault("cuts", 4), Fault("drops", 0)]
    progress = Progress(10, faults, seconds=3.21, saved=8, device_failed=2, requests=16, posts=1, created=10)
    said = {row.name: (row.value, row.note) for section in rows(progress, Path("there")) for row in section}
    assert said == {
        "saved": ("8", "0 bytes"),
        "failed": ("2", "reported by the device itself"),
        "requests": ("16", "2.00 per artifact, 1 POSTs"),
        "faults injected": ("4", "all survived"),
        "  cuts": ("4", ""),
        "requests retried": ("0", ""),
        "downloads resumed": ("0", "resumed where they broke off"),
        "duration": ("3.2 s", ""),
        "folder": ("", "there"),
    }


def test_the_closing_rows_of_a_bad_day():
    progress = Progress(10, lost=10, ineligible=3, paced=4)
    said = {row.name: (row.value, row.note) for section in rows(progress, Path("there")) for row in section}
    assert said["lost"] == ("10", "")
    assert said["left out"] == ("3", "not eligible by the device list")
    assert said["requests"] == ("0", "0 POSTs")
    assert said["requests held back"] == ("4", "for the rate limit")
    assert said["faults injected"] == ("0", "10 targets lost")


def test_after_ctrl_c():
    assert interrupted_line(0, 5, Path("there")) == "interrupted: nothing was saved"
    assert interrupted_line(3, 5, Path("there")).endswith("3 of 5 artifacts are saved, each of them whole, in there")


def test_the_table_fits_a_small_screen():
    shown = io.StringIO()
    faults = [Fault(kind, 20) for kind in "abcdef"]
    progress = Progress(200, faults, saved=200, ineligible=4, paced=3)
    Console(file=shown, width=80).print(closing_table(rows(progress, Path("dexcmd-demo-12345678"))))
    assert len(shown.getvalue().splitlines()) <= 19
