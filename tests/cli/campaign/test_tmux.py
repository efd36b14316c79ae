"""A campaign in a real terminal: keys typed in tmux, and its screen as it is seen there."""

import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import pytest

from tests.cli.campaign.conftest import Office
from tests.cli.conftest import PATIENCE

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")

SHELL = 'trap : INT; "$@"; echo "ended with $?"; read -r _'
"""Tells how a program ended, and leaves the terminal as it was left: a session ends with what it runs."""

ENDED = re.compile(r"ended with (\d+)")


@attrs.define
class Terminal:
    """A terminal of 80 columns and 50 lines in a tmux server of its own."""

    environment: dict[str, str]
    server: str = attrs.field(factory=lambda: f"dexcmd-{uuid.uuid4()}")

    def tmux(self, *arguments: str) -> str:
        """Run a command of tmux, and return what it says."""
        # No settings of whoever runs the tests, and a screen that is UTF-8 wherever that is.
        command = ["tmux", "-L", self.server, "-f", os.devnull, "-u", *arguments]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, folder: Path, *arguments: str) -> None:
        """Start `dexcmd` there."""
        program = ["sh", "-c", SHELL, "sh", sys.executable, "-m", "dexcmd.cli", *arguments]
        self.tmux("new-session", "-d", "-x", "80", "-y", "50", "-c", str(folder), "--", *program)

    def type(self, *keys: str) -> None:
        """Type keys, by their names in tmux, such as `Enter`, or `C-c` for Ctrl-C."""
        self.tmux("send-keys", *keys)

    def screen(self) -> list[str]:
        """Return the lines that are seen, without blanks at their ends."""
        return self.tmux("capture-pane", "-p").rstrip("\n").splitlines()

    def tell(self, variable: str) -> str:
        """Return a variable of tmux."""
        return self.tmux("display-message", "-p", f"#{{{variable}}}").strip()

    def wait_for(self, seen: Callable[[list[str]], object]) -> list[str]:
        """Return the first screen on which something is seen."""
        deadline = time.monotonic() + PATIENCE
        while not seen(screen := self.screen()):
            assert time.monotonic() < deadline, screen
            time.sleep(0.02)
        return screen

    def finish(self) -> int:
        """Wait for the end of `dexcmd`, and return its exit code."""
        *_, last = self.wait_for(lambda screen: any(ENDED.fullmatch(line) for line in screen))
        found = ENDED.fullmatch(last)
        assert found is not None, last
        return int(found[1])


@pytest.fixture
def terminal(office: Office, environment: dict[str, str]) -> Iterator[Terminal]:
    # The sockets of servers stay when these have ended.  (Their paths must be short: not in the folder of the test.)
    with TemporaryDirectory(prefix="tmux-") as sockets:
        # With the address of the service.
        terminal = Terminal({**os.environ, **environment, "TMUX_TMPDIR": sockets, "LC_ALL": "C.UTF-8"})
        # Perhaps the tests run in one.
        terminal.environment.pop("TMUX", None)
        try:
            yield terminal
        finally:
            terminal.tmux("kill-server")


BAR = re.compile(r"(created|captured|fetched) +━+ +(\d/\d)")


def bars(screen: list[str]) -> list[tuple[str, str]]:
    """Return the bars that are seen, each with its count."""
    return [found.groups() for line in screen if (found := BAR.fullmatch(line))]  # type: ignore[misc]


def test_a_campaign_in_a_terminal(office: Office, terminal: Terminal):
    office.behave(run_seconds=(1e6, 1e6))
    terminal.start(office.folder, "campaign", "run", office.write())
    question = "Start 6 captures on 6 devices of 1 account? [y/N]"
    screen = terminal.wait_for(lambda screen: question in screen)
    assert any(line.startswith("london: pcap on 6 devices of ") for line in screen)
    # What is no answer is asked about again, below what was typed.
    terminal.type("perhaps", "Enter")
    terminal.wait_for(lambda screen: screen[-2:] == [f"{question} perhaps", question])
    assert office.made == 0

    terminal.type("y", "Enter")
    running = [("created", "6/6"), ("captured", "0/6"), ("fetched", "0/6")]
    screen = terminal.wait_for(lambda screen: bars(screen) == running and "0 fetched (0 bytes), 6 running" in screen)
    assert f"{question} y" in screen
    assert terminal.tell("cursor_flag") == "0"

    terminal.type("C-c")
    assert terminal.finish() == 130
    # What is said meanwhile stands above the bars, and these, drawn again and again, are there once.
    screen = terminal.screen()
    assert bars(screen) == running
    begins = ("created ", "captured ", "fetched ", "0 fetched (0 bytes), 6 running")
    said = (
        "creating no more commands and finishing the downloads in progress; Ctrl-C again",
        *begins,
        "london is interrupted",
    )
    at = [next(number for number, line in enumerate(screen) if line.startswith(words)) for words in said]
    assert at == sorted(at)
    assert "next: `dexcmd campaign resume london` resumes it" in screen
    assert terminal.tell("cursor_flag") == "1"
