"""A thousand calls, cancelled at random moments in a process of their own, leave nothing behind."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("leak_program.py")

CANCELLED = 1000
MAX_MORE_KIB = 40 * 1024
"""An artifact is 1.5 MB: a few dozen of them that are kept would be found out."""

MAX_MORE_OBJECTS = 4_000
"""What one call makes is thousands, so a leak of them is far above this.

Measured: from 400 fewer to 600 more, with today's versions of the dependencies and with the lowest allowed ones.
"""


@pytest.fixture(scope="module", params=[1])
def report(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Run the program with a seed, and return what it reports; it says nothing else."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "faulthandler", str(PROGRAM), str(CANCELLED), str(request.param)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    # Also where warnings, exceptions that nobody retrieved, and tasks that were destroyed would show.
    assert done.stderr == ""
    assert done.returncode == 0
    return json.loads(done.stdout)


def test_calls_of_each_kind_were_cancelled_and_some_got_through(report: dict[str, Any]) -> None:
    ended = report["ended"]
    assert ended["cancelled"] >= CANCELLED
    assert ended["done"] > 0
    kinds = set(ended) - {"cancelled", "done", "failed"}
    assert kinds == {
        "quota",
        "list",
        "create",
        "create_many",
        "follow",
        "open",
        "save",
        "save_many",
        "capture",
    }
    assert min(ended[kind] for kind in kinds) > CANCELLED / len(kinds) / 3


def test_no_task_is_left(report: dict[str, Any]) -> None:
    assert report["client_tasks"] == []
    assert report["tasks"] == []


def test_no_connection_and_no_descriptor_is_left(report: dict[str, Any]) -> None:
    assert report["connections"] == 0
    assert report["after"]["descriptors"] <= report["before"]["descriptors"]


def test_no_thread_is_left(report: dict[str, Any]) -> None:
    assert report["threads"] == []


def test_each_part_that_is_left_can_be_gone_on_from(report: dict[str, Any]) -> None:
    left = set(report["left"])
    # The usual name is one per artifact.
    parts = {name for name in left if re.fullmatch(r"\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.zip\.part", name)}
    assert parts
    assert left == parts | {f"{name}.json" for name in parts}
    assert report["failed"] == []
    assert report["left_after"] == []


def test_memory_is_flat(report: dict[str, Any]) -> None:
    before, after = report["before"], report["after"]
    assert after["objects"] - before["objects"] < MAX_MORE_OBJECTS
    assert after["resident_kib"] - before["resident_kib"] < MAX_MORE_KIB
