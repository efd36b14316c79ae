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
    *ids: Annotated[str, Parameter(name="ids", help="Command ids; - reads them from stdin.")],
    into: Annotated[Place, Parameter(help="Folder to save into; created if missing, private to you.")] = Path(
        "captures"
    ),
    concurrency: Annotated[
        int, Parameter(help="Maximum number of simultaneous downloads.", validator=Number(gte=1))
    ] = 8,
    verify: Annotated[
        Verify | None,
        Parameter(
            help="What to check: zip (the whole archive), size, or none. By default zip for names in .zip, else size."
        ),
    ] = None,
    bytes_per_second: Annotated[
        Size | None, Parameter(help="Speed limit for all downloads together, such as 500k or 2.5MB.")
    ] = None,
    common: WithCommon = Common(),  # noqa: B008 - frozen
) -> int:
    """Download the artifacts of commands.

    Running it again skips complete files and resumes partial ones.  From
    stdin, - reads one id per line, or the output of `commands` or `follow`,
    and downloads start as the lines arrive.

    The first Ctrl-C starts no more downloads and finishes those in progress;
    the second one quits immediately and keeps the partial files, so that they
    can be resumed.

    Exits with 0 if every artifact was saved, with 3 if some were not, with 1
    (or 5, if refused) if none was.

    For example:
      dexcmd download 7d0c6f4e-93a6-4a60-9d2c-3a1f6f0f1f9b --into captures
      dexcmd commands --status SUCCESS --since 1d | dexcmd download -
    """
    from dexcmd.cli.download.run import Job, run_download

    job = Job(ids=ids, into=into, concurrency=concurrency, verify=verify, bytes_per_second=bytes_per_second)
    return run_download(common, job)
