"""`dexcmd campaign`: bulk captures that are planned, journaled, and gone on with after any interruption."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from dexcmd.cli.common import Common, WithCommon
from dexcmd.cli.typed import Place

__all__ = ["campaign"]

_HELP = """\
Capture a sample of the fleet, or all of it, over days of quota.

A campaign is a TOML file; what happens to it is kept in a journal.  A file
of two lines will do, name = "london" and command.type = "pcap", and means
all devices of CLOUDFLARE_ACCOUNT_ID.

  dexcmd campaign plan london.toml    # what a run would do; spends nothing
  dexcmd campaign run london.toml     # asks, then runs; again: goes on
  dexcmd campaign status london       # from any terminal
  dexcmd campaign export london       # a row for each device

The journal is --journal, or what DEXCMD_JOURNAL names, or a file of yours
(on Linux ~/.local/state/dexcmd/journal.db)."""

Format = Literal["csv", "jsonl", "parquet", "sqlite"]

Journal = Annotated[
    Place | None, Parameter(help="The journal; by default that of DEXCMD_JOURNAL, or your own.", show_default=False)
]
Name = Annotated[str, Parameter(name="name", help="The campaign's name.")]
File = Annotated[Place, Parameter(name="file", help="The campaign file.")]
# Text comes first, and is what it is read as: "./london" is a file, "london" a name.  A path lets shells offer files.
FileOrName = Annotated[
    str | Path, Parameter(name="file-or-name", help="A campaign file, or the name of a campaign in the journal.")
]
Yes = Annotated[bool, Parameter(name=["--yes", "-y"], help="Don't ask.", negative="", show_default=False)]

NOTHING = Common()

campaign: App = App(name="campaign", help=_HELP, group_commands="Commands")


@campaign.command(sort_key=1)
def plan(
    file: File,
    /,
    *,
    all: Annotated[  # noqa: A002 - the option's name
        bool, Parameter(help="Name each device.", negative="", show_default=False)
    ] = False,
    journal: Journal = None,
    common: WithCommon = NOTHING,
) -> int:
    """Show what a run would do; spends no quota and writes nothing.

    Who is captured, who is skipped and why, days by quota, requests and bytes.
    All mistakes in the file are told at once.

    Exits with 0, with 3 if some of the accounts can't be read.

    For example:
      dexcmd campaign plan london.toml
      dexcmd campaign plan london.toml --all | grep offline
      dexcmd campaign plan london.toml --json | jq .commands
    """
    from dexcmd.cli.campaign.planning import run_plan

    return run_plan(common, journal, file, name_all=all)


@campaign.command(sort_key=2)
def run(what: FileOrName, /, *, yes: Yes = False, journal: Journal = None, common: WithCommon = NOTHING) -> int:
    """Run a campaign, or go on with it.

    A campaign that is not in the journal is planned first, and begins once you
    say yes.  One that is there goes on from where it stands, without a
    question; where all is done already it says so and does nothing.

    The first Ctrl-C creates nothing more and finishes what is being fetched,
    the second leaves at once; the next run goes on in either case.

    Exits with 0 if all are captured, 3 if some are not, 4 if it was aborted or
    cancelled, 5 if the service refused an account, 130 after Ctrl-C.

    With --json it writes a line for each event and the status as the last.

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
        bool, Parameter(help="Show it until no process runs it any more.", negative="", show_default=False)
    ] = False,
    journal: Journal = None,
    common: WithCommon = NOTHING,
) -> int:
    """Show how a campaign stands, whoever runs it.

    Exits with 0; with --watch as `run` does.

    For example:
      dexcmd campaign status london --watch
      dexcmd campaign status london --json | jq .state
    """
    from dexcmd.cli.campaign.steering import run_status

    return run_status(common, journal, name, watch=watch)


@campaign.command(sort_key=4)
def pause(name: Name, /, *, journal: Journal = None, common: WithCommon = NOTHING) -> int:
    """Create nothing for now; what runs is followed and fetched.

    Also holds a campaign that another process runs, or the next one will.

    For example:
      dexcmd campaign pause london
    """
    from dexcmd.cli.campaign.steering import run_pause

    return run_pause(common, journal, name)


@campaign.command(sort_key=5)
def resume(name: Name, /, *, journal: Journal = None, common: WithCommon = NOTHING) -> int:
    """Go on with a campaign that is paused or was interrupted.

    Where another process runs it, that one creates again, and this one ends.
    Where none does, it is run here, as by `run`.

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
    drop: Annotated[bool, Parameter(help="Don't collect what still runs.", negative="", show_default=False)] = False,
    journal: Journal = None,
    common: WithCommon = NOTHING,
) -> int:
    """Create nothing more, for good.

    The service can't cancel commands: it tells how many still run.  They are
    followed and fetched, unless you --drop them.

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
        Format | None, Parameter(help="By default that of the output's name, or csv.", show_default=False)
    ] = None,
    output: Annotated[Place | None, Parameter(help="A file; by default stdout.", show_default=False)] = None,
    overwrite: Annotated[bool, Parameter(help="Replace the file.", negative="", show_default=False)] = False,
    journal: Journal = None,
    common: WithCommon = NOTHING,
) -> int:
    """Write a row for each device, with its outcome, times, path and checksum.

    parquet and sqlite need an --output; parquet also dexcmd[parquet].

    For example:
      dexcmd campaign export london > london.csv
      dexcmd campaign export london --output london.parquet
      dexcmd campaign export london --format jsonl | jq -r .path
    """
    from dexcmd.cli.campaign.exporting import run_export

    return run_export(common, journal, name, format, output, overwrite=overwrite)


@campaign.command(name="list", sort_key=8)
def list_(*, journal: Journal = None, common: WithCommon = NOTHING) -> int:
    """List the campaigns of the journal, the oldest first.

    For example:
      dexcmd campaign list
      dexcmd campaign list --json | jq -r 'select(.state == "paused").campaign'
    """
    from dexcmd.cli.campaign.steering import run_list

    return run_list(common, journal)
