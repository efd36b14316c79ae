"""That somebody who waits is told why."""

import math

import pytest

from dexcmd.cli import main
from dexcmd.cli.waits import Waits
from dexcmd.events import Event, Paced, RequestSent, Retrying
from dexcmd.sandbox import Fault
from tests.cli.conftest import Service


def retrying(wait: float) -> Event:
    return Retrying("GET", "/dex/commands/quota", 1, wait, "GET /dex/commands/quota: 503: no luck")


def test_long_waits_are_told_and_not_twice_at_once(capsys: pytest.CaptureFixture[str]):
    now = 100.0
    passed: list[Event] = []
    waits = Waits(passed.append, clock=lambda: now)
    events = [RequestSent("GET", "/x", 1), retrying(4.9), retrying(8.0), Paced("GET", "/x", 7.0)]
    for event in events:
        waits(event)
    assert passed == events
    now = 108.0
    waits(Paced("GET", "/x", 90.0))
    assert capsys.readouterr().err.splitlines() == [
        "GET /dex/commands/quota: 503: no luck; retrying in 8 s",
        "waiting 1 min 30 s for the rate limit",
    ]


def test_short_waits_go_unsaid(capsys: pytest.CaptureFixture[str]):
    waits = Waits(None, clock=lambda: math.inf)
    waits(retrying(1.0))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("verbose", [False, True])
def test_a_command_tells_once(service: Service, capsys: pytest.CaptureFixture[str], verbose: bool):
    service.sandbox.faults.add(Fault.rate_limited(retry_after=90), on="get_quota")
    assert main(["quota", *(["-v"] if verbose else [])]) == 0
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert ("; retrying in 1 min 30 s" in told) is not verbose
