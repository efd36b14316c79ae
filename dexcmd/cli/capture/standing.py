"""The progress and the outcome of a capture.  Pure."""

from collections.abc import Sequence
from pathlib import Path

import attrs

from dexcmd.amounts import size_text
from dexcmd.cli.capture.rows import MADE, Row
from dexcmd.cli.exits import FAILED, INTERRUPTED, OK, PARTLY, REFUSED
from dexcmd.cli.failure import explain
from dexcmd.cli.moments import duration_text
from dexcmd.cli.rates import Rate
from dexcmd.cli.view import Picture, Stage
from dexcmd.events import CommandCreated, CommandFinished, Event
from dexcmd.transfer.progress import Progress

__all__ = ["Standing"]


@attrs.define
class Standing:
    """The progress of a capture."""

    total: int
    """Number of commands to create."""

    no_wait: bool
    """Whether the capture is done once the commands are created."""

    started: float
    """Start time in seconds."""

    rows: list[Row] = attrs.field(factory=list[Row])
    """The rows known so far."""

    created: int = 0
    ended: int = 0
    stopping: bool = False
    size: int = 0
    """Bytes saved."""

    under_way: dict[str, Progress] = attrs.field(factory=dict[str, Progress])
    _bytes: Rate = attrs.field(factory=Rate)
    _done: Rate = attrs.field(factory=Rate)

    def stop(self) -> None:
        """Note that nothing more is started."""
        self.stopping = True

    def on_event(self, event: Event) -> None:
        """Count the client's created and finished commands."""
        self.created += isinstance(event, CommandCreated)
        self.ended += isinstance(event, CommandFinished)

    def on_progress(self, progress: Progress) -> None:
        """Record the progress of an artifact."""
        self.under_way[progress.command_id] = progress

    def on_row(self, row: Row) -> None:
        """Record the result for a target."""
        self.rows.append(row)
        self.under_way.pop(row.command_id or "", None)
        self.size += 0 if row.artifact is None else row.artifact.size

    def count(self, *states: str) -> int:
        """Return the number of rows in any of the states."""
        return sum(row.state in states for row in self.rows)

    def picture(self, now: float) -> Picture:
        """Return the progress at a time in seconds, which never goes back."""
        not_made = self.count("rejected", "not_attempted", "unknown")
        created = Stage("created", self.created, self.total - not_made)
        if self.no_wait:
            return Picture((created,), duration_text(now - self.started))
        received = self.size + sum(progress.received for progress in self.under_way.values())
        saved, failed = self.count("saved"), self.count("failed")
        self._bytes.note(received, now)
        self._done.note(saved + failed, now)
        left = self.total - not_made - saved - failed
        late = sum(row.state == "failed" and row.status is None for row in self.rows)
        running = self.total - not_made - self.ended - late
        # How fast other devices were doesn't tell how long the remaining ones take.
        seconds = None if self.stopping or running or not left else self._done.seconds_for(left)
        said = f"{duration_text(now - self.started)}, {size_text(received)}, {size_text(self._bytes.per_second)}/s"
        if self.under_way:
            said += f", {len(self.under_way)} in progress"
        if failed:
            said += f", {failed} failed"
        stages = (
            created,
            Stage("ended on the device", self.ended, self.total - not_made),
            Stage(
                "saved",
                saved,
                self.total - not_made - failed,
                "" if seconds is None else f"{duration_text(seconds)} left",
            ),
        )
        return Picture(stages, said)

    def summary(self, into: Path) -> str:
        """Return the final summary in one line."""
        states = {
            "saved": self.count("saved"),
            "failed": self.count("failed"),
            "created" if self.no_wait else "created and not saved": self.count(*MADE),
            "rejected": self.count("rejected"),
            "unknown": self.count("unknown"),
            "not attempted": self.count("not_attempted"),
        }
        parts = [f"{number} {state}" for state, number in states.items() if number]
        if self.size:
            parts[0] += f" in {into} ({size_text(self.size)})"
        return ", ".join(parts)

    def exit_code(self, *, interrupted: bool) -> int:
        """Return the exit code; `interrupted` is whether Ctrl-C was pressed."""
        good = MADE if self.no_wait else ("saved",)
        done = self.count(*good)
        if done == len(self.rows):
            return OK
        if interrupted and any(row.reason == "cancelled" for row in self.rows):
            return INTERRUPTED
        if done:
            return PARTLY
        return _worst(self.rows)


def _worst(rows: Sequence[Row]) -> int:
    """Return the exit code for rows none of which succeeded."""
    for row in rows:
        if row.error is not None:
            return explain(row.error).exit_code
    return REFUSED if any(row.reason == "quota" for row in rows) else FAILED
