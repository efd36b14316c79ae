"""Campaigns, made up: by hand, and by Hypothesis."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from hypothesis import strategies as st

from dexcmd import Pcap, SpeedTest, WarpDiag
from dexcmd.campaign.spec import (
    AbortRule,
    AccountSpec,
    ArtifactsSpec,
    CampaignSpec,
    FailureClass,
    Pace,
    Retries,
    Share,
    Targeting,
    Waves,
)

ACCOUNT_ID = "0123456789abcdef0123456789abcdef"
OTHER_ID = "fedcba9876543210fedcba9876543210"


def campaign(**changes: Any) -> CampaignSpec:
    """Return a campaign as small as can be, with changes."""
    settings: dict[str, Any] = {
        "name": "test",
        "command": Pcap(),
        "accounts": (AccountSpec(account_id=ACCOUNT_ID, name="a"),),
    }
    return CampaignSpec(**settings | changes)


texts = st.text(min_size=1, max_size=20).filter(str.strip)
durations = st.timedeltas(timedelta(0), timedelta(days=3660))
some_durations = st.timedeltas(timedelta(microseconds=1), timedelta(days=3660))
counts = st.integers(1, 10**9)
tries = st.integers(0, 100)
seeds = st.integers(-(2**63), 2**63 - 1)
percents = st.one_of(st.integers(1, 100), st.floats(0.001, 100))
shares = st.one_of(st.builds(Share, count=counts), st.builds(Share, percent=percents))
EARLIEST, LATEST = datetime(1900, 1, 1), datetime(3000, 1, 1)  # noqa: DTZ001 - Hypothesis adds the zones
times = st.datetimes(EARLIEST, LATEST, timezones=st.timezones() | st.just(UTC))


@st.composite
def growing(draw: st.DrawFn) -> tuple[Share, ...]:
    """Draw sizes of waves: numbers and percentages in any order, each kind growing."""
    numbers = sorted(draw(st.sets(counts, max_size=3)))
    parts = sorted(draw(st.sets(percents, max_size=3)))
    sizes = [Share(count=number) for number in numbers] + [Share(percent=part) for part in parts if part < 100]
    return tuple(sizes)


names = st.text("abcXYZ019._-", min_size=1, max_size=64).filter(lambda name: set(name) != {"."})
account_names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=30)


@st.composite
def accounts(draw: st.DrawFn) -> tuple[AccountSpec, ...]:
    ids = draw(st.sets(st.text("0123456789abcdef", min_size=32, max_size=32), min_size=1, max_size=3))
    given = draw(st.lists(account_names, min_size=len(ids), max_size=len(ids), unique_by=str.casefold))
    variables = st.text("ABC_xyz", min_size=1, max_size=10)
    return tuple(
        AccountSpec(account_id=account_id, name=name, token_env=draw(variables))
        for account_id, name in zip(sorted(ids), given, strict=True)
    )


commands = st.one_of(
    st.builds(
        Pcap,
        max_file_size_mb=st.none() | st.integers(1, 50) | st.floats(1, 50),
        packet_size_bytes=st.none() | st.integers(1, 1500),
        time_limit_min=st.none() | st.floats(1, 10),
    ),
    st.builds(WarpDiag, test_all_routes=st.none() | st.booleans()),
    st.builds(
        SpeedTest,
        interfaces=st.none() | st.lists(st.sampled_from(["default", "tunnel"]), min_size=1, max_size=2),
    ),
)

campaigns = st.builds(
    CampaignSpec,
    name=names,
    command=commands,
    accounts=accounts(),
    targets=st.builds(
        Targeting,
        **{
            name: st.lists(texts, max_size=3).map(tuple)
            for name in ("search", "emails", "device_ids", "platforms", "exclude")
        },
        csv=st.none() | texts,
        version=st.none() | st.sampled_from([">=2024.6", "<2025, !=2024.12.1", "==2025.9.558.0"]),
        sample=st.none() | shares,
        seed=seeds,
    ),
    waves=st.builds(Waves, sizes=growing(), min_succeeded_percent=st.floats(0, 100), soak=durations),
    pace=st.builds(
        Pace, creates=st.integers(1, 1000), downloads=st.integers(1, 1000), in_flight=counts, timeout=some_durations
    ),
    abort=st.lists(
        st.builds(
            AbortRule,
            failed_percent=percents,
            of_at_least=counts,
            failure=st.none() | st.sampled_from(get_args(FailureClass)),
        ),
        max_size=3,
    ).map(tuple),
    retries=st.builds(
        Retries, device=tries, timeout=tries, rejected=tries, unknown=tries, download=tries, wait=durations
    ),
    leave_quota=tries,
    deadline=st.none() | times | some_durations,
    artifacts=st.builds(
        ArtifactsSpec,
        into=st.sampled_from(["captures", "/srv/x", "s3://bucket/prefix"]),
        name=st.sampled_from(["{command_id}.zip", "{wave}/{created:%Y}/{command_id}"]),
    ),
    lost_answers=st.sampled_from(["reconcile", "give_up"]),
    audit_after=durations,
)
