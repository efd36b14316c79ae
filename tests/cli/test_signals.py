"""Ctrl-C as a cancellation."""

import asyncio
import signal

import pytest

from dexcmd.cli.exits import INTERRUPTED, Stopped
from dexcmd.cli.signals import GentleStop, run_until_stopped

pytestmark = pytest.mark.usefixtures("handlers")


def test_the_result_and_the_handlers_come_back():
    async def work() -> int:
        assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN)
        return 7

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert run_until_stopped(work) == 7
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_cancels_once_and_cleaning_up_goes_on(number: signal.Signals, code: int):
    cleaned: list[str] = []

    async def work() -> None:
        signal.raise_signal(number)
        try:
            await asyncio.sleep(60)
        finally:
            signal.raise_signal(number)
            await asyncio.sleep(0.01)
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(0.01)
            cleaned.append("all")

    with pytest.raises(Stopped) as stopped:
        run_until_stopped(work)
    assert cleaned == ["all"]
    assert stopped.value.exit_code == code
    # Up to the end of the process nothing can leave a traceback any more.
    signal.raise_signal(signal.SIGINT)


def test_work_that_is_done_all_the_same():
    async def work() -> str:
        signal.raise_signal(signal.SIGINT)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "done"
        return "never"

    assert run_until_stopped(work) == "done"


def test_a_cancellation_of_another_origin_is_none_of_its_business():
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run_until_stopped(work)


def test_the_first_ctrl_c_only_asks():
    asked: list[str] = []
    gently = GentleStop(lambda: asked.append("called"))

    async def work() -> str:
        signal.raise_signal(signal.SIGINT)
        told = asyncio.Event()
        gently.then(told.set)
        await told.wait()
        assert gently.requested
        gently.then(lambda: asked.append("late"))
        return "done"

    assert run_until_stopped(work, gently) == "done"
    assert asked == ["called", "late"]


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_second_leaves_at_once(second: signal.Signals):
    gently = GentleStop()
    gently.then(lambda: signal.raise_signal(second))

    async def work() -> None:
        assert not gently.requested
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(60)

    with pytest.raises(Stopped) as stopped:
        run_until_stopped(work, gently)
    assert stopped.value.number == second


def test_what_nohup_has_ignored_stays_ignored():
    async def work() -> str:
        signal.raise_signal(signal.SIGHUP)
        await asyncio.sleep(0.01)
        return "done"

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert run_until_stopped(work) == "done"
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_the_end_of_a_terminal_leave_at_once(number: signal.Signals):
    gently = GentleStop()

    async def work() -> None:
        signal.raise_signal(number)
        await asyncio.sleep(60)

    with pytest.raises(Stopped):
        run_until_stopped(work, gently)
    assert not gently.requested
