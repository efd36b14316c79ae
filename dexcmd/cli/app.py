"""The commands, the options they share, and error handling."""

import os
import sys
import traceback
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Group, Parameter

from dexcmd._version import __version__
from dexcmd.cli.campaign import campaign
from dexcmd.cli.capture import capture
from dexcmd.cli.common import STDIN, Common
from dexcmd.cli.completion import completion
from dexcmd.cli.demo import demo
from dexcmd.cli.download import download
from dexcmd.cli.exits import BROKEN_PIPE, OK, USAGE, Stopped
from dexcmd.cli.failure import Failure, explain_each
from dexcmd.cli.follow import follow
from dexcmd.cli.helping import HelpWithout
from dexcmd.cli.lists import commands, devices, quota
from dexcmd.cli.log import logging_to_stderr
from dexcmd.cli.mistyped import mistake_text
from dexcmd.cli.sandbox import sandbox
from dexcmd.cli.stderr import complain, note
from dexcmd.cli.typed import Place, Text

__all__ = ["app", "run"]

_HELP = """\
Run remote captures through Cloudflare's DEX commands API.

Set CLOUDFLARE_ACCOUNT_ID, and either CLOUDFLARE_API_TOKEN or
CLOUDFLARE_API_TOKEN_FILE, the path of a file that contains the token.
Without an account, run `dexcmd sandbox` in another terminal and paste what
it prints.

Results go to stdout: tables on a terminal, tab-separated lines in a pipe,
JSON with --json.  Everything else goes to stderr.  See `dexcmd COMMAND
--help` for the details of a command.

Exit codes: 0 success, 1 failure, 2 usage error, 3 partial success,
4 aborted, 5 refused by the service (token, permission, quota, rate limit),
130 interrupted."""

ACCOUNT = Group("Commands that need an account", sort_key=1)
TRYING = Group("Commands that need no account", sort_key=2)
OTHER = Group("Other", sort_key=3)

ACCESS = ("--account", "--base-url", "--token-file")
"""The options that have no meaning for commands without an account."""

app: App = App(
    name="dexcmd",
    help=_HELP,
    # Markdown, the default, takes a tenth of a second to load.  Plain text keeps its line breaks, so the
    # docstrings of commands have short lines.
    help_format="plaintext",
    version=f"dexcmd {__version__}",
    group_commands=OTHER,
    # Ctrl-C is handled in one place, `main`.
    suppress_keyboard_interrupt=False,
)
app.meta.suppress_keyboard_interrupt = False
app.meta.group_parameters = Group("Global options, before or after the command", sort_key=4)

# The modules of the commands are light: each imports what it needs of the SDK only when it runs.
app.command(quota, group=ACCOUNT, sort_key=1)
app.command(devices, group=ACCOUNT, sort_key=2)
app.command(commands, group=ACCOUNT, sort_key=3)
# By default, the usage would show variadic arguments as [ARGS...], whatever the help below calls them.
app.command(capture, group=ACCOUNT, sort_key=4, usage="Usage: dexcmd capture [OPTIONS] TYPE [DEVICES...]")
app.command(follow, group=ACCOUNT, sort_key=5, usage="Usage: dexcmd follow [OPTIONS] IDS...")
app.command(download, group=ACCOUNT, sort_key=6, usage="Usage: dexcmd download [OPTIONS] IDS...")
campaign.group, campaign.sort_key = (ACCOUNT,), 7
app.command(campaign)
app.command(demo, group=TRYING, help_formatter=HelpWithout(("--json", *ACCESS)))
app.command(sandbox, group=TRYING, help_formatter=HelpWithout(ACCESS))
app.command(completion, help_formatter=HelpWithout(("--json", "--verbose", "-v", *ACCESS)))


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    json: Annotated[
        bool, Parameter(help="Write JSON: one document, or one per line.", negative="", show_default=False)
    ] = False,
    account: Annotated[Text, Parameter(help="Account id. [default: CLOUDFLARE_ACCOUNT_ID]")] = None,
    base_url: Annotated[
        Text, Parameter(help="Base URL of the API. [default: CLOUDFLARE_BASE_URL, or the service]")
    ] = None,
    token_file: Annotated[Place | None, Parameter(help="File that contains the API token.")] = None,
    verbose: Annotated[
        int,
        Parameter(
            name=["--verbose", "-v"],
            count=True,
            help="Log retries and waits to stderr; given twice, every request.",
            show_default=False,
        ),
    ] = 0,
    debug: Annotated[bool, Parameter(help="Show a traceback with an error.", negative="", show_default=False)] = False,
) -> object:
    common = Common(json=json, account=account, base_url=base_url, token_file=token_file, verbose=verbose)
    command, bound, ignored = app.parse_args(_with_stdin(tokens), exit_on_error=False, print_error=False)
    if "common" in ignored:
        bound.arguments["common"] = common
    with logging_to_stderr(verbose):
        return command(*bound.args, **bound.kwargs)


def _with_stdin(tokens: Sequence[str]) -> list[str]:
    """Return the arguments with each `-` that isn't an option's value replaced by `STDIN`."""
    return [
        STDIN if word == "-" and not previous.startswith("--") else word
        for previous, word in zip(["", *tokens], tokens, strict=False)
    ]


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.  An error is one line on stderr."""
    tokens = list(sys.argv[1:] if argv is None else argv)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # The stream was closed, so nobody wants what is written there.
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - open to the end of the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A name with characters that the terminal can't encode is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app.meta(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except Stopped as stopped:
        note("interrupted")
        return stopped.exit_code
    except BrokenPipeError:
        # The reader has what it wanted.  Python flushes once more on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except SystemExit as ended:
        # This is how rich exits if the reader of the help has gone.
        if isinstance(ended.__context__, BrokenPipeError):
            return BROKEN_PIPE
        raise
    except CycloptsError as error:
        return _tell([Failure(mistake_text(error), _where_to_look(error), USAGE)], tokens)
    except Exception as error:  # noqa: BLE001 - every error is reported in one line
        return _tell(explain_each(error), tokens)
    return code if isinstance(code, int) else OK


def _where_to_look(error: CycloptsError) -> str:
    command = " ".join(["dexcmd", *(error.command_chain or ())])
    return f"see {command} --help"


def _tell(failures: Sequence[Failure], tokens: Sequence[str]) -> int:
    if "--debug" in tokens:
        traceback.print_exc()
    for failure in failures:
        complain(failure)
    return failures[0].exit_code
