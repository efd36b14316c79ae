"""What a late audit takes a command of the list for that the journal does not know."""

from datetime import timedelta
from typing import Any

import attrs
import pytest

from dexcmd.campaign.audit import Verdict, verdict
from dexcmd.campaign.records import IntentRecord, TargetRecord
from dexcmd.resources.command import Command
from tests.campaign.facts import START, minutes

LATE = timedelta(minutes=30)

SETTLED = minutes(5)
"""When the list was to be believed about the POST that got lost."""

TARGET = TargetRecord(
    number=1,
    account="main",
    wave=1,
    device_id="device",
    registration_id="registration",
    user_email="user@example.com",
    device_name=None,
    platform=None,
    version=None,
    skip=None,
    detail=None,
    state="saved",
    failure=None,
    error=None,
    reason=None,
    changed_at=minutes(6),
    tries={},
    not_before=None,
    command_id="known",
)

INTENT = IntentRecord(
    target=1,
    post="post",
    attempt=1,
    since=START,
    settled_at=SETTLED,
    outcome="absent",
    opened_at=START,
    closed_at=SETTLED,
)


def judge(row: dict[str, Any] | None = None, **target: Any) -> str:
    """Return what a command is of the device of a target whose POST got lost: what that made, but for some changes."""
    usual = Command(id="new", type="pcap", device_id="device", registration_id="registration", created_date=minutes(1))
    lost = [(attrs.evolve(TARGET, **target), INTENT)]
    return verdict(attrs.evolve(usual, **(row or {})), "pcap", lost, LATE).kind


MOMENT = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({}, "surplus"),
        ({"type": "warp-diag"}, "foreign"),
        ({"type": None}, "foreign"),
        ({"registration_id": "another"}, "foreign"),
        # What is not told speaks against nothing.
        ({"registration_id": None}, "surplus"),
        ({"created_date": None}, "foreign"),
        # A service may have got to a POST as late as the audit waits for what came of it, and not before it was sent.
        ({"created_date": START - MOMENT}, "foreign"),
        ({"created_date": START}, "surplus"),
        ({"created_date": SETTLED + MOMENT}, "surplus"),
        ({"created_date": SETTLED + LATE}, "surplus"),
        ({"created_date": SETTLED + LATE + MOMENT}, "foreign"),
    ],
)
def test_whose_a_command_is(row: dict[str, Any], kind: str) -> None:
    assert judge(row) == kind


def test_a_target_whose_registration_is_not_known_takes_any() -> None:
    assert judge({"registration_id": "another"}, registration_id=None) == "surplus"


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        # Those whose capture nobody has.
        ({"state": "failed", "failure": "unknown", "command_id": None}, "adopted"),
        ({"state": "not_attempted", "reason": "cancelled", "command_id": None}, "adopted"),
        # It had one before, and what became of the next POST is not known: that is what is missing.
        ({"state": "failed", "failure": "unknown"}, "adopted"),
        # Its command was dropped by the operator: another one is not what he wants.
        ({"state": "not_attempted", "reason": "cancelled"}, "surplus"),
        ({"state": "failed", "failure": "device"}, "surplus"),
        ({"state": "failed", "failure": "rejected", "command_id": None}, "surplus"),
        ({"state": "running"}, "surplus"),
        ({"state": "pending", "command_id": None}, "surplus"),
    ],
)
def test_whether_its_target_needs_it(target: dict[str, Any], kind: str) -> None:
    assert judge(**target) == kind


def test_the_post_that_made_it_is_told() -> None:
    later = attrs.evolve(INTENT, post="later", since=minutes(60), settled_at=minutes(65))
    other = attrs.evolve(TARGET, number=2, registration_id="another")
    lost = [(other, INTENT), (TARGET, INTENT), (TARGET, later)]
    row = Command(type="pcap", device_id="device", registration_id="registration", created_date=minutes(61))
    assert verdict(row, "pcap", lost, LATE) == Verdict("surplus", TARGET, later)


def test_where_no_post_got_lost_it_is_somebody_elses() -> None:
    row = Command(type="pcap", device_id="device", created_date=START)
    assert verdict(row, "pcap", [], LATE) == Verdict("foreign")
