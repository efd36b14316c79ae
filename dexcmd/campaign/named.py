"""Devices named one by one in a campaign file or in a CSV next to it.  Pure."""

import unicodedata
from collections.abc import Iterable, Iterator

import attrs

from dexcmd.campaign.spec import Targeting
from dexcmd.resources.devices import Device

__all__ = ["Named", "Names", "folded"]


def folded(text: str | None) -> str:
    """Return a text in the form used to compare names: case, surrounding blanks and Unicode form do not matter."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text or "").casefold()).strip()


@attrs.frozen(kw_only=True)
class Named:
    """A device given by its id, its user's email or both, and optionally one registration of it."""

    device_id: str | None = None
    user_email: str | None = None
    registration_id: str | None = None
    account: str | None = None
    """The name of its account; None for any account that has it."""

    @property
    def key(self) -> tuple[str, str, str, str | None]:
        """Return a key that is equal for names of the same device."""
        return folded(self.device_id), folded(self.user_email), folded(self.registration_id), self.account

    def matches(self, device: Device) -> bool:
        """Return whether a row of the device list is meant; see `folded`."""
        return all(
            wanted is None or folded(wanted) == folded(found)
            for wanted, found in (
                (self.device_id, device.device_id),
                (self.user_email, device.person_email),
                (self.registration_id, device.registration_id),
            )
        )


class Names:
    """The devices that a campaign names across its accounts, without duplicates, and which of them were found."""

    def __init__(self, targets: Targeting, rows: Iterable[Named] = ()) -> None:
        names: dict[object, Named] = {}
        for named in (
            *(Named(device_id=device_id.strip()) for device_id in targets.device_ids),
            *(Named(user_email=email.strip()) for email in targets.emails),
            *rows,
        ):
            names.setdefault(named.key, named)
        self._names = list(names.values())
        self._found: set[int] = set()
        self._by_id: dict[str, list[int]] = {}
        self._by_email: dict[str, list[int]] = {}
        for index, named in enumerate(self._names):
            if named.device_id is not None:
                self._by_id.setdefault(folded(named.device_id), []).append(index)
            else:
                self._by_email.setdefault(folded(named.user_email), []).append(index)

    def __len__(self) -> int:
        """Return how many there are; if none, every device is meant."""
        return len(self._names)

    @property
    def anywhere(self) -> bool:
        """Return whether any of them may be in any account."""
        return any(named.account is None for named in self._names)

    def emails(self, account: str) -> list[str] | None:
        """Return the emails to search an account for, or None if something else is named there."""
        names = [named for named in self._names if named.account in (None, account)]
        emails = [named.user_email for named in names if named.user_email is not None]
        return list(dict.fromkeys(emails)) if len(emails) == len(names) else None

    def match(self, account: str, device: Device) -> bool:
        """Return whether a device of an account is named, and note that it was found."""
        indexes = (
            *self._by_id.get(folded(device.device_id), ()),
            *self._by_email.get(folded(device.person_email), ()),
        )
        found = [
            index
            for index in indexes
            if self._names[index].account in (None, account) and self._names[index].matches(device)
        ]
        self._found.update(found)
        return bool(found)

    def missing(self) -> Iterator[Named]:
        """Yield, in order, the names that no row of a device list has matched."""
        return (named for index, named in enumerate(self._names) if index not in self._found)
