"""Checks of what a sandbox is made with: tests pass it on from marks, where no type checker looks."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

from dexcmd.sandbox.behaviour import Behaviour
from dexcmd.sandbox.devices import SandboxDevice
from dexcmd.sandbox.service import is_token

__all__ = ["check_arguments"]


def check_arguments(
    devices: object, token: str | None, account_id: str | None, behaviour: object, quota: object
) -> None:
    """Raise `TypeError` or `ValueError` for what no sandbox can be made with."""
    if isinstance(devices, int):
        _check_number("devices", devices)
    elif not isinstance(devices, Sequence) or not _are_devices(cast("Iterable[Any]", devices)):
        raise TypeError(f"devices must be a number, or SandboxDevices in a sequence, not {devices!r}")
    if token is not None and not is_token(token):
        raise ValueError("token must consist of letters, digits and any of ._~+/=-")
    if account_id is not None and (len(account_id) != 32 or set(account_id) - set("0123456789abcdef")):
        raise ValueError(f"account_id must be 32 hex digits, not {account_id!r}")
    if behaviour is not None and not isinstance(behaviour, Behaviour):
        raise TypeError(f"behaviour must be a Behaviour, not {behaviour!r}")
    _check_number("quota", quota)


def _are_devices(devices: Iterable[Any]) -> bool:
    return all(isinstance(device, SandboxDevice) for device in devices)


def _check_number(name: str, value: object) -> None:
    if not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if value < 0:
        raise ValueError(f"{name} must not be negative, not {value}")
