"""Registrations of one device that take turns: none gets a command while another's is not done with.  Pure."""

from collections.abc import Collection, Iterable

import attrs

from dexcmd.campaign.events import TargetPlanned
from dexcmd.campaign.targeting import takes_one_at_a_time

__all__ = ["Wave", "has_to_wait", "wave_of"]


def has_to_wait(
    registration_id: str | None, platform: str | None, command_type: str, begun: Collection[str | None]
) -> bool:
    """Return whether a target can't be started while some registrations of its device are in flight.

    The second command may fail at once, and without a registration, an answer's rows for the two can't be told apart.
    """
    return bool(begun) and (takes_one_at_a_time(platform, command_type) or None in (registration_id, *begun))


@attrs.frozen(kw_only=True)
class Wave:
    """How many targets a wave has, and how taking turns affects its POSTs."""

    size: int
    turns: int = 1
    """The most turns that any of the devices takes, with one POST for each."""

    waiting: int = 0
    """How many targets may have to wait for another one of their device, at most."""

    def first(self, size: int) -> "Wave":
        """Return what is known about `size` of its targets, which may be any of them."""
        left_out = max(0, self.size - size)
        left = self.size - left_out
        turns = max(min(1, left), self.turns - left_out)
        return Wave(size=left, turns=turns, waiting=max(0, min(self.waiting, left - 1)))


def wave_of(targets: Iterable[TargetPlanned], command_type: str) -> Wave:
    """Return the wave made up of some targets."""
    devices: dict[str | None, list[TargetPlanned]] = {}
    for target in targets:
        devices.setdefault(target.device_id, []).append(target)
    size = turns = waiting = 0
    for of_device in devices.values():
        size += len(of_device)
        alone = sum(
            target.registration_id is None or takes_one_at_a_time(target.platform, command_type) for target in of_device
        )
        turns = max(turns, alone + (alone < len(of_device)))
        if alone:
            # Which of them goes first depends on what ends when.
            waiting += len(of_device) - 1
    return Wave(size=size, turns=turns, waiting=waiting)
