"""Which devices of the list are meant: the same options wherever devices are chosen."""

from collections.abc import AsyncGenerator

import attrs

from dexcmd.client import DexClient
from dexcmd.resources.devices import Device

__all__ = ["Selection", "selected_devices"]


@attrs.frozen(kw_only=True)
class Selection:
    """What a device has to be like; None for no matter what."""

    search: str | None = None
    """In its name or email."""

    user: str | None = None
    """Its email."""

    platform: str | None = None

    def __bool__(self) -> bool:
        """Tell whether anything is asked of a device."""
        return attrs.astuple(self) != attrs.astuple(Selection())

    def matches(self, device: Device) -> bool:
        """Tell whether a device is meant, as far as the service was not asked for it; case does not matter."""
        return _same(self.user, device.person_email) and _same(self.platform, device.platform)


def _same(wanted: str | None, found: str | None) -> bool:
    return wanted is None or wanted.casefold() == (found or "").casefold()


async def selected_devices(dex: DexClient, selection: Selection) -> AsyncGenerator[Device]:
    """Yield the rows of the device list that are meant.  Raises `DexError`."""
    # The service knows emails by its search alone, which spares the pages of all others.
    async for device in dex.devices.list(search=selection.search or selection.user):
        if selection.matches(device):
            yield device
