"""What a device can be asked to do: the three kinds of command, their args, and the request for one.

Keys, defaults and maxima are those of
https://developers.cloudflare.com/api/resources/zero_trust/subresources/dex/subresources/commands/methods/create/.
"""

import json
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, cast

import attrs
from attrs.validators import optional

from dexcmd.errors import ConfigurationError, DexWarning
from dexcmd.validators import finite_number, identifier, several, yes_or_no
from dexcmd.wire.converter import register_model, unstructure_args

__all__ = [
    "MAX_PER_POST",
    "CommandArgs",
    "CommandRequest",
    "Pcap",
    "SpeedTest",
    "Target",
    "WarpDiag",
    "check_batch",
    "check_targets",
    "encode_batch",
    "id_key",
]

MAX_PER_POST = 10
"""The maximum number of devices in one POST."""

Target = tuple[str, str | None, str]
"""What distinguishes the commands of a POST: device id, registration id, type."""

CommandType = Literal["pcap", "speed-test", "warp-diag"]

DOCUMENTED_MAXIMUM = {"max_file_size_mb": 50, "packet_size_bytes": 1500, "time_limit_min": 10}


def _at_least_1(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if finite_number(attribute.name, value) < 1:
        raise ConfigurationError(f"{attribute.name} must be at least 1, not {value!r}")


def _interfaces(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    known = ("default", "tunnel")
    if not isinstance(value, tuple) or not value or any(item not in known for item in cast("tuple[Any]", value)):
        raise ConfigurationError(f"{attribute.name} must be a list of {' and '.join(known)}, not {value!r}")


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _identifier(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    identifier(attribute.name, value)


def _args(_: object, __: object, value: Any) -> None:
    if not isinstance(value, Pcap | WarpDiag | SpeedTest):
        raise ConfigurationError(f"args must be Pcap(), WarpDiag() or SpeedTest(), not {value!r}")


@attrs.frozen(kw_only=True)
class Pcap:
    """A packet capture on the default and the tunnel interface.

    None means the service's default.  Raises `ConfigurationError` for an invalid value, and warns (`DexWarning`) about
    one above the documented maximum.
    """

    type: ClassVar[CommandType] = "pcap"

    max_file_size_mb: float | None = attrs.field(default=None, validator=optional(_at_least_1))
    """Megabytes, 1 to 50, 5 by default.  A larger capture is not uploaded at all."""

    packet_size_bytes: float | None = attrs.field(default=None, validator=optional(_at_least_1))
    """How many bytes of each packet are kept, 1 to 1500, 160 by default."""

    time_limit_min: float | None = attrs.field(default=None, validator=optional(_at_least_1))
    """Minutes, 1 to 10, 5 by default."""

    def __attrs_post_init__(self) -> None:
        """Warn about values above the documented maximum; it has changed before, so the service decides."""
        for name, most in DOCUMENTED_MAXIMUM.items():
            value: float | None = getattr(self, name)
            if value is not None and value > most:
                warnings.warn(f"{name}={value!r} is above the documented maximum of {most}", DexWarning, stacklevel=3)


@attrs.frozen(kw_only=True)
class WarpDiag:
    """The diagnostic bundle of the WARP client: logs, settings and some captures.  It contains personal data.

    Raises `ConfigurationError` for an invalid value.
    """

    type: ClassVar[CommandType] = "warp-diag"

    test_all_routes: bool | None = attrs.field(default=None, validator=optional(yes_or_no))
    """Whether to test every route; true by default."""


@attrs.frozen(kw_only=True)
class SpeedTest:
    """A speed test.  Raises `ConfigurationError` for an invalid value."""

    type: ClassVar[CommandType] = "speed-test"

    interfaces: Sequence[Literal["default", "tunnel"]] | None = attrs.field(
        default=None, converter=_tuple, validator=optional(_interfaces)
    )
    """Which interfaces to test; the service's choice by default."""


CommandArgs = Pcap | WarpDiag | SpeedTest
"""The type of a command, with its parameters."""


@attrs.frozen(kw_only=True)
class CommandRequest:
    """One command for one registration of one device.

    `Device.request` makes one from a row of the device list.  Raises `ConfigurationError` for an invalid value.
    """

    device_id: str = attrs.field(validator=_identifier)
    user_email: str = attrs.field(validator=_identifier)
    args: CommandArgs = attrs.field(validator=_args)
    registration_id: str | None = attrs.field(default=None, validator=optional(_identifier))
    """The registration of a multi-user device; None leaves the choice to the service."""

    @property
    def type(self) -> CommandType:
        """Return the type of command: `pcap`, `speed-test` or `warp-diag`."""
        return self.args.type

    @property
    def target(self) -> Target:
        """Return (device_id, registration_id, type)."""
        return self.device_id, self.registration_id, self.type


def id_key(text: str | None) -> str | None:
    """Return an id in the form in which ids are compared: the service may list one in other letters than it got.

    Ids are UUIDs in practice, whose digits mean the same in both cases.
    """
    return None if text is None else text.lower()


def check_targets(requests: Iterable[CommandRequest]) -> tuple[CommandRequest, ...]:
    """Return the requests; raises `ConfigurationError` if two can't be distinguished in a response.

    That is a duplicate target, or a device requested both with and without a registration.
    """
    several("requests", requests, "CommandRequests")
    checked = tuple(requests)
    registrations: dict[tuple[str | None, str], set[str | None]] = {}
    for request in checked:
        if not isinstance(request, CommandRequest):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"expected a CommandRequest, not {type(request).__name__}")
        seen = registrations.setdefault((id_key(request.device_id), request.type), set())
        registration = id_key(request.registration_id)
        what = f"{request.type} on device {request.device_id}"
        if registration in seen:
            raise ConfigurationError(f"the same target twice: {what}, registration {request.registration_id}")
        if seen and None in (*seen, registration):
            raise ConfigurationError(f"both with and without a registration: {what}")
        seen.add(registration)
    return checked


def check_batch(requests: Iterable[CommandRequest]) -> tuple[CommandRequest, ...]:
    """Return the requests of one POST; raises `ConfigurationError` unless they are 1 to 10 distinct targets."""
    batch = check_targets(requests)
    if not 1 <= len(batch) <= MAX_PER_POST:
        raise ConfigurationError(
            f"a POST takes 1 to {MAX_PER_POST} commands, not {len(batch)}; create_many takes any number"
        )
    return batch


register_model(
    Pcap,
    max_file_size_mb="max-file-size-mb",
    packet_size_bytes="packet-size-bytes",
    time_limit_min="time-limit-min",
)
register_model(WarpDiag, test_all_routes="test-all-routes")
register_model(SpeedTest)


def encode_batch(batch: Iterable[CommandRequest]) -> bytes:
    """Return the JSON body of a POST."""
    return json.dumps({"commands": [_encode(request) for request in batch]}).encode()


def _encode(request: CommandRequest) -> dict[str, object]:
    command: dict[str, object] = {
        "device_id": request.device_id,
        "type": request.type,
        "user_email": request.user_email,
    }
    if request.registration_id is not None:
        command["registration_id"] = request.registration_id
    if args := unstructure_args(request.args):
        command["args"] = args
    return command
