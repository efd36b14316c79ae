"""`dexcmd campaign`: bulk captures that are planned, journaled, and resumable after any interruption."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from dexcmd.cli.common import Common, WithCommon
from dexcmd.cli.typed import Place

__all__ = ["campaign"]

_HELP = """\
Capture the fleet, or a sample of it, over several days of quota.

A campaign is defined in a TOML file, and its progress is kept in a journal.
Two lines are enough: name = "london" and command.type = "pcap" capture all
devices of CLOUDFLARE_ACCOUNT_ID.

  dexcmd campaign plan london.toml    # what a run would do; uses no quota
  dexcmd campaign run london.toml     # asks, then runs; run again to resume
  dexcmd campaign status london       # from any terminal
  dexcmd campaign export london       # one row per device

The journal is the file given by --journal or DEXCMD_JOURNAL, or else your own
(on Linux ~/.local/state/dexcmd/journal.db)."""

Format = Literal["csv", "jsonl", "parquet", "sqlite"]

Journal = Annotated[
    Place | None, Parameter(help="Journal file; by default that of DEXCMD_JOURNAL, or your own.", show_default=False)
]
Name = Annotated[str, Parameter(name="name", help="Name of the campaign.")]
File = Annotated[Place, Parameter(name="file", help="Campaign file.")]
# `str` comes first, so the value stays text: "./london" is a file, "london" a name.  `Path` makes shells offer files.
FileOrName = Annotated[
    str | Path, Parameter(name="file-or-name", help="Campaign file, or the name of a campaign in the journal.")
]
Yes = Annotated[bool, Parameter(name=["--yes", "-y"], help="Start without asking.", negative="", show_default=False)]

NOTHING = Common()

campaign: App = App(name="campaign", help=_HELP, group_commands="Commands")


@campaign.command(sort_key=1)
def plan(
    file: File,
    /,
    *,
    all: Annotated[  # noqa: A002 - the option's name
        bool, Parameter(help="List every device.", negative="", show_default=False)
    ] = False,
    journal: Journal = None,
    common: WithCommon = NOTHING,
) -> int:
    """Show what a run would do, without using quota or writing anything.

    Lists who would be captured, who would be skipped and why, and how many
    days of quota, requests and bytes that takes.  All mistakes in the file are
    reported at once.

    Exits with 0, or with 3 if some of the accounts can't be read.

    For example:
      dexcmd campaign plan london.toml
      dexcmd campaign plan london.toml --all | grep offline
      dexcmd campaign plan london.toml --json | jq .commands
    """
    from dexcmd.cli.campaign.planning import run_plan

    return run_plan(common, journal, file, name_all=all)


@campaign.command(sort_key=2)
def run(what: FileOrName, /, *, yes: Yes = False, journal: Journal = None, common: WithCommon = NOTHING) -> int:
    """Run a campaign, or resume it.

    A campaign that is not in the journal is planned first, and starts once you
    confirm.  One that is in the journal resumes where it stopped, without
    asking; if it has already ended, its status is shown.

    The first Ctrl-C creates no more commands and finishes the downloads in
    progress, the second one quits immediately; either way, the next run
    resumes the campaign.

    Exits with 0 if everything was captured, 3 if some was not, 4 if it was
    aborted or cancelled, 5 if the service refused an account, 130 after Ctrl-C.

    With --json, writes one line per event, and the status as the last line.

    For example:
      dexcmd campaign run london.toml
      dexcmd campaign run london.toml --yes --json > london.jsonl
    """
    from dexcmd.cli.campaign.running import run_campaign

    return run_campaign(common, journal, str(what), yes=yes)


@campaign.command(sort_key=3)
def status(
    name: Name,
    /,
    *,
    watch: Annotated[
        bool, Parameter(help="Keep showing it for as long as a process runs it.", negative="", show_default=False)
    ] = False,
    journal: Journal = None,
    common: WithCommon = NOTHING,
) -> int:
    """Show the status of a campaign, whichever process runs it.

    Exits with 0, or with --watch as `run` does.

    For example:
      dexcmd campaign status london --watch
      dexcmd campaign status london --json | jq .state
    """
    from dexcmd.cli.campaign.steering import run_status

    return run_status(common, journal, name, watch=watch)


@campaign.command(sort_key=4)
def pause(name: Name, /, *, journal: Journal = None, common: WithCommon = NOTHING) -> int:
    """Pause a campaign: running commands are still followed and fetched.

    Takes effect in the process that runs the campaign, now or later.

    For example:
      dexcmd campaign pause london
    """
    from dexcmd.cli.campaign.steering import run_pause

    return run_pause(common, journal, name)


@campaign.command(sort_key=5)
def resume(name: Name, /, *, journal: Journal = None, common: WithCommon = NOTHING) -> int:
    """Resume a campaign that is paused or was interrupted.

    If another process runs it, that one starts creating commands again, and
    this one exits.  Otherwise it runs here, as with `run`.

    For example:
      dexcmd campaign resume london
    """
    from dexcmd.cli.campaign.running import run_resume

    return run_resume(common, journal, name)


@campaign.command(sort_key=6)
def cancel(
    name: Name,
    /,
    *,
    drop: Annotated[
        bool, Parameter(help="Don't collect the commands that are still running.", negative="", show_default=False)
    ] = False,
    journal: Journal = None,
    common: WithCommon = NOTHING,
) -> int:
    """Cancel a campaign for good: it creates no more commands.

    The service can't cancel commands, so this reports how many are still
    running.  They are followed and fetched, unless you --drop them.

    For example:
      dexcmd campaign cancel london
    """
    from dexcmd.cli.campaign.steering import run_cancel

    return run_cancel(common, journal, name, drop=drop)


@campaign.command(sort_key=7)
def export(
    name: Name,
    /,
    *,
    format: Annotated[  # noqa: A002 - the option's name
        Format | None, Parameter(help="By default taken from the name of the output, or csv.", show_default=False)
    ] = None,
    output: Annotated[Place | None, Parameter(help="File to write; by default stdout.", show_default=False)] = None,
    overwrite: Annotated[
        bool, Parameter(help="Replace the file if it exists.", negative="", show_default=False)
    ] = False,
    journal: Journal = None,
    common: WithCommon = NOTHING,
) -> int:
    """Export one row per device: outcome, times, path and checksum.

    parquet and sqlite need --output; parquet also needs dexcmd[parquet].

    For example:
      dexcmd campaign export london > london.csv
      dexcmd campaign export london --output london.parquet
      dexcmd campaign export london --format jsonl | jq -r .path
    """
    from dexcmd.cli.campaign.exporting import run_export

    return run_export(common, journal, name, format, output, overwrite=overwrite)


@campaign.command(name="list", sort_key=8)
def list_(*, journal: Journal = None, common: WithCommon = NOTHING) -> int:
    """List the campaigns in the journal, oldest first.

    For example:
      dexcmd campaign list
      dexcmd campaign list --json | jq -r 'select(.state == "paused").campaign'
    """
    from dexcmd.cli.campaign.steering import run_list

    return run_list(common, journal)
