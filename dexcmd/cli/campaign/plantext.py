"""Formats a plan: in full, in brief, and as a JSON document.  Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from dexcmd.amounts import counted, size_text
from dexcmd.campaign.events import SkipReason, TargetPlanned
from dexcmd.campaign.forecast import Requests
from dexcmd.campaign.plan import AccountPlan, Plan
from dexcmd.campaign.report import report_account, report_row, report_time
from dexcmd.campaign.spec import CampaignSpec
from dexcmd.cli.documents import Document, plain, time_document
from dexcmd.cli.failure import Failure, explain
from dexcmd.cli.moments import duration_text
from dexcmd.cli.texts import command_text
from dexcmd.safe_text import one_line

__all__ = ["brief_lines", "plan_document", "plan_lines", "question", "unreadable"]

REASONS: Mapping[SkipReason, str] = {
    "excluded": "its id, name or email is in `exclude`",
    "platform": "it is of another platform",
    "unsupported_version": "its version is unknown or not within `version`",
    "not_eligible": "the service says so",
    "offline": "the service says that it is not connected",
    "already_running": "it has an unfinished command of this type",
    "not_sampled": "it was not drawn for the sample",
    "not_found": "it is named, but in no device list of the last hour",
}
"""In the order in which they are checked."""

MAX_NAMED = 5
"""Maximum number of users that the brief form names."""


def plan_lines(plan: Plan) -> list[str]:
    """Return the lines of a plan, without the names of devices.  Times are UTC."""
    accounts = [line for account in plan.accounts for line in ("", *_account(account, plan.spec))]
    if unreadable(plan) is not None:
        # Devices and costs are unknown.
        return [*_head(plan), *accounts]
    return [*_head(plan), "", *_devices(plan), *accounts, "", *_costs(plan)]


def brief_lines(plan: Plan) -> list[str]:
    """Return what to know before confirming."""
    readable = [account for account in plan.accounts if account.error is None]
    by_reason = plan.skips
    skips = ", ".join(f"{_words(reason)} {by_reason[reason]:,}" for reason in REASONS if by_reason[reason])
    lines = [
        f"{plan.spec.name}: {_command(plan.spec)} on {_whom(plan)}",
        *([f"skipped: {skips}"] if skips else []),
    ]
    for account in readable:
        name = f"{one_line(account.account.name)}: " if len(plan.spec.accounts) > 1 else ""
        waves = f" in waves of {_numbers(account.waves)}" if len(account.waves) > 1 else ""
        days = "".join(f"; {line}" for line in _quota(account, plan.spec)[1:])
        lines.append(f"{name}{counted(account.commands, 'command')}{waves}{days}")
    lines += [
        f"{one_line(account.account.name)}: can't be read ({failure.line}), planned and captured once it can be"
        for account in plan.accounts
        if (failure := _failure(account)) is not None
    ]
    if left := len(plan.spec.accounts) - len(plan.accounts):
        lines.append(f"{counted(left, 'more account')}: planned and captured alongside, each as soon as it answers")
    lines.append(f"artifacts: {_bytes(plan)}, into {plan.spec.artifacts.into}")
    return lines


def question(plan: Plan) -> str:
    """Return the question that a run asks before it starts."""
    accounts = sum(bool(account.commands) for account in plan.accounts)
    devices = _devices_text(_captured(plan))
    return f"Start {counted(plan.commands, 'capture')} on {devices} of {counted(accounts, 'account')}?"


def _captured(plan: Plan) -> list[TargetPlanned]:
    """Return the targets that get a command: the first ones, as many as the quota allows until the deadline."""
    return [target for account in plan.accounts for target in account.targets[: account.commands]]


def _devices_text(targets: Iterable[TargetPlanned]) -> str:
    """Return the number of devices among the targets, each of which is one registration of a device."""
    return counted(len({(target.account, target.device_id) for target in targets}), "device")


def _failure(plan: AccountPlan) -> Failure | None:
    """Return why an account can't be read, and what to do about it; None if it can."""
    return None if plan.error is None else explain(plan.error, plan.account.token_env)


def unreadable(plan: Plan) -> Failure | None:
    """Return why no account of a plan can be read; None if some can."""
    failures = [failure for account in plan.accounts if (failure := _failure(account)) is not None]
    return failures[0] if len(failures) == len(plan.accounts) else None


def plan_document(plan: Plan, *, name_all: bool) -> Document:
    """Return a plan as a document, with its devices only if `name_all`."""
    return {
        "schema": "campaign-plan/1",
        "campaign": plan.spec.name,
        "type": plan.spec.command.type,
        "planned_at": time_document(plan.planned_at),
        "deadline": time_document(plan.deadline),
        "commands": plan.commands,
        "skipped": {reason: plan.skips[reason] for reason in REASONS},
        "requests": {**attrs.asdict(plan.requests), "total": plan.requests.total, "most": plan.requests.most},
        "least_seconds": plan.least_seconds,
        "bytes": attrs.asdict(plan.size),
        "accounts": [_account_document(account, name_all=name_all) for account in plan.accounts],
    }


def _account_document(plan: AccountPlan, *, name_all: bool) -> Document:
    quota = None if plan.quota is None else {name: plain(value) for name, value in attrs.asdict(plan.quota).items()}
    failure = _failure(plan)
    devices = {"targets": _targets(plan.targets), "skipped_devices": _targets(plan.skipped)} if name_all else {}
    return {
        "name": plan.account.name,
        "account_id": plan.account.account_id,
        "error": None if failure is None else str(failure),
        "commands": plan.commands,
        "waves": list(plan.waves),
        "skipped": {reason: plan.skips.get(reason, 0) for reason in REASONS},
        "quota": quota,
        "requests": {**attrs.asdict(plan.requests), "total": plan.requests.total, "most": plan.requests.most},
        **devices,
    }


def _targets(targets: Sequence[TargetPlanned]) -> list[Document]:
    return [attrs.asdict(target, filter=attrs.filters.exclude("at", "account")) for target in targets]


def _words(reason: str) -> str:
    return reason.replace("_", " ")


def _numbers(numbers: Sequence[int]) -> str:
    *most, last = (f"{number:,}" for number in numbers)
    return f"{', '.join(most)} and {last}" if most else last


def _command(spec: CampaignSpec) -> str:
    # With the names used in the campaign file.
    return command_text(spec.command.type, attrs.asdict(spec.command, filter=lambda _, value: value is not None))


def _whom(plan: Plan) -> str:
    """Return how many devices are captured, and whose: the first few users by name, the others as a number."""
    targets = _captured(plan)
    users = list(dict.fromkeys(target.user_email or "" for target in targets))
    more = f" and {len(users) - MAX_NAMED:,} more" if len(users) > MAX_NAMED else ""
    return f"{_devices_text(targets)} of {one_line(', '.join(users[:MAX_NAMED]))}{more}"


def _head(plan: Plan) -> Iterator[str]:
    yield f"plan of {plan.spec.name}: {_command(plan.spec)}"
    if plan.deadline is not None:
        yield f"creates nothing after {report_time(plan.deadline)}"


def _devices(plan: Plan) -> Iterator[str]:
    skips = plan.skips
    skipped = sum(skips.values())
    devices = plan.commands + plan.late + skipped
    yield report_row("devices", devices, "registrations that match" if devices else "")
    yield report_row("  captured", plan.commands, "a command each")
    if plan.late:
        over = plan.deadline is not None and plan.deadline <= plan.planned_at
        yield report_row(
            "  too late", plan.late, "the deadline is over" if over else "the quota leaves it for after the deadline"
        )
    if skipped:
        yield report_row("  skipped", skipped)
    for reason, why in REASONS.items():
        if number := skips[reason]:
            yield report_row(f"    {_words(reason)}", number, why)


def _account(plan: AccountPlan, spec: CampaignSpec) -> Iterator[str]:
    yield report_account(plan.account.name, plan.account.account_id)
    if (failure := _failure(plan)) is not None:
        yield f"  can't be read: {failure}"
        return
    yield f"  {counted(plan.commands, 'command')}, {counted(len(plan.skipped), 'device')} skipped"
    if len(plan.waves) > 1:
        yield f"  waves of {_numbers(plan.waves)}"
    for line in _quota(plan, spec):
        yield f"  {line}"


def _quota(plan: AccountPlan, spec: CampaignSpec) -> list[str]:
    """Return how far the quota goes: first its current state, then the consequences."""
    quota, not_told = plan.quota, "quota: the service does not say"
    if quota is None:
        return [not_told]
    late = [f"{quota.late:,} more would come after the deadline: not created"] if quota.late else []
    if quota.quota is None or quota.usage is None:
        return [not_told, *late]
    reset = "" if quota.reset_time is None else f", reset at {report_time(quota.reset_time)}"
    left = f"; {spec.leave_quota:,} of each day are left to others" if spec.leave_quota else ""
    lines = [f"quota: {quota.usage:,} of {quota.quota:,} used{reset}{left}"]
    if quota.days is None:
        lines.append("the quota is never enough: nothing can be created")
    elif quota.days:
        resets = quota.today is not None and plan.commands > quota.today
        each = f": {quota.today:,} before the reset, then up to {quota.per_day:,} a day" if resets else ""
        last = "" if quota.last_reset is None else f", the last from {report_time(quota.last_reset)} on"
        lines.append(f"{counted(quota.days, 'day')} by the quota{each}{last}")
    return lines + late


def _costs(plan: Plan) -> Iterator[str]:
    yield report_row("requests", plan.requests.total, _requests(plan.requests))
    least = duration_text(plan.least_seconds)
    yield f"{'least time':<18}{least:>9}  by the rate limit; captures, quota and pauses come on top"
    yield f"{'bytes':<18}{_bytes(plan)}"
    yield f"{'artifacts':<18}{plan.spec.artifacts.into.rstrip('/')}/{plan.spec.artifacts.name}"


def _requests(requests: Requests) -> str:
    if not requests.most_create:
        return "of this plan: there is nothing to capture"
    fewest = f"{requests.create:,} to " if requests.create < requests.most_create else ""
    posts = f"{fewest}{counted(requests.most_create, 'POST')}"
    return (
        f"to {requests.most:,}: {posts} to create, {requests.download:,} to download, some "
        f"{requests.polls:,} to {requests.most_polls:,} polls, as captures take seconds or minutes, and some "
        f"{requests.audit:,} for the audit; this plan took {requests.planning:,}; beside these, one for the quota at "
        "each start and after each reset"
    )


def _bytes(plan: Plan) -> str:
    size = plan.size
    if size.total is None or size.each is None:
        return "of a size that is not known"
    if size.kind == "at_most":
        return f"{size_text(size.total)} at most, {size_text(size.each)} each"
    return f"about {size_text(size.total)}, {size_text(size.each)} each as the mean of {size.n:,} in the journal"
