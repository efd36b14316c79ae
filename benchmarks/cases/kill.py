"""A campaign that is killed again and again: the trial of the tests, at length."""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.case import Case, Metric, Params, Result

KILLS, DEVICES = 50, 5_000

NOTES = """\
A process runs a campaign of {devices:,} devices on a sandbox whose time is sixty times as fast, while 15 % of the
answers to POSTs get lost. It is killed within a second, {kills} times, and run once more. *Commands* are those of
targets, by its journal, and *spent* is the quota, by the service. *Lost* are commands that the journal does not know,
*doubled* targets with two of them, *surplus* second ones that it states, *unknown* targets of which both POSTs got
lost, *fetched again* artifacts that came whole once more although they were whole on the disk, in their place or, as
*parts*, before they had their name; *twice* were sent whole, and their process was killed before it had written them.
There is nothing to compare with: no other client goes on where its process was killed. The
trial itself is `tests.campaign.kill`."""


def _dexcmd(params: Params) -> Result:
    import attrs

    from tests.campaign.kill import Trial, kill_at_random

    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(devices=params["devices"], seed=params["round"])
        report = asyncio.run(kill_at_random(trial, Path(folder), kills=params["kills"]))
    return {**attrs.asdict(report), "left": len(report.left), "wrong": report.wrong}


@contextmanager
def _prepare(scale: float) -> Iterator[Params]:
    yield {"kills": max(1, round(KILLS * scale)), "devices": max(20, round(DEVICES * scale))}


def _check(runs: Mapping[str, Sequence[Result]]) -> list[str]:
    """Every kill strikes, nothing is lost, doubled, broken or fetched again, and the quota is as the journal has it."""
    return [
        f"dexcmd, round {number}: {figures['wrong']:.0f} of what must not be: {figures}"
        for number, figures in enumerate(runs["dexcmd"], start=1)
        if figures["wrong"]
    ]


CASE = Case(
    name="kill",
    title="a campaign that is killed",
    notes=lambda params: NOTES.format(**params),
    rounds=1,
    metrics=(
        Metric("kills", "kills", 0),
        Metric("devices", "devices", 0),
        Metric("posts_lost", "POSTs lost", 0),
        Metric("commands", "commands", 0),
        Metric("spent", "spent", 0),
        Metric("lost", "lost", 0),
        Metric("doubled", "doubled", 0),
        Metric("surplus", "surplus", 0),
        Metric("unknown", "unknown", 0),
        Metric("broken", "files broken", 0),
        Metric("refetched", "fetched again", 0),
        Metric("written", "parts", 0),
        Metric("twice", "twice", 0),
        Metric("seconds", "time s", 0),
    ),
    peer="dexcmd",
    contenders={"dexcmd": _dexcmd},
    prepare=_prepare,
    check=_check,
)
