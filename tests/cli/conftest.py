"""The command line as a process, and what it needs to be driven."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import attrs
import pytest

PATIENCE = 60.0
"""Seconds after which a test gives up on a process; never reached unless something is wrong."""


@attrs.define
class Process:
    """A `dexcmd` under way, its output read line by line as it comes."""

    popen: "subprocess.Popen[str]"
    lines: "Queue[str | None]" = attrs.field(factory=Queue)
    seen: list[str] = attrs.field(factory=list[str])

    def __attrs_post_init__(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def wait_for(self, pattern: str) -> "re.Match[str]":
        """Return the match of the first line, from here on, that matches."""
        while True:
            try:
                line = self.lines.get(timeout=PATIENCE)
            except Empty:
                pytest.fail(f"no line like {pattern!r} in {self.seen}")
            if line is None:
                self.lines.put(None)
                pytest.fail(f"ended without a line like {pattern!r}: {self.seen}, {self.finish()}")
            self.seen.append(line)
            if found := re.search(pattern, line):
                return found

    def finish(self) -> tuple[int, str, str]:
        """Wait for its end; return exit code, all of stdout and all of stderr."""
        assert self.popen.stderr is not None
        stderr = self.popen.stderr.read()
        code = self.popen.wait(PATIENCE)
        while (line := self.lines.get(timeout=PATIENCE)) is not None:
            self.seen.append(line)
        return code, "\n".join(self.seen), stderr


Start = Callable[..., Process]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return an environment without anything that changes what is printed."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_INTERACTIVE", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return {**os.environ, "PYTHONWARNINGS": "error"}


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Start `dexcmd` in a folder of its own; what is still running after the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> Process:
        popen = subprocess.Popen(
            [sys.executable, "-m", "dexcmd.cli", *arguments],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(popen)
        return Process(popen)

    yield start
    for popen in started:
        popen.kill()
        popen.wait()
        for stream in (popen.stdout, popen.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture
def handlers() -> Iterator[None]:
    """Put the handlers of the signals back as they were."""
    before: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
