"""Whether and when a failed attempt is worth another."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexcmd.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    DexError,
    DownloadError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ResponseDecodeError,
    ServerError,
    TransportError,
    TransportTimeoutError,
)
from dexcmd.wire.retrying import (
    GiveUp,
    RetryPolicy,
    TryAgain,
    decide,
    rate_limit_wait,
    surely_not_processed,
)

POLICY = RetryPolicy()


def decision(
    error: DexError,
    *,
    idempotent: bool = True,
    attempt: int = 1,
    unreadable: int = 0,
    seconds_left: float = 330.0,
    policy: RetryPolicy = POLICY,
    random: float = 0.0,
) -> TryAgain | GiveUp:
    return decide(
        error,
        idempotent=idempotent,
        attempt=attempt,
        unreadable=unreadable,
        seconds_left=seconds_left,
        policy=policy,
        random=random,
    )


class TestPolicy:
    def test_defaults(self):
        assert RetryPolicy() == RetryPolicy(attempts=6, total_seconds=330.0, attempt_seconds=30.0)

    def test_none_sends_once(self):
        policy = RetryPolicy.none()
        assert policy.attempts == 1
        assert decision(ServerError(503), policy=policy) == GiveUp("all 1 attempts used")

    @pytest.mark.parametrize(
        "field",
        ["attempts", "total_seconds", "attempt_seconds", "backoff_seconds", "backoff_max_seconds"],
    )
    @pytest.mark.parametrize("value", [0, -1, -0.5, math.nan, math.inf, -math.inf, True, False, "6", None])
    def test_impossible_values(self, field: str, value: object):
        with pytest.raises(ConfigurationError, match=field):
            RetryPolicy(**{field: value})

    def test_it_takes_no_positions(self):
        with pytest.raises(TypeError):
            RetryPolicy(6)

    @pytest.mark.parametrize(
        ("attempt", "random", "wait"),
        [
            (1, 0.0, 0.5),
            (1, 0.5, 0.375),
            (2, 0.0, 1.0),
            (5, 0.0, 8.0),
            (6, 0.0, 16.0),
            (7, 0.0, 30.0),
            (7, 0.5, 22.5),
            (5000, 0.0, 30.0),
        ],
    )
    def test_backoff(self, attempt: int, random: float, wait: float):
        assert POLICY.backoff(attempt, random) == wait

    @settings(deadline=None, max_examples=100)
    @given(
        attempt=st.integers(1, 10**6),
        random=st.floats(0, 1, exclude_max=True),
        first=st.floats(1e-6, 1e300),
        most=st.floats(1e-6, 1e300),
    )
    def test_backoff_is_within_half_of_the_doubled_wait(self, attempt: int, random: float, first: float, most: float):
        policy = RetryPolicy(backoff_seconds=first, backoff_max_seconds=most)
        wait = policy.backoff(attempt, random)
        full = policy.backoff(attempt, 0.0)
        assert 0 < full <= most
        assert full / 2 <= wait <= full
        assert policy.backoff(attempt + 1, 0.0) >= full


class TestSurelyNotProcessed:
    @pytest.mark.parametrize(
        ("error", "surely"),
        [
            (TransportError("x", sent=False), True),
            (TransportError("x", sent=True), False),
            (TransportError("x"), False),
            (TransportTimeoutError("x"), False),
            (TransportTimeoutError("x", sent=False), True),
            (BadRequestError(400), True),
            (AuthenticationError(401), True),
            (PermissionDeniedError(403), True),
            (NotFoundError(404), True),
            (BadRequestError(408), False),
            (BadRequestError(409), True),
            (RateLimitError(429), True),
            (BadRequestError(499), True),
            (ServerError(500), False),
            (ServerError(503), False),
            (APIError(200), False),
            (APIError(302), False),
            (APIError(399), False),
            (ConfigurationError("x"), True),
            (ResponseDecodeError("x"), False),
            (DexError("x"), False),
        ],
    )
    def test_table(self, error: DexError, surely: bool):
        assert surely_not_processed(error) is surely


AGAIN, NEVER, MAYBE = "again", "not transient", "may have been processed"


class TestDecide:
    @pytest.mark.parametrize(
        ("error", "idempotent", "otherwise"),
        [
            (TransportError("x", sent=False), AGAIN, AGAIN),
            (TransportError("x", sent=True), AGAIN, MAYBE),
            (TransportTimeoutError("x"), AGAIN, MAYBE),
            (TransportError("x", sent=False, permanent=True), NEVER, NEVER),
            (TransportError("x", sent=True, permanent=True), NEVER, NEVER),
            (ResponseDecodeError("x"), AGAIN, MAYBE),
            (RateLimitError(429), AGAIN, AGAIN),
            (BadRequestError(408), AGAIN, MAYBE),
            (BadRequestError(400), NEVER, NEVER),
            (AuthenticationError(401), NEVER, NEVER),
            (PermissionDeniedError(403), NEVER, NEVER),
            (NotFoundError(404), NEVER, NEVER),
            (BadRequestError(409), NEVER, NEVER),
            (NotFoundError(410), NEVER, NEVER),
            (BadRequestError(422), NEVER, NEVER),
            *((ServerError(status), AGAIN, MAYBE) for status in (500, 502, 503, 504)),
            *((ServerError(status), AGAIN, MAYBE) for status in (520, 521, 522, 523, 524)),
            *((ServerError(status), NEVER, NEVER) for status in (501, 505, 525, 526, 530)),
            (APIError(200), NEVER, NEVER),
            (APIError(302), NEVER, NEVER),
            (DownloadError("x"), NEVER, NEVER),
            (ConfigurationError("x"), NEVER, NEVER),
        ],
    )
    def test_which_errors(self, error: DexError, idempotent: str, otherwise: str):
        for is_idempotent, expected in ((True, idempotent), (False, otherwise)):
            found = decision(error, idempotent=is_idempotent)
            if expected is AGAIN:
                assert isinstance(found, TryAgain)
            else:
                assert found == GiveUp(expected)

    @pytest.mark.parametrize(
        ("attempt", "unreadable", "found"),
        [
            (1, 0, TryAgain(0.5)),
            (3, 0, TryAgain(2.0)),
            (2, 1, GiveUp("not transient")),
            (5, 2, GiveUp("not transient")),
            (6, 0, GiveUp("all 6 attempts used")),
        ],
    )
    def test_garbage_gets_one_more_try(self, attempt: int, unreadable: int, found: TryAgain | GiveUp):
        assert decision(ResponseDecodeError("x"), attempt=attempt, unreadable=unreadable) == found

    @pytest.mark.parametrize(("attempt", "again"), [(1, True), (2, True), (3, False), (4, False)])
    def test_attempts_are_bounded(self, attempt: int, again: bool):
        policy = RetryPolicy(attempts=3)
        for error in (ServerError(503), RateLimitError(429), TransportError("x", sent=False)):
            found = decision(error, attempt=attempt, policy=policy)
            assert isinstance(found, TryAgain) is again
            assert again or found == GiveUp("all 3 attempts used")

    @pytest.mark.parametrize(
        ("error", "attempt", "wait"),
        [
            (TransportError("x"), 1, 0.5),
            (TransportError("x"), 4, 4.0),
            (ServerError(503), 2, 1.0),
            (ServerError(503, retry_after=7.0), 1, 7.0),
            (ServerError(503, retry_after=0.0), 1, 0.5),
            (ServerError(503, retry_after=2.0), 5, 8.0),
            (RateLimitError(429, retry_after=300.0), 1, 300.0),
            (RateLimitError(429, retry_after=0.0), 1, 0.5),
            (RateLimitError(429), 1, 10.0),
            (RateLimitError(429), 2, 20.0),
            (RateLimitError(429), 5, 160.0),
        ],
    )
    def test_how_long(self, error: DexError, attempt: int, wait: float):
        assert decision(error, attempt=attempt) == TryAgain(wait)

    @pytest.mark.parametrize(
        ("seconds_left", "reason"),
        [
            (300.0, "a wait of 300.0 s does not fit the 300.0 s left"),
            (299.9, "a wait of 300.0 s does not fit the 299.9 s left"),
            (0.0, "a wait of 300.0 s does not fit the 0.0 s left"),
            (-4.0, "a wait of 300.0 s does not fit the 0.0 s left"),
        ],
    )
    def test_a_wait_that_does_not_fit_is_told(self, seconds_left: float, reason: str):
        error = RateLimitError(429, retry_after=300.0)
        assert decision(error, seconds_left=seconds_left) == GiveUp(reason, 300.0)

    def test_a_wait_that_just_fits(self):
        assert decision(RateLimitError(429, retry_after=300.0), seconds_left=300.1) == TryAgain(300.0)

    def test_the_wait_for_the_rate_limit_stops_at_its_window(self):
        waits = [rate_limit_wait(RateLimitError(429), attempt) for attempt in range(1, 8)]
        assert waits == [10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
        assert sum(waits[:5]) > 300, "six attempts outlast the block"

    def test_the_wait_for_the_rate_limit_is_the_one_that_is_told(self):
        assert rate_limit_wait(RateLimitError(429, retry_after=0.0), 5) == 0.0
        assert rate_limit_wait(RateLimitError(429, retry_after=3600.0), 1) == 3600.0


retry_afters = st.none() | st.floats(0, 4000)
api_errors = st.builds(
    lambda status, wait: (RateLimitError if status == 429 else APIError)(status, retry_after=wait),
    st.integers(100, 599) | st.sampled_from([408, 429, 500, 502, 503, 520]),
    retry_afters,
)
transport_errors = st.builds(TransportError, st.just("x"), sent=st.booleans(), permanent=st.booleans())
errors = api_errors | transport_errors | st.builds(ResponseDecodeError, st.just("x"))
policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 8),
    backoff_seconds=st.floats(0.01, 60),
    backoff_max_seconds=st.floats(0.01, 60),
)
randoms = st.floats(0, 1, exclude_max=True)


@settings(deadline=None, max_examples=300)
@given(
    error=errors,
    idempotent=st.booleans(),
    attempt=st.integers(1, 9),
    unreadable=st.integers(0, 9),
    seconds_left=st.floats(-10, 5000),
    policy=policies,
    random=randoms,
)
def test_decisions_keep_every_bound(
    error: DexError,
    idempotent: bool,
    attempt: int,
    unreadable: int,
    seconds_left: float,
    policy: RetryPolicy,
    random: float,
):
    found = decide(
        error,
        idempotent=idempotent,
        attempt=attempt,
        unreadable=unreadable,
        seconds_left=seconds_left,
        policy=policy,
        random=random,
    )
    if isinstance(found, GiveUp):
        assert found.reason
        assert found.wait is None or found.wait >= seconds_left
        return
    assert attempt < policy.attempts
    assert 0 < found.wait < seconds_left
    if isinstance(error, APIError):
        assert found.wait >= (error.retry_after or 0)
    if not idempotent:
        assert surely_not_processed(error)
        assert not (isinstance(error, TransportError) and error.sent)
        assert not (isinstance(error, APIError) and error.status >= 500)
        assert not isinstance(error, ResponseDecodeError)


@settings(deadline=None, max_examples=150)
@given(
    failures=st.lists(errors, min_size=1, max_size=20),
    policy=policies,
    random=randoms,
    idempotent=st.booleans(),
)
def test_a_call_ends_within_its_attempts_and_its_seconds(
    failures: list[DexError], policy: RetryPolicy, random: float, idempotent: bool
):
    left, sent = policy.total_seconds, 0
    for attempt, error in enumerate(failures, start=1):
        sent += 1
        found = decide(
            error,
            idempotent=idempotent,
            attempt=attempt,
            unreadable=sum(isinstance(earlier, ResponseDecodeError) for earlier in failures[: attempt - 1]),
            seconds_left=left,
            policy=policy,
            random=random,
        )
        if isinstance(found, GiveUp):
            break
        left -= found.wait
        assert left > 0
    assert sent <= policy.attempts
