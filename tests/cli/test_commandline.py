"""What holds for every command: help, errors, exit codes, and that nothing is loaded in vain."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dexcmd import __version__, cli
from dexcmd.cli import app, main
from dexcmd.cli.common import STDIN
from dexcmd.errors import ConfigurationError, DexError
from tests.cli.conftest import Service

HEAVY = (
    "aiohttp",
    "cattrs",
    "tenacity",
    "anyio",
    "asyncio",
    "dexcmd.sandbox",
    "dexcmd.client",
    "rich.markdown",
    "rich.live",
)


def run_python(code: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)


COMMANDS = (
    "quota",
    "devices",
    "commands",
    "capture",
    "follow",
    "download",
    "campaign",
    "sandbox",
    "demo",
    "completion",
)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help_loads_nothing_of_the_sdk(arguments: list[str], environment: dict[str, str]):
    code = (
        "import sys; from dexcmd.cli import main; "
        f"code = main({arguments!r}); "
        f"sys.exit(repr([name for name in {HEAVY!r} if name in sys.modules]) if code == 0 else 'failed')"
    )
    done = run_python(code, environment)
    assert done.stderr == "[]\n"
    assert done.stdout


def test_the_help_names_what_there_is(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for word in (*COMMANDS, "--version", "--json", "--token-file", "CLOUDFLARE_API_TOKEN_FILE", "130 interrupted"):
        assert word in shown
    assert "\x1b" not in shown
    # In the order in which they are of use.
    assert shown.index("quota ") < shown.index("devices ") < shown.index("follow ") < shown.index("download ")


def test_without_arguments_the_help_is_shown(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 0
    assert "Usage: dexcmd COMMAND" in capsys.readouterr().out


MEANINGLESS = {
    "demo": ("--json", "--account", "--base-url", "--token-file"),
    "sandbox": ("--account", "--base-url", "--token-file"),
    "completion": ("--json", "--account", "--base-url", "--token-file", "--verbose"),
}
"""The global options that are not listed for a command."""


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("demo", ["--devices", "--into", "--seed"]),
        ("sandbox", ["--devices", "--speed", "--port", "--seed", "--quota", "--accounts"]),
        ("quota", []),
        ("devices", ["--search", "--platform"]),
        ("commands", ["--status", "--type", "--device", "--user", "--since", "--until", "--limit"]),
        ("follow", ["IDS", "--timeout"]),
        ("download", ["IDS", "--into", "--concurrency", "--verify", "--bytes-per-second"]),
        ("completion", ["SHELL"]),
        ("campaign", ["plan", "run", "status", "pause", "resume", "cancel", "export", "list", "DEXCMD_JOURNAL"]),
        ("campaign plan", ["FILE", "--all", "--journal"]),
        ("campaign run", ["FILE-OR-NAME", "--yes", "--journal"]),
        ("campaign status", ["NAME", "--watch", "--journal"]),
        ("campaign pause", ["NAME", "--journal"]),
        ("campaign resume", ["NAME", "--journal"]),
        ("campaign cancel", ["NAME", "--drop", "--journal"]),
        ("campaign export", ["NAME", "--format", "--output", "--overwrite", "--journal"]),
        ("campaign list", ["--journal"]),
    ],
)
def test_the_help_of_a_command(command: str, options: list[str], capsys: pytest.CaptureFixture[str]):
    assert main([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    for option in (*options, "--debug"):
        assert option in shown
    for option in ("--json", "--account", "--base-url", "--token-file", "--verbose"):
        assert (f" {option} " in shown) is (option not in MEANINGLESS.get(command, ()))
    assert f"\n  dexcmd {command}" in shown or "$(dexcmd completion bash)" in shown
    # Its docstring is shown as it is, so it has to fit a terminal.
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(("command", "default"), [("capture", "30m"), ("follow", "15m")])
def test_a_default_is_shown_as_it_may_be_typed(command: str, default: str, capsys: pytest.CaptureFixture[str]):
    assert main([command, "--help"]) == 0
    assert f"[default: {default}]" in " ".join(capsys.readouterr().out.replace("│", " ").split())


@pytest.mark.parametrize("command", ["capture", "download"])
def test_the_help_says_what_it_comes_to_where_there_is_nothing(command: str, capsys: pytest.CaptureFixture[str]):
    assert main([command, "--help"]) == 0
    assert "with 3 if some" in (shown := " ".join(capsys.readouterr().out.split()))
    assert "with 1 (or 5, if refused) if no" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_the_usage_calls_arguments_what_the_help_calls_them(command: str, capsys: pytest.CaptureFixture[str]):
    assert main([*command.split(), "--help"]) == 0
    usage, *rest = capsys.readouterr().out.splitlines()
    start = f"Usage: dexcmd {command}"
    assert usage.startswith(start)
    named = set(re.findall(r"[A-Z]+", usage.removeprefix(start))) - {"OPTIONS", "COMMAND"}
    assert named == {found[1] for line in rest if (found := re.match(r"│ (?:[ *]  )?([A-Z-]+) ", line))}


def test_version(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dexcmd {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo", "--devices", "0"],
        ["demo", "--devices", "many"],
        ["demo", "--colour"],
        ["demo", "stray"],
        ["demmo"],
        ["demo", "--json"],
        ["sandbox", "--speed", "0"],
        ["sandbox", "--speed", "nan"],
        ["sandbox", "--port", "65536"],
        ["sandbox", "--quota", "-1"],
        ["sandbox", "--accounts", "0"],
        ["commands", "--since", "whenever"],
        ["commands", "--status", "DONE"],
        ["commands", "--limit", "0"],
        ["follow", "x", "--timeout", "0"],
        ["follow"],
        ["download"],
        ["download", "x", "--into", "-"],
        ["download", "x", "--bytes-per-second", "fast"],
        ["campaign", "plan"],
        ["campaign", "run", "london", "--force"],
        ["campaign", "start", "london"],
        ["campaign", "export", "london", "--format", "xlsx"],
        ["completion"],
        ["completion", "tcsh"],
        ["quota", "--token", "secret"],
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1


def test_a_mistake_says_where_to_look(capsys: pytest.CaptureFixture[str]):
    assert main(["follow", "x", "--into", "y"]) == 2
    assert capsys.readouterr().err == "error: Unknown option: --into; see dexcmd follow --help\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("quota foo bar", "Unexpected argument: foo bar; see dexcmd quota --help"),
        ("campaign run a b", "Unexpected argument: b; see dexcmd campaign run --help"),
        ("capture", "TYPE is missing; see dexcmd capture --help"),
        ("campaign run", "FILE-OR-NAME is missing; see dexcmd campaign run --help"),
        ("commands --limit", "--limit needs a value; see dexcmd commands --help"),
        (
            "capture pcap x --time-limit-min abc",
            'Invalid value "abc" for --time-limit-min: it is not a number; see dexcmd capture --help',
        ),
        ("commands --limit x", 'Invalid value "x" for --limit: it is not a whole number; see dexcmd commands --help'),
        # What the parser says well enough.
        (
            "qota",
            'Unknown command "qota". Did you mean "quota"? Available commands: quota, devices, commands, capture, '
            "follow, download, campaign, demo, ...; see dexcmd --help",
        ),
        (
            "completion x",
            'Invalid value "x" for SHELL. Choose from: "bash", "zsh", "fish"; see dexcmd completion --help',
        ),
    ],
)
def test_a_mistake_is_told_in_plain_words(arguments: str, said: str, capsys: pytest.CaptureFixture[str]):
    assert main(arguments.split()) == 2
    assert capsys.readouterr().err == f"error: {said}\n"


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (command, option)
        for command, options in {
            "devices": ("--search", "--user", "--platform"),
            "capture": ("--search", "--user", "--platform"),
            "commands": ("--device", "--user"),
        }.items()
        for option in options
    ],
)
def test_an_option_without_a_text_does_not_choose_all(command: str, option: str, capsys: pytest.CaptureFixture[str]):
    assert main([command, *(["pcap"] if command == "capture" else []), option, " "]) == 2
    said = f"Invalid value for {option}: it is empty; is a variable not set?"
    assert capsys.readouterr().err == f"error: {said}; see dexcmd {command} --help\n"


@pytest.mark.parametrize("empty", ["", " "])
@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ("quota", "--account"),
        ("quota", "--base-url"),
        ("quota", "--token-file"),
        ("capture pcap x", "--into"),
        ("download x", "--into"),
        ("demo", "--into"),
        ("campaign list", "--journal"),
        ("campaign export x", "--output"),
    ],
)
def test_an_option_that_is_empty_is_not_as_if_left_out(
    service: Service, arguments: str, option: str, empty: str, capsys: pytest.CaptureFixture[str]
):
    before = len(service.sandbox.requests)
    assert main([*arguments.split(), f"{option}={empty}"]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"error: Invalid value for {option}: it is empty; is a variable not set?; see dexcmd ")
    assert (shown.out, len(service.sandbox.requests)) == ("", before)


def test_a_file_without_a_name_is_not_the_folder_one_is_in(capsys: pytest.CaptureFixture[str]):
    assert main(["campaign", "plan", ""]) == 2
    said = "error: Invalid value for FILE: it is empty; is a variable not set?; see dexcmd campaign plan --help\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("error", "code"), [(DexError("no\nluck"), 1), (ConfigurationError("no\nluck"), 2), (OSError("no\nluck"), 1)]
)
def test_an_error_is_one_line(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr("dexcmd.cli.demo.run.run_demo", fail)
    assert main(["demo"]) == code
    assert capsys.readouterr().err == "error: no luck\n"


@pytest.mark.parametrize("debug", [False, True])
def test_a_fault_of_its_own_shows_where_only_if_asked(
    debug: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail(*_: object) -> int:
        raise RuntimeError("no\nluck")

    monkeypatch.setattr("dexcmd.cli.demo.run.run_demo", fail)
    assert main(["demo", *(["--debug"] if debug else [])]) == 1
    shown = capsys.readouterr().err
    assert ("Traceback" in shown) is debug
    assert shown.splitlines()[-1].startswith("error: RuntimeError: no luck; this is a bug in dexcmd")


def test_a_dash_is_stdin_where_it_is_no_value():
    assert app._with_stdin(("follow", "-")) == ["follow", STDIN]
    assert app._with_stdin(("follow", "a", "-", "b")) == ["follow", "a", STDIN, "b"]
    assert app._with_stdin(("download", "--into", "-")) == ["download", "--into", "-"]


@pytest.mark.parametrize("library", ["cyclopts", "rich"])
def test_without_the_extra(library: str, environment: dict[str, str]):
    code = f"import sys; sys.modules[{library!r}] = None; from dexcmd.cli import main; sys.exit(main([]))"
    done = run_python(code, environment)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "pip install 'dexcmd[cli]'" in done.stderr


def test_another_missing_module_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch):
    def fail(_: str) -> None:
        raise ModuleNotFoundError("No module named 'rich_rst'", name="rich_rst")

    monkeypatch.setattr(cli, "import_module", fail)
    with pytest.raises(ModuleNotFoundError, match="rich_rst"):
        main(["--help"])


@pytest.mark.usefixtures("handlers")
def test_ctrl_c_before_the_work(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", interrupt)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    # A second one finds nothing to interrupt.
    os.kill(os.getpid(), signal.SIGINT)


def test_the_script_is_installed(environment: dict[str, str]):
    script = Path(sys.executable).with_name("dexcmd")
    done = subprocess.run([script, "--version"], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"dexcmd {__version__}\n")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("--help >&-", 0),
        ("quota --account x >&-", 2),
        ("quota --account x 2>&-", 2),
        ("quota --account x >&- 2>&-", 2),
        ("quota --account x 2>/dev/full", 2),
    ],
)
def test_streams_that_are_closed_or_full_change_no_exit_code(line: str, code: int, environment: dict[str, str]):
    program = f"exec {sys.executable} -m dexcmd.cli {line}"
    done = subprocess.run(["sh", "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert "bug in dexcmd" not in done.stderr


def test_whoever_reads_the_help_may_go(environment: dict[str, str]):
    with subprocess.Popen(
        [sys.executable, "-m", "dexcmd.cli", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert (process.wait(), process.stderr.read() if process.stderr else b"") == (141, b"")
