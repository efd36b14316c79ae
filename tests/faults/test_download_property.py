"""Whatever happens to downloads of one artifact, one after the other: its file is whole, or it is not there.

`DEXCMD_CAMPAIGNS=thorough` makes others each time, and more of them, as for the campaigns.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import attrs
from hypothesis import event, given
from hypothesis import strategies as st

from dexcmd import DexClient, DexError, RetryPolicy
from dexcmd.clock import ManualClock
from dexcmd.events import Event, RequestSent
from dexcmd.sandbox import Behaviour, Fault, Sandbox
from dexcmd.sandbox.state import NewCommand
from dexcmd.transfer.limits import DownloadLimits
from tests.courses import DOWNLOAD_BEHAVIOURS, profile
from tests.faults.directly import reading_directly
from tests.faults.loops import HastyLoop, wait_for_threads

PROFILE = profile(100, 1000)

SIZES = (70_000, 300_000, 1_500_000)
FILES: Any = ("download", "storage")
LIMITS = DownloadLimits(stall_seconds=30, stall_bytes_per_second=1000, total_seconds=3600)

# --- what may happen

FRAMINGS: st.SearchStrategy[Any] = st.sampled_from(["length", "chunked", "close"])
SPOTS = st.one_of(
    st.sampled_from([0, 1, 1.0, 1 - 1e-7, 64 * 1024, 64 * 1024 + 1, 1024 * 1024, 1024 * 1024 + 1]),
    st.floats(0.0, 1.0),
)
BROKEN = st.one_of(
    st.builds(Fault.cut, SPOTS, framing=FRAMINGS, reset=st.booleans()),
    st.builds(Fault.stall, SPOTS, framing=FRAMINGS),
)
HONEST = st.one_of(
    # Some are too slow, and some come in odd pieces.
    st.builds(
        lambda rate, piece, left: Fault.trickle(rate, at=1 - left, piece=piece),
        st.sampled_from([100, 1e6]),
        st.sampled_from([997, 5000]),
        st.floats(0.001, 0.02),
    ),
    st.builds(Fault.revise, st.none() | SPOTS, same_bytes=st.booleans()),
    st.builds(Fault.ignore_if_range, same_bytes=st.booleans()),
    st.builds(Fault.wrong_range, st.sampled_from([0, 1, -1, 70_000]), end=st.sampled_from([0, -1, -70_000])),
    st.builds(Fault.unasked_range, st.floats(0, 0.5), st.floats(0.5, 1)),
    st.builds(Fault.encoded, framing=FRAMINGS),
    st.sampled_from(
        [
            Fault.ignore_range(),
            Fault.multipart_range(),
            Fault.unsatisfiable(),
            Fault.unsatisfiable(-1),
            Fault.mislabelled_range(form=None),
            Fault.mislabelled_range(start=1),
            Fault.mislabelled_range(total=1),
            Fault.mislabelled_range(form="bytes {start}-{end}/*"),
            Fault.redirect(hops=2),
            Fault.redirect("self"),
            Fault.html(),
            Fault.empty(),
            Fault.error(503),
            Fault.error(404),
            Fault.drop(),
            Fault.silence(),
        ]
    ),
)
"""What a length, a strong ETag or an overlap is enough against."""

LYING = st.one_of(
    st.builds(Fault.corrupt, SPOTS),
    st.builds(Fault.lying_length, st.sampled_from([-1, 1, -70_000, 1000]), rest=st.booleans()),
    st.builds(Fault.surplus, st.integers(1, 2000), framing=FRAMINGS),
    st.builds(lambda body: Fault.mislabelled_range(body=body), st.integers(1, 50_000)),
    st.just(Fault.garbage()),
)
"""What only the checksums in the zip are."""


@attrs.frozen
class Step:
    """One call of `save`."""

    faults: Sequence[Fault]
    cancel: tuple[int, int] | None
    """After which of its requests it is cancelled, and how many turns of the loop later."""
    behaviour: dict[str, Any]
    attempts: int
    new_client: bool
    revise: bool
    """Whether the service has another version by then."""
    fresh: bool
    """Whether the file of an earlier call is gone by then."""


def steps(behaviours: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[list[Step]]:
    step = st.builds(
        Step,
        # Most begin with something that has to be gone on from.
        faults=st.builds(list.__add__, st.lists(BROKEN, max_size=2), st.lists(BROKEN | HONEST | LYING, max_size=3)),
        cancel=st.none() | st.none() | st.tuples(st.integers(1, 4), st.integers(0, 40)),
        behaviour=behaviours,
        attempts=st.sampled_from([1, 3, 6]),
        new_client=st.booleans(),
        revise=st.sampled_from([False, False, False, True]),
        fresh=st.sampled_from([True, True, True, False]),
    )
    return st.lists(step, min_size=1, max_size=5)


SEQUENCES = st.one_of(
    # One service, or one that is another each time.
    DOWNLOAD_BEHAVIOURS.flatmap(lambda behaviour: steps(st.just(behaviour))),
    steps(DOWNLOAD_BEHAVIOURS),
)


# --- how it runs


@attrs.define
class Run:
    size: int
    steps: Sequence[Step]
    folder: Path
    sandbox: Sandbox = attrs.field(init=False)
    task: "asyncio.Future[Any] | None" = None
    cancel: tuple[int, int] | None = None
    events: set[str] = attrs.field(factory=set[str])
    """What has become of calls."""

    def note(self, sent: Event) -> None:
        if self.cancel is not None and isinstance(sent, RequestSent):
            requests, turns = self.cancel
            self.cancel = (requests - 1, turns)
            if requests == 1:
                self.cancel_after(turns)

    def cancel_after(self, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self.cancel_after, turns - 1)
        elif self.task is not None:
            self.task.cancel()

    def client(self) -> DexClient:
        return DexClient(
            api_token=self.sandbox.token,
            account_id=self.sandbox.account_id,
            base_url=self.sandbox.base_url,
            clock=self.sandbox.clock,
            random=lambda: 0.0,
            on_event=self.note,
            rate_limit=None,
            retry=RetryPolicy(attempts=3, attempt_seconds=5.0),
        )

    async def __call__(self) -> None:
        wait_for_threads()
        behaviour = Behaviour.instant(rate_limit=None)
        self.sandbox = Sandbox(1, clock=ManualClock(), behaviour=behaviour, artifact_size=self.size)
        async with self.sandbox as sandbox:
            command = sandbox.state.create(NewCommand(sandbox.state.devices[0], "warp-diag")).id
            dex = self.client()
            try:
                for step in self.steps:
                    if step.new_client:
                        await dex.close()
                        dex = self.client()
                    if step.fresh:
                        (self.folder / f"{command}.zip").unlink(missing_ok=True)
                    if step.revise:
                        sandbox.state.revise(command)
                    await self.take(step, dex, command)
                await self.end(dex, command)
            finally:
                await dex.close()

    async def take(self, step: Step, dex: DexClient, command: str) -> None:
        sandbox = self.sandbox
        sandbox.behaviour = Behaviour.instant(rate_limit=None, **step.behaviour)
        for fault in step.faults:
            sandbox.faults.add(fault, on=sorted(fault.operations & set(FILES)))
        self.cancel = step.cancel
        patient = dex.with_retry(RetryPolicy(attempts=step.attempts, attempt_seconds=5.0))
        self.task = asyncio.ensure_future(patient.downloads.save(command, self.folder, limits=LIMITS))
        await asyncio.wait([self.task])
        self.cancel = None
        sandbox.faults.clear()
        self.check(command)
        if self.task.cancelled():
            self.events.add("cancelled")
        elif (error := self.task.exception()) is None:
            saved = self.task.result()
            self.events.add("skipped" if saved.skipped else "resumed" if saved.resumed_from else "saved")
            assert saved.path.exists()
        else:
            assert isinstance(error, DexError), error
            self.events.add(type(error).__name__)

    def check(self, command: str) -> None:
        """Check that the file is whole or not there, and that nothing else is there but what can be gone on from."""
        names = {path.name for path in self.folder.iterdir()}
        final, part = f"{command}.zip", f".{command}.zip.part"
        assert names <= {final, part, f"{part}.json"}
        assert (part in names) == (f"{part}.json" in names)
        if final in names:
            assert (self.folder / final).read_bytes() in self.versions(command)

    def versions(self, command: str) -> list[bytes]:
        """Return each version that the service has had."""
        stored = self.sandbox.state.commands[command]
        newest, found = stored.revision, []
        for revision in range(newest + 1):
            stored.revision = revision
            found.append(b"".join(self.sandbox.artifact(command).read()))
        return found

    async def end(self, dex: DexClient, command: str) -> None:
        """Check that a call which nothing befalls ends whole, whatever was left."""
        self.sandbox.behaviour = Behaviour.instant(rate_limit=None)
        final = self.folder / f"{command}.zip"
        was_there = final.exists()
        saved = await dex.downloads.save(command, self.folder)
        assert saved.skipped == was_there
        assert final.read_bytes() in (self.versions(command) if was_there else self.versions(command)[-1:])
        assert [path.name for path in self.folder.iterdir()] == [final.name]


def run(size: int, sequence: Sequence[Step], *, directly: bool = False) -> set[str]:
    reading = reading_directly() if directly else nullcontext()
    with reading, tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=HastyLoop) as runner:
        one = Run(size, sequence, Path(folder))
        runner.run(one())
        return one.events


@PROFILE
@given(st.sampled_from(SIZES), SEQUENCES, st.booleans())
def test_a_file_is_whole_or_not_there(size: int, sequence: list[Step], directly: bool) -> None:
    for what in run(size, sequence, directly=directly):
        event(what)


def test_a_part_has_a_state() -> None:
    # Cancelled while it is finished, which is held back until it turns out to be damaged.
    for turns in range(40):
        step = Step([Fault.corrupt(0)], (1, turns), {}, attempts=1, new_client=False, revise=False, fresh=False)
        run(70_000, [step])
