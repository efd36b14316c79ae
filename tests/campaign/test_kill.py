"""A campaign whose processes are killed with SIGKILL, whatever they are at, ends as if nothing had happened."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from dexcmd.sandbox import NewCommand
from tests.campaign.kill import Moment, Trial, bench, kill_at, kill_at_random

pytestmark = pytest.mark.anyio

MOMENTS = (
    # The service makes these commands, and nobody hears of it.
    Moment(3, "create_commands"),
    Moment(25, after=True),
    Moment(1, "list_commands"),
    Moment(10, "download"),
    Moment(40),
    Moment(30, "download"),
)


async def test_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    trial = Trial(devices=200, seed=5)
    report = await kill_at(trial, tmp_path, MOMENTS)
    assert (report.kills, report.failed) == (len(MOMENTS), 0), report
    assert report.posts_lost > 0, report
    assert (report.lost, report.doubled, report.surplus) == (0, 0, 0), report
    assert report.commands + report.unknown == trial.devices, report
    assert (report.spent, report.wrong) == (report.commands, 0), report
    assert (report.broken, report.refetched, report.left) == (0, 0, []), report
    assert report.saved == report.commands, report


async def test_what_the_list_shows_later_than_it_is_looked_for_is_stated(tmp_path: Path) -> None:
    trial = Trial(devices=60, seed=5, list_lag=90.0, settle_seconds=10.0, audit_after=150.0, lost_first=2)
    report = await kill_at(trial, tmp_path, MOMENTS[:3])
    assert (report.kills, report.failed) == (3, 0), report
    # Both POSTs that nobody heard of were sent again, and so were those of the processes that were killed.
    assert report.surplus >= 20, report
    assert report.commands + report.unknown == trial.devices, report
    assert report.spent == report.commands + report.surplus, report
    assert (report.lost, report.doubled, report.broken, report.wrong) == (0, 0, 0, 0), report


async def test_kills_at_random_go_on_until_all_have_struck(tmp_path: Path) -> None:
    report = await kill_at_random(Trial(devices=30, seed=2), tmp_path, kills=3, latest=60.0)
    assert (report.kills, report.wrong) == (3, 0), report


async def test_a_trial_tells_what_must_not_be(tmp_path: Path) -> None:
    async with bench(Trial(devices=3, seed=1), tmp_path, kills=2) as on:
        assert not await on.run(at=Moment(100, "download"))
        state = on.sandbox.state
        doubled = next(iter(state.commands.values()))
        state.create(NewCommand(doubled.device, "pcap"))
    report = on.report
    assert "0 of 2 kills (the campaign ended before the others)" in str(report)
    assert (report.kills, report.lost, report.doubled, report.surplus) == (0, 1, 1, 0), report
    assert report.spent == report.commands + 1, report
    assert report.wrong == 2 + 1 + 1 + 1, report


@pytest.mark.parametrize(
    ("list_lag", "changes", "wrong"),
    [
        (0.0, {}, 0),
        (0.0, {"kills": 1}, 1),
        # More of the quota than commands that the journal knows of, and commands that took nothing of it.
        (0.0, {"spent": 12}, 2),
        (0.0, {"commands": 12}, 2),
        # Second commands that are stated are right only where the list comes too late.
        (59.0, {"spent": 11, "surplus": 1}, 1),
        (60.0, {"spent": 11, "surplus": 1}, 0),
        (60.0, {"surplus": 1}, 1),
        (0.0, {"unknown": 1, "twice": 16, "left": ["part"]}, 0),
        # Of two kills, with eight downloads at a time.
        (0.0, {"twice": 17}, 1),
    ],
)
def test_what_must_not_be_is_counted(list_lag: float, changes: dict[str, Any], wrong: int) -> None:
    report = Trial(devices=10, seed=0, list_lag=list_lag, settle_seconds=60.0).report(kills=2)
    right = attrs.evolve(report, kills=2, commands=10, spent=10)
    assert attrs.evolve(right, **changes).wrong == wrong
