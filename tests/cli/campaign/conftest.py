"""Campaign files, the journal of a test, and services whose commands come to no end by themselves."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from dexcmd.clock import ManualClock, use_clock
from dexcmd.sandbox import Behaviour, Sandbox
from tests.campaign.conftest import HEALTHY
from tests.cli.conftest import Process, Service, Start

MINIMAL = 'name = "{name}"\ncommand.type = "pcap"\n'


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the journal is; there is none yet."""
    path = tmp_path / "state" / "journal.db"
    path.parent.mkdir()
    monkeypatch.setenv("DEXCMD_JOURNAL", str(path))
    return path


@attrs.frozen
class Office:
    """A fleet, its service, and a folder with a campaign file."""

    service: Service
    folder: Path
    journal: Path
    start: Start

    def write(self, more: str = "", name: str = "london") -> str:
        """Write a campaign file and return what it is called."""
        file = f"{name}.toml"
        (self.folder / file).write_text(MINIMAL.format(name=name) + more)
        return file

    def run(self, *arguments: str) -> Process:
        """Run a command, stdout and stderr as one."""
        return self.start("campaign", *arguments, stderr=subprocess.STDOUT)

    def behave(self, **changes: Any) -> None:
        """Have the service behave otherwise from now on."""
        self.service.sandbox.behaviour = attrs.evolve(self.service.sandbox.behaviour, **changes)

    @property
    def made(self) -> int:
        """How many commands there are."""
        return len(self.service.sandbox.state.commands)

    @property
    def files(self) -> list[Path]:
        return sorted(path for path in (self.folder / "captures").rglob("*") if path.is_file())


@pytest.fixture
def office(
    tmp_path: Path,
    journal: Path,
    start: Start,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    dex_clock: ManualClock,
) -> Iterator[Office]:
    """Yield six devices that do their work at once."""
    with Sandbox(devices=6, behaviour=Behaviour.instant(**HEALTHY), clock=dex_clock).in_thread() as sandbox:
        for variable, value in sandbox.environment.items():
            monkeypatch.setenv(variable, value)
        monkeypatch.chdir(tmp_path)
        yield Office(Service(sandbox), tmp_path, journal, start)


Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], dex_clock: ManualClock) -> Say:
    """Run a command in this process; return exit code, stdout and stderr."""
    from dexcmd.cli import main

    def say(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with use_clock(dex_clock):
            code = main(["campaign", *arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return say
