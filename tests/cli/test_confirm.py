"""The question before something is done."""

import os
import pty
import select
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dexcmd.cli.confirm import confirm
from dexcmd.errors import ConfigurationError


class Terminal:
    """A pseudo terminal in the place of stdin and stderr."""

    def __init__(self) -> None:
        self._ours, theirs = pty.openpty()
        self.stdin, self.stderr = os.fdopen(theirs), os.fdopen(os.dup(theirs), "w")

    def attach(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take their place; within the test itself, for pytest takes it before each of its parts."""
        monkeypatch.setattr("sys.stdin", self.stdin)
        monkeypatch.setattr("sys.stderr", self.stderr)

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def read_until(self, text: str) -> str:
        shown = ""
        while text not in shown:
            shown += os.read(self._ours, 4096).decode()
        return shown

    def shows_anything(self) -> bool:
        """Tell whether something is to be read."""
        return bool(select.select([self._ours], [], [], 0)[0])

    def close(self) -> None:
        os.close(self._ours)
        self.stdin.close()
        self.stderr.close()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        ("y\n", True),
        (" YES \n", True),
        ("n\n", False),
        ("no\n", False),
        ("\n", False),
        ("\x04", False),
        ("what\ny\n", True),
    ],
    ids=["y", "yes", "n", "no", "nothing", "eof", "asked-again"],
)
def test_answers(
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    keys: str,
    answer: bool,
):
    terminal.attach(monkeypatch)
    shown: list[str] = []

    def answer_it() -> None:
        shown.append(terminal.read_until("[y/N] "))
        terminal.type(keys)

    # Typed too early.
    terminal.type("y\n")
    thread = threading.Thread(target=answer_it)
    thread.start()
    assert confirm("Go\non?", yes=False) is answer
    thread.join()
    assert "Go on? [y/N] " in shown[0]
    assert capsys.readouterr().out == ""


def test_yes_asks_nothing(capsys: pytest.CaptureFixture[str]):
    assert confirm("Go on?", yes=True)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("missing", ["stdin", "stderr"])
@pytest.mark.parametrize("closed", [True, False])
def test_nobody_to_ask(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str, closed: bool):
    terminal.attach(monkeypatch)
    with (tmp_path / "file").open("w+") as file:
        monkeypatch.setattr(f"sys.{missing}", None if closed else file)
        with pytest.raises(ConfigurationError, match="--yes"):
            confirm("Go on?", yes=False)


def test_it_is_ready_for_ctrl_c_before_the_question_is_seen(terminal: Terminal, monkeypatch: pytest.MonkeyPatch):
    terminal.attach(monkeypatch)
    seen: list[bool] = []
    make = socket.socketpair

    def answer() -> None:
        terminal.read_until("[y/N] ")
        terminal.type("y\n")

    thread = threading.Thread(target=answer)

    def socketpair() -> tuple[socket.socket, socket.socket]:
        seen.append(terminal.shows_anything())
        thread.start()
        return make()

    monkeypatch.setattr("socket.socketpair", socketpair)
    assert confirm("Go on?", yes=False)
    thread.join()
    assert seen == [False]


def test_ctrl_c_interrupts_and_leaves_the_line(terminal: Terminal, monkeypatch: pytest.MonkeyPatch):
    terminal.attach(monkeypatch)

    def interrupt() -> None:
        terminal.read_until("[y/N] ")
        # To this thread, which breaks off no read of the other one: as a signal that comes just before it.
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        confirm("Go on?", yes=False)
    thread.join()
    assert terminal.read_until("\n").strip() == ""
