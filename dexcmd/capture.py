"""Create, follow and save in one step: from targets to complete files."""

import logging
import os
from collections.abc import Sequence
from typing import Any, Generic, Literal

import anyio
import attrs
from anyio.streams.memory import MemoryObjectSendStream

from dexcmd.background import Background, Results
from dexcmd.errors import CommandFailedError, DexError, WaitTimeoutError
from dexcmd.fanout import BulkOptions
from dexcmd.loading import load
from dexcmd.outcome import BulkResult, Outcome, OutcomeState
from dexcmd.polling.notes import FILENAME_GRACE
from dexcmd.polling.watch import Watch
from dexcmd.resources.command import Command, command_id_of
from dexcmd.resources.commands import CommandsResource
from dexcmd.resources.requests import CommandRequest
from dexcmd.session import Session
from dexcmd.tasks import run_tasks
from dexcmd.transfer.many import Save
from dexcmd.transfer.options import OnProgress, SaveOptions
from dexcmd.transfer.saved import R
from dexcmd.transfer.sink import Sink
from dexcmd.validators import above_zero, count
from dexcmd.wire.retrying import ACCOUNT_ERRORS

__all__ = ["Capture", "CaptureOptions", "CaptureResult", "CaptureState"]

logger: logging.Logger = logging.getLogger(__name__)

CaptureState = OutcomeState | Literal["failed", "saved"]


@attrs.frozen
class CaptureResult(Generic[R]):
    """The result for one target.

    `saved`: `artifact` has been stored.  `failed`: the command was created but its artifact was not saved, and
    `error` says why: the device reported FAILED (`CommandFailedError`), the command did not end in time
    (`WaitTimeoutError`), the list could no longer be read, or the download failed.  `rejected`, `not_attempted` and
    `unknown` are as in `Outcome`; so are `created` and `adopted`, which mean that `stop` was called before the
    artifact was saved.
    """

    request: CommandRequest
    state: CaptureState
    command: Command | None = None
    artifact: R | None = None
    error: DexError | None = None
    reason: str | None = None
    """Why it was `not_attempted` (`quota`, `abort`, `cancelled`), `unknown` (as in `Outcome`), or left by `stop`
    (`cancelled`).
    """


@attrs.frozen(kw_only=True)
class CaptureOptions(Generic[R]):
    """The settings of a capture."""

    bulk: BulkOptions
    into: "str | os.PathLike[str] | Sink[R]"
    concurrency: int = attrs.field(validator=count)
    """How many downloads run at once."""

    timeout: float = attrs.field(validator=above_zero)
    """How many seconds a command may take from its creation to its end."""

    poll_interval: float = attrs.field(validator=above_zero)
    """The minimum number of seconds between polls."""

    most_in_flight: int = attrs.field(validator=count)
    """Creation pauses when this many commands are created but neither saved nor failed.

    Each of the `bulk.concurrency` workers pauses only once it has sent a POST, of up to ten commands, that exceeds
    the limit.  So the limit may be exceeded by ten times `bulk.concurrency`, plus commands whose create response was
    lost and that are still being searched for.
    """

    on_progress: OnProgress | None


class Capture(Background[CaptureResult[R]]):
    """The results of `dex.capture`, one per target, each as soon as it is known."""

    _results: Results[CaptureResult[R]]
    """Set when the results start."""

    def __init__(self, session: Session, commands: CommandsResource, options: CaptureOptions[R]) -> None:
        super().__init__()
        self._commands = commands
        self._session = session
        self._options = options
        self._clock = session.settings.clock
        self._watch = Watch(
            session, peers=commands.peers, poll_interval=options.poll_interval, filename_grace=FILENAME_GRACE
        )
        self._made: dict[str, Outcome] = {}
        """The outcomes of commands that were created and are neither saved nor failed yet, by command id."""

        self._stopped = False
        # Free room is taken without yielding to the event loop, so that the commands of one POST are added to the watch
        # together, and polls look for them together.
        self._room = anyio.Semaphore(options.most_in_flight, fast_acquire=True)
        self._change = anyio.Event()
        self._all_created = False
        self._bulk = commands.bulk(options.bulk, self._take)
        self._unstarted = "was never entered with `async with`: nothing was captured"

    @property
    def created(self) -> BulkResult:
        """The outcome of creating each request, as it stands now; available after leaving early or cancellation too."""
        return self._bulk.result

    def stop(self) -> None:
        """Create no more commands, start no more downloads, stop waiting for devices, and end the iteration.

        Requests and downloads in progress are completed.  Each request still gets a result: a command that was created
        but whose artifact was not saved is `created` or `adopted`, with reason `cancelled`, and can be followed and
        downloaded later.
        """
        self._stopped = True
        self._bulk.stop()
        self._watch.wake()
        self._change.set()

    async def _produce(self, results: Results[CaptureResult[R]]) -> None:
        self._results = results
        # The sink is opened before anything is created: a capture that can't be stored wastes quota and privacy.
        options = SaveOptions(on_progress=self._options.on_progress)
        await load("dexcmd.transfer.saver")
        from dexcmd.transfer.saver import check_ready, saver, sink_of

        sink: Sink[Any] = sink_of(self._options.into)
        async with saver(self._session, sink, options) as save:
            await check_ready(sink)
            await self._capture(save)

    async def _capture(self, saver: Save[R]) -> None:
        # More workers than requests would have nothing to do.
        concurrency = min(self._options.concurrency, len(self._options.bulk.requests))
        ended, to_save = anyio.create_memory_object_stream[Command](concurrency)

        async def follow() -> None:
            async with ended:
                try:
                    await self._follow(ended)
                finally:
                    self._watch.leave()

        async def save() -> None:
            async for command in to_save:
                await self._save(saver, command)

        async with to_save:
            await run_tasks([self._create, follow, *[save] * concurrency])

    async def _create(self) -> None:
        await self._bulk
        self._all_created = True
        self._change.set()

    async def _take(self, outcomes: Sequence[Outcome]) -> None:
        # Computed before waiting for room, as the devices are already at work.
        deadline = self._clock.monotonic() + self._options.timeout
        for outcome in outcomes:
            if outcome.command_id is not None:
                await self._room.acquire()
                self._add(outcome.command_id, outcome, deadline)
            else:
                await self._results.send(
                    CaptureResult[R](outcome.request, outcome.state, error=outcome.error, reason=outcome.reason)
                )

    def _add(self, command_id: str, outcome: Outcome, deadline: float) -> None:
        self._made[command_id] = outcome
        self._watch.add(
            command_id,
            not_before=self._commands.created.not_before(command_id),
            command_type=outcome.request.type,
            device_id=outcome.request.device_id,
            deadline=deadline,
            is_new=True,
        )
        self._change.set()

    async def _follow(self, ended: MemoryObjectSendStream[Command]) -> None:
        while len(self._watch) or not self._all_created:
            if self._stopped and len(self._watch):
                for command_id in self._watch.ids:
                    await self._leave(command_id, self._watch.drop(command_id))
                continue
            if not len(self._watch):
                self._change = anyio.Event()
                await self._change.wait()
                continue
            # In slices: the event loop's clock stands still while the machine is suspended.
            await self._watch.rest(self._options.poll_interval)
            if not self._stopped:
                await self._poll()
            # Also after a stop, as a peer's poll may have shown some of these.
            for command in self._watch.take_ended():
                if command.succeeded:
                    await ended.send(command)
                else:
                    error = CommandFailedError(f"command {command.id}: the device reports {command.status}")
                    await self._fail(command_id_of(command), error, command)
            await self._give_up_overdue(ended)

    async def _poll(self) -> None:
        try:
            await self._watch.poll()
        except ACCOUNT_ERRORS as error:
            for command_id in self._watch.ids:
                self._watch.drop(command_id)
                await self._fail(command_id, error)
        except DexError as error:
            # The commands still exist, so polling goes on until each command's own timeout.
            logger.warning("a poll failed: %s", error)

    async def _give_up_overdue(self, ended: MemoryObjectSendStream[Command]) -> None:
        for command_id in self._watch.out_of_time():
            succeeded = self._watch.succeeded(command_id)
            command = self._watch.drop(command_id)
            if succeeded and command is not None:
                # Only its file name is missing, and that can be guessed.
                await ended.send(command)
            else:
                message = f"command {command_id} has not ended after {self._options.timeout:g} s"
                last_seen = () if command is None else (command,)
                await self._fail(command_id, WaitTimeoutError(message, (command_id,), last_seen=last_seen), command)

    async def _save(self, save: Save[R], command: Command) -> None:
        command_id = command_id_of(command)
        if self._stopped:
            await self._leave(command_id, command)
            return
        try:
            artifact = await save(command)
        except DexError as error:
            await self._fail(command_id, error, command)
        else:
            request = self._made[command_id].request
            await self._finish(command_id, CaptureResult(request, "saved", command, artifact))

    async def _leave(self, command_id: str, command: Command | None) -> None:
        """Report a command that is no longer waited for."""
        made = self._made[command_id]
        result = CaptureResult[R](made.request, made.state, command or made.command, reason="cancelled")
        await self._finish(command_id, result)

    async def _fail(self, command_id: str, error: DexError, command: Command | None = None) -> None:
        request = self._made[command_id].request
        result = CaptureResult[R](request, "failed", command or Command(id=command_id), error=error)
        await self._finish(command_id, result)

    async def _finish(self, command_id: str, result: CaptureResult[R]) -> None:
        del self._made[command_id]
        await self._results.send(result)
        self._room.release()
