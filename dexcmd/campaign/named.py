"""Devices that are named, one by one, in a campaign file or in a CSV beside it."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs

from dexcmd.campaign.checks import SeveralMistakesError
from dexcmd.campaign.spec import Targeting
from dexcmd.errors import ConfigurationError
from dexcmd.resources.devices import Device

__all__ = ["Named", "Names", "read_csv"]

COLUMNS = ("device_id", "user_email", "registration_id", "account")

DELIMITERS = ",;\t"
"""The spreadsheets of some countries write semicolons."""

MOST_TOLD = 20
"""Mistakes of one CSV that are told one by one."""


@attrs.frozen(kw_only=True)
class Named:
    """A device by its id, its user's email, or both; perhaps one registration of it."""

    device_id: str | None = None
    user_email: str | None = None
    registration_id: str | None = None
    account: str | None = None
    """The name of its account; None for whichever has it."""

    def matches(self, device: Device) -> bool:
        """Tell whether a row of the device list is meant; case does not matter."""
        return all(
            wanted is None or _same(wanted, found)
            for wanted, found in (
                (self.device_id, device.device_id),
                (self.user_email, device.person_email),
                (self.registration_id, device.registration_id),
            )
        )


def _same(wanted: str, found: str | None) -> bool:
    return found is not None and wanted.casefold() == found.casefold()


class Names:
    """The devices that a campaign names, and which of them were found; for all its accounts."""

    def __init__(self, targets: Targeting, rows: Iterable[Named] = ()) -> None:
        self._names: list[Named] = [
            *(Named(device_id=device_id) for device_id in targets.device_ids),
            *(Named(user_email=email) for email in targets.emails),
            *rows,
        ]
        self._found: set[int] = set()
        self._by_id: dict[str, list[int]] = {}
        self._by_email: dict[str, list[int]] = {}
        for index, named in enumerate(self._names):
            if named.device_id is not None:
                self._by_id.setdefault(named.device_id.casefold(), []).append(index)
            else:
                self._by_email.setdefault((named.user_email or "").casefold(), []).append(index)

    def __len__(self) -> int:
        """Return how many there are; with none, every device is meant."""
        return len(self._names)

    def emails(self, account: str) -> list[str] | None:
        """Return the emails that an account is to be searched for; None where something else is named there."""
        names = [named for named in self._names if named.account in (None, account)]
        emails = [named.user_email for named in names if named.user_email is not None]
        return list(dict.fromkeys(emails)) if len(emails) == len(names) else None

    def match(self, account: str, device: Device) -> bool:
        """Tell whether a device of an account is named, and note that it was found."""
        indexes = (
            *self._by_id.get((device.device_id or "").casefold(), ()),
            *self._by_email.get((device.person_email or "").casefold(), ()),
        )
        found = [
            index
            for index in indexes
            if self._names[index].account in (None, account) and self._names[index].matches(device)
        ]
        self._found.update(found)
        return bool(found)

    def missing(self) -> Iterator[Named]:
        """Give those that no row of a device list has matched, in their order."""
        return (named for index, named in enumerate(self._names) if index not in self._found)


def read_csv(path: Path, accounts: Sequence[str] | None = None) -> list[Named]:
    """Return the devices that a CSV names; empty lines are left out.

    Raises `ConfigurationError`, for all lines at once, where it can't be read or is none, where a line names no device,
    or, with `accounts` given, no account of those.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is no UTF-8") from None
    except (OSError, ValueError) as error:
        # The latter for a path that can be none.
        raise ConfigurationError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from None
    header, _, _ = text.partition("\n")
    delimiter = next((character for character in DELIMITERS if character in header), DELIMITERS[0])
    lines = csv.reader(io.StringIO(text), delimiter=delimiter)
    columns = [name.strip().casefold() for name in next(lines, list[str]())]
    if not {"device_id", "user_email"} & set(columns):
        raise ConfigurationError(f"{path} needs a first line with a column device_id or user_email")
    known = [name for name in COLUMNS if name in columns]
    names: list[Named] = []
    mistakes: list[str] = []
    try:
        for values in lines:
            row = dict(zip(columns, (value.strip() for value in values), strict=False))
            if not any(row.values()):
                continue
            named = Named(**{name: row.get(name) or None for name in known})
            wrong = _wrong(named, accounts)
            if wrong is not None:
                mistakes.append(f"{path}, line {lines.line_num}: {wrong}")
            names.append(named)
    except csv.Error as error:
        mistakes.append(f"{path}, line {lines.line_num}: {error}")
    if mistakes:
        more = len(mistakes) - MOST_TOLD
        raise SeveralMistakesError([*mistakes[:MOST_TOLD], *([f"{path}: and {more} more"] if more > 0 else [])])
    return names


def _wrong(named: Named, accounts: Sequence[str] | None) -> str | None:
    if named.device_id is None and named.user_email is None:
        return "it names no device: both device_id and user_email are empty"
    if accounts is not None and named.account is not None and named.account not in accounts:
        return f"there is no account {named.account!r}"
    return None
