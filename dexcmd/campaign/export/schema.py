"""The columns of an export: their names, types, order and meaning, the same in every format.

New columns are added at the end; none is ever removed or changed.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from operator import attrgetter
from types import NoneType
from typing import Annotated, Literal, get_args, get_type_hints

import attrs

from dexcmd.campaign.events import DropReason, Provenance, SkipReason
from dexcmd.campaign.spec import FailureClass
from dexcmd.campaign.state import TargetState

__all__ = ["COLUMNS", "Column", "ExportOutcome", "ExportRow", "Value", "time_text", "values_of"]

ExportOutcome = TargetState | Literal["surplus", "foreign"]
"""The outcome of a target so far, or the kind of a command that belongs to none."""

Value = str | int | datetime | None


@attrs.frozen(kw_only=True)
class ExportRow:
    """A target, or a command that no target needs.

    The texts in the annotations are the documentation of the columns.
    """

    campaign: Annotated[str, "The name of the campaign."]
    account: Annotated[str, "The name of the account in the campaign."]
    account_id: Annotated[str, "The id of the account."]
    target: Annotated[
        int | None, "The number of the target, from 1 in the order of the plan; null for `surplus` and `foreign`."
    ] = None
    wave: Annotated[int | None, "Its wave, from 1; 0 if it is skipped; null where `target` is."] = None
    device_id: Annotated[str | None, "The device."] = None
    registration_id: Annotated[str | None, "Which registration of the device; null where the service chooses."] = None
    user_email: Annotated[str | None, "The user, as the plan knew it."] = None
    device_name: Annotated[str | None, "The name of the device, as the plan knew it."] = None
    platform: Annotated[str | None, "Its platform, as the plan knew it."] = None
    version: Annotated[str | None, "The version of its WARP client, as the plan knew it."] = None
    outcome: Annotated[
        ExportOutcome,
        "`saved`, `failed`, `skipped` or `not_attempted`; `pending`, `creating`, `running` or `collecting` if it is "
        "not decided yet; `surplus` for a second command that a POST of the campaign made and that no target needs; "
        "`foreign` for somebody else's command in the campaign's time.",
    ]
    reason: Annotated[
        SkipReason | FailureClass | DropReason | None,
        "Why it was skipped, failed or not attempted: `not_eligible`, `offline`, `unsupported_version`, `platform`, "
        "`excluded`, `already_running`, `not_sampled`, `not_found`; `device`, `timeout`, `rejected`, `unknown`, "
        "`download`; `deadline`, `cancelled`, `aborted`, `refused`.",
    ] = None
    detail: Annotated[str | None, "More on why it was skipped, in words."] = None
    error: Annotated[str | None, "What went wrong with its last POST, command or artifact, in one line."] = None
    tries: Annotated[int | None, "How often it was tried again, whatever it failed for; null where `target` is."] = None
    changed_at: Annotated[datetime, "When it came to its outcome. By the clock of the machine that ran it."]
    due_at: Annotated[
        datetime | None,
        "When it is to be tried again, while it waits for that. By the clock of the machine that ran it.",
    ] = None
    posted_at: Annotated[
        datetime | None, "When its latest POST was about to be sent. By the clock of the machine that ran it."
    ] = None
    answered_at: Annotated[
        datetime | None,
        "When it was known, as far as it can be, what that POST did. By the clock of the machine that ran it.",
    ] = None
    type: Annotated[str | None, "`pcap`, `speed-test` or `warp-diag`."] = None
    command_id: Annotated[str | None, "Its latest command."] = None
    provenance: Annotated[
        Provenance | None,
        "How that command came to be known: `response` by the response to its POST; `adopted` from the list, which "
        "shows it as made by one of the campaign's POSTs; `foreign` from the list, as somebody else's.",
    ] = None
    known_at: Annotated[datetime | None, "When it came to be known. By the clock of the machine that ran it."] = None
    created_at: Annotated[datetime | None, "When it was created. By the service's clock."] = None
    completed_at: Annotated[datetime | None, "When it was completed. By the service's clock."] = None
    status: Annotated[str | None, "The status that ended it, `SUCCESS` or `FAILED`; null while none has."] = None
    filename: Annotated[str | None, "The name of its artifact, as the service gives it."] = None
    path: Annotated[str | None, "Where the artifact is: its path, or its key in the object store."] = None
    size: Annotated[int | None, "The size of the artifact in bytes."] = None
    sha256: Annotated[str | None, "The SHA-256 of the artifact, in hex."] = None
    saved_at: Annotated[
        datetime | None, "When the artifact was whole in its place. By the clock of the machine that ran it."
    ] = None
    surplus_of: Annotated[int | None, "For `surplus`, the number of the target whose second command it is."] = None


@attrs.frozen
class Column:
    """A column of an export."""

    name: str
    kind: Literal["text", "integer", "time"]
    """A `time` is in UTC, with microseconds."""

    nullable: bool
    meaning: str


def _columns() -> tuple[Column, ...]:
    hints = get_type_hints(ExportRow, include_extras=True)
    columns: list[Column] = []
    for field in attrs.fields(ExportRow):
        value, meaning = get_args(hints[field.name])
        types = get_args(value) or (value,)
        kind: Literal["text", "integer", "time"] = (
            "integer" if int in types else "time" if datetime in types else "text"
        )
        columns.append(Column(field.name, kind, NoneType in types, meaning))
    return tuple(columns)


COLUMNS = _columns()

_in_order: Callable[[ExportRow], tuple[Value, ...]] = attrgetter(*(column.name for column in COLUMNS))

_NOT_EVERYWHERE = re.compile("[\0\ud800-\udfff]")
"""What some format can't represent: null characters, and unpaired surrogates, which JSON can smuggle in."""


def values_of(row: ExportRow) -> tuple[Value, ...]:
    """Return a row's values in the order of the columns, as each format writes them.

    Times are in UTC.  Empty texts are null, as CSV can't tell them apart, and characters that not all formats can
    represent become U+FFFD.
    """
    return tuple([_value(value) for value in _in_order(row)])


def _value(value: Value) -> Value:
    if isinstance(value, str):
        # None of those is printable, and most texts are: to ask that takes a third of the time of a search.
        return (value if value.isprintable() else _NOT_EVERYWHERE.sub("\ufffd", value)) or None
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def time_text(time: datetime) -> str:
    """Return a UTC time as ISO 8601 text, always of the same length, so that texts sort like the times."""
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")
