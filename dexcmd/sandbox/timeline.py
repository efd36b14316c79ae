"""The timeline of a command's status: drawn once at its creation, then a pure function of the time."""

import random

import attrs

from dexcmd.sandbox.behaviour import Behaviour
from dexcmd.sandbox.devices import SandboxDevice

__all__ = ["Timeline", "plan_timeline"]


@attrs.frozen
class Timeline:
    """The life of one command, in POSIX seconds of the service's clock."""

    created: float
    executed: float
    """When PENDING_EXEC ends."""
    finished: float
    """When PENDING_UPLOAD ends and the final status is reached."""
    succeeded: bool
    """Whether the final status is SUCCESS; otherwise it is FAILED."""
    uploaded: bool
    """Whether there is an artifact at the end."""

    def status(self, now: float) -> str:
        """Return the command's status at `now`."""
        if now < self.executed:
            return "PENDING_EXEC"
        if now < self.finished:
            return "PENDING_UPLOAD"
        return "SUCCESS" if self.succeeded else "FAILED"


def plan_timeline(
    created: float,
    device: SandboxDevice,
    behaviour: Behaviour,
    rng: random.Random,
    *,
    busy: bool = False,
    oversized: bool = False,
) -> Timeline:
    """Draw the timeline of a command.

    `busy` means that the device is running another capture and fails this one at once, `oversized` that the
    artifact exceeds the command's limit.  The number of draws is the same in every case, so that one command's
    outcome doesn't affect those of others.
    """
    pickup, run, upload = (
        rng.uniform(*span) for span in (behaviour.pickup_seconds, behaviour.run_seconds, behaviour.upload_seconds)
    )
    unlucky = rng.random() < behaviour.failure_rate
    if not device.connected:
        gone = created + behaviour.disconnected_timeout
        return Timeline(created, gone, gone, succeeded=False, uploaded=False)
    if busy:
        return Timeline(created, created, created, succeeded=False, uploaded=False)
    executed = created + pickup + run
    if oversized and behaviour.oversized_capture != "uploaded":
        succeeded = behaviour.oversized_capture == "no-file" and not unlucky
        return Timeline(created, executed, executed, succeeded=succeeded, uploaded=False)
    return Timeline(created, executed, executed + upload, succeeded=not unlucky, uploaded=not unlucky)
