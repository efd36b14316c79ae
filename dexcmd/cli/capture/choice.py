"""Decides which of the named or matching devices are captured, and why others are not.  Pure except for stdin."""

import json
from collections.abc import Iterable, Sequence
from typing import Literal

import attrs

from dexcmd.cli.common import STDIN
from dexcmd.cli.ids import Lines
from dexcmd.errors import ConfigurationError
from dexcmd.resources.devices import Device, is_connected
from dexcmd.resources.requests import id_key

__all__ = ["Choice", "Left", "Name", "choose", "name_of_line", "read_names"]


@attrs.frozen
class Name:
    """A device by its id, and optionally one of its registrations."""

    device_id: str = attrs.field(eq=id_key)
    registration_id: str | None = attrs.field(default=None, eq=id_key)


@attrs.frozen
class Left:
    """A device row, or a name without a row, that is not captured."""

    device: Device
    reason: Literal["not_eligible", "not_found"]

    @property
    def text(self) -> str:
        """Return the reason for display."""
        if self.reason == "not_found":
            return "not found among the devices that were connected within the last hour"
        return f"not eligible: {self.device.ineligible_reason or 'the service does not say why'}"


@attrs.frozen
class Choice:
    """The devices to capture, and those left out."""

    devices: tuple[Device, ...]
    left: tuple[Left, ...]

    @property
    def not_connected(self) -> int:
        """Return how many of the devices are not connected; their commands succeed only if they reconnect."""
        return sum(not is_connected(device) for device in self.devices)


def name_of_line(line: str) -> Name | None:
    """Return the device that a line names; None for an empty line.

    A line is an id; a line of `devices`, with the registration after a tab; or JSON with a `device_id` and optionally
    a `registration_id`.  A line of `devices` without an id counts as empty.  Raises `ConfigurationError`.
    """
    text = line.strip()
    if not text or line.startswith("\t"):
        return None
    if not text.startswith("{"):
        device, *rest = (cell.strip() for cell in text.split("\t"))
        return Name(device.split()[0], (rest[0] if rest else "") or None)
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"stdin: can't read {text[:60]!r}: {error}") from error
    device_id, registration = found.get("device_id"), found.get("registration_id")
    if not isinstance(device_id, str) or not device_id or not isinstance(registration, str | None):
        raise ConfigurationError(f"stdin: there is no device_id in {text[:60]!r}")
    return Name(device_id, registration or None)


async def read_names(ids: Sequence[str], lines: Lines) -> list[Name]:
    """Return the devices named by the arguments, reading stdin for `STDIN`.

    Raises `ConfigurationError`.
    """
    names: list[Name] = []
    for device_id in ids:
        if device_id != STDIN:
            names.append(Name(device_id))
            continue
        async for line in lines.read():
            name = name_of_line(line)
            if name is not None:
                names.append(name)
    return list(dict.fromkeys(names))


def choose(rows: Iterable[Device], names: Sequence[Name] | None) -> Choice:
    """Choose the rows to capture: all of them, or those that are named, as far as they are eligible."""
    wanted = None if names is None else set(names)
    found: set[Name] = set()
    devices: dict[Name, Device] = {}
    left: list[Left] = []
    for device in rows:
        row = Name(device.device_id or "", device.registration_id)
        if wanted is not None:
            meant = wanted & {row, Name(row.device_id)}
            found |= meant
            if not meant:
                continue
        if device.eligible is not False and device.device_id and device.person_email:
            devices[row] = device
        else:
            left.append(Left(device, "not_eligible"))
    left += [
        Left(Device(device_id=name.device_id, registration_id=name.registration_id), "not_found")
        for name in names or ()
        if name not in found
    ]
    return Choice(tuple(devices.values()), tuple(left))
