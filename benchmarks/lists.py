"""The two lists of the service, and how each client reads them: what the cases of both share.

Nothing of a client is imported before one of its functions is called.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["COMMANDS", "DEVICES", "ListKind"]


class ListKind(NamedTuple):
    """One of the lists."""

    name: str
    """What its rows are, in the plural; also under which name a page holds them."""

    path: str
    """Below the account."""

    resource: Callable[[Any], Any]
    """Returns the resource of a `DexClient`."""

    official_resource: Callable[[Any], Any]
    """Returns the resource of the official client."""

    official_model: Callable[[], Any]
    """Returns the official client's model of a page's result."""

    decode: Callable[[], Callable[[object], list[Any]]]
    """Returns what dexcmd decodes a page's result with."""


def _command_page() -> Any:
    from cloudflare.types.zero_trust.dex import CommandListResponse

    return CommandListResponse


def _device_page() -> Any:
    from cloudflare.types.zero_trust.dex.commands import DeviceListResponse

    return DeviceListResponse


def _decode_commands() -> Callable[[object], list[Any]]:
    from dexcmd.resources.command import decode_commands

    return decode_commands


def _decode_devices() -> Callable[[object], list[Any]]:
    from dexcmd import Device
    from dexcmd.wire.converter import structure_rows

    return lambda result: structure_rows(result, "devices", Device)


COMMANDS = ListKind(
    name="commands",
    path="/dex/commands",
    resource=lambda dex: dex.commands,
    official_resource=lambda client: client.zero_trust.dex.commands,
    official_model=_command_page,
    decode=_decode_commands,
)

DEVICES = ListKind(
    name="devices",
    path="/dex/commands/devices",
    resource=lambda dex: dex.devices,
    official_resource=lambda client: client.zero_trust.dex.commands.devices,
    official_model=_device_page,
    decode=_decode_devices,
)
