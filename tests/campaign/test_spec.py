"""A campaign as attrs classes: what can't be right is refused, also where a program builds it."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexcmd import ConfigurationError, Pcap
from dexcmd.campaign.layout import spec_from_json, spec_to_json
from dexcmd.campaign.spec import (
    AbortRule,
    AccountSpec,
    ArtifactsSpec,
    FailureClass,
    Pace,
    Retries,
    Share,
    Targeting,
    Waves,
)
from tests.campaign.specs import ACCOUNT_ID, OTHER_ID, campaign, shares

TOKEN = "s3cr3t-t0k3n"

WRONG: list[tuple[type[Any], dict[str, Any], str]] = [
    (Share, {}, "either a count or a percentage"),
    (Share, {"count": 5, "percent": 10}, "either a count or a percentage"),
    (Share, {"count": 0}, "count must be a whole number of at least 1"),
    (Share, {"count": 1.5}, "count must be a whole number"),
    (Share, {"count": 10**9 + 1}, "count must be at most 1000000000, not 1000000001"),
    (Share, {"percent": 0}, "percent must be above 0"),
    (Share, {"percent": 100.1}, "percent must be from 0 to 100"),
    (Share, {"percent": math.nan}, "percent must be a finite number"),
    (Share, {"percent": True}, "percent must be a finite number"),
    (AccountSpec, {"account_id": TOKEN}, "account_id must be 32 hex digits"),
    (AccountSpec, {"account_id": ACCOUNT_ID, "name": ""}, "name must be a non-blank string"),
    (AccountSpec, {"account_id": ACCOUNT_ID, "name": " a"}, "name must be at most 64 printable characters"),
    (AccountSpec, {"account_id": ACCOUNT_ID, "name": "a\nb"}, "name must be at most 64 printable characters"),
    (AccountSpec, {"account_id": ACCOUNT_ID, "name": "a" * 65}, "name must be at most 64 printable characters"),
    (AccountSpec, {"account_id": ACCOUNT_ID, "token_env": TOKEN}, "token_env must be the name of an environment"),
    (AccountSpec, {"account_id": ACCOUNT_ID, "token_env": None}, "token_env must be the name of an environment"),
    (Targeting, {"search": ("a", " ")}, r"search\[1\] must be a non-blank string"),
    (Targeting, {"emails": 5}, "emails must be a list of strings, not 5"),
    (Targeting, {"device_ids": [None, 5]}, r"device_ids\[0\] must be.*; device_ids\[1\] must be"),
    (Targeting, {"csv": ""}, "csv must be a non-blank string"),
    (Targeting, {"version": "2024.6"}, "'2024.6' is not a bound"),
    (Targeting, {"version": 5}, "version must be a non-blank string"),
    (Targeting, {"sample": 5}, "sample must be a Share, not 5"),
    (Targeting, {"seed": True}, "seed must be a whole number, not True"),
    (Targeting, {"seed": 1.5}, "seed must be a whole number, not 1.5"),
    (Targeting, {"seed": 2**63}, "seed must fit into 64 bits, not 9223372036854775808"),
    (Targeting, {"seed": -(2**63) - 1}, "seed must fit into 64 bits, not -9223372036854775809"),
    (Waves, {"sizes": [Share(count=5)]}, "sizes must be a tuple of Share"),
    (Waves, {"sizes": (5,)}, "sizes must be a tuple of Share"),
    (Waves, {"sizes": (Share(count=5), Share(count=5))}, r"sizes\[1\] must be more than 5"),
    (Waves, {"sizes": (Share(percent=20), Share(count=9), Share(percent=20))}, r"sizes\[2\] must be more than 20%"),
    (Waves, {"sizes": (Share(percent=100), Share(count=9))}, r"sizes\[1\] comes after a size of 100%"),
    (Waves, {"min_succeeded_percent": 101}, "min_succeeded_percent must be from 0 to 100"),
    (Waves, {"min_succeeded_percent": -1}, "min_succeeded_percent must be from 0 to 100"),
    (Waves, {"soak": 5}, "soak must be a timedelta, not 5"),
    (Waves, {"soak": timedelta(seconds=-1)}, "soak must be from 0 to 3660 days"),
    (Waves, {"soak": timedelta(days=3661)}, "soak must be from 0 to 3660 days"),
    (Pace, {"creates": 0}, "creates must be a whole number of at least 1"),
    (Pace, {"downloads": True}, "downloads must be a whole number of at least 1"),
    (Pace, {"creates": 1001}, "creates must be at most 1000, not 1001"),
    (Pace, {"downloads": 10**24}, "downloads must be at most 1000"),
    (
        Pace,
        {"creates": -(10**5000)},
        "creates must be a whole number of at least 1, not a number with thousands of digits",
    ),
    (Pace, {"in_flight": 1.0}, "in_flight must be a whole number of at least 1"),
    (Pace, {"in_flight": 10**5000}, "in_flight must be at most 1000000000, not a number with thousands of digits"),
    (Pace, {"timeout": timedelta(0)}, "timeout must be above 0"),
    (AbortRule, {"failed_percent": 0}, "failed_percent must be above 0"),
    (AbortRule, {"failed_percent": 101}, "failed_percent must be from 0 to 100"),
    (AbortRule, {"failed_percent": 10, "of_at_least": 0}, "of_at_least must be a whole number of at least 1"),
    (AbortRule, {"failed_percent": 10, "failure": "rain"}, "failure must be one of device, timeout, "),
    (AbortRule, {"failed_percent": 10, "of_at_least": 10**5000}, "of_at_least must be at most 1000000000"),
    *((Retries, {name: 10**5000}, f"{name} must be at most 1000000000") for name in get_args(FailureClass)),
    (Retries, {"device": -1}, "device must be a whole number of at least 0"),
    (Retries, {"download": True}, "download must be a whole number of at least 0"),
    (Retries, {"unknown": 1.0}, "unknown must be a whole number of at least 0"),
    (Retries, {"wait": None}, "wait must be a timedelta"),
    (ArtifactsSpec, {"into": ""}, "into must be a non-blank string"),
    (ArtifactsSpec, {"into": "ftp://host/x"}, "into must be a folder or the URL of a bucket"),
    (ArtifactsSpec, {"into": "s3:///x"}, "into does not name a bucket"),
    (ArtifactsSpec, {"name": " "}, "name must be a non-blank string"),
    (
        ArtifactsSpec,
        {"name": "x.zip"},
        "'x.zip' is not a valid place template: the last part must contain {command_id}",
    ),
]


@pytest.mark.parametrize(("kind", "values", "message"), WRONG)
def test_what_can_not_be_right(kind: type[Any], values: dict[str, Any], message: str):
    with pytest.raises(ConfigurationError, match=message) as caught:
        kind(**values)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a b"}, "name must be at most 64 letters, digits, '.', '_' and '-', not 'a b'"),
        ({"name": ".."}, "name must be at most 64 letters"),
        ({"name": "a" * 65}, "name must be at most 64 letters"),
        ({"name": None}, "name must be at most 64 letters"),
        ({"command": "pcap"}, "command must be a Pcap or WarpDiag or SpeedTest, not 'pcap'"),
        ({"accounts": ()}, "accounts must not be empty"),
        ({"accounts": [AccountSpec(account_id=ACCOUNT_ID)]}, "accounts must be a tuple of AccountSpec"),
        (
            {"accounts": tuple(AccountSpec(account_id=ACCOUNT_ID.upper(), name=name) for name in "ab")},
            r"accounts\[1\]\.account_id is the same as that of accounts\[0\]",
        ),
        (
            {"accounts": tuple(AccountSpec(account_id=one, name=n) for one, n in ((ACCOUNT_ID, "A"), (OTHER_ID, "a")))},
            r"accounts\[1\]\.name is the same as that of accounts\[0\]",
        ),
        ({"targets": None}, "targets must be a Targeting, not None"),
        ({"waves": Pace()}, "waves must be a Waves"),
        ({"abort": AbortRule(failed_percent=5)}, "abort must be a tuple of AbortRule"),
        ({"leave_quota": -1}, "leave_quota must be a whole number of at least 0"),
        ({"deadline": datetime(2026, 1, 1)}, "deadline must be timezone-aware"),  # noqa: DTZ001 - naive on purpose
        ({"leave_quota": 10**5000}, "leave_quota must be at most 1000000000"),
        ({"deadline": "36h"}, "deadline must be a time with a time zone, or a duration"),
        ({"deadline": timedelta(0)}, "deadline must be above 0"),
        ({"lost_answers": "retry"}, "lost_answers must be one of reconcile, give_up"),
        ({"audit_after": timedelta(seconds=-1)}, "audit_after must be from 0"),
    ],
)
def test_a_campaign_that_can_not_be_right(changes: dict[str, Any], message: str):
    with pytest.raises(ConfigurationError, match=message):
        campaign(**changes)


def test_counts_at_their_bounds_are_taken():
    retries = Retries(**dict.fromkeys(get_args(FailureClass), 10**9))
    rule = AbortRule(failed_percent=10, of_at_least=10**9)
    for seed in (2**63 - 1, -(2**63)):
        targets = Targeting(sample=Share(count=10**9), seed=seed)
        spec = campaign(targets=targets, pace=Pace(in_flight=10**9), abort=(rule,), retries=retries, leave_quota=10**9)
        assert spec_from_json(spec_to_json(spec)) == spec


def test_what_is_left_out():
    spec = campaign(deadline=datetime(2026, 1, 1, tzinfo=UTC))
    assert spec.command == Pcap()
    assert spec.targets == Targeting()
    assert AccountSpec(account_id=ACCOUNT_ID).name == ACCOUNT_ID


def test_a_string_is_as_good_as_a_list_of_one():
    assert Targeting(search="london", exclude=["x"]) == Targeting(search=("london",), exclude=("x",))


@pytest.mark.parametrize(
    ("share", "total", "n"),
    [
        (Share(count=5), 3, 3),
        (Share(count=5), 30, 5),
        (Share(percent=10), 30, 3),
        (Share(percent=10), 31, 4),
        (Share(percent=1.1), 3000, 33),
        (Share(percent=0.001), 1, 1),
        (Share(percent=100), 7, 7),
        (Share(percent=50), 0, 0),
    ],
)
def test_a_share(share: Share, total: int, n: int):
    assert share.of(total) == n


@given(shares, st.integers(0, 10**6))
def test_a_share_is_at_most_all_and_at_least_one(share: Share, total: int):
    assert min(total, 1) <= share.of(total) <= total
