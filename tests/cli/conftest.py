"""The command line as a process, and what it needs to be driven."""

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import attrs
import pytest

from dexcmd.sandbox import Behaviour, NewCommand, Sandbox

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")

PATIENCE = 60.0
"""Seconds after which a test gives up on a process; never reached unless something is wrong."""


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
        stderr = "" if self.popen.stderr is None else self.popen.stderr.read()
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
    for name in (
        "CLOUDFLARE_ACCOUNT_ID",
        "CLOUDFLARE_API_TOKEN",
        "CLOUDFLARE_API_TOKEN_FILE",
        "CLOUDFLARE_BASE_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    return {**os.environ, "PYTHONWARNINGS": "error"}


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Start `dexcmd` in a folder of its own; what is still running after the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, stdin: int = subprocess.DEVNULL, stderr: int = subprocess.PIPE) -> Process:
        popen = subprocess.Popen(
            [sys.executable, "-m", "dexcmd.cli", *arguments],
            cwd=tmp_path,
            # With the address of a service that came in later.
            env={**os.environ, **environment},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        started.append(popen)
        return Process(popen)

    yield start
    for popen in started:
        popen.kill()
        popen.wait()
        for stream in (popen.stdin, popen.stdout, popen.stderr):
            if stream is not None:
                stream.close()


class Screen:
    """A program on a pseudo terminal, and all that it has written there."""

    def __init__(self, folder: Path, environment: dict[str, str], *program: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            program,
            cwd=folder,
            env={**os.environ, "TERM": "xterm-256color", "LINES": "24", "COLUMNS": "80", **environment},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            # The terminal's own, so that Ctrl-C typed there is a signal.
            start_new_session=True,
            preexec_fn=partial(fcntl.ioctl, 0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self.raw = ""

    @property
    def text(self) -> str:
        return ESCAPE.sub("", self.raw).replace("\r\n", "\n")

    def read(self) -> bool:
        try:
            piece = os.read(self._ours, 65536)
        except OSError:
            # How Linux tells that the other side has closed.
            piece = b""
        self.raw += piece.decode()
        return bool(piece)

    def wait_for(self, text: str) -> None:
        while text not in self.text:
            assert self.read(), self.text

    def type(self, keys: str) -> None:
        """Type keys, such as `y\\n`, or `\\x03` for Ctrl-C."""
        os.write(self._ours, keys.encode())

    def finish(self) -> int:
        while self.read():
            pass
        return self.process.wait(PATIENCE)

    def hang_up(self) -> None:
        """Close the terminal, as somebody does who closes its window."""
        os.close(self._ours)
        self._ours = -1

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self._ours >= 0:
            os.close(self._ours)


@pytest.fixture
def show(tmp_path: Path) -> Iterator[Callable[..., Screen]]:
    """Start `dexcmd` on a terminal."""
    screens: list[Screen] = []

    def show(*arguments: str, **environment: str) -> Screen:
        screens.append(Screen(tmp_path, environment, sys.executable, "-m", "dexcmd.cli", *arguments))
        return screens[-1]

    yield show
    for screen in screens:
        screen.close()


@attrs.frozen
class Service:
    """What the tests of the command line ask of a sandbox."""

    sandbox: Sandbox

    def create(self, count: int) -> list[str]:
        """Create commands on the first devices, and return their ids, newest first."""
        state = self.sandbox.state
        return [state.create(NewCommand(device, "pcap")).id for device in state.devices[:count]][::-1]

    def made(self, operation: str) -> int:
        """Return how many requests of an operation have arrived."""
        return sum(request.operation == operation for request in self.sandbox.requests)


@pytest.fixture
def service(
    environment: dict[str, str], dex_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Service:
    """Return a service whose commands are done at once, which the environment names; in a folder of one's own."""
    dex_sandbox.behaviour = Behaviour.instant()
    monkeypatch.chdir(tmp_path)
    return Service(dex_sandbox)


@pytest.fixture
def handlers() -> Iterator[None]:
    """Put the handlers of the signals back as they were."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
