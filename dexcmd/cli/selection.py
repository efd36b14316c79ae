"""Selects devices from the list; the same options apply wherever devices are selected."""

from collections.abc import AsyncGenerator

import attrs

from dexcmd.amounts import listed
from dexcmd.cli.stderr import note
from dexcmd.client import DexClient
from dexcmd.resources.devices import Device

__all__ = ["Selection", "selected_devices"]


@attrs.frozen(kw_only=True)
class Selection:
    """The criteria for a device; None matches anything."""

    search: str | None = None
    """Text in its name or email."""

    user: str | None = None
    """Its email."""

    platform: str | None = None

    def __bool__(self) -> bool:
        """Return whether there are any criteria."""
        return attrs.astuple(self) != attrs.astuple(Selection())

    def matches(self, device: Device) -> bool:
        """Return whether a device meets the criteria that the service doesn't check, ignoring case."""
        return _same(self.user, device.person_email) and _same(self.platform, device.platform)


def _same(wanted: str | None, found: str | None) -> bool:
    return wanted is None or wanted.casefold() == (found or "").casefold()


async def selected_devices(dex: DexClient, selection: Selection) -> AsyncGenerator[Device]:
    """Yield the selected rows of the device list; say which platforms there are if none is of the selected one.

    Raises `DexError`.
    """
    of_any_platform = attrs.evolve(selection, platform=None)
    platforms, found = set[str](), False
    # The service can only search for emails, but that spares fetching the pages of all other devices.
    async for device in dex.devices.list(search=selection.search or selection.user):
        if selection.matches(device):
            found = True
            yield device
        elif device.platform and of_any_platform.matches(device):
            platforms.add(device.platform)
    if platforms and not found:
        note(f"no device has the platform {selection.platform}: the platforms are {listed(sorted(platforms))}")
