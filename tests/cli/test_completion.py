"""`dexcmd completion`: what a shell makes of it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from dexcmd.cli import main

# Completes the words of a line as pressing the tabulator behind them does.
BASH = """
eval "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
complete -p dexcmd >/dev/null || exit 1
function=$(complete -p dexcmd | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
"$function" dexcmd "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def bash_script() -> str:
    # By way of a file descriptor, as pytest's own fixtures for that are of a test.
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as shown:
        assert main(["completion", "bash"]) == 0
    return shown.getvalue()


def completed(script: str, *words: str, folder: Path | None = None) -> set[str]:
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "--norc", "-c", BASH, "bash", script, "dexcmd", *words],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        (
            (""),
            {
                *("quota", "devices", "commands", "capture", "follow"),
                *("download", "campaign", "demo", "sandbox", "completion"),
            },
        ),
        (("campaign", "re"), {"resume"}),
        (("campaign", "export", "--format", ""), {"csv", "jsonl", "parquet", "sqlite"}),
        (("do",), {"download"}),
        (("--js",), {"--json"}),
        (("commands", "--st"), {"--status"}),
        (("commands", "--status", ""), {"PENDING_EXEC", "PENDING_UPLOAD", "SUCCESS", "FAILED"}),
        (("--json", "commands", "--status", "S"), {"SUCCESS"}),
        (("download", "--verify", ""), {"zip", "size", "none"}),
        (("quota", "--acc"), {"--account"}),
        (("completion", ""), {"bash", "zsh", "fish"}),
    ],
)
def test_bash_completes(bash_script: str, words: tuple[str, ...], offers: set[str]):
    assert completed(bash_script, *(words or ("",))) == offers


@pytest.mark.parametrize("command", ["plan", "run"])
def test_campaign_files_are_offered(bash_script: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "london.toml").touch()
    assert completed(bash_script, "campaign", command, "", folder=tmp_path) == {"london.toml"}
    assert main(["completion", "zsh"]) == 0
    _, script = capsys.readouterr().out.split(f"\n                {command})\n", 1)
    positional = next(line for line in script.splitlines() if "'1:" in line)
    assert ":_files'" in positional


def test_zsh_is_told_what_completes(capsys: pytest.CaptureFixture[str]):
    assert main(["completion", "zsh"]) == 0
    script = capsys.readouterr().out
    function = script.rstrip().splitlines()[-1].removeprefix("compdef ").removesuffix(" dexcmd")
    assert f"\n{function}() {{\n" in script
    for word in ("download", "--bytes-per-second", "PENDING_UPLOAD", "--token-file"):
        assert word in script


def test_a_script_for_fish(capsys: pytest.CaptureFixture[str]):
    assert main(["completion", "fish"]) == 0
    script = capsys.readouterr().out
    for word in ("complete -c dexcmd", "download", "bytes-per-second", "PENDING_UPLOAD", "token-file"):
        assert word in script
