"""Work in threads is seen through to its end."""

import asyncio
import gc
import threading
from functools import partial

import anyio
import pytest

from dexcmd.threads import GroupThread, let_go, run_stoppable, run_to_the_end
from tests.transfer.filerig import no_workers, refuse_threads

pytestmark = pytest.mark.anyio


def cancel_all_but(others: set["asyncio.Task[object]"]) -> None:
    """Cancel all tasks, also those that belong to others, as `asyncio.run` does when its main function is over."""
    for task in asyncio.all_tasks() - others:
        task.cancel()


async def test_what_it_returns_and_raises() -> None:
    assert await run_to_the_end(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await run_to_the_end(lambda: 1 / 0)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("cancels", [1, 3])
async def test_a_cancellation_waits(fails: bool, cancels: int) -> None:
    go_on, begun, ended = threading.Event(), asyncio.Event(), list[bool]()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait()
        ended.append(True)
        if fails:
            raise ValueError

    task = asyncio.ensure_future(run_to_the_end(work))
    await begun.wait()
    for _ in range(cancels):
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
    assert not ended
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]


async def test_a_scope_waits_too() -> None:
    go_on, ended = threading.Event(), list[bool]()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(scope.cancel)
        loop.call_soon_threadsafe(go_on.set)
        go_on.wait()
        ended.append(True)

    with anyio.CancelScope() as scope:
        await run_to_the_end(work)
        await anyio.sleep(3600)
    assert ended == [True]
    assert scope.cancelled_caught


class TestAllTasksAreCancelled:
    @pytest.mark.parametrize("times", [1, 3])
    @pytest.mark.parametrize("stoppable", [False, True])
    async def test_it_waits_for_the_thread_all_the_same(self, stoppable: bool, times: int):
        before = asyncio.all_tasks()
        go_on, begun, ended = threading.Event(), asyncio.Event(), list[bool]()
        loop = asyncio.get_running_loop()

        def work(stop: threading.Event | None = None) -> None:
            loop.call_soon_threadsafe(begun.set)
            assert go_on.wait(60)
            ended.append(stop is None or stop.is_set())

        task = asyncio.ensure_future(run_stoppable(work) if stoppable else run_to_the_end(work))
        await begun.wait()
        for _ in range(times):
            cancel_all_but(before)
            for _ in range(20):
                await asyncio.sleep(0)
        assert (task.done(), ended) == (False, [])
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [True]

    @pytest.mark.parametrize("turns", range(12))
    async def test_what_was_called_is_called_once(self, turns: int):
        before, called = asyncio.all_tasks(), list[bool]()
        task = asyncio.ensure_future(run_to_the_end(lambda: called.append(True)))
        for _ in range(turns):
            await asyncio.sleep(0)
        cancel_all_but(before)
        await asyncio.wait([task])
        # Where it was quick it has ended before.
        assert called == ([True] if turns else [])

    async def test_what_it_raises_gives_way(self, caplog: pytest.LogCaptureFixture):
        before, begun, go_on = asyncio.all_tasks(), threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            assert go_on.wait(60)
            raise ValueError

        task = asyncio.ensure_future(run_to_the_end(work))
        while not begun.is_set():
            await asyncio.sleep(0)
        cancel_all_but(before)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        gc.collect()
        assert caplog.records == []

    async def test_its_own_task_goes_on_where_only_others_are_cancelled(self):
        before, begun, go_on = asyncio.all_tasks(), threading.Event(), threading.Event()

        def work() -> int:
            begun.set()
            assert go_on.wait(60)
            return 7

        task = asyncio.ensure_future(run_to_the_end(work))
        while not begun.is_set():
            await asyncio.sleep(0)
        cancel_all_but({*before, task})
        for _ in range(20):
            await asyncio.sleep(0)
        go_on.set()
        assert await task == 7


class TestGroupThread:
    async def test_what_comes_meanwhile_goes_together(self):
        groups: list[list[int]] = []
        gate, begun = threading.Event(), threading.Event()

        def work(items: list[int]) -> list[Exception | None]:
            begun.set()
            gate.wait()
            groups.append(items)
            return [ValueError(item) if item % 2 else None for item in items]

        thread = GroupThread(work, "dexcmd-test")
        first = [asyncio.create_task(thread.do(item)) for item in (0, 1)]
        await asyncio.to_thread(begun.wait)
        second = [asyncio.create_task(thread.do(item)) for item in (2, 3, 4)]
        await asyncio.sleep(0)
        gate.set()
        done = await asyncio.gather(*first, *second, return_exceptions=True)
        assert [str(one) for one in done] == ["None", "1", "None", "3", "None"]
        assert groups == [[0, 1], [2, 3, 4]]
        thread.close()
        thread.join()

    async def test_an_error_of_all(self):
        def work(_: list[int]) -> list[Exception | None]:
            raise ValueError("broken")

        thread = GroupThread(work, "dexcmd-test")
        done = await asyncio.gather(thread.do(1), thread.do(2), return_exceptions=True)
        assert [str(one) for one in done] == ["broken", "broken"]
        thread.close()
        thread.join()

    async def test_what_was_given_is_done_before_it_ends(self):
        thread = GroupThread(lambda items: [None] * len(items), "dexcmd-test")
        task = asyncio.create_task(thread.do(1))
        await asyncio.sleep(0)
        thread.close()
        await asyncio.to_thread(thread.join)
        await task
        with pytest.raises(RuntimeError, match="dexcmd-test is closed"):
            await thread.do(2)

    async def test_one_that_did_nothing(self):
        thread = GroupThread(lambda items: [None] * len(items), "dexcmd-test")
        thread.close()
        thread.join()

    @pytest.mark.parametrize("error", [None, ValueError("broken")])
    async def test_a_cancellation_that_comes_with_the_end(
        self, error: Exception | None, caplog: pytest.LogCaptureFixture
    ):
        thread = GroupThread(lambda items: [None] * len(items), "dexcmd-test")
        task = asyncio.create_task(thread.do(1))
        await asyncio.sleep(0)
        [given] = thread._given
        given.error = error
        given.end()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        thread.close()
        await asyncio.to_thread(thread.join)
        await asyncio.sleep(0)
        del given
        gc.collect()
        # Nobody complains of an error that was not looked at.
        assert caplog.records == []

    async def test_one_that_can_not_be_started(self, monkeypatch: pytest.MonkeyPatch):
        refuse_threads(monkeypatch, "dexcmd-test")
        thread = GroupThread(lambda items: [None] * len(items), "dexcmd-test")
        done = await asyncio.gather(thread.do(1), thread.do(2), return_exceptions=True)
        assert [str(one) for one in done] == ["[Errno 11] can't start new thread"] * 2
        assert all(isinstance(one, OSError) for one in done)
        # Only once, says the system.
        await thread.do(3)
        thread.close()
        thread.join()


async def test_a_worker_that_can_not_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_threads(monkeypatch, "AnyIO worker thread")
    # More than have been started for earlier tests, and wait for work.
    go_on = threading.Event()
    calls = [asyncio.ensure_future(run_to_the_end(partial(go_on.wait, 60))) for _ in range(20)]
    failed, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(OSError, match="can't start new thread"):
        await failed.pop()
    go_on.set()
    assert len([one for one in await asyncio.gather(*calls, return_exceptions=True) if one is True]) == 19


@pytest.mark.parametrize("cancelled", [False, True])
async def test_what_is_held_is_given_up_without_a_thread(monkeypatch: pytest.MonkeyPatch, cancelled: bool) -> None:
    called = list[int]()

    async def leave() -> None:
        if cancelled:
            asyncio.current_task().cancel()  # type: ignore[union-attr]
        await let_go(lambda: called.append(threading.get_ident()))

    async with no_workers(monkeypatch):
        leaving = asyncio.ensure_future(leave())
        await asyncio.wait([leaving])
    assert called == [threading.get_ident()]
    assert leaving.cancelled() is cancelled


async def test_what_is_held_is_given_up_once() -> None:
    called = list[int]()

    def fail() -> None:
        called.append(threading.get_ident())
        raise OSError("busy")

    with pytest.raises(OSError, match="busy"):
        await let_go(fail)
    [thread] = called
    assert thread != threading.get_ident()
