"""`dexcmd follow`: wait for commands to end."""

from datetime import timedelta
from typing import Annotated

from cyclopts import Parameter

from dexcmd.cli.common import Common, WithCommon
from dexcmd.cli.typed import Duration

__all__ = ["follow"]


def follow(
    *ids: Annotated[str, Parameter(name="ids", help="Ids of commands; - reads them from stdin.")],
    timeout: Annotated[Duration, Parameter(help="How long to wait, as 90s, 15m or 1h.")] = timedelta(minutes=15),
    common: WithCommon = Common(),  # noqa: B008 - frozen
) -> int:
    """Wait until commands have ended, and tell of each as it does.

    From stdin it takes an id a line, or what `commands --json` writes.  A
    device that is not connected lets its command fail after 10 minutes.

    Exits with 0 if all are SUCCESS, with 3 if some FAILED or did not end in
    time.

    For example:
      dexcmd follow 7d0c6f4e-93a6-4a60-9d2c-3a1f6f0f1f9b --timeout 5m
      dexcmd commands --since 1h --json | dexcmd follow - --json
    """
    from dexcmd.cli.follow.run import run_follow

    return run_follow(common, ids, timeout)
