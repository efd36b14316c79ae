"""Whatever goes wrong, `create_many` tells the truth: random fleets, services and faults, and cancellations.

A few hundred campaigns, always the same ones, run with the other tests.  For many more, others each time:

    DEXCMD_CAMPAIGNS=thorough pytest -o faulthandler_timeout=0 tests/faults/test_campaign.py
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import attrs
from hypothesis import event, given
from hypothesis import strategies as st

from dexcmd import BulkResult, CommandRequest, DexClient, Pcap, RetryPolicy, SpeedTest
from dexcmd.clock import ManualClock
from dexcmd.events import Event
from dexcmd.sandbox import Behaviour, Fault, Sandbox, SandboxDevice, make_devices
from dexcmd.sandbox.state import NewCommand
from tests.courses import profile
from tests.faults.loops import HastyLoop

PROFILE = profile(200, 2000)

SETTLE_SECONDS = 60.0
MAX_REQUESTS = 3000
"""No campaign needs a tenth of it; one that goes round in circles is ended and shown."""

NOWHERE = "00000000-0000-4000-8000-000000000000"

# --- what may be asked for

PLAIN, SHARED, INELIGIBLE = 14, 2, 2


def fleet() -> list[SandboxDevice]:
    """Return plain devices, devices with two registrations each, and devices that take no command."""
    plain = make_devices(PLAIN + SHARED + INELIGIBLE, multi_user_share=0, ineligible_share=0, disconnected_share=0)
    devices = plain[:PLAIN]
    for index, device in enumerate(plain[PLAIN : PLAIN + SHARED]):
        other = attrs.evolve(
            device,
            registration_id=f"11111111-0000-4000-8000-00000000000{index}",
            user_email=f"second.{device.user_email}",
        )
        devices += [device, other]
    return devices + [attrs.evolve(device, eligible=False) for device in plain[PLAIN + SHARED :]]


FLEET = fleet()


@st.composite
def targets(draw: st.DrawFn) -> CommandRequest:
    """Draw a request: for a device of the fleet, well or not, or for none."""
    device = draw(st.sampled_from(FLEET))
    request = CommandRequest(
        device_id=device.device_id,
        registration_id=draw(st.sampled_from([device.registration_id, device.registration_id, None])),
        user_email=device.user_email,
        args=draw(st.sampled_from([Pcap(), Pcap(), SpeedTest()])),
    )
    match draw(st.integers(0, 11)):
        case 0:
            return attrs.evolve(request, device_id=NOWHERE)
        case 1:
            return attrs.evolve(request, registration_id=NOWHERE)
        case 2:
            return attrs.evolve(request, user_email="nobody@example.net")
        case _:
            return request


ALTERATIONS = st.lists(st.sampled_from(["partial", "reordered", "duplicated", "foreign"]), max_size=3, unique=True).map(
    tuple
)

BEHAVIOURS = st.builds(
    Behaviour.instant,
    error_pointers=st.booleans(),
    every_error=st.booleans(),
    target_acceptance=st.sampled_from(["whole", "partial"]),
    registration_required=st.booleans(),
    quota_acceptance=st.sampled_from(["whole", "partial"]),
    quota_status=st.sampled_from([400, 402, 403, 409, 429, 422]),
    create_rows=ALTERATIONS,
    list_lag=st.sampled_from([0.0, 0.0, 5.0, 40.0]),
    result_info=st.sampled_from(["full", "without-total-pages", "missing", "wrong"]),
    total_count_ignores_filters=st.booleans(),
    repeat_last_page=st.booleans(),
    null_when_empty=st.booleans(),
    date_format=st.sampled_from(["rfc3339", "postgres"]),
    clock_skew=st.sampled_from([0.0, -300.0, 300.0]),
    unknown_fields=st.booleans(),
)

ANYWHERE = [
    Fault.error(500),
    Fault.error(502, form="html"),
    Fault.error(503, retry_after=20),
    Fault.error(408),
    Fault.error(400),
    Fault.error(403),
    Fault.error(404),
    Fault.error(422, form="empty"),
    Fault.error(525),
    Fault.rate_limited(3),
    Fault.rate_limited(300),
    Fault.rate_limited(None),
    Fault.drop(),
    Fault.silence(),
    Fault.silence(headers=False),
    Fault.slow(4.0),
    Fault.html(),
    Fault.unsuccessful(),
    Fault.garbage(),
    Fault.null_result(),
    Fault.wrong_types(value=["x"]),
    Fault.wrong_types("result", 7),
    Fault.cut(0.5),
    Fault.cut(0.5, framing="chunked"),
    Fault.cut(0.5, framing="close"),
    Fault.stall(0.5),
    Fault.lying_length(10),
    Fault.lying_length(-10),
]
ON_CREATE = [
    *ANYWHERE,
    Fault.error(500, processed=True),
    Fault.error(524, processed=True, form="problem"),
    Fault.error(408, processed=True),
    Fault.drop(processed=True),
    Fault.silence(processed=True),
    Fault.html(processed=True),
    Fault.unsuccessful(processed=True),
    Fault.rows("partial"),
    Fault.rows("foreign", "duplicated", "reordered"),
]


@attrs.frozen
class Strike:
    """A line of the fault script."""

    on: Any
    fault: Fault
    times: int | None
    skip: int


def strikes(on: str, faults: Sequence[Fault]) -> st.SearchStrategy[Strike]:
    return st.builds(
        Strike,
        st.just(on),
        st.sampled_from(faults),
        st.sampled_from([1, 1, 2, 3, None]),
        st.integers(0, 3),
    )


SCRIPTS = st.lists(
    st.one_of(
        strikes("create_commands", ON_CREATE),
        strikes("create_commands", ON_CREATE),
        strikes("list_commands", ANYWHERE),
        strikes("get_quota", ANYWHERE),
    ),
    max_size=4,
)


@attrs.frozen
class Campaign:
    """A campaign as drawn."""

    requests: Sequence[CommandRequest]
    behaviour: Behaviour
    script: Sequence[Strike]
    quota: int
    """Commands that are left of the day's."""
    on_quota: Any
    concurrency: int
    attempts: int
    strangers: int
    """Commands of others, on other devices, made in the seconds before: what the list is long with."""
    warm: bool
    """Whether the client has heard the service's time before."""


def without_mixtures(requests: list[CommandRequest]) -> list[CommandRequest]:
    """Leave out what asks for a device without a registration where another names one: that is refused as it is."""
    named = {group(request) for request in requests if request.registration_id is not None}
    return [request for request in requests if request.registration_id is not None or group(request) not in named]


CAMPAIGNS = st.builds(
    Campaign,
    requests=st.one_of(
        st.lists(targets(), max_size=6, unique_by=lambda request: request.target),
        st.lists(targets(), min_size=8, max_size=34, unique_by=lambda request: request.target),
    ).map(without_mixtures),
    behaviour=BEHAVIOURS,
    script=SCRIPTS,
    quota=st.sampled_from([100, 100, 100, 0, 3, 12]),
    on_quota=st.sampled_from(["stop", "wait"]),
    concurrency=st.integers(1, 4),
    attempts=st.integers(1, 3),
    strangers=st.sampled_from([0, 0, 49, 50, 120]),
    warm=st.booleans(),
)

# --- what must be so


def group(request: CommandRequest) -> tuple[str, str]:
    """Return what a command is surely for; a request without a registration leaves that to the service."""
    return request.device_id, request.type


def check_truth(sandbox: Sandbox, before: set[str], campaign: Campaign, result: BulkResult) -> None:
    """Compare what is told with what the service holds for us."""
    outcomes = result.outcomes
    assert [outcome.request for outcome in outcomes] == list(campaign.requests), "each request has one outcome"
    told: dict[tuple[str, str], set[str]] = defaultdict(set)
    unknown: Counter[tuple[str, str]] = Counter()
    for outcome in outcomes:
        if outcome.state in ("created", "adopted"):
            assert outcome.command_id is not None
            command = sandbox.state.commands[outcome.command_id]
            assert (command.device.device_id, command.type) == group(outcome.request)
            assert outcome.request.registration_id in (None, command.device.registration_id)
            told[group(outcome.request)].add(outcome.command_id)
        else:
            assert outcome.command is None
            assert outcome.error is not None or outcome.reason in ("quota", "cancelled")
            if outcome.state == "unknown":
                assert outcome.reason in (None, "unreadable", "not_listed")
            else:
                assert (outcome.reason is not None) == (outcome.state == "not_attempted")
            unknown[group(outcome.request)] += outcome.state == "unknown"
    assert sum(map(len, told.values())) == len(result.commands), "no command is told of twice"

    held: dict[tuple[str, str], set[str]] = defaultdict(set)
    for command_id, command in sandbox.state.commands.items():
        if command_id not in before:
            held[command.device.device_id, command.type].add(command_id)
    for key in held.keys() | told.keys():
        assert told[key] <= held[key]
        if unknown[key] == 0:
            assert told[key] == held[key], "a command is doubled or lost"
        else:
            assert len(held[key]) <= len(told[key]) + unknown[key], "a command is doubled"


def check_reach(sandbox: Sandbox, campaign: Campaign, result: BulkResult) -> None:
    """Check that where nothing went wrong everything was done that could be."""
    if campaign.script or campaign.behaviour.null_when_empty:
        # A list that is null instead of empty is not taken as a word that something is not there.
        return
    assert not result.in_state("unknown")
    good = [outcome for outcome in result.outcomes if outcome.state in ("created", "adopted")]
    if campaign.on_quota == "stop":
        assert len(good) <= campaign.quota
    if result.in_state("not_attempted"):
        # It waits for one reset, and not for a second one.
        room = campaign.quota if campaign.on_quota == "stop" else sandbox.state.quota.limit
        assert room < len(campaign.requests)
    refused = {outcome.request.target for outcome in result.in_state("rejected")}
    bad = {request.target for request in campaign.requests if is_bad(request, campaign.behaviour)}
    assert refused <= bad
    assert not bad & {outcome.request.target for outcome in good}


def is_bad(request: CommandRequest, behaviour: Behaviour) -> bool:
    """Tell whether the service refuses a request."""
    rows = [device for device in FLEET if device.device_id == request.device_id]
    if request.registration_id is not None:
        rows = [device for device in rows if device.registration_id == request.registration_id]
    elif behaviour.registration_required and len(rows) > 1:
        return True
    return not any(device.eligible and device.user_email == request.user_email for device in rows)


# --- how it runs


@attrs.frozen
class Cancellation:
    """After so many events of the client, and so many turns of the loop more."""

    events: int
    turns: int


@attrs.define
class Run:
    """One campaign, run against a sandbox of its own."""

    campaign: Campaign
    cancellation: Cancellation | None = None
    sandbox: Sandbox = attrs.field(init=False)
    task: "asyncio.Future[BulkResult]" = attrs.field(init=False)
    events: int = 0
    endless: bool = False

    def note(self, sent: Event) -> None:
        if len(self.sandbox.requests) > MAX_REQUESTS:
            self.endless = True
            self.task.cancel()
        self.events += 1
        if self.cancellation is not None and self.events == self.cancellation.events:
            self.cancel_after(self.cancellation.turns)

    def cancel_after(self, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self.cancel_after, turns - 1)
        else:
            self.task.cancel()

    async def __call__(self) -> None:
        campaign, clock = self.campaign, ManualClock()
        behaviour = attrs.evolve(campaign.behaviour, rate_limit=None)
        self.sandbox = Sandbox(FLEET, clock=clock, behaviour=behaviour, quota=10_000)
        async with self.sandbox as sandbox:
            state = sandbox.state
            for device in state.devices:
                # An hour ago somebody had the same wishes.
                state.create(NewCommand(device, "pcap"))
            clock.advance(3600)
            stranger = attrs.evolve(state.devices[0], device_id="22222222-0000-4000-8000-000000000000")
            for _ in range(campaign.strangers):
                state.create(NewCommand(stranger, "pcap"))
            state.quota.limit = state.quota.usage + campaign.quota
            before = set(state.commands)
            async with DexClient(
                api_token=sandbox.token,
                account_id=sandbox.account_id,
                base_url=sandbox.base_url,
                clock=clock,
                random=lambda: 0.5,
                retry=RetryPolicy(attempts=campaign.attempts, attempt_seconds=0.5),
                settle_seconds=SETTLE_SECONDS,
            ) as quiet:
                if campaign.warm:
                    await quiet.quota.get()
            async with DexClient(
                api_token=sandbox.token,
                account_id=sandbox.account_id,
                base_url=sandbox.base_url,
                clock=clock,
                random=lambda: 0.5,
                on_event=self.note,
                retry=RetryPolicy(attempts=campaign.attempts, attempt_seconds=0.5),
                settle_seconds=SETTLE_SECONDS,
            ) as dex:
                for strike in campaign.script:
                    sandbox.faults.add(strike.fault, on=strike.on, times=strike.times, skip=strike.skip)
                bulk = dex.commands.create_many(
                    campaign.requests, concurrency=campaign.concurrency, on_quota=campaign.on_quota
                )
                self.task = asyncio.ensure_future(bulk)
                await asyncio.wait([self.task])
                assert not self.endless, "the campaign goes round in circles"
            await self.quiet()
            self.check(before, bulk.result)

    async def quiet(self) -> None:
        """Wait until the service has dealt with all that was sent before a cancellation."""
        for _ in range(200):
            if self.sandbox.open_connections == 0:
                break
            await asyncio.sleep(0.001)
        assert self.sandbox.open_connections == 0

    def check(self, before: set[str], result: BulkResult) -> None:
        check_truth(self.sandbox, before, self.campaign, result)
        if not self.task.cancelled():
            assert self.task.result() == result
            check_reach(self.sandbox, self.campaign, result)
            assert all(outcome.reason != "cancelled" for outcome in result.outcomes)
        else:
            self.check_unknown(result)
        for outcome in result.outcomes:
            event(outcome.state)

    def check_unknown(self, result: BulkResult) -> None:
        """Check that a cancellation leaves unknown only what was under way or settling."""
        posts = [request for request in self.sandbox.requests if request.operation == "create_commands"]
        sent = {
            (entry["device_id"], entry.get("registration_id"), entry["type"])
            for post in posts
            if isinstance(post.body, dict)
            for entry in post.body["commands"]
        }
        unknown = {outcome.request.target for outcome in result.in_state("unknown")}
        under_way = 10 * self.campaign.concurrency
        assert len(unknown - sent) <= under_way
        disturbed = any(strike.on != "get_quota" for strike in self.campaign.script)
        if not (disturbed or self.campaign.behaviour.create_rows):
            behaviour = self.campaign.behaviour
            if "partial" not in (behaviour.target_acceptance, behaviour.quota_acceptance):
                assert len(unknown) <= under_way, "only what was under way is unknown"


def run(campaign: Campaign, cancellation: Cancellation | None = None) -> None:
    with asyncio.Runner(loop_factory=HastyLoop) as runner:
        runner.run(Run(campaign, cancellation)())


@PROFILE
@given(CAMPAIGNS)
def test_a_campaign_tells_the_truth(campaign: Campaign) -> None:
    run(campaign)


@PROFILE
@given(CAMPAIGNS, st.builds(Cancellation, st.integers(1, 60), st.integers(0, 12)))
def test_a_cancelled_campaign_tells_the_truth(campaign: Campaign, cancellation: Cancellation) -> None:
    run(campaign, cancellation)
