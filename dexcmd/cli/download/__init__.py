"""`dexcmd download`: artifacts into a folder."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from dexcmd.cli.common import Common, WithCommon
from dexcmd.cli.typed import Place, Size

__all__ = ["download"]

Verify = Literal["zip", "size", "none"]


def download(
    *ids: Annotated[str, Parameter(name="ids", help="Ids of commands; - reads them from stdin.")],
    into: Annotated[Place, Parameter(help="The folder; made if need be, private to you.")] = Path("captures"),
    concurrency: Annotated[int, Parameter(help="How many at a time.", validator=Number(gte=1))] = 8,
    verify: Annotated[
        Verify | None,
        Parameter(help="What is checked: zip (all of it), the size, or none. By default zip for names in .zip."),
    ] = None,
    bytes_per_second: Annotated[Size | None, Parameter(help="The most of all together, as 500k or 2.5MB.")] = None,
    common: WithCommon = Common(),  # noqa: B008 - frozen
) -> int:
    """Save the artifacts of commands as files.

    Run again, it skips what is there whole and goes on from what broke off.
    From stdin it takes an id a line, or what `commands` and `follow` write,
    and begins as the lines come.

    Ctrl-C begins no more and finishes those under way; a second one leaves at
    once, and what came stays to be gone on from.  Exits with 0 if all are
    there, with 3 if some are not, with 1 (or 5, if refused) if none is.

    For example:
      dexcmd download 7d0c6f4e-93a6-4a60-9d2c-3a1f6f0f1f9b --into captures
      dexcmd commands --status SUCCESS --since 1d | dexcmd download -
    """
    from dexcmd.cli.download.run import Job, run_download

    job = Job(ids=ids, into=into, concurrency=concurrency, verify=verify, bytes_per_second=bytes_per_second)
    return run_download(common, job)
