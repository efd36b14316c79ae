"""Validation of the body of a create call."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import attrs

from dexcmd.sandbox.behaviour import Behaviour
from dexcmd.sandbox.devices import SandboxDevice
from dexcmd.sandbox.envelope import Code, ServiceError
from dexcmd.sandbox.making import INTERFACES
from dexcmd.sandbox.queries import COMMAND_TYPES
from dexcmd.sandbox.state import NewCommand, SandboxState

__all__ = ["Checked", "parse_create"]


@attrs.frozen
class Checked:
    """The result of checking a create body."""

    commands: tuple[NewCommand, ...] = ()
    """The valid commands, in order."""
    errors: tuple[ServiceError, ...] = ()
    """The errors in the other commands, or in the body itself."""


def parse_create(body: object, state: SandboxState, behaviour: Behaviour) -> Checked:
    """Check the parsed body of a create call."""
    fields = _object(body)
    entries = _list(fields.get("commands")) if fields is not None else None
    if entries is None:
        return _refused("body must be a JSON object with a list of commands", "/commands")
    if not entries:
        return _refused("commands must not be empty", "/commands")
    if len(entries) > behaviour.max_commands:
        return _refused(f"commands must have at most {behaviour.max_commands} entries", "/commands")
    commands: list[NewCommand] = []
    errors: list[ServiceError] = []
    for index, entry in enumerate(entries):
        checked = _check_entry(entry, f"/commands/{index}", state, behaviour)
        if isinstance(checked, NewCommand):
            commands.append(checked)
        else:
            errors += checked
    return Checked(tuple(commands), tuple(errors))


def _object(value: object) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _list(value: object) -> list[Any] | None:
    return [*cast("Sequence[Any]", value)] if isinstance(value, list) else None


def _refused(message: str, pointer: str) -> Checked:
    return Checked(errors=(ServiceError(Code.INVALID_BODY, message, pointer),))


def _check_entry(
    entry: Any, pointer: str, state: SandboxState, behaviour: Behaviour
) -> NewCommand | list[ServiceError]:
    fields = _object(entry)
    if fields is None:
        return [ServiceError(Code.INVALID_BODY, "command must be an object", pointer)]
    errors = [
        ServiceError(Code.INVALID_BODY, f"{name} is required and must be a string", f"{pointer}/{name}")
        for name in ("device_id", "type", "user_email")
        if not isinstance(fields.get(name), str) or not fields[name]
    ]
    registration_id = fields.get("registration_id")
    if registration_id is not None and not isinstance(registration_id, str):
        message = "registration_id must be a string"
        errors.append(ServiceError(Code.INVALID_BODY, message, f"{pointer}/registration_id"))
    if errors:
        return errors
    if fields["type"] not in COMMAND_TYPES:
        message = f"type must be one of {', '.join(COMMAND_TYPES)}"
        errors.append(ServiceError(Code.INVALID_BODY, message, f"{pointer}/type"))
    else:
        errors += _check_args(fields["type"], fields.get("args"), f"{pointer}/args", behaviour)
    target = _find_target(fields, pointer, state, behaviour)
    if isinstance(target, ServiceError):
        return [*errors, target]
    return errors or NewCommand(target, fields["type"], fields.get("args") or {})


def _find_target(
    fields: Mapping[str, Any], pointer: str, state: SandboxState, behaviour: Behaviour
) -> SandboxDevice | ServiceError:
    def refuse(message: str, field: str) -> ServiceError:
        return ServiceError(Code.INVALID_TARGET, message, f"{pointer}/{field}")

    found = state.registrations(fields["device_id"])
    if not found:
        return refuse("device not found", "device_id")
    registration_id = fields.get("registration_id")
    if registration_id is not None:
        found = [device for device in found if device.registration_id == registration_id]
        if not found:
            return refuse("registration not found on this device", "registration_id")
    elif len(found) > 1 and behaviour.registration_required:
        return refuse("device has several registrations: registration_id is required", "registration_id")
    found = [device for device in found if device.user_email == fields["user_email"]]
    if not found:
        return refuse("user_email does not belong to this device", "user_email")
    if not found[0].eligible:
        return refuse(f"device is not eligible: {found[0].ineligible_reason}", "device_id")
    return found[0]


def _number(documented: float) -> Callable[[Any, Behaviour], str | None]:
    def check(value: Any, behaviour: Behaviour) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "must be a number"
        # Only for floats: an int may be too large to convert.
        if isinstance(value, float) and not math.isfinite(value):
            return "must be a number"
        if value < 1:
            return "must be at least 1"
        if behaviour.enforce_maximums and value > documented:
            return f"must be at most {documented:g}"
        return None

    return check


def _boolean(value: Any, _: Behaviour) -> str | None:
    return None if isinstance(value, bool) else "must be a boolean"


def _interfaces(value: Any, _: Behaviour) -> str | None:
    items = _list(value)
    right = items is not None and all(item in INTERFACES for item in items)
    return None if right else f"must be a list of {', '.join(INTERFACES)}"


_ARGUMENTS: Mapping[str, Mapping[str, Callable[[Any, Behaviour], str | None]]] = {
    "pcap": {
        "max-file-size-mb": _number(50),
        "packet-size-bytes": _number(1500),
        "time-limit-min": _number(10),
    },
    "warp-diag": {"test-all-routes": _boolean},
    "speed-test": {"interfaces": _interfaces},
}


def _check_args(command_type: str, args: Any, pointer: str, behaviour: Behaviour) -> list[ServiceError]:
    if args is None:
        return []
    given = _object(args)
    if given is None:
        return [ServiceError(Code.INVALID_ARGUMENT, "args must be an object", pointer)]
    errors: list[ServiceError] = []
    known = _ARGUMENTS[command_type]
    for key, value in given.items():
        wrong = known[key](value, behaviour) if key in known else f"is not an argument of {command_type}"
        if wrong is not None:
            # "~" and "/" are the two characters that a JSON pointer escapes.
            place = key.replace("~", "~0").replace("/", "~1")
            errors.append(ServiceError(Code.INVALID_ARGUMENT, f"{key} {wrong}", f"{pointer}/{place}"))
    return errors
