"""The state of the fake service: devices, commands, the day's quota.  No I/O, no tasks."""

import itertools
import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import attrs

from dexcmd.clock import Clock
from dexcmd.sandbox.behaviour import ArtifactSize, Behaviour
from dexcmd.sandbox.devices import SandboxDevice, new_uuid
from dexcmd.sandbox.timeline import Timeline, plan_timeline

__all__ = ["CommandFilter", "NewCommand", "Quota", "SandboxState", "StoredCommand"]

_MEGABYTE = 1_000_000
_DEFAULT_MAX_FILE_SIZE_MB = 5
_HOUR = 3600.0
_NO_COMMANDS: list["StoredCommand"] = []


@attrs.frozen
class NewCommand:
    """A command to be created, with its target already resolved."""

    device: SandboxDevice
    type: str
    args: Mapping[str, Any] = attrs.field(factory=dict[str, Any])


@attrs.define(eq=False)
class StoredCommand:
    """A command as the service stores it."""

    id: str
    type: str
    device: SandboxDevice
    args: Mapping[str, Any]
    """As given when the command was created."""
    created: datetime
    """Time of creation by the service's clock, to the millisecond."""
    timeline: Timeline
    size: int | None = None
    """Size of its artifact in bytes; None for a natural size."""
    revision: int = 0
    """Incremented each time the artifact is replaced with another one of the same name."""
    retagged: int = 0
    """Incremented each time the artifact gets another ETag but keeps its content."""

    @property
    def created_at(self) -> float:
        """`created` in POSIX seconds."""
        return self.timeline.created

    @property
    def filename(self) -> str:
        """The name of its artifact."""
        return f"{self.id}.zip"

    def matches(self, wanted: "CommandFilter", now: float) -> bool:
        """Return whether the command passes the filters, apart from those for times and device."""
        return (
            (wanted.command_type is None or self.type == wanted.command_type)
            and (wanted.user_email is None or self.device.user_email == wanted.user_email)
            and (wanted.status is None or self.timeline.status(now) == wanted.status)
        )


@attrs.frozen(kw_only=True)
class CommandFilter:
    """The filters of the command list; None matches everything, and both times are inclusive."""

    command_type: str | None = None
    device_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    status: str | None = None
    user_email: str | None = None


@attrs.define
class Quota:
    """The day's quota; `limit` and `usage` can be set at any time."""

    limit: int
    usage: int
    reset_time: datetime
    """When `usage` becomes 0 again."""

    @property
    def remaining(self) -> int:
        """The number of commands that can still be created before `reset_time`."""
        return max(self.limit - self.usage, 0)


class SandboxState:
    """The complete state of the service.

    Requests to the sandbox read and change it, and so can a test: `add_device` adds to the fleet, `create` creates
    a command without a request (for another operator's, or a history of thousands), and `revise` replaces an
    artifact with another one.
    """

    def __init__(
        self,
        devices: Iterable[SandboxDevice],
        *,
        clock: Clock,
        behaviour: Behaviour,
        seed: int = 0,
        quota: int = 800,
        artifact_size: ArtifactSize = None,
    ) -> None:
        self.behaviour = behaviour
        self._clock = clock
        self._artifact_size = artifact_size
        self._rng = random.Random(f"commands {seed}")  # noqa: S311 - made-up data, no secret
        self._started = self.now()
        self._quota = Quota(quota, 0, _next_midnight(self._started))
        self._commands: dict[str, StoredCommand] = {}
        # Both in creation order, so that times can be found by bisection.
        self._all: list[StoredCommand] = []
        self._by_device: dict[str, list[StoredCommand]] = {}
        self._registrations: dict[str, list[SandboxDevice]] = {}
        self.devices: Sequence[SandboxDevice] = tuple(devices)
        for device in self.devices:
            self._registrations.setdefault(device.device_id, []).append(device)

    def now(self) -> datetime:
        """Return the time by the service's clock."""
        return self._clock.now() + timedelta(seconds=self.behaviour.clock_skew)

    @property
    def commands(self) -> Mapping[str, StoredCommand]:
        """All commands by id, in creation order."""
        return MappingProxyType(self._commands)

    @property
    def quota(self) -> Quota:
        """The quota of the current day."""
        now = self.now()
        if now >= self._quota.reset_time:
            self._quota.usage = 0
            self._quota.reset_time = _next_midnight(now)
        return self._quota

    def registrations(self, device_id: str) -> Sequence[SandboxDevice]:
        """Return the rows of a device; empty if it is unknown."""
        return self._registrations.get(device_id, ())

    def add_device(self, device: SandboxDevice) -> SandboxDevice:
        """Add a row to the fleet and return it.  Raises `ValueError` if its registration already exists."""
        rows = self._registrations.setdefault(device.device_id, [])
        if any(row.registration_id == device.registration_id for row in rows):
            raise ValueError(f"{device.name} of {device.user_email} is in the fleet already")
        rows.append(device)
        self.devices = (*self.devices, device)
        return device

    def listed_devices(self, search: str | None = None) -> list[SandboxDevice]:
        """Return the devices connected within the last hour whose name or email contains `search`."""
        elapsed = (self.now() - self._started).total_seconds()
        needle = (search or "").casefold()
        return [
            device
            for device in self.devices
            if (device.connected or elapsed + device.last_seen <= _HOUR)
            and (needle in device.name.casefold() or needle in device.user_email.casefold())
        ]

    def last_seen(self, device: SandboxDevice) -> datetime:
        """Return when the device was last connected."""
        return self.now() if device.connected else self._started - timedelta(seconds=device.last_seen)

    def create(self, new: NewCommand) -> StoredCommand:
        """Create a command now and count it against the quota, even if that is exceeded."""
        created = self.now()
        if self._all:
            created = max(created, self._all[-1].created)
        created = created.replace(microsecond=created.microsecond // 1000 * 1000)
        command = StoredCommand(
            id=new_uuid(self._rng),
            type=new.type,
            device=new.device,
            args=dict(new.args),
            created=created,
            timeline=Timeline(created.timestamp(), 0.0, 0.0, succeeded=False, uploaded=False),
        )
        command.size = self._size(command)
        command.timeline = plan_timeline(
            command.created_at,
            new.device,
            self.behaviour,
            self._rng,
            busy=self._is_busy(command),
            oversized=_is_oversized(command),
        )
        self._commands[command.id] = command
        self._all.append(command)
        self._by_device.setdefault(new.device.device_id, []).append(command)
        self.quota.usage += 1
        return command

    def revise(self, command_id: str, *, same_bytes: bool = False) -> None:
        """Replace the command's artifact with another one: different bytes and ETag, same name.

        With `same_bytes`, only the ETag changes.
        """
        command = self._commands[command_id]
        if same_bytes:
            command.retagged += 1
        else:
            command.revision += 1

    def page(self, wanted: CommandFilter, page: int, per_page: int) -> list[StoredCommand]:
        """Return one page of the matching commands, newest first."""
        first = (page - 1) * per_page
        if _is_span(wanted):
            commands, start, stop = self._span(wanted)
            stop -= first
            return commands[max(stop - per_page, start) : max(stop, start)][::-1]
        return list(itertools.islice(self._matching(wanted), first, first + per_page))

    def count(self, wanted: CommandFilter) -> int:
        """Return the number of listed commands that match."""
        if _is_span(wanted):
            _, start, stop = self._span(wanted)
            return max(stop - start, 0)
        return sum(1 for _ in self._matching(wanted))

    def _matching(self, wanted: CommandFilter) -> Iterator[StoredCommand]:
        now = self.now().timestamp()
        commands, start, stop = self._span(wanted)
        for index in range(stop - 1, start - 1, -1):
            if commands[index].matches(wanted, now):
                yield commands[index]

    def _span(self, wanted: CommandFilter) -> tuple[list[StoredCommand], int, int]:
        """Return the device's commands, and the start and stop indexes that times and list lag allow."""
        device_id = wanted.device_id
        commands = self._all if device_id is None else self._by_device.get(device_id, _NO_COMMANDS)
        until = self.now() - timedelta(seconds=self.behaviour.list_lag)
        if wanted.until is not None:
            until = min(until, wanted.until)
        stop = bisect_right(commands, until, key=_created)
        start = bisect_left(commands, wanted.since, key=_created) if wanted.since is not None else 0
        return commands, start, stop

    def _is_busy(self, command: StoredCommand) -> bool:
        if command.type != "pcap" or command.device.platform != "windows":
            return False
        return self.behaviour.exclusive_windows_captures and any(
            earlier.type == "pcap" and earlier.timeline.executed > command.created_at
            for earlier in self._by_device.get(command.device.device_id, ())
        )

    def _size(self, command: StoredCommand) -> int | None:
        if not callable(self._artifact_size):
            return self._artifact_size
        return self._artifact_size(
            {
                "id": command.id,
                "type": command.type,
                "device_id": command.device.device_id,
                "registration_id": command.device.registration_id,
                "user_email": command.device.user_email,
                "created_date": command.created,
                "args": command.args,
            }
        )


def _is_span(wanted: CommandFilter) -> bool:
    """Return whether the filter selects everything in a period, so that no command has to be examined."""
    return wanted.command_type is None and wanted.user_email is None and wanted.status is None


def _created(command: StoredCommand) -> datetime:
    return command.created


def _is_oversized(command: StoredCommand) -> bool:
    if command.type != "pcap" or command.size is None:
        return False
    most: float = command.args.get("max-file-size-mb", _DEFAULT_MAX_FILE_SIZE_MB)
    return command.size > most * _MEGABYTE


def _next_midnight(now: datetime) -> datetime:
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), datetime.min.time(), UTC)
