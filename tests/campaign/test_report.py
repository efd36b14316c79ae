"""The report: what people read about a campaign, word by word."""

from datetime import timedelta, timezone
from typing import Any

import attrs
import pytest

from dexcmd.campaign.report import report_lines
from dexcmd.campaign.status import CampaignStatus, Settling
from tests.campaign.facts import account_id, minutes
from tests.campaign.test_status import CAMPAIGN, SPEC, account, count, status

ABORTED = account(
    wave=1,
    stopped="aborted",
    reason="12 of 20\nfailed",
    left_running=4,
    quota=800,
    usage=800,
    reset_time=minutes(900),
    surplus=3,
    foreign=5,
    audited_at=minutes(99),
    posts=92,
    commands=1850,
    size=4_123_456_789,
)

COUNTS = [
    count("saved", 812),
    count("failed", 20, failure="device"),
    count("failed", 3, failure="unknown"),
    count("not_attempted", 12),
    count("skipped", 35, wave=0),
    count("running", 4),
    count("pending", 300, account="b", wave=2),
]

MIXED = """\
c is running, but can only wait for now (by another process)
planned at 2026-03-01 08:00 UTC; creates nothing after 2026-03-04 08:01 UTC

targets               1,151  and 35 skipped by the plan
  saved                 812  4.1 GB in captures
  failed                 23
    device               20  the service reports FAILED
    unknown               3  the response was lost, and the list shows no command
  not attempted          12  no command will be created or collected for them
  running                 4  their commands have not ended
  pending               300  a command is still to be created for them

commands made         1,850  in 95 POSTs
surplus                   3  second commands for a target, from POSTs that were resent because the response was lost; \
not collected
quota spent           1,853  commands made and surplus
foreign                   5  other people's commands during the campaign, from the same quota
  surplus and foreign are only those known so far: the audit that counts them is still to come
still running             4  commands that keep running, as the service can't cancel them

account a (00000000000000000000000000000001)
  aborted: 12 of 20 failed
  settling: a search for a lost command lasts 120 s; the slowest of 7 confirmed commands \
appeared in the list within 4.5 s
  audited at 2026-03-01 09:39 UTC

account b (00000000000000000000000000000002)
  wave 1 of 2 not started
  waiting for the quota until 2026-03-01 23:00 UTC
  settling: a search for a lost command lasts 120 s; the slowest of 7 confirmed commands \
appeared in the list within 4.5 s

next: nothing, it continues by itself; `dexcmd campaign pause c` pauses it"""


def test_a_campaign_of_all_kinds():
    other = account("b", account_id=account_id(2), waits_until=minutes(900), posts=3)
    spec = attrs.evolve(SPEC, deadline=timedelta(days=3))
    assert "\n".join(report_lines(status(ABORTED, other, counts=COUNTS, held=True, spec=spec))) == MIXED


FINISHED = """\
c is finished
planned at 2026-03-01 08:00 UTC

targets                   1
  saved                   1  1.0 MB in captures

commands made             1  in 1 POST
surplus                   0  second commands for a target, from POSTs that were resent because the response was lost; \
not collected
quota spent               1  commands made and surplus
foreign                   0  other people's commands during the campaign, from the same quota

account a (00000000000000000000000000000001)
  finished
  settling: a search for a lost command lasts 60 s; the lag of the list has not been measured yet (n = 0)
  audited at 2026-03-01 08:09 UTC

next: nothing, every target has its artifact"""


def test_one_that_all_went_well_with():
    record = account(stopped="finished", wave=1, posts=1, commands=1, size=1_000_000, audited_at=minutes(9))
    found = status(record, counts=[count("saved")])
    unseen = attrs.evolve(found.accounts[0], settling=Settling(seconds=60.0, n=0, longest=0.0))
    assert "\n".join(report_lines(attrs.evolve(found, accounts=(unseen,)))) == FINISHED


def steps(found: CampaignStatus) -> list[str]:
    return [line.removeprefix("next: ") for line in report_lines(found) if line.startswith("next: ")]


EXPORT = "`dexcmd campaign export c` lists the outcome of each target, and why"


class TestNext:
    @pytest.mark.parametrize(
        ("changes", "held", "expected"),
        [
            (
                {"first_run_at": None},
                False,
                "`dexcmd campaign run c` starts it, `dexcmd campaign cancel c` cancels it",
            ),
            ({}, True, "nothing, it continues by itself; `dexcmd campaign pause c` pauses it"),
            ({}, False, "`dexcmd campaign resume c` resumes it"),
            ({"control": "pause"}, True, "`dexcmd campaign resume c` resumes it"),
        ],
    )
    def test_while_something_is_left(self, changes: dict[str, Any], held: bool, expected: str):
        campaign = attrs.evolve(CAMPAIGN, **changes)
        assert steps(status(account(), counts=[count("pending")], campaign=campaign, held=held)) == [expected]

    @pytest.mark.parametrize(
        ("stopped", "counts", "expected"),
        [
            ("aborted", [count("saved"), count("failed", failure="device")], [EXPORT]),
            ("cancelled", [count("not_attempted")], [EXPORT]),
            (
                "refused",
                [count("pending")],
                [
                    "fix what was refused, such as a token (CLOUDFLARE_API_TOKEN or CLOUDFLARE_API_TOKEN_FILE) "
                    "or its permissions",
                    "then `dexcmd campaign resume c` resumes it; `dexcmd campaign cancel c` ends it",
                ],
            ),
            (
                "finished",
                [count("failed", 2, failure="unknown")],
                [EXPORT, "check the 2 unknown in the list of commands before you capture them again"],
            ),
        ],
    )
    def test_at_the_end(self, stopped: Any, counts: Any, expected: list[str]):
        assert steps(status(account(stopped=stopped), counts=counts)) == expected


def test_whose_token_is_to_be_put_right():
    found = status(account(stopped="finished"), account("b", stopped="refused"), counts=[count("saved")])
    assert steps(found)[0] == "fix what was refused, such as a token (APAC or APAC_FILE) or its permissions"


class TestCancelling:
    @pytest.mark.parametrize(
        ("control", "said"), [("cancel_keep", ""), ("cancel_drop", ", and running commands are not collected")]
    )
    def test_meanwhile(self, control: Any, said: str):
        campaign = attrs.evolve(CAMPAIGN, control=control)
        counts = [count("running", 6), count("running", 9, account="b"), count("pending", 2)]
        done = account("b", stopped="cancelled", left_running=1)
        lines = report_lines(status(account(), done, counts=counts, campaign=campaign, held=True))
        assert f"being cancelled: nothing more is created{said}" in lines
        # Those of the account that is done with are counted by what was left at its end.
        assert still_running(lines) == ["7"]

    def test_afterwards(self):
        campaign = attrs.evolve(CAMPAIGN, control="cancel_drop")
        lines = report_lines(status(account(stopped="cancelled", left_running=5), campaign=campaign))
        assert lines[0] == "c was cancelled"
        assert not any(line.startswith("being cancelled") for line in lines)
        assert still_running(lines) == ["5"]

    def test_running_commands_of_one_that_goes_on_are_no_matter(self):
        assert still_running(report_lines(status(account(), counts=[count("running", 6)], held=True))) == []


def still_running(lines: list[str]) -> list[str]:
    return [line.split()[2] for line in lines if line.startswith("still running")]


class TestAccounts:
    @pytest.mark.parametrize(
        ("fields", "line"),
        [
            ({"wave": 2}, "  wave 2 of 3"),
            ({"quota": 200, "usage": 20}, "  quota: 20 of 200 used when last checked"),
            (
                {"quota": 800, "usage": 800, "reset_time": minutes(900)},
                "  quota: 800 of 800 used when last checked, reset at 2026-03-01 23:00 UTC",
            ),
            ({"stopped": "refused"}, "  refused"),
            ({"audited_at": minutes(60)}, "  audited at 2026-03-01 09:00 UTC"),
            ({"audit_error": "HTTP\n500"}, "  the audit failed, and the next run tries it again: HTTP 500"),
        ],
    )
    def test_says(self, fields: dict[str, Any], line: str):
        assert line in report_lines(status(account(**fields), counts=[count("pending", wave=3)]))

    def test_times_are_of_utc(self):
        there = minutes(60).astimezone(timezone(timedelta(hours=5)))
        assert "  audited at 2026-03-01 09:00 UTC" in report_lines(status(account(audited_at=there)))

    @pytest.mark.parametrize(
        ("fields", "word"),
        [
            ({"wave": 1}, "wave"),
            ({"quota": 200}, "quota:"),
            # What was asked before the last commands were made tells nothing any more.
            ({"quota": 200, "usage": 20, "stopped": "finished"}, "quota:"),
            ({"waits_until": minutes(1), "stopped": "aborted"}, "waiting"),
            ({}, "audited"),
        ],
    )
    def test_says_nothing(self, fields: dict[str, Any], word: str):
        lines = report_lines(status(account(**fields), counts=[count("pending", wave=1)]))
        assert not any(line.startswith(f"  {word}") for line in lines)

    @pytest.mark.parametrize(
        ("fields", "said"), [({"posts": 1}, True), ({}, False), ({"posts": 1, "audited_at": minutes(1)}, False)]
    )
    def test_an_audit_that_is_to_come(self, fields: dict[str, Any], said: bool):
        lines = report_lines(status(account(**fields)))
        assert any("still to come" in line for line in lines) is said

    @pytest.mark.parametrize("audited_at", [None, minutes(1)])
    def test_an_audit_that_failed(self, audited_at: Any):
        failed = account(posts=1, audit_error="HTTP 500", audited_at=audited_at)
        lines = report_lines(status(failed, account("b", posts=1)))
        assert "  surplus and foreign are only those known so far: an audit that counts them failed" in lines
        assert not any("still to come" in line for line in lines)


def test_a_campaign_of_which_the_plan_left_out_all():
    ended = account(stopped="finished", audited_at=minutes(9))
    *_, last = report_lines(status(ended, counts=[count("skipped", 35, wave=0)]))
    assert last == "next: nothing, there was no target to capture"
