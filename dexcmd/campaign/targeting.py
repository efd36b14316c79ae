"""Which devices a campaign captures, in which wave, and why others are not.  Pure: rows in, decisions out.

A row that is not captured has one reason, the first of these that applies:

1. `excluded`: the campaign leaves it out by its id, name or email;
2. `platform`, 3. `unsupported_version`: it is not what the campaign is for, or does not say;
4. `not_eligible`: the service says so, or gives no device id or email, without which nothing can be requested;
5. `offline`: the service says that it is not connected (a device without a status counts as connected);
6. `already_running`: it has a command of the type that has not ended;
7. `not_sampled`: it could be captured, but was not drawn.

A named device that no row shows is `not_found`.
"""

import sys
from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b

import attrs

from dexcmd.campaign.events import SkipReason, TargetPlanned
from dexcmd.campaign.named import Named, Names, folded
from dexcmd.campaign.spec import CampaignSpec, Share
from dexcmd.campaign.versions import VersionBounds
from dexcmd.resources.command import Command
from dexcmd.resources.devices import Device, identity, is_connected

__all__ = ["Running", "Selection", "takes_one_at_a_time", "wave_ends"]


def takes_one_at_a_time(platform: str | None, command_type: str) -> bool:
    """Return whether a second command of the type fails at once on a device, whichever registration runs the first.

    This is the case for captures on Windows.
    """
    return command_type == "pcap" and folded(platform).startswith("win")


class Running:
    """The commands of the campaign's type that have not ended, by device."""

    def __init__(self, command_type: str) -> None:
        self._type = command_type
        self._commands: dict[str, dict[str | None, str | None]] = {}

    def add(self, command: Command) -> None:
        """Take a row of the command list into account."""
        if command.device_id is not None and not command.ended:
            self._commands.setdefault(command.device_id, {})[command.registration_id] = command.id

    def on(self, target: TargetPlanned) -> tuple[str | None] | None:
        """Return the id of a command that blocks another one, in a tuple, or None if there is none.

        A command without a registration may be any registration's.
        """
        commands = self._commands.get(target.device_id or "")
        if commands is None:
            return None
        if target.registration_id is None or takes_one_at_a_time(target.platform, self._type):
            return (next(iter(commands.values())),)
        for registration_id in (target.registration_id, None):
            if registration_id in commands:
                return (commands[registration_id],)
        return None


class Selection:
    """The matching rows of one account, each judged as it arrives, so that nothing else of a walk is kept."""

    def __init__(self, spec: CampaignSpec, account: str, account_id: str, names: Names, at: datetime) -> None:
        self._targeting = spec.targets
        self._waves = spec.waves.sizes
        self._account = account
        self._names = names
        self._at = at
        self._exclude = frozenset(map(folded, spec.targets.exclude))
        self._platforms = frozenset(map(folded, spec.targets.platforms))
        self._versions = None if spec.targets.version is None else VersionBounds.parse(spec.targets.version)
        self._lots = blake2b(f"{spec.targets.seed} {account_id}".encode(), digest_size=16)
        self._seen: set[object] = set()
        self._candidates: list[TargetPlanned] = []
        self._skipped: list[TargetPlanned] = []

    def __len__(self) -> int:
        """Return how many rows could be captured, judged by themselves."""
        return len(self._candidates)

    def add(self, device: Device) -> None:
        """Judge a row of the device list.  Duplicates, and rows that are not named when others are, are left out."""
        if len(self._names) and not self._names.match(self._account, device):
            return
        row = identity(device)
        if row in self._seen:
            return
        self._seen.add(row)
        skip, detail = self._judge(device)
        target = TargetPlanned(
            at=self._at,
            account=self._account,
            target=0,
            device_id=device.device_id,
            user_email=device.person_email,
            registration_id=device.registration_id,
            device_name=device.device_name,
            platform=_shared(device.platform),
            version=_shared(device.version),
            skip=skip,
            detail=_shared(detail),
        )
        (self._candidates if skip is None else self._skipped).append(target)

    def miss(self, named: Named, detail: str | None = None) -> None:
        """Note a named device that no row shows."""
        self._skipped.append(
            TargetPlanned(
                at=self._at,
                account=self._account,
                target=0,
                device_id=named.device_id,
                user_email=named.user_email,
                registration_id=named.registration_id,
                skip="not_found",
                detail=detail,
            )
        )

    def decide(self, running: Running) -> None:
        """Decide which of the candidates are captured, and in which order."""
        self._seen.clear()
        free: list[TargetPlanned] = []
        for target in self._candidates:
            command = running.on(target)
            if command is None:
                free.append(target)
            else:
                self._skipped.append(_skipped(target, "already_running", command[0]))
        # Each has its own lot, so that adding or removing a device moves none of the others.
        free.sort(key=self._lot)
        sample = self._targeting.sample
        size = len(free) if sample is None else sample.of(len(free))
        self._skipped.extend(_skipped(target, "not_sampled") for target in free[size:])
        del free[size:]
        self._candidates = free

    def numbered(self, first: int) -> tuple[list[TargetPlanned], list[TargetPlanned], tuple[int, ...]]:
        """Return the targets in the order of their waves, the skipped devices, and the sizes of the waves.

        Numbers run from `first` through the targets and then the skipped devices.
        """
        targets, skipped = self._candidates, self._skipped
        ends = wave_ends(self._waves, len(targets))
        start = 0
        for wave, end in enumerate(ends, 1):
            for index in range(start, end):
                targets[index] = attrs.evolve(targets[index], target=first + index, wave=wave)
            start = end
        for index, target in enumerate(skipped, len(targets)):
            skipped[index - len(targets)] = attrs.evolve(target, target=first + index)
        return targets, skipped, tuple(end - start for start, end in zip((0, *ends), ends, strict=False))

    def _judge(self, device: Device) -> tuple[SkipReason | None, str | None]:
        """Return why a row, judged by itself, is not captured: the reason, and possibly a detail in words."""
        if self._exclude and any(
            folded(text) in self._exclude for text in (device.device_id, device.device_name, device.person_email)
        ):
            return "excluded", None
        if self._platforms and folded(device.platform) not in self._platforms:
            return "platform", None if device.platform else "the service reports no platform"
        if self._versions is not None and not self._versions.allow(device.version):
            return "unsupported_version", None if device.version else "the service reports no version"
        if device.eligible is False:
            return "not_eligible", device.ineligible_reason
        if not (device.device_id or "").strip():
            return "not_eligible", "the service reports no device id"
        if not (device.person_email or "").strip():
            return "not_eligible", "the service reports no email"
        if not is_connected(device):
            return "offline", device.status
        return None, None

    def _lot(self, target: TargetPlanned) -> bytes:
        lot = self._lots.copy()
        lot.update(f" {target.device_id} {target.registration_id}".encode(errors="surrogatepass"))
        return lot.digest()


def wave_ends(sizes: Sequence[Share], total: int) -> list[int]:
    """Return how many of `total` targets there are in total by the end of each wave.

    Empty waves are left out, such as the second of `[5, "10%"]` for 30 targets.
    """
    ends: list[int] = []
    for share in (*sizes, Share(percent=100.0)):
        end = share.of(total)
        if end > (ends[-1] if ends else 0):
            ends.append(end)
    return ends


def _skipped(target: TargetPlanned, skip: SkipReason, detail: str | None = None) -> TargetPlanned:
    return attrs.evolve(target, skip=skip, detail=detail)


def _shared(text: str | None) -> str | None:
    """Return a text that many rows have as one shared object."""
    return None if text is None else sys.intern(text)
