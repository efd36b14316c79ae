"""The progress of the demo: counters, fed by the client's events and results."""

from collections.abc import Sequence
from typing import Protocol

import attrs

from dexcmd.amounts import size_text
from dexcmd.capture import CaptureResult
from dexcmd.cli.view import Picture, Stage
from dexcmd.errors import CommandFailedError
from dexcmd.events import CommandCreated, CommandFinished, Event, Paced, RequestFinished, Retrying
from dexcmd.resources.devices import Device

__all__ = ["Counted", "Progress"]


class Counted(Protocol):
    """A kind of fault."""

    @property
    def kind(self) -> str:
        """Its display name."""
        ...

    @property
    def count(self) -> int:
        """How often it struck."""
        ...


@attrs.define
class Progress:
    """The progress of the demo.  Counts never decrease."""

    targets: int
    """Number of devices to capture."""

    faults: Sequence[Counted] = ()
    """The faults that the sandbox injects."""

    seconds: float = 0.0
    """Real time since the start."""

    eligible: int = 0
    ineligible: int = 0
    created: int = 0
    ended: int = 0
    """Commands that reached SUCCESS or FAILED."""

    saved: int = 0
    device_failed: int = 0
    """Commands that their device reported as FAILED."""

    lost: int = 0
    """Targets without an artifact for any other reason."""

    size: int = 0
    """Bytes saved."""

    resumed: int = 0
    """Downloads that broke off and were resumed in the middle."""

    requests: int = 0
    posts: int = 0
    retries: int = 0
    paced: int = 0
    """Requests that were held back to stay under the rate limit."""

    @property
    def injected(self) -> int:
        """Return how many requests were struck by a fault."""
        return sum(fault.count for fault in self.faults)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Return how many targets have passed each stage, in order."""
        return (
            Stage("found", self.eligible, self.targets),
            Stage("created", self.created, self.targets),
            Stage("done on the device", self.ended, self.targets),
            # What failed before has nothing to save.
            Stage("saved", self.saved, self.targets - self.device_failed - self.lost),
        )

    @property
    def picture(self) -> Picture:
        """Return the progress for display."""
        held_back = f" {self.paced} held back," if self.paced else ""
        said = (
            f"{size_text(self.size)}, {self.requests} requests, {self.retries} retried,"
            f" {self.injected} faults,{held_back} {self.seconds:.0f} s"
        )
        return Picture(self.stages, said)

    def on_device(self, device: Device) -> None:
        """Count a row of the device list."""
        if device.eligible:
            self.eligible += 1
        else:
            self.ineligible += 1

    def on_event(self, event: Event) -> None:
        """Count the client's events."""
        match event:
            case RequestFinished():
                self.requests += 1
                self.posts += event.method == "POST"
            case Retrying():
                self.retries += 1
            case Paced():
                self.paced += 1
            case CommandCreated():
                self.created += 1
            case CommandFinished():
                self.ended += 1
            case _:
                pass

    def on_result(self, result: CaptureResult) -> None:
        """Count the result for a target."""
        if result.artifact is not None:
            self.saved += 1
            self.size += result.artifact.size
            self.resumed += result.artifact.resumed_from > 0
        elif isinstance(result.error, CommandFailedError):
            self.device_failed += 1
        else:
            self.lost += 1
