"""How long an account is tried that can't be planned."""

import math

import pytest

from dexcmd.campaign.patience import Patience
from dexcmd.errors import (
    AuthenticationError,
    ConfigurationError,
    DexError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ResponseDecodeError,
    ServerError,
    TransportError,
)


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError("no token"),
        AuthenticationError(401),
        PermissionDeniedError(403),
        NotFoundError(404),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_refused_to_the_whole_account_is_tried_no_more(error: DexError) -> None:
    assert Patience().wait(error, 0.0) is None


@pytest.mark.parametrize(
    "error",
    [ServerError(503), TransportError("reset"), ResponseDecodeError("no JSON")],
    ids=lambda error: type(error).__name__,
)
def test_what_may_pass_is_waited_out_longer_and_longer_for_an_hour(error: DexError) -> None:
    patience, now, waits = Patience(), 1000.0, list[float]()
    while (wait := patience.wait(error, now)) is not None:
        waits.append(wait)
        now += wait
    assert waits[:6] == [15.0, 30.0, 60.0, 120.0, 240.0, 300.0]
    assert set(waits[5:]) == {300.0}
    assert 3600.0 <= now - 1000.0 < 3900.0


def test_a_rate_limit_is_waited_for_as_long_as_it_takes() -> None:
    patience = Patience()
    waits = [patience.wait(RateLimitError(429), 3000.0 * hour) for hour in range(7)]
    assert waits == [15.0, 30.0, 60.0, 120.0, 240.0, 300.0, 300.0]
    # What fails in another way later has an hour of its own.
    assert patience.wait(ServerError(503), 50_000.0) == 300.0
    assert patience.wait(ServerError(503), 53_600.0) is None


@pytest.mark.parametrize(("told", "wait"), [(None, 15.0), (1.0, 15.0), (400.0, 400.0), (math.inf, 3600.0)])
def test_what_the_service_wants_to_have_waited_is(told: float | None, wait: float) -> None:
    assert Patience().wait(RateLimitError(429, retry_after=told), 0.0) == wait
    assert Patience().wait(ServerError(503, retry_after=told), 0.0) == wait
