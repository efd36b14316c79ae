"""A campaign whose processes are killed with SIGKILL, whatever they are at, ends as if nothing had happened."""

from pathlib import Path

import pytest

from tests.campaign.kill import Moment, Trial, kill_at

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
    assert report.spent == report.commands, report
    assert (report.broken, report.refetched, report.left) == (0, 0, []), report
    assert report.saved == report.commands, report


async def test_what_the_list_shows_later_than_it_is_looked_for_is_stated(tmp_path: Path) -> None:
    trial = Trial(devices=60, seed=5, list_lag=90.0, settle_seconds=10.0, audit_after=150.0, lost_first=2)
    report = await kill_at(trial, tmp_path, MOMENTS[:3])
    assert (report.kills, report.failed) == (3, 0), report
    # Both POSTs that nobody heard of were sent again, and so were those of the processes that were killed.
    assert report.surplus >= 20, report
    assert report.commands - report.surplus + report.unknown == trial.devices, report
    assert (report.lost, report.doubled, report.broken) == (0, 0, 0), report
    assert report.spent == report.commands, report
