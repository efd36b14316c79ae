"""The status of a campaign as plain text for people.  Pure."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from dexcmd.amounts import counted, size_text
from dexcmd.campaign.spec import FailureClass
from dexcmd.campaign.state import TargetState
from dexcmd.campaign.status import AccountStatus, CampaignState, CampaignStatus
from dexcmd.safe_text import one_line

__all__ = ["report_account", "report_lines", "report_row", "report_time"]

_STANDS: Mapping[CampaignState, str] = {
    "planned": "is planned, but has never run",
    "running": "is running",
    "waiting": "is running, but can only wait for now",
    "paused": "is paused",
    "interrupted": "is interrupted: no process runs it, but some work is left",
    "finished": "is finished",
    "aborted": "was aborted",
    "refused": "is stopped: the service refused what is left to do",
    "cancelled": "was cancelled",
}

_STATES: Mapping[TargetState, str] = {
    "saved": "",
    "failed": "",
    "not_attempted": "no command will be created or collected for them",
    "collecting": "their commands have succeeded, and their artifacts are still to be downloaded",
    "running": "their commands have not ended",
    "creating": "a POST is in progress, or its response was lost and the list is being searched",
    "pending": "a command is still to be created for them",
}
"""In the order of a report, each with its explanation; skipped targets are counted separately."""

_FAILURES: Mapping[FailureClass, str] = {
    "device": "the service reports FAILED",
    "timeout": "did not end in time; they may still be running",
    "rejected": "the service refused to create a command",
    "unknown": "the response was lost, and the list shows no command",
    "download": "there is an artifact, but it could not be downloaded",
}


def report_lines(status: CampaignStatus, options: str = "") -> list[str]:
    """Return the report on a campaign as lines without line ends.  Times are in UTC.

    `options` are added to the commands that the report names, each preceded by a blank: the journal's path, for
    instance.
    """
    return [
        *_head(status),
        "",
        *_targets(status),
        "",
        *_commands(status),
        *(line for account in status.accounts for line in ("", *_account(account))),
        "",
        *(f"next: {step}" for step in _next(status, options)),
    ]


def report_row(label: str, number: int, note: str = "") -> str:
    """Return a line with a label, a number and a note."""
    return f"{label:<18}{number:>9,}  {note}".rstrip()


def report_time(time: datetime) -> str:
    """Return a time as text, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def report_account(name: str, account_id: str) -> str:
    """Return the heading for an account."""
    return f"account {account_id}" if name == account_id else f"account {one_line(name)} ({account_id})"


def _head(status: CampaignStatus) -> Iterator[str]:
    elsewhere = " (by another process)" if status.running_elsewhere else ""
    yield f"{status.name} {_STANDS[status.state]}{elsewhere}"
    deadline = "" if status.deadline is None else f"; creates nothing after {report_time(status.deadline)}"
    yield f"planned at {report_time(status.planned_at)}{deadline}"
    if _is_being_cancelled(status):
        dropped = ", and running commands are not collected" if status.control == "cancel_drop" else ""
        yield f"being cancelled: nothing more is created{dropped}"


def _is_being_cancelled(status: CampaignStatus) -> bool:
    return status.control.startswith("cancel") and any(account.stopped is None for account in status.accounts)


def _targets(status: CampaignStatus) -> Iterator[str]:
    skipped = status.count("skipped")
    yield report_row("targets", status.count(), f"and {skipped:,} skipped by the plan" if skipped else "")
    for state, note in _STATES.items():
        if not (number := status.count(state)):
            continue
        if state == "saved":
            note = f"{size_text(status.size)} in {status.into}"
        yield report_row(f"  {state.replace('_', ' ')}", number, note)
        for failure, reason in _FAILURES.items() if state == "failed" else ():
            if of_class := sum(account.failures[failure] for account in status.accounts):
                yield report_row(f"    {failure}", of_class, reason)


def _commands(status: CampaignStatus) -> Iterator[str]:
    accounts = status.accounts
    commands, surplus = sum(one.commands for one in accounts), sum(one.surplus for one in accounts)
    posts = sum(one.posts for one in accounts)
    yield report_row("commands made", commands, f"in {counted(posts, 'POST')}")
    yield report_row(
        "surplus",
        surplus,
        "second commands for a target, from POSTs that were resent because the response was lost; not collected",
    )
    yield report_row("quota spent", commands + surplus, "commands made and surplus")
    foreign = sum(one.foreign for one in accounts)
    yield report_row("foreign", foreign, "other people's commands during the campaign, from the same quota")
    if any(account.audit_error is not None for account in accounts):
        yield "  surplus and foreign are only those known so far: an audit that counts them failed"
    elif any(account.audited_at is None and account.posts for account in accounts):
        yield "  surplus and foreign are only those known so far: the audit that counts them is still to come"
    if left := _still_running(status):
        yield report_row("still running", left, "commands that keep running, as the service can't cancel them")


def _still_running(status: CampaignStatus) -> int:
    """Return how many commands keep running although the operator, a rule or the service has ended the campaign."""
    cancelling = _is_being_cancelled(status)
    return sum(
        account.states["running"] if account.stopped is None and cancelling else account.left_running
        for account in status.accounts
    )


def _account(account: AccountStatus) -> Iterator[str]:
    yield report_account(account.name, account.account_id)
    if account.waves > 1:
        yield (
            f"  wave {account.wave} of {account.waves}" if account.wave else f"  wave 1 of {account.waves} not started"
        )
    if account.stopped is not None:
        reason = "" if account.reason is None else f": {one_line(account.reason)}"
        yield f"  {account.stopped}{reason}"
    if account.stopped is None and account.quota is not None and account.usage is not None:
        reset = "" if account.reset_time is None else f", reset at {report_time(account.reset_time)}"
        yield f"  quota: {account.usage:,} of {account.quota:,} used when last checked{reset}"
    if account.stopped is None and account.waits_until is not None:
        yield f"  waiting for the quota until {report_time(account.waits_until)}"
    if account.next_wave_at is not None:
        yield f"  waiting with wave {account.wave + 1} until {report_time(account.next_wave_at)}, the end of the soak"
    if account.audit_at is not None:
        until = report_time(account.audit_at)
        yield f"  waiting with the audit until {until}: commands of lost POSTs may still appear"
    settling = account.settling
    seen = (
        f"the slowest of {settling.n:,} confirmed commands appeared in the list within {settling.longest:.1f} s"
        if settling.n
        else "the lag of the list has not been measured yet (n = 0)"
    )
    yield f"  settling: a search for a lost command lasts {settling.seconds:.0f} s; {seen}"
    if account.audited_at is not None:
        yield f"  audited at {report_time(account.audited_at)}"
    if account.audit_error is not None:
        yield f"  the audit failed, and the next run tries it again: {one_line(account.audit_error)}"


def _next(status: CampaignStatus, options: str) -> Iterator[str]:
    name = f"{status.name}{options}"
    match status.state:
        case "planned":
            yield f"`dexcmd campaign run {name}` starts it, `dexcmd campaign cancel {name}` cancels it"
        case "running" | "waiting":
            yield f"nothing, it continues by itself; `dexcmd campaign pause {name}` pauses it"
        case "paused" | "interrupted":
            yield f"`dexcmd campaign resume {name}` resumes it"
        case "refused":
            tokens = dict.fromkeys(one.token_env for one in status.accounts if one.stopped == "refused")
            named = ", ".join(f"{variable} or {variable}_FILE" for variable in tokens)
            yield f"fix what was refused, such as a token ({named}) or its permissions"
            yield f"then `dexcmd campaign resume {name}` resumes it; `dexcmd campaign cancel {name}` ends it"
        case _:
            if status.count("failed", "not_attempted"):
                yield f"`dexcmd campaign export {name}` lists the outcome of each target, and why"
            if unknown := sum(account.failures["unknown"] for account in status.accounts):
                yield f"check the {unknown:,} unknown in the list of commands before you capture them again"
            if not status.count():
                yield "nothing, there was no target to capture"
            elif not status.count("failed", "not_attempted"):
                yield "nothing, every target has its artifact"
