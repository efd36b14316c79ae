"""Trying again, as often as somebody else decides."""

import pytest

from dexcmd.retrying import try_again

pytestmark = pytest.mark.anyio


class Attempts:
    """Fails with what it is given, and then returns."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.made = 0
        self.slept: list[float] = []

    async def __call__(self) -> int:
        self.made += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.made

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_what_succeeds_is_done_once_and_nothing_is_decided() -> None:
    attempts = Attempts()
    assert await try_again(attempts, pytest.fail, attempts.sleep) == 1
    assert attempts.slept == []


async def test_it_waits_as_long_as_is_decided_each_time() -> None:
    first, second = ValueError("first"), KeyError("second")
    attempts, seen = Attempts(first, second), list[Exception]()

    def decide(error: Exception) -> float:
        seen.append(error)
        return float(len(seen))

    assert await try_again(attempts, decide, attempts.sleep) == 3
    assert seen == [first, second]
    assert attempts.slept == [1.0, 2.0]


@pytest.mark.parametrize("tries", [1, 2, 5])
async def test_the_last_error_is_raised_as_it_is(tries: int) -> None:
    errors = [ValueError(str(number)) for number in range(9)]
    attempts, decisions = Attempts(*errors), iter([0.0] * (tries - 1))
    with pytest.raises(ValueError) as caught:
        await try_again(attempts, lambda _: next(decisions, None), attempts.sleep)
    assert caught.value is errors[tries - 1]
    assert attempts.made == tries
    assert attempts.slept == [0.0] * (tries - 1)


@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_what_is_no_failure_passes_through(before: int, interruption: type[BaseException]) -> None:
    attempts, decided = Attempts(*[ValueError()] * before, interruption()), list[Exception]()

    def decide(error: Exception) -> float:
        decided.append(error)
        return 0.0

    with pytest.raises(interruption):
        await try_again(attempts, decide, attempts.sleep)
    assert len(decided) == before


async def test_what_the_decision_raises_ends_it() -> None:
    attempts = Attempts(ValueError())

    def decide(error: Exception) -> float:
        raise LookupError from error

    with pytest.raises(LookupError):
        await try_again(attempts, decide, attempts.sleep)
    assert attempts.made == 1


async def test_what_the_wait_raises_ends_it() -> None:
    attempts = Attempts(ValueError())

    async def sleep(_: float) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await try_again(attempts, lambda _: 1.0, sleep)
    assert attempts.made == 1
