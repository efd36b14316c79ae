"""What a storm has done: what the service holds, set against what the caller was told.  Pure."""

from collections import Counter
from collections.abc import Collection, Hashable, Mapping

from benchmarks.case import Result

__all__ = ["tally"]


def tally(
    held: Mapping[str, Hashable], told: Collection[str], failed: Collection[Hashable], asked: Mapping[Hashable, bool]
) -> Result:
    """Return how many targets were doubled, and how many outcomes were lost.

    `held` is the target of each command that the service holds, by its id; `told` are the ids that the caller was
    told of.  `asked` tells of each target that was asked for whether its caller got a command for it, and `failed`
    are those for which it got an error instead.

    Lost is a command that exists untold, and a request that ended in neither a command nor an error.
    """
    commands_of = Counter(held.values())
    untold = {command_id for command_id in held if command_id not in told}
    untold_targets = {held[command_id] for command_id in untold}
    silent = [target for target, answered in asked.items() if not answered and target not in failed]
    return {
        "held": len(held),
        "doubled": sum(count > 1 for count in commands_of.values()),
        "untold": len(untold),
        "silent": len(silent),
        "lost": len(untold) + sum(target not in untold_targets for target in silent),
        "failed": len(failed),
        "false": sum(command_id not in held for command_id in told),
    }
