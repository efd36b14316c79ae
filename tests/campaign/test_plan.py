"""Plans: against sandboxes over real sockets, where their counts are exact and a run does what they say."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from dexcmd import AuthenticationError, DexClient, PermissionDeniedError, WarpDiag
from dexcmd.campaign.events import CampaignPlanned, TargetPlanned
from dexcmd.campaign.file import parse_campaign
from dexcmd.campaign.layout import fingerprint, spec_from_json
from dexcmd.campaign.plan import AccountPlan, Plan
from dexcmd.campaign.planner import make_plan
from dexcmd.campaign.spec import AccountSpec, CampaignSpec, Pace, Share, Targeting, Waves
from dexcmd.errors import ConfigurationError
from dexcmd.sandbox import Behaviour, Fault, NewCommand, SandboxDevice
from tests.campaign.conftest import HEALTHY, CampaignRig

pytestmark = pytest.mark.anyio

MIDNIGHT = datetime(2026, 1, 2, tzinfo=UTC)


def row(number: int, **changes: Any) -> SandboxDevice:
    good = SandboxDevice(
        device_id=f"00000000-0000-4000-8000-{number:012d}",
        registration_id=f"00000000-0000-4000-9000-{number:012d}",
        name=f"laptop-{number}",
        user_email=f"user{number}@example.com",
        platform="mac",
    )
    return attrs.evolve(good, **changes)


def device_id(number: int) -> str:
    return row(number).device_id


async def plan_of(campaigns: CampaignRig, spec: CampaignSpec | None = None, **changes: Any) -> Plan:
    async with campaigns.campaign(spec or campaigns.spec(**changes)) as campaign:
        return await campaign.plan()


def only(plan: Plan) -> AccountPlan:
    [account] = plan.accounts
    assert account.error is None
    return account


def why(targets: Iterable[TargetPlanned]) -> Mapping[str | None, str | None]:
    return {target.device_id and str(int(target.device_id[-12:])): target.skip for target in targets}


# --- what is counted


async def test_each_row_is_a_target_or_skipped_for_one_reason(campaigns: CampaignRig) -> None:
    devices = [
        *(row(number) for number in range(1, 21)),
        attrs.evolve(row(1), registration_id="second", user_email="second@example.com"),
        row(30, user_email="boss@example.com"),
        row(31, platform="linux"),
        row(32, version="2024.1.1"),
        row(33, eligible=False, ineligible_reason="too old"),
        row(34, connected=False),
        row(35),
        row(36),
        row(37),
    ]
    sandbox = await campaigns.account(devices=devices, behaviour=Behaviour(**HEALTHY))
    for number, kind in ((35, "pcap"), (36, "warp-diag")):
        [device] = [one for one in devices if one.device_id == device_id(number)]
        sandbox.state.create(NewCommand(device, kind))
    plan = await plan_of(
        campaigns,
        targets=Targeting(
            exclude="boss@example.com",
            platforms=("mac", "windows"),
            version=">=2025",
            sample=Share(percent=50),
            device_ids=[*{one.device_id for one in devices} - {device_id(37)}, "00000000-0000-4000-8000-000000000099"],
        ),
    )
    account = only(plan)
    # 22 could be captured: 20 devices, one of them twice, and the one whose command is of another type.
    assert plan.commands == len(account.targets) == 11
    assert plan.skips == {
        "excluded": 1,
        "platform": 1,
        "unsupported_version": 1,
        "not_eligible": 1,
        "offline": 1,
        "already_running": 1,
        "not_sampled": 11,
        "not_found": 1,
    }
    told = why(account.skipped)
    assert {number: told[number] for number in ("30", "31", "32", "33", "34", "35", "99")} == {
        "30": "excluded",
        "31": "platform",
        "32": "unsupported_version",
        "33": "not_eligible",
        "34": "offline",
        "35": "already_running",
        "99": "not_found",
    }
    assert {target.skip: target.detail for target in account.skipped}["not_eligible"] == "too old"
    assert [target.target for target in [*account.targets, *account.skipped]] == list(range(1, 30))
    assert campaigns.asked("create_commands") == 0


async def test_a_plan_tells_what_a_run_does(campaigns: CampaignRig) -> None:
    # Registrations that take turns are in tests of their own: with them the POSTs are a range.
    sandbox = await campaigns.account(devices=83, quota=30, behaviour=Behaviour.instant(multi_user_share=0))
    sandbox.state.quota.usage = 7
    spec = campaigns.spec(
        leave_quota=2, waves=Waves(sizes=(Share(count=3), Share(percent=20))), pace=Pace(timeout=timedelta(hours=1))
    )
    async with campaigns.campaign(spec) as campaign:
        plan = await campaign.plan()
        assert sandbox.state.quota.usage == 7
        asked = len(sandbox.requests)
        status = await campaign.run(plan, on_event=campaigns.events.append)
    account = only(plan)
    assert account.requests.planning == asked
    assert account.waves == (3, 13, 63)
    assert plan.skips == {"not_eligible": 2, "offline": 2}
    assert account.quota is not None
    assert (account.quota.today, account.quota.per_day, account.quota.days) == (21, 28, 4)
    assert account.quota.last_reset == MIDNIGHT + timedelta(days=2)
    assert status.count("saved") == plan.commands
    posts = [len(r.body["commands"]) for r in sandbox.requests if r.operation == "create_commands"]
    assert campaigns.asked("create_commands") == plan.requests.create == plan.requests.most_create, posts
    assert campaigns.asked("download") == plan.requests.download == plan.commands
    assert campaigns.clock.now() >= account.quota.last_reset
    assert campaigns.clock.now() < account.quota.last_reset + timedelta(hours=2)


async def plan_and_run(campaigns: CampaignRig, **changes: Any) -> tuple[Plan, list[int], Counter[str]]:
    """Return a plan, how many commands each POST of its run had, and how many requests of each kind that took."""
    async with campaigns.campaign(campaigns.spec(**changes)) as campaign:
        plan = await campaign.plan()
        asked = len(campaigns.sandbox.requests)
        await campaign.run(plan, on_event=campaigns.events.append)
    requests = campaigns.sandbox.requests[asked:]
    posts = [len(request.body["commands"]) for request in requests if request.operation == "create_commands"]
    return plan, posts, Counter(request.operation for request in requests)


async def test_registrations_of_one_device_go_out_one_after_another(campaigns: CampaignRig) -> None:
    windows = row(1, platform="windows")
    devices = [attrs.evolve(windows, registration_id=f"r{number}", user_email=f"{number}@x.yz") for number in range(4)]
    await campaigns.account(devices=devices)
    plan, posts, _ = await plan_and_run(campaigns)
    assert posts == [1, 1, 1, 1]
    assert (plan.requests.create, plan.requests.most_create) == (4, 4)
    assert plan.requests.polls >= 4


async def test_how_many_posts_registrations_take_depends_on_when_their_devices_end(campaigns: CampaignRig) -> None:
    several = [row(number, platform="windows") for number in range(3)]
    devices = [
        *(row(number) for number in range(3, 12)),
        *several,
        *(attrs.evolve(device, registration_id=f"second-{device.name}") for device in several),
    ]
    await campaigns.account(devices=devices, behaviour=Behaviour(run_seconds=(60.0, 900.0), **HEALTHY))
    plan, posts, asked = await plan_and_run(campaigns)
    # Two hold all of them only if those of the second three are created together.
    assert (plan.requests.create, plan.requests.most_create) == (2, 5)
    assert 2 < len(posts) <= 5
    assert sum(posts) == asked["download"] == plan.commands == 15


async def test_the_sandbox_s_own_fleet_is_within_the_range(campaigns: CampaignRig) -> None:
    await campaigns.account(devices=200, behaviour=Behaviour())
    plan, posts, _ = await plan_and_run(campaigns)
    assert plan.requests.create <= len(posts) <= plan.requests.most_create
    assert plan.requests.most_create > -(-plan.commands // 10)


@pytest.mark.parametrize(
    ("in_flight", "quota", "sizes"),
    [(3, 800, [3] * 8), (15, 800, [10, 10, 4]), (9, 20, [9, 9, 2, 4]), (1, 800, [1] * 24)],
)
async def test_no_post_holds_more_than_may_be_in_flight(
    campaigns: CampaignRig, in_flight: int, quota: int, sizes: list[int]
) -> None:
    await campaigns.account(
        devices=[row(number) for number in range(24)], quota=quota, behaviour=Behaviour.instant(**HEALTHY)
    )
    plan, posts, _ = await plan_and_run(campaigns, pace=Pace(in_flight=in_flight))
    assert sorted(posts) == sorted(sizes)
    assert plan.requests.create == plan.requests.most_create == len(sizes)


async def test_what_comes_too_late_costs_nothing(campaigns: CampaignRig) -> None:
    await campaigns.account(devices=[row(number) for number in range(25)], quota=10)
    plan, posts, asked = await plan_and_run(
        campaigns, deadline=timedelta(hours=2), waves=Waves(sizes=(Share(count=6), Share(count=12)))
    )
    account = only(plan)
    assert posts == [6, 4]
    captured = {command.device.device_id for command in campaigns.sandbox.state.commands.values()}
    assert captured == {target.device_id for target in only(plan).targets[:10]}
    assert (len(account.targets), account.waves, account.commands, plan.commands) == (25, (6, 6, 13), 10, 10)
    assert account.quota is not None
    assert (account.quota.late, account.quota.days, account.quota.last_reset) == (15, 1, None)
    requests = plan.requests
    assert (requests.create, requests.most_create, requests.download) == (2, 2, asked["download"]) == (2, 2, 10)
    assert (plan.size.kind, plan.size.total) == ("at_most", 10 * 5_000_000)
    assert requests.audit == 2


async def test_what_is_too_late_from_the_start(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=5)
    plan, posts, asked = await plan_and_run(campaigns, deadline=campaigns.clock.now())
    assert (plan.commands, posts, plan.size.total) == (0, [], 0)
    assert plan.requests.total == plan.requests.most == plan.requests.planning == len(sandbox.requests) - asked.total()


async def test_only_the_quota_s_own_requests_are_not_in_a_plan(campaigns: CampaignRig) -> None:
    await campaigns.account(
        devices=[row(number) for number in range(30)], quota=10, behaviour=Behaviour.instant(**HEALTHY)
    )
    plan, posts, asked = await plan_and_run(campaigns)
    assert (len(posts), plan.requests.create) == (3, 3)
    # One at the start, and one after each of two resets; polls and the audit are estimates.
    assert asked == {"create_commands": 3, "download": 30, "get_quota": 3, "list_commands": asked["list_commands"]}


async def test_a_plan_tells_within_which_range_polls_are(campaigns: CampaignRig) -> None:
    behaviour = Behaviour(multi_user_share=0, ineligible_share=0, disconnected_share=0, run_seconds=(60.0, 120.0))
    sandbox = await campaigns.account(devices=150, behaviour=behaviour, artifact_size=2000)
    async with campaigns.campaign(campaigns.spec()) as campaign:
        plan = await campaign.plan()
        asked = len(sandbox.requests)
        status = await campaign.run(plan)
    assert status.count("saved") == 150
    looked = sum(request.operation == "list_commands" for request in sandbox.requests[asked:])
    requests = plan.requests
    assert (requests.polls, requests.most_polls) == (6, 36)
    assert requests.polls <= looked - requests.audit <= requests.most_polls


async def test_several_accounts_are_counted_each_and_together(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[row(number) for number in range(7)], quota=5)
    await campaigns.account("b", devices=[row(number) for number in range(3)])
    await campaigns.account("c", devices=0)
    spec = campaigns.spec(waves=Waves(sizes=(Share(count=1),)))
    async with campaigns.campaign(spec) as campaign:
        plan = await campaign.plan()
        await campaign.run(plan)
    a, b, c = plan.accounts
    assert (len(a.targets), len(b.targets), len(c.targets), plan.commands) == (7, 3, 0, 10)
    assert [target.target for account in plan.accounts for target in account.targets] == list(range(1, 11))
    assert (a.waves, b.waves, c.waves) == ((1, 6), (1, 2), ())
    assert [account.quota.days for account in plan.accounts if account.quota is not None] == [2, 1, 0]
    assert [account.requests.create for account in plan.accounts] == [3, 2, 0]
    assert plan.requests.download == 10
    assert campaigns.asked("create_commands", "a") == 3
    assert campaigns.asked("create_commands", "b") == 2
    assert campaigns.asked("download") == 10
    # Quota and one page of devices each, and one of commands where there is a device.
    assert [account.requests.planning for account in plan.accounts] == [3, 3, 2]
    assert plan.requests.planning == 8


# --- which devices are asked for


async def test_devices_are_searched_for(campaigns: CampaignRig) -> None:
    devices = [row(1, name="LON-1"), row(2, name="PAR-2"), row(3, user_email="london@example.com"), row(4)]
    sandbox = await campaigns.account(devices=devices)
    plan = await plan_of(campaigns, targets=Targeting(search=("lon", "london", "par", "nowhere")))
    assert {target.device_id for target in only(plan).targets} == {device_id(1), device_id(2), device_id(3)}
    assert not only(plan).skipped
    asked = [request.query.get("search") for request in sandbox.requests if request.operation == "list_devices"]
    assert asked == ["lon", "london", "par", "nowhere"]


async def test_a_few_emails_cost_two_requests_each_and_not_the_whole_list(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=[row(number) for number in range(200)])
    plan = await plan_of(campaigns, targets=Targeting(emails=("USER7@example.com", "user17@example.com", "gone@x")))
    assert {target.user_email for target in only(plan).targets} == {"user7@example.com", "user17@example.com"}
    assert [(target.user_email, target.skip) for target in only(plan).skipped] == [("gone@x", "not_found")]
    asked = [request.query.get("search") for request in sandbox.requests if request.operation == "list_devices"]
    # A short page does not say that it is the last, for its total counts every row.
    assert asked == ["USER7@example.com"] * 2 + ["user17@example.com"] * 2 + ["gone@x"]
    assert only(plan).requests.planning == 1 + 5 + 1 == len(sandbox.requests)


async def test_many_emails_are_looked_for_in_the_whole_list(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=[row(number) for number in range(120)])
    plan = await plan_of(campaigns, targets=Targeting(emails=tuple(f"user{n}@example.com" for n in range(21))))
    assert plan.commands == 21
    assert [request.query.get("search") for request in sandbox.requests if request.operation == "list_devices"] == [
        None
    ] * 3


async def test_devices_of_a_csv_are_looked_for_in_their_account(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[row(1), row(2)])
    await campaigns.account("b", devices=[row(1), row(3)])
    await campaigns.account("c", devices=[row(1)])
    file = campaigns.folder / "devices.csv"
    file.write_text(
        f"device_id,user_email,account\n{device_id(1)},,b\n{device_id(3)},,\n,user2@example.com,a\n"
        f"{device_id(3)},,a\n{device_id(9)},,\n"
    )
    plan = await plan_of(campaigns, targets=Targeting(csv=str(file)))
    assert [why(account.targets).keys() for account in plan.accounts] == [{"2"}, {"1", "3"}, set()]
    # The one that could be anywhere is told of once.
    assert [why(account.skipped) for account in plan.accounts] == [{"3": "not_found", "9": "not_found"}, {}, {}]
    assert [target.target for account in plan.accounts for target in [*account.targets, *account.skipped]] == [
        *range(1, 6)
    ]


async def test_an_account_where_nothing_is_named_is_not_walked(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account("a", devices=[row(1)])
    await campaigns.account("b", devices=[row(2)])
    file = campaigns.folder / "devices.csv"
    file.write_text(f"device_id,account\n{device_id(2)},b\n")
    plan = await plan_of(campaigns, targets=Targeting(csv=str(file)))
    assert plan.commands == 1
    assert [request.operation for request in sandbox.requests] == ["get_quota"]


async def test_a_csv_that_is_gone(campaigns: CampaignRig) -> None:
    await campaigns.account()
    with pytest.raises(ConfigurationError, match=r"gone\.csv can't be read: No such file"):
        await plan_of(campaigns, targets=Targeting(csv=str(campaigns.folder / "gone.csv")))


async def test_a_csv_that_names_nobody_does_not_mean_everybody(campaigns: CampaignRig) -> None:
    await campaigns.account()
    file = campaigns.folder / "devices.csv"
    file.write_text("device_id\n")
    with pytest.raises(ConfigurationError, match=r"devices\.csv names no device"):
        await campaigns.run(campaigns.spec(targets=Targeting(csv=str(file))))
    assert campaigns.asked("create_commands") == 0


# --- what runs


async def test_only_commands_that_can_still_run_are_in_the_way(campaigns: CampaignRig) -> None:
    devices = [row(number) for number in range(4)]
    sandbox = await campaigns.account(devices=devices, behaviour=Behaviour(pickup_seconds=(9999, 9999), **HEALTHY))
    sandbox.state.create(NewCommand(devices[0], "pcap"))
    campaigns.clock.advance(3000)
    sandbox.state.create(NewCommand(devices[1], "pcap"))
    sandbox.state.create(NewCommand(devices[2], "warp-diag"))
    plan = await plan_of(campaigns)
    assert why(only(plan).skipped) == {"1": "already_running"}
    plan = await plan_of(campaigns, command=WarpDiag())
    assert why(only(plan).skipped) == {"2": "already_running"}
    # A longer timeout means that an older one may still run.
    plan = await plan_of(campaigns, pace=Pace(timeout=timedelta(minutes=41)))
    assert why(only(plan).skipped) == {"0": "already_running", "1": "already_running"}


async def test_what_runs_is_told_by_the_service_s_clock(campaigns: CampaignRig) -> None:
    devices = [row(1), row(2)]
    sandbox = await campaigns.account(
        devices=devices, behaviour=Behaviour(pickup_seconds=(9999, 9999), clock_skew=-86400.0, **HEALTHY)
    )
    sandbox.state.create(NewCommand(devices[0], "pcap"))
    assert why(only(await plan_of(campaigns)).skipped) == {"1": "already_running"}


async def test_without_the_service_s_clock_this_machine_s_will_do(campaigns: CampaignRig) -> None:
    devices = [row(1), row(2)]
    sandbox = await campaigns.account(devices=devices, behaviour=Behaviour(pickup_seconds=(9999, 9999), **HEALTHY))
    sandbox.state.create(NewCommand(devices[0], "pcap"))
    sandbox.faults.add(Fault.headers({"Date": None}), on="list_devices")
    assert why(only(await plan_of(campaigns)).skipped) == {"1": "already_running"}


# --- accounts that can't be read


async def test_an_account_that_can_not_be_read_stops_no_other(campaigns: CampaignRig) -> None:
    await campaigns.account("a", devices=[row(1)])
    await campaigns.account("b", devices=[row(2)])
    await campaigns.account("c", devices=[row(3)])
    targets = Targeting(device_ids=(device_id(1), device_id(2), device_id(3)))
    spec = campaigns.spec(targets=targets)
    refused = campaigns.client

    def client(account: AccountSpec) -> DexClient:
        if account.name == "a":
            raise ConfigurationError("no token")
        return refused(account)

    campaigns.sandboxes["b"].faults.add(Fault.error(403), on="list_commands")
    async with campaigns.campaign(spec, client=client) as campaign:
        plan = await campaign.plan()
    a, b, c = plan.accounts
    assert isinstance(a.error, ConfigurationError)
    assert isinstance(b.error, PermissionDeniedError)
    assert plan.errors == {"a": a.error, "b": b.error}
    assert (b.targets, b.skipped, b.waves, b.quota) == ((), (), (), None)
    # What it took, it took: quota and devices.
    assert b.requests.planning == b.requests.total == 2
    assert plan.commands == len(c.targets) == 1
    assert c.targets[0].target == 1
    told = {target.device_id: (target.skip, target.detail) for target in c.skipped}
    assert told == {device_id(1): ("not_found", "not all accounts could be read")}


async def test_no_account_can_be_read(campaigns: CampaignRig) -> None:
    await campaigns.account("a")
    campaigns.client_options = {"api_token": "wrong"}
    plan = await plan_of(campaigns, targets=Targeting(device_ids="d1"))
    assert (plan.commands, plan.skips, list(plan.errors)) == (0, {}, ["a"])
    assert isinstance(plan.errors["a"], AuthenticationError | PermissionDeniedError)


async def test_an_account_without_a_client(campaigns: CampaignRig) -> None:
    await campaigns.account("a")
    await campaigns.account("b")
    with pytest.raises(ConfigurationError, match=r"^no client for the accounts a, b$"):
        await make_plan(campaigns.spec(), {}, None, campaigns.clock)


async def test_fifty_accounts_are_looked_at_some_at_a_time(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account("a", devices=[row(1)])
    accounts = tuple(AccountSpec(account_id=f"{index:032x}", name=f"account {index}") for index in range(50))
    busy: list[int] = []
    under_way = 0

    async def note(*_: Any) -> None:
        nonlocal under_way
        under_way += 1
        busy.append(under_way)

    class Counted:
        """A client of the one sandbox that counts how many are asked at a time."""

        def __init__(self, dex: DexClient) -> None:
            self.quota = self
            self.devices = dex.devices
            self.commands = dex.commands
            self.session = dex.session
            self._dex = dex

        async def get(self) -> Any:
            nonlocal under_way
            await note()
            quota = await self._dex.quota.get()
            under_way -= 1
            return quota

    async with campaigns.client(AccountSpec(account_id=sandbox.account_id, name="a")) as dex:
        clients: Any = {account.name: Counted(dex) for account in accounts}
        plan = await make_plan(campaigns.spec(accounts=accounts), clients, None, campaigns.clock)
    assert plan.commands == 50
    assert max(busy) == 8


# --- what it is made of


async def test_the_whole_of_a_plan(campaigns: CampaignRig) -> None:
    sandbox = await campaigns.account(devices=[row(number) for number in range(15)])
    spec = parse_campaign(
        f"""
        name = "x"
        deadline = "36h"
        [[accounts]]
        name = "acme"
        account_id = "{sandbox.account_id}"
        [command]
        type = "pcap"
        max_file_size_mb = 2
        """,
        folder=campaigns.folder,
        environ={},
    )
    plan = await plan_of(campaigns, spec)
    assert plan.spec == spec
    assert plan.planned_at == campaigns.clock.now()
    assert plan.deadline == plan.planned_at + timedelta(hours=36)
    assert (plan.size.kind, plan.size.total) == ("at_most", 15 * 2_000_000)
    assert plan.requests.create == 2
    assert (plan.requests.total, plan.requests.most) == (3 + 2 + 15 + 2 + 2, 3 + 2 + 15 + 12 + 2)
    assert plan.least_seconds == 0.0
    planned, *targets = plan.events()
    assert targets == list(only(plan).targets)
    assert isinstance(planned, CampaignPlanned)
    assert spec_from_json(planned.spec) == spec
    assert (planned.fingerprint, planned.type) == (fingerprint(spec), "pcap")
    assert planned.accounts == (("acme", sandbox.account_id),)
    at = await plan_of(campaigns, attrs.evolve(spec, deadline=MIDNIGHT))
    assert at.deadline == MIDNIGHT


async def test_sizes_are_those_that_the_journal_knows(campaigns: CampaignRig) -> None:
    await campaigns.account(devices=5, behaviour=Behaviour.instant(**HEALTHY), artifact_size=20_000)
    await campaigns.run(campaigns.spec())
    size = (await plan_of(campaigns, name="two")).size
    assert (size.kind, size.n, size.each, size.total) == ("mean", 5, 20_000.0, 100_000)
    assert (await plan_of(campaigns, name="two", command=WarpDiag())).size.kind == "unknown"


@pytest.mark.parametrize("apart", ["by the token", "by the origin", "not at all"])
async def test_accounts_of_one_token_wait_for_one_another(campaigns: CampaignRig, apart: str) -> None:
    for name in "ab":
        token = f"t0k3n-{name}" if apart == "by the token" else "t0k3n"
        await campaigns.account(name, devices=[row(number) for number in range(800)], quota=1000, token=token)
    if apart != "by the origin":
        campaigns.share_origin()
    spec = campaigns.spec()
    if apart == "not at all":
        # Two variables may hold one token, and where a program makes the clients none of them holds any.
        accounts = tuple(attrs.evolve(account, token_env=f"TOKEN_{account.name}") for account in spec.accounts)
        spec = attrs.evolve(spec, accounts=accounts)
    plan = await plan_of(campaigns, spec)
    requests = [account.requests.total for account in plan.accounts]
    assert max(requests) < 1200 < sum(requests) < 2400
    assert (plan.least_seconds >= 300.0) == (apart == "not at all")


async def test_a_plan_is_run_by_its_own_campaign_only(campaigns: CampaignRig) -> None:
    await campaigns.account(devices=2)
    other = await plan_of(campaigns, leave_quota=5)
    async with campaigns.campaign(campaigns.spec()) as campaign:
        with pytest.raises(ConfigurationError, match="the plan belongs to another campaign"):
            await campaign.run(other)
        assert not await campaign.known()
        assert (await campaign.run(await campaign.plan())).count("saved") == 2
    assert campaigns.asked("create_commands") == 1
