"""`dexcmd follow`: wait for commands to end."""

from datetime import timedelta
from typing import Annotated

from cyclopts import Parameter

from dexcmd.cli.common import Common, WithCommon
from dexcmd.cli.typed import Duration

__all__ = ["follow"]


def follow(
    *ids: Annotated[str, Parameter(name="ids", help="Command ids; - reads them from stdin.")],
    timeout: Annotated[Duration, Parameter(help="How long to wait, such as 90s, 15m or 1h.")] = timedelta(minutes=15),
    common: WithCommon = Common(),  # noqa: B008 - frozen
) -> int:
    """Wait for commands to end, and report each one as it does.

    From stdin, - reads one id per line, or the output of `commands`.  The
    command of a device that is not connected fails after 10 minutes.

    Exits with 0 if every command ended in SUCCESS, with 3 if some FAILED or
    did not end in time.

    For example:
      dexcmd follow 7d0c6f4e-93a6-4a60-9d2c-3a1f6f0f1f9b --timeout 5m
      dexcmd commands --since 1h --json | dexcmd follow - --json
    """
    from dexcmd.cli.follow.run import run_follow

    return run_follow(common, ids, timeout)
