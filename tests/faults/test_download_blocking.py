"""No download touches a file in the thread of the event loop."""

import json
import subprocess
import sys


def test_no_file_is_touched_on_the_event_loop() -> None:
    program = [sys.executable, "-W", "error", "-m", "tests.faults.blocking_program"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert report["on_the_loop"] == []
    # The watch sees what there is to see.
    seen = {"open", "os.mkdir", "os.rename", "os.remove", "os.listdir", "fcntl.flock"} | {
        *("stat", "fstat", "lseek", "read", "writev", "ftruncate", "fsync", "close")
    }
    assert seen <= set(report["elsewhere"])
