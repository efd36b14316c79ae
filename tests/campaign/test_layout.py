"""A campaign as JSON, and its fingerprint."""

import json
import warnings
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given

from dexcmd import Pcap, SpeedTest
from dexcmd.campaign.layout import fingerprint, spec_from_json, spec_to_json
from dexcmd.campaign.spec import CampaignSpec, Pace, Share, Targeting, Waves
from dexcmd.errors import CampaignFileError, DexWarning
from tests.campaign.specs import campaign, campaigns


@given(campaigns)
def test_a_campaign_comes_back_as_it_was(spec: CampaignSpec):
    text = spec_to_json(spec)
    again = spec_from_json(text)
    assert again == spec
    assert spec_to_json(again) == text
    assert fingerprint(again) == fingerprint(spec)


def test_equal_campaigns_have_the_same_text():
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    one = campaign(
        deadline=noon, command=Pcap(time_limit_min=5), targets=Targeting(sample=Share(percent=10), search=["a"])
    )
    other = campaign(
        deadline=noon.astimezone(timezone(timedelta(hours=5))),
        command=Pcap(time_limit_min=5.0),
        targets=Targeting(sample=Share(percent=10.0), search=("a",)),
    )
    assert one == other
    assert spec_to_json(one) == spec_to_json(other)
    assert fingerprint(one) == fingerprint(other)


def test_a_time_of_the_hour_that_was_left_out_comes_back():
    # At 2 o'clock the clocks were set to 3, and Python holds such a time equal to none of another zone.
    spec = campaign(deadline=datetime(1977, 4, 24, 2, tzinfo=ZoneInfo("America/Boise")))
    assert spec_from_json(spec_to_json(spec)) == spec


def test_the_text_says_all_and_is_laid_out_as_a_file():
    spec = campaign(command=SpeedTest(interfaces=["tunnel"]), waves=Waves(sizes=(Share(count=5),)))
    document = json.loads(spec_to_json(spec))
    assert document["command"] == {"type": "speed-test", "interfaces": ["tunnel"]}
    assert document["waves"] == {"sizes": [5], "min_succeeded_percent": 0, "soak": "0s"}
    assert document["pace"]["timeout"] == "30m"
    assert document["deadline"] is None


def test_the_fingerprint_is_that_of_all_versions():
    # A journal holds it: where this changes, campaigns of earlier versions are taken for others.
    assert fingerprint(campaign()) == "424f52dd6fe554f15d97b84c3558caf59d1f26b184900db7fe21639a9d1e69b8"


@pytest.mark.parametrize(
    "changed",
    [
        campaign(name="other"),
        campaign(command=Pcap(time_limit_min=1)),
        campaign(pace=Pace(creates=5)),
        campaign(targets=Targeting(seed=1)),
        campaign(leave_quota=1),
        campaign(deadline=timedelta(hours=1)),
    ],
)
def test_another_campaign_has_another_fingerprint(changed: CampaignSpec):
    assert fingerprint(changed) != fingerprint(campaign())


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "not valid JSON: "),
        ("[]", r"expected a table, found \[\] \(list\)"),
        ("null", "expected a table, found None"),
        ('{"name": "x"}', "command: missing; accounts: missing"),
        (
            spec_to_json(campaign())[:-1] + ',"more":1}',
            "more: unknown key; the known keys are name, command, accounts, ",
        ),
    ],
)
def test_what_is_no_campaign(text: str, mistake: str):
    with pytest.raises(CampaignFileError, match=f"^the journaled campaign: {mistake}"):
        spec_from_json(text)


def test_an_arg_above_its_maximum_warns_once():
    text = spec_to_json(campaign(command=Pcap(time_limit_min=2))).replace('"time_limit_min":2', '"time_limit_min":20')
    with pytest.warns(DexWarning, match="time_limit_min=20 is above") as caught:
        spec_from_json(text)
    assert len(caught) == 1
    with warnings.catch_warnings(), pytest.raises(CampaignFileError, match="command: time_limit_min=20 is above"):
        warnings.simplefilter("error")
        spec_from_json(text)
