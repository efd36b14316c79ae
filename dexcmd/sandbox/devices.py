"""The simulated fleet."""

import itertools
import math
import random
from collections.abc import Iterator
from uuid import UUID

import attrs

__all__ = ["SandboxDevice", "make_devices", "new_uuid"]

_SITES = ("LON", "NYC", "BER", "SIN", "SFO", "PAR", "AUS", "TYO")
_PLATFORMS = (
    # platform, kind of machine, client version
    ("windows", "LAPTOP", "2025.9.558.0"),
    ("mac", "MACBOOK", "2025.9.558.0"),
    ("windows", "DESKTOP", "2025.7.176.0"),
    ("linux", "WS", "2025.8.779.0"),
    ("mac", "STUDIO", "2025.7.176.0"),
)
_FIRST = ("ada", "bo", "chi", "dana", "eli", "fay", "gus", "hana", "ivo", "jo", "kai", "lea", "mio", "noa")
_LAST = ("adeyemi", "brandt", "castro", "dubois", "evans", "fujita", "garcia", "hansen", "ito", "jensen")
_DOMAINS = ("example.com", "example.org")
_REASONS = (
    "WARP client version is not supported",
    "Device is not connected with WARP in a supported mode",
    "Platform does not support remote captures",
)
_SMALL_FLEET = 25


@attrs.frozen(kw_only=True)
class SandboxDevice:
    """One registration of one device: a row of the device list, and a target for commands.

    A device shared by several users has one of these for each, all with the same `device_id`.
    """

    name: str
    """Name of the device, as in `LON-LAPTOP-0042`."""
    user_email: str
    """Email address of the registration's user."""
    device_id: str = attrs.field(default=attrs.Factory(lambda self: _uuid_of("device", self.name), takes_self=True))
    """UUID of the device; by default derived from its name alone."""
    registration_id: str = attrs.field(
        default=attrs.Factory(
            lambda self: _uuid_of("registration", self.name, self.device_id, self.user_email), takes_self=True
        )
    )
    """UUID of the registration, unique in the fleet; by default derived from device and user."""
    platform: str = "windows"
    """`windows`, `mac` or `linux`; any other value is passed through."""
    version: str = "2025.9.558.0"
    """Version of the client on the device."""
    eligible: bool = True
    """Whether the service accepts commands for it."""
    ineligible_reason: str | None = None
    """Why it is not eligible."""
    connected: bool = True
    """Whether it picks up commands; those of a disconnected device time out."""
    last_seen: float = 90.0
    """How many seconds before the sandbox's start a disconnected device was last seen; after an hour it is unlisted."""


def _uuid_of(*parts: str) -> str:
    return str(UUID(int=random.Random("\n".join(parts)).getrandbits(128), version=4))  # noqa: S311 - made-up data


def new_uuid(rng: random.Random) -> str:
    """Return a UUID (version 4) drawn from `rng`."""
    return str(UUID(int=rng.getrandbits(128), version=4))


def make_devices(
    count: int,
    *,
    seed: int = 0,
    multi_user_share: float = 0.04,
    ineligible_share: float = 0.02,
    disconnected_share: float = 0.02,
) -> list[SandboxDevice]:
    """Return `count` device rows; the same arguments always give the same rows.

    The shares are fractions of the rows, rounded up; fleets below 25 rows have only plain devices.  Plain devices
    come first, then the pairs of rows of shared devices, then ineligible and finally disconnected devices, so that
    `devices[:n]` is healthy.  Names, emails and registrations are unique, except for the name of a shared device.
    Raises `ValueError` for a negative count.
    """
    if count < 0:
        raise ValueError(f"count must not be negative, not {count!r}")
    rng = random.Random(f"devices {seed}")  # noqa: S311 - made-up data, no secret
    disconnected = _part(count, disconnected_share)
    ineligible = min(_part(count, ineligible_share), count - disconnected)
    room = count - disconnected - ineligible
    shared = min(math.ceil(_part(count, multi_user_share) / 2), room // 2)
    plain = room - 2 * shared

    single = _plain_devices(rng)
    devices = list(itertools.islice(single, plain))
    for device in itertools.islice(single, shared):
        other = attrs.evolve(device, registration_id=new_uuid(rng), user_email=f"second.{device.user_email}")
        devices += [device, other]
    for device, reason in zip(itertools.islice(single, ineligible), itertools.cycle(_REASONS), strict=False):
        devices.append(attrs.evolve(device, eligible=False, ineligible_reason=reason))
    for device in itertools.islice(single, disconnected):
        devices.append(attrs.evolve(device, connected=False, last_seen=float(rng.randrange(60, 1800))))
    return devices


def _part(count: int, share: float) -> int:
    # Rounding keeps 200 * 0.07 from being 15 for the sake of a binary fraction.
    return math.ceil(round(count * share, 6)) if count >= _SMALL_FLEET else 0


def _plain_devices(rng: random.Random) -> Iterator[SandboxDevice]:
    for number in itertools.count(1):
        platform, kind, version = _PLATFORMS[(number - 1) % len(_PLATFORMS)]
        yield SandboxDevice(
            device_id=new_uuid(rng),
            registration_id=new_uuid(rng),
            name=f"{_SITES[(number - 1) % len(_SITES)]}-{kind}-{number:04d}",
            user_email=f"{rng.choice(_FIRST)}.{rng.choice(_LAST)}{number}@{rng.choice(_DOMAINS)}",
            platform=platform,
            version=version,
        )
