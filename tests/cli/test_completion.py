"""`dexcmd completion`: what shells make of it."""

import contextlib
import io
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dexcmd.cli import main
from tests.cli.conftest import Screen

OFFERS = [
    (
        "dexcmd ",
        {
            *("quota", "devices", "commands", "capture", "follow"),
            *("download", "campaign", "demo", "sandbox", "completion"),
        },
    ),
    ("dexcmd campaign re", {"resume"}),
    ("dexcmd campaign export --format ", {"csv", "jsonl", "parquet", "sqlite"}),
    ("dexcmd do", {"download"}),
    ("dexcmd --js", {"--json"}),
    ("dexcmd commands --st", {"--status"}),
    ("dexcmd commands --status ", {"PENDING_EXEC", "PENDING_UPLOAD", "SUCCESS", "FAILED"}),
    ("dexcmd --json commands --status S", {"SUCCESS"}),
    ("dexcmd download --verify ", {"zip", "size", "none"}),
    ("dexcmd quota --acc", {"--account"}),
    ("dexcmd demo --", {"--devices", "--into", "--seed", "--verbose", "--debug", "--help", "--version"}),
    ("dexcmd sandbox --a", {"--accounts"}),
    ("dexcmd sandbox --j", {"--json"}),
    ("dexcmd completion --", {"--debug", "--help", "--version"}),
    ("dexcmd completion -", {"--debug", "--help", "-h", "--version"}),
    ("dexcmd completion ", {"bash", "zsh", "fish"}),
]
"""What is typed, and what is offered for its last word."""

FILES = ("plan", "run")
"""Commands of campaigns that take a file."""


def shell(name: str) -> str:
    """Return where a shell is; the test is skipped where it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of what `dexcmd completion` prints, a file for each shell."""
    folder = tmp_path_factory.mktemp("completion")
    for name in ("bash", "zsh", "fish"):
        # By way of the stream itself, as pytest's own fixtures for that are of a test.
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            assert main(["completion", name]) == 0
        (folder / name).write_text(shown.getvalue())
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which the shells are, with a campaign file, and the homes of their users."""
    for variable in ("HOME", "ZDOTDIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        # What they keep there is not to be taken for what is offered.
        monkeypatch.setenv(variable, str(tmp_path / ".home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "london.toml").touch()
    return tmp_path


def said_by(*program: str) -> set[str]:
    """Return the lines that a program writes, each up to its first tabulator."""
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return {line.partition("\t")[0] for line in done.stdout.splitlines()} - {""}


# Completes the words of a line as pressing the tabulator behind them does.
BASH = """
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
complete -p dexcmd >/dev/null || exit 1
function=$(complete -p dexcmd | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
"$function" dexcmd "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def offered_by_bash(scripts: Path, line: str) -> set[str]:
    return said_by(shell("bash"), "--norc", "-c", BASH, "bash", str(scripts / "bash"), *line.split(" "))


@pytest.mark.parametrize(("line", "offers"), OFFERS)
def test_bash_completes(scripts: Path, home: Path, line: str, offers: set[str]):
    assert offered_by_bash(scripts, line) == offers


@pytest.mark.parametrize("command", FILES)
def test_bash_offers_files(scripts: Path, home: Path, command: str):
    assert offered_by_bash(scripts, f"dexcmd campaign {command} ") == {"london.toml"}


def offered_by_fish(scripts: Path, line: str) -> set[str]:
    return said_by(shell("fish"), "--no-config", "-c", f"source {scripts / 'fish'}; complete --do-complete '{line}'")


@pytest.mark.parametrize(("line", "offers"), OFFERS)
def test_fish_completes(scripts: Path, home: Path, line: str, offers: set[str]):
    # Where it knows of no files that are wanted it offers those that are there, too.
    files = {path.name + "/" * path.is_dir() for path in home.iterdir()}
    assert offered_by_fish(scripts, line) - files == offers


@pytest.mark.parametrize("command", FILES)
def test_fish_offers_files(scripts: Path, home: Path, command: str):
    assert "london.toml" in offered_by_fish(scripts, f"dexcmd campaign {command} ")


class Zsh:
    """A zsh on a terminal, which shows what it makes of keys."""

    def __init__(self, folder: Path, script: Path) -> None:
        # Where a terminal can do nothing, what is typed is echoed without anything between.
        self._screen = Screen(folder, {"TERM": "dumb"}, shell("zsh"), "-f", "-i")
        self.close = self._screen.close
        # As its users have it, after `compinit`.
        setup = f"autoload -Uz compinit && compinit -D -u && source {script} && print rea''dy"
        self._screen.type(f"PS1= PS2=; unsetopt promptsp; {setup}\n")
        self._screen.wait_for("ready\n")

    def completes(self, typed: str) -> str:
        """Return the line that the tabulator makes of what is typed."""
        self._screen.raw = ""
        # Then to the line's start, and to its end, so that the line becomes what is printed.
        self._screen.type(f"{typed}\t\x01print -r -- '[\x05]'\n")
        while (found := re.search(r"\n\[(.*)\]\n", self._screen.text)) is None:
            assert self._screen.read(), self._screen.text
        return found[1]


@pytest.fixture
def zsh(home: Path, scripts: Path) -> Iterator[Zsh]:
    zsh = Zsh(home, scripts / "zsh")
    yield zsh
    zsh.close()


def test_zsh_completes(zsh: Zsh):
    for line, offers in OFFERS:
        if len(offers) == 1:
            assert zsh.completes(line) == f"{line.rpartition(' ')[0]} {min(offers)}"
    # What several have in common.
    assert zsh.completes("dexcmd commands --status P") == "dexcmd commands --status PENDING_"
    assert zsh.completes("dexcmd com") == "dexcmd com"


def test_zsh_offers_files(zsh: Zsh):
    for command in FILES:
        assert zsh.completes(f"dexcmd campaign {command} lon") == f"dexcmd campaign {command} london.toml"
