"""Devices that are named, one by one, in a campaign file or in a CSV beside it.  Pure."""

from collections.abc import Iterable, Iterator

import attrs

from dexcmd.campaign.spec import Targeting
from dexcmd.resources.devices import Device

__all__ = ["Named", "Names"]


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
