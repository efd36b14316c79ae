"""What plans, progress and events say, word by word, and that the documents have what the documentation says."""

import inspect
import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args, get_type_hints

import attrs
import pytest
from rich.console import Console

from dexcmd import Pcap, SpeedTest, WarpDiag
from dexcmd.amounts import counted
from dexcmd.campaign import events
from dexcmd.campaign.events import (
    AccountStopped,
    ArtifactFailed,
    CampaignEvent,
    CreatingAborted,
    QuotaWaited,
    RunStarted,
    TargetPlanned,
    TargetRetried,
    WaveOpened,
)
from dexcmd.campaign.forecast import QuotaForecast, Requests, SizeForecast
from dexcmd.campaign.plan import AccountPlan, Plan
from dexcmd.campaign.spec import AccountSpec, CampaignSpec, FailureClass, Share, Waves
from dexcmd.campaign.status import AccountStatus, CampaignStatus, Settling
from dexcmd.cli.campaign.exporting import format_of
from dexcmd.cli.campaign.plantext import brief_lines, plan_document, plan_lines, question
from dexcmd.cli.campaign.running import event_line
from dexcmd.cli.campaign.setbacks import SETBACK_SECONDS, Setbacks
from dexcmd.cli.campaign.standing import LINE_SECONDS, CampaignLines, Standing
from dexcmd.cli.campaign.statustext import COLUMNS, event_document, exit_code, status_document
from dexcmd.cli.view import Picture, Stage
from dexcmd.errors import ConfigurationError, DexError
from tests.campaign.specs import ACCOUNT_ID, OTHER_ID

DOCS = Path(__file__).parents[3] / "docs" / "commandline.md"
NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
EMEA, APAC = AccountSpec(account_id=ACCOUNT_ID, name="emea"), AccountSpec(account_id=OTHER_ID, name="apac")
ONE = CampaignSpec(name="london", command=Pcap(time_limit_min=2), accounts=(EMEA,))
TWO = attrs.evolve(ONE, accounts=(EMEA, APAC))


def target(number: int, **fields: Any) -> TargetPlanned:
    usual: dict[str, Any] = {"device_id": f"d{number}", "user_email": f"user{number}@example.com", "wave": 1}
    return TargetPlanned(at=NOW, account="emea", target=number, **{**usual, **fields})


def account_plan(**fields: Any) -> AccountPlan:
    quota = QuotaForecast(quota=800, usage=800, reset_time=None, today=0, per_day=0, days=None, last_reset=None, late=0)
    usual: dict[str, Any] = {"account": EMEA, "targets": [target(1)], "waves": (1,), "quota": quota}
    return AccountPlan(**{**usual, **fields})


def plan(*accounts: AccountPlan, spec: CampaignSpec = ONE, size: SizeForecast | None = None) -> Plan:
    size = size or SizeForecast(kind="unknown", each=None, total=None)
    return Plan(spec=spec, planned_at=NOW, deadline=None, accounts=accounts, size=size, least_seconds=0.0)


class TestPlans:
    def test_a_quota_that_never_suffices(self):
        lines = plan_lines(plan(account_plan()))
        assert "  quota: 800 of 800 used" in lines
        assert "  the quota is never enough: nothing can be created" in lines
        assert "bytes             of a size that is not known" in lines

    def test_a_quota_that_is_not_told(self):
        assert "  quota: the service does not say" in plan_lines(plan(account_plan(quota=None)))

    def test_what_comes_after_the_deadline_without_a_quota_that_is_told(self):
        quota = QuotaForecast(
            quota=None, usage=None, reset_time=None, today=None, per_day=None, days=None, last_reset=None, late=1
        )
        late = plan(account_plan(quota=quota, targets=[target(1), target(2)]))
        assert "emea: 1 command; 1 more would come after the deadline: not created" in brief_lines(
            plan(account_plan(quota=quota, targets=[target(1), target(2)]), account_plan(account=APAC), spec=TWO)
        )
        lines = plan_lines(late)
        assert "devices                   2  registrations that match" in lines
        assert "  captured                1  a command each" in lines
        assert "  too late                1  the quota leaves it for after the deadline" in lines
        assert "  1 command, 0 devices skipped" in lines
        assert question(late) == "Start 1 capture on 1 device of 1 account?"

    @pytest.mark.parametrize(
        ("today", "days", "last", "line"),
        [
            (1, 1, None, "1 day by the quota"),
            (0, 1, None, "1 day by the quota: 0 before the reset, then up to 2 a day"),
            (1, 3, None, "3 days by the quota: 1 before the reset, then up to 2 a day"),
            (
                1,
                3,
                NOW,
                "3 days by the quota: 1 before the reset, then up to 2 a day, the last from 2026-03-01 08:00 UTC on",
            ),
        ],
    )
    def test_days_by_the_quota(self, today: int, days: int, last: datetime | None, line: str):
        quota = QuotaForecast(
            quota=2, usage=1, reset_time=last, today=today, per_day=2, days=days, last_reset=last, late=0
        )
        targets = [target(number) for number in range(today + 2 * days - (2 if today else 0))]
        both = plan(account_plan(quota=quota, targets=targets))
        assert f"  {line}" in plan_lines(both)
        assert f"{counted(len(targets), 'command')}; {line}" in brief_lines(both)

    def test_no_days_where_nothing_is_to_be_created(self):
        quota = QuotaForecast(quota=2, usage=1, reset_time=None, today=1, per_day=2, days=0, last_reset=None, late=0)
        assert not [line for line in plan_lines(plan(account_plan(quota=quota, targets=[]))) if "by the quota" in line]

    @pytest.mark.parametrize(
        ("most", "posts"),
        [(3, "3 POSTs to create"), (5, "3 to 5 POSTs to create"), (1500, "3 to 1,500 POSTs to create")],
    )
    def test_how_many_posts(self, most: int, posts: str):
        requests = Requests(planning=2, create=3, most_create=most, download=20, polls=2, most_polls=15, audit=2)
        [line] = [line for line in plan_lines(plan(account_plan(requests=requests))) if line.startswith("requests")]
        assert line == (
            f"{'requests':<18}{29:>9}  to {39 + most:,}: {posts}, 20 to download, some 2 to 15 polls, as captures take "
            "seconds or minutes, and some 2 for the audit; this plan took 2; beside these, one for the quota at each "
            "start and after each reset"
        )

    def test_no_requests_but_those_of_the_plan(self):
        nothing = plan(account_plan(requests=Requests(planning=3), targets=[]))
        assert f"{'requests':<18}{3:>9}  of this plan: there is nothing to capture" in plan_lines(nothing)

    @pytest.mark.parametrize(
        ("command", "expected"),
        [
            (Pcap(), "pcap"),
            (Pcap(time_limit_min=2.5, max_file_size_mb=5.0), "pcap (max_file_size_mb 5, time_limit_min 2.5)"),
            (WarpDiag(test_all_routes=True), "warp-diag (test_all_routes yes)"),
            (WarpDiag(test_all_routes=False), "warp-diag (test_all_routes no)"),
            (SpeedTest(interfaces=["default", "tunnel"]), "speed-test (interfaces default and tunnel)"),
        ],
        ids=["pcap", "args", "yes", "no", "list"],
    )
    def test_the_command(self, command: Any, expected: str):
        spec = attrs.evolve(ONE, command=command)
        assert plan_lines(plan(account_plan(), spec=spec))[0] == f"plan of london: {expected}"

    def test_in_short(self):
        broken = AccountPlan(account=APAC, error=DexError("no luck"))
        skipped = [target(3, skip="offline"), target(4, skip="not_eligible"), target(5, skip="offline")]
        size = SizeForecast(kind="mean", each=1000.0, total=2000, n=4321)
        both = plan(account_plan(targets=[target(1), target(2)], skipped=skipped), broken, spec=TWO, size=size)
        assert brief_lines(both) == [
            "london: pcap (time_limit_min 2) on 2 devices of user1@example.com, user2@example.com",
            "skipped: not eligible 1, offline 2",
            "emea: 2 commands; the quota is never enough: nothing can be created",
            "apac: can't be read (no luck), planned and captured once it can be",
            "artifacts: about 2.0 kB, 1.0 kB each as the mean of 4,321 in the journal, into captures",
        ]

    def test_in_short_where_only_the_first_account_has_answered(self):
        assert brief_lines(plan(account_plan(), spec=TWO)) == [
            "london: pcap (time_limit_min 2) on 1 device of user1@example.com",
            "emea: 1 command; the quota is never enough: nothing can be created",
            "1 more account: planned and captured alongside, each as soon as it answers",
            "artifacts: of a size that is not known, into captures",
        ]

    @pytest.mark.parametrize(
        ("users", "whom"),
        [
            ("1", "1 device of u1"),
            ("111", "3 devices of u1"),
            ("1213", "4 devices of u1, u2, u3"),
            ("1122334455", "10 devices of u1, u2, u3, u4, u5"),
            ("11223344556677", "14 devices of u1, u2, u3, u4, u5 and 2 more"),
        ],
    )
    def test_each_user_is_named_once(self, users: str, whom: str):
        targets = [target(number, user_email=f"u{user}") for number, user in enumerate(users, 1)]
        assert brief_lines(plan(account_plan(targets=targets)))[0] == f"london: pcap (time_limit_min 2) on {whom}"

    def test_registrations_of_a_device_are_one_device(self):
        targets = [target(number, device_id="d1", user_email="u1") for number in (1, 2)]
        assert (
            brief_lines(plan(account_plan(targets=targets)))[0] == "london: pcap (time_limit_min 2) on 1 device of u1"
        )

    def test_the_question(self):
        # Two registrations of one device.
        targets = [target(number, device_id="d1" if number < 3 else f"d{number}") for number in range(1, 1235)]
        assert question(plan(account_plan(targets=targets))) == ("Start 1,234 captures on 1,233 devices of 1 account?")
        assert question(plan(account_plan())) == "Start 1 capture on 1 device of 1 account?"

    def test_a_document_without_a_quota(self):
        document = plan_document(plan(account_plan(quota=None, requests=Requests(create=1))), name_all=True)
        [account] = document["accounts"]  # type: ignore[misc]
        assert account["quota"] is None
        assert account["requests"]["total"] == 1
        assert [row["target"] for row in account["targets"]] == [1]


def account(name: str = "emea", states: dict[str, int] | None = None, **fields: Any) -> AccountStatus:
    hints = get_type_hints(AccountStatus)
    zero = dict.fromkeys(get_args(get_args(hints["states"])[0]), 0)
    usual: dict[str, Any] = {
        "name": name,
        "account_id": ACCOUNT_ID,
        "token_env": "CLOUDFLARE_API_TOKEN",
        "wave": 1,
        "waves": 1,
        "states": {**zero, **(states or {})},
        "failures": dict.fromkeys(get_args(get_args(hints["failures"])[0]), 0) | fields.pop("failures", {}),
        "settling": Settling(seconds=120.0, n=0, longest=0.0),
        **dict.fromkeys(("commands", "posts", "surplus", "foreign", "left_running"), 0),
        **dict.fromkeys(
            (
                "audited_at",
                "audit_error",
                "quota",
                "usage",
                "reset_time",
                "waits_until",
                "next_wave_at",
                "stopped",
                "reason",
            )
        ),
    }
    return AccountStatus(**{**usual, **fields})


def status(*accounts: AccountStatus, **fields: Any) -> CampaignStatus:
    usual: dict[str, Any] = {
        "name": "london",
        "state": "running",
        "control": "run",
        "running_elsewhere": False,
        "planned_at": NOW,
        "deadline": None,
        "size": 0,
        "into": "captures",
    }
    return CampaignStatus(accounts=accounts, **{**usual, **fields})


def pictured(now: CampaignStatus, *before: CampaignStatus, leave_quota: int = 0, stopping: bool = False) -> Picture:
    standing = Standing(None, leave_quota)
    standing.stopping = stopping
    for second, one in enumerate((*before, now)):
        standing.look(one, 60.0 * second)
    return standing.picture()


class TestProgress:
    def test_before_there_is_any(self):
        assert Standing(None, 0).picture() == Picture((), "writing the plan down")

    def test_what_has_failed_is_not_expected_any_more(self):
        states = {"saved": 3, "collecting": 1, "running": 2, "creating": 1, "pending": 4, "failed": 15}
        states["not_attempted"] = 5
        failures = {"device": 1, "timeout": 2, "rejected": 3, "unknown": 4, "download": 5}
        picture = pictured(status(account(states=states, failures=failures), size=5_000_000))
        assert picture.stages == (
            Stage("created", 14, 19),
            Stage("captured", 9, 16),
            Stage("fetched", 3, 11),
        )
        assert picture.said.splitlines() == [
            "3 fetched (5.0 MB), 2 running, 1 being created, "
            "15 failed (device 1, timeout 2, rejected 3, unknown 4, download 5), 5 not attempted"
        ]

    def test_rates_and_the_time_left(self):
        before = status(account(states={"pending": 100}))
        now = status(account(states={"pending": 60, "running": 20, "saved": 20}))
        created, captured, fetched = pictured(now, before).stages
        assert (created.note, captured.note, fetched.note) == ("40/min, 1 min 30 s left", "", "20/min, 4 min left")

    @pytest.mark.parametrize(
        ("fields", "campaign", "options"),
        [
            ({"waits_until": NOW}, {}, {}),
            ({"quota": 100, "usage": 60}, {}, {}),
            ({"quota": 100, "usage": 30}, {}, {"leave_quota": 11}),
            ({}, {"control": "pause"}, {}),
            ({}, {}, {"stopping": True}),
        ],
        ids=["quota", "too little quota", "quota of others", "paused", "stopping"],
    )
    def test_no_rate_tells_how_long_it_waits(
        self, fields: dict[str, Any], campaign: dict[str, Any], options: dict[str, Any]
    ):
        before = status(account(states={"pending": 100}, **fields), **campaign)
        now = status(account(states={"pending": 60, "running": 40}, **fields), **campaign)
        assert pictured(now, before, **options).stages[0].note == "40/min"

    def test_quota_enough_for_what_is_left(self):
        before = status(account(states={"pending": 100}, quota=200, usage=60))
        now = status(account(states={"pending": 60, "running": 40}, quota=200, usage=60, commands=40))
        assert pictured(now, before).stages[0].note == "40/min, 1 min 30 s left"
        # Since the quota was asked for, some of it was used.
        now = status(account(states={"pending": 60, "running": 40}, quota=200, usage=60, commands=81))
        assert pictured(now, before).stages[0].note == "40/min"
        # It is asked for again, and has room for what the others have used before.
        now = status(account(states={"pending": 60, "running": 40}, quota=200, usage=140, commands=81))
        assert pictured(now, before).stages[0].note == "40/min, 1 min 30 s left"

    def test_nothing_late_is_looked_for_where_nothing_was_sent(self):
        assert len(pictured(status(account(states={"skipped": 1}))).said.splitlines()) == 1

    def test_what_is_waited_for(self):
        reset = datetime.now(UTC) + timedelta(hours=6, minutes=12, seconds=30)
        waits = account(states={"pending": 1, "saved": 1}, waves=3, wave=2, waits_until=reset)
        assert pictured(status(waits)).said.splitlines()[1:] == [
            "wave 2 of 3, waiting for the quota: reset in 6 h 12 min"
        ]
        soaks = account(states={"pending": 1, "saved": 1}, waves=3, wave=2, posts=1, next_wave_at=reset)
        assert pictured(status(soaks)).said.splitlines()[1:] == ["wave 2 of 3, soaking: the next wave in 6 h 12 min"]
        # It is over, and a pause keeps the wave from beginning.
        over = attrs.evolve(soaks, next_wave_at=NOW)
        assert pictured(status(over, control="pause")).said.splitlines()[1:] == ["london is paused", "wave 2 of 3"]
        audit = account(states={"saved": 1}, posts=1)
        assert pictured(status(audit)).said.splitlines()[1:] == ["looking for late commands in the list"]
        waits_for_it = attrs.evolve(audit, audit_at=reset)
        assert pictured(status(waits_for_it)).said.splitlines()[1:] == ["waiting to audit: begins in 6 h 12 min"]
        over = attrs.evolve(audit, audit_at=NOW)
        assert pictured(status(over)).said.splitlines()[1:] == ["looking for late commands in the list"]
        failed = attrs.evolve(audit, audit_error="HTTP\n500")
        assert pictured(status(failed)).said.splitlines()[1:] == [
            "the audit failed, and the next run tries it again: HTTP 500"
        ]
        refused = account("apac", {"pending": 2}, stopped="refused", reason="no\ntoken")
        ended = account("amer", {"saved": 2}, stopped="finished")
        aborted = account("test", stopped="aborted")
        both = status(waits, refused, ended, aborted, control="pause")
        assert pictured(both).said.splitlines()[1:] == [
            "london is paused",
            "emea: 1 of 2, wave 2 of 3, waiting for the quota: reset in 6 h 12 min",
            "apac: 0 of 2, refused: no token",
            "amer: 2 of 2",
            "test: 0 of 0, aborted",
        ]

    def test_an_account_that_has_stopped_holds_up_no_other(self):
        stopped = account("apac", {"pending": 5}, stopped="aborted", quota=10, usage=10)
        before = status(account(states={"pending": 100}), stopped)
        now = status(account(states={"pending": 60, "running": 40}), stopped)
        assert pictured(now, before).stages[0].note == "40/min, 1 min 38 s left"

    def test_an_account_is_done_when_all_but_what_its_plan_skips_is_there(self):
        done, other = account(states={"saved": 2, "skipped": 3}), account("apac", {"pending": 1})
        assert pictured(status(done, other)).said.splitlines()[1:] == ["emea: 2 of 2", "apac: 0 of 1"]

    def test_many_accounts(self):
        many = [account(f"a{number}", {"pending": 1}) for number in range(50)]
        said = pictured(status(*many), stopping=True).said.splitlines()
        assert said[1] == "stopping"
        assert said[-2:] == ["a5: 0 of 1", "and 44 more accounts"]


def test_plain_lines_come_now_and_then_and_only_where_something_has_changed():
    output, time = io.StringIO(), [0.0]

    def shown() -> list[str]:
        return output.getvalue().splitlines()

    def picture(count: int, said: str = "x") -> Picture:
        return Picture((Stage("created", count, 2000, "12/min"),), f"{count} fetched, {said}")

    with CampaignLines(Console(file=output, width=80), lambda: time[0]) as view:
        view.show(Picture((), "writing the plan down"))
        assert shown() == []
        view.show(picture(0))
        assert shown() == ["0 of 2,000 created, x, 12/min"]
        view.show(picture(1))
        assert len(shown()) == 1
        time[0] = LINE_SECONDS
        view.show(picture(1))
        assert len(shown()) == 2
        time[0] = 10 * LINE_SECONDS
        view.show(picture(1, "reset in 5 h"))
        view.show(picture(2))
        view.show(picture(1500))
        assert len(shown()) == 3
    assert shown()[2:] == ["2 of 2,000 created, x, 12/min", "1,500 of 2,000 created, x, 12/min"]
    with CampaignLines(Console(file=output, width=80)):
        pass
    assert len(shown()) == 4


def test_a_list_tells_of_accounts_that_are_refused_only_if_there_are_any():
    *_, column = COLUMNS
    assert (column.title, column.only_if_any) == ("refused", True)
    assert column.cell(status(account())) == ""
    two = status(account(stopped="refused"), account("apac", stopped="refused"), account("amer"))
    assert column.cell(two) == "2 accounts"


def test_a_list_tells_what_is_left_down_to_what_is_being_fetched():
    [left] = [column for column in COLUMNS if column.title == "left"]
    states = {"pending": 1, "creating": 2, "running": 4, "collecting": 8, "saved": 16, "failed": 32, "skipped": 64}
    assert left.cell(status(account(states=states))) == "15"


class TestEvents:
    def test_what_people_are_told(self):
        waves = attrs.evolve(TWO, waves=Waves(sizes=(Share(count=5),)))
        wave = WaveOpened(at=NOW, account="emea", wave=2)
        assert event_line(wave, waves, Setbacks()) == "emea: wave 2 begins"
        assert event_line(wave, TWO, Setbacks()) is None
        waited = QuotaWaited(at=NOW, account="emea", until=NOW + timedelta(hours=16))
        assert event_line(waited, ONE, Setbacks()) == (
            "the quota is used up: waiting for its reset, until 2026-03-02 00:00 UTC"
        )
        aborted = CreatingAborted(at=NOW, account="emea", reason="4 of 5 failed")
        assert event_line(aborted, ONE, Setbacks()) == "nothing more is created: 4 of 5 failed"
        assert event_line(AccountStopped(at=NOW, account="emea", kind="aborted"), TWO, Setbacks()) == "emea: aborted"
        assert event_line(AccountStopped(at=NOW, account="emea", kind="finished"), TWO, Setbacks()) is None
        assert event_line(RunStarted(at=NOW), ONE, Setbacks()) is None

    def test_why_downloads_fail_is_told_now_and_then(self):
        now = 0.0
        setbacks = Setbacks(lambda: now)

        def told(spec: CampaignSpec, error: str, failure: FailureClass = "download") -> list[str]:
            failed = ArtifactFailed(at=NOW, account="emea", target=1, command_id="c1", error=error)
            again = TargetRetried(
                at=NOW, account="emea", target=1, failure=failure, not_before=NOW + timedelta(seconds=90)
            )
            return [line for event in (failed, again) if (line := event_line(event, spec, setbacks)) is not None]

        assert told(ONE, "no", "device") == []
        assert told(TWO, "503:\nno") == ["emea: a download failed, next try in 1 min 30 s: 503: no"]
        now = SETBACK_SECONDS - 1
        assert told(ONE, "504") == told(ONE, "500") == []
        now += 1
        more = "a download failed (and 2 more since the last such message), next try in 1 min 30 s: 502"
        assert told(ONE, "502") == [more]
        now += SETBACK_SECONDS
        assert told(ONE, "502") == ["a download failed, next try in 1 min 30 s: 502"]

    def test_as_documents(self):
        assert event_document("london", target(7, skip="offline")) == {
            "schema": "campaign-event/1",
            "campaign": "london",
            "event": "target_planned",
            "at": "2026-03-01T08:00:00Z",
            "account": "emea",
            "target": 7,
            "device_id": "d7",
            "user_email": "user7@example.com",
            **dict.fromkeys(("registration_id", "device_name", "platform", "version", "detail")),
            "wave": 1,
            "skip": "offline",
        }
        assert event_document("x", QuotaWaited(at=NOW, account="a", until=NOW))["until"] == "2026-03-01T08:00:00Z"


@pytest.mark.parametrize(
    ("state", "saved", "code"),
    [
        ("finished", 2, 0),
        ("finished", 1, 3),
        ("aborted", 1, 4),
        ("cancelled", 2, 4),
        ("refused", 1, 5),
        ("interrupted", 1, 130),
        ("paused", 1, 130),
        ("planned", 0, 130),
    ],
)
def test_exit_codes(state: Any, saved: int, code: int):
    assert exit_code(status(account(states={"saved": saved, "failed": 2 - saved}), state=state)) == code


@pytest.mark.parametrize(
    ("chosen", "output", "as_json", "expected"),
    [
        (None, None, False, "csv"),
        (None, None, True, "jsonl"),
        (None, "x.Parquet", True, "parquet"),
        (None, "x.db", False, "sqlite"),
        (None, "x", False, "csv"),
        ("csv", "x.txt", False, "csv"),
        ("sqlite", "x.csv", False, "sqlite"),
    ],
)
def test_formats(chosen: Any, output: str | None, as_json: bool, expected: str):
    assert format_of(chosen, None if output is None else Path(output), as_json=as_json) == expected


def test_no_database_on_stdout():
    with pytest.raises(ConfigurationError, match="--output"):
        format_of("sqlite", None, as_json=False)


class TestDocumentation:
    TEXT = DOCS.read_text(encoding="utf-8")

    def row(self, schema: str) -> set[str]:
        found = re.search(rf"^\| `{schema}` \|[^|]*\| (.*) \|$", self.TEXT, re.MULTILINE)
        assert found is not None
        return set(re.findall(r"`(\w+)`", found[1]))

    def test_the_status(self):
        document = status_document(status(account()))
        assert document.keys() - {"schema"} <= self.row("campaign-status/1")
        assert document["accounts"][0].keys() <= self.row("campaign-status/1")  # type: ignore[index]

    def test_the_plan(self):
        document = plan_document(plan(account_plan()), name_all=True)
        assert document.keys() - {"schema"} <= self.row("campaign-plan/1")
        assert document["accounts"][0].keys() <= self.row("campaign-plan/1")  # type: ignore[index]

    def test_every_event(self):
        kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, CampaignEvent)]
        # The plan is written down before a run, and what the operator wants by whoever it is.
        others = {"CampaignEvent", "CampaignPlanned", "TargetPlanned", "ControlRequested"}
        told = [kind for kind in kinds if kind.__name__ in {*events.__all__} - others]
        assert len(told) == 21
        for kind in told:
            name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()
            found = re.search(rf"^\| `{name}` \| (.*) \|$", self.TEXT, re.MULTILINE)
            assert found is not None, name
            own = inspect.get_annotations(kind)
            assert set(re.findall(r"`(\w+)`", found[1].split("—")[0])) == set(own), name
