"""The client: checks the settings and exposes the resources, which share one session.

Each resource is imported on first use: importing all of them takes a fifth of the time that aiohttp takes.
"""

import copy
import os
import random as random_module
import weakref
from collections.abc import Callable, Iterable
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import aiohttp

import dexcmd
from dexcmd.async_only import AsyncOnlyContext, running_loop
from dexcmd.clock import Clock, default_clock
from dexcmd.connections import Connections
from dexcmd.errors import ConfigurationError
from dexcmd.events import Event
from dexcmd.secret import Secret
from dexcmd.session import SETTLE_SECONDS, Session, Settings
from dexcmd.validators import finite_number, function, whole_number
from dexcmd.wire.paths import DEFAULT_BASE_URL, BaseURL, valid_account_id
from dexcmd.wire.retrying import RetryPolicy
from dexcmd.wire.window import RateLimit

if TYPE_CHECKING:
    from dexcmd.capture import Capture
    from dexcmd.created import CreatedLog
    from dexcmd.fanout import OnQuota
    from dexcmd.polling.peers import Peers
    from dexcmd.resources.commands import CommandsResource
    from dexcmd.resources.devices import DevicesResource
    from dexcmd.resources.downloads import DownloadsResource
    from dexcmd.resources.quota import QuotaResource
    from dexcmd.resources.requests import CommandRequest
    from dexcmd.searches import Searches
    from dexcmd.transfer.options import OnProgress
    from dexcmd.transfer.saved import R, SavedArtifact
    from dexcmd.transfer.sink import Sink

__all__ = ["DexClient"]

RESOURCES = ("commands", "devices", "downloads", "quota")

SERVICE_LIMIT = RateLimit()
"""The service's limit per user: 1200 requests in 5 minutes."""


class DexClient(AsyncOnlyContext):
    """A client for the DEX commands of one Cloudflare account.

        async with DexClient() as dex:
            quota = await dex.quota.get()

    The resources are `commands`, `devices`, `downloads` and `quota`; `capture` combines them.  One client serves
    many concurrent calls from one event loop; calls from another loop raise `ConfigurationError`.
    """

    def __init__(
        self,
        *,
        api_token: str | None = None,
        account_id: str | None = None,
        base_url: str | None = None,
        session: aiohttp.ClientSession | None = None,
        on_event: Callable[[Event], object] | None = None,
        retry: RetryPolicy | None = None,
        rate_limit: RateLimit | None = SERVICE_LIMIT,
        settle_seconds: float = SETTLE_SECONDS,
        clock: Clock | None = None,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        """Check the settings; nothing is sent yet.

        `api_token`, `account_id` and `base_url` default to `CLOUDFLARE_API_TOKEN`, `CLOUDFLARE_ACCOUNT_ID` and
        `CLOUDFLARE_BASE_URL`; an empty variable counts as unset, an empty argument is an error.  `session` is used but
        never closed; its timeouts, middlewares and redirect settings do not apply.  `on_event` is called with each
        `dexcmd.events.Event`.  `retry` bounds each request and its retries.  With `rate_limit=None`, only the service's
        responses set the pace.  `settle_seconds` is how long a created command may take to appear in the list.
        `clock` and `random` (a function returning a float in [0, 1)) are for tests.

        Raises `ConfigurationError`.
        """
        if not isinstance(retry, RetryPolicy | None) or not isinstance(rate_limit, RateLimit | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError("retry must be a RetryPolicy, and rate_limit a RateLimit or None")
        if not isinstance(session, aiohttp.ClientSession | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"session must be an aiohttp.ClientSession, not {session!r}")
        if on_event is not None:
            function("on_event", on_event)
        function("random", random)
        if finite_number("settle_seconds", settle_seconds) < 0:
            raise ConfigurationError(f"settle_seconds must not be negative: {settle_seconds!r}")
        settings = Settings(
            base_url=BaseURL.parse(_base_url(base_url)),
            account_id=valid_account_id(_required("account_id", account_id, "CLOUDFLARE_ACCOUNT_ID")),
            token=Secret(_required("api_token", api_token, "CLOUDFLARE_API_TOKEN")),
            retry=RetryPolicy() if retry is None else retry,
            rate_limit=rate_limit,
            clock=default_clock() if clock is None else _checked_clock(clock),
            random=random,
            on_event=on_event,
            settle_seconds=settle_seconds,
        )
        self._session = Session(settings, Connections(session))

    @cached_property
    def commands(self) -> "CommandsResource":
        """Commands: create them, list them, follow them."""
        from dexcmd.resources.commands import CommandsResource

        return CommandsResource(self._session, self._created, self._peers, self._common_searches())

    @cached_property
    def _created(self) -> "CreatedLog":
        from dexcmd.created import CreatedLog

        return CreatedLog()

    @cached_property
    def _searches(self) -> "weakref.WeakValueDictionary[RetryPolicy, Searches]":
        return weakref.WeakValueDictionary()

    def _common_searches(self) -> "Searches":
        """Return the searches shared by all views of this client that have the same retry policy."""
        from dexcmd.searches import Searches

        policy = self._session.settings.retry
        searches = self._searches.get(policy)
        if searches is None:
            searches = self._searches[policy] = Searches(self._session, self._created)
        return searches

    @cached_property
    def _peers(self) -> "Peers":
        from dexcmd.polling.peers import Peers

        return Peers()

    @cached_property
    def devices(self) -> "DevicesResource":
        """Devices that commands can be sent to."""
        from dexcmd.resources.devices import DevicesResource

        return DevicesResource(self._session)

    @cached_property
    def downloads(self) -> "DownloadsResource":
        """Downloads of command artifacts, to disk or elsewhere."""
        from dexcmd.resources.downloads import DownloadsResource

        return DownloadsResource(self._session)

    @cached_property
    def quota(self) -> "QuotaResource":
        """The daily command quota."""
        from dexcmd.resources.quota import QuotaResource

        return QuotaResource(self._session)

    def with_retry(self, retry: RetryPolicy) -> "DexClient":
        """Return a view of this client with another retry policy, for one call or many.

            quota = await dex.with_retry(RetryPolicy(total_seconds=5)).quota.get()

        It shares everything else, including connections: closing either closes both.  Raises `ConfigurationError`.
        """
        if not isinstance(retry, RetryPolicy):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"retry must be a RetryPolicy, not {retry!r}")
        # Created before copying, so that both share it: a command created by one must not be adopted by the other.
        _ = self._created
        # Likewise: all followers share their polls, and views with equal policies search for lost commands together.
        _ = self._peers
        _ = self._searches
        view = copy.copy(self)
        view._session = self._session.with_retry(retry)  # noqa: SLF001 - of the same class
        for name in RESOURCES:
            vars(view).pop(name, None)
        return view

    @overload
    def capture(
        self,
        requests: "Iterable[CommandRequest]",
        into: "str | os.PathLike[str]",
        *,
        concurrency: int = 8,
        create_concurrency: int = 4,
        timeout: float = 900.0,
        poll_interval: float = 2.0,
        on_quota: "OnQuota" = "stop",
        quota_wait_seconds: float = 90_000.0,
        most_in_flight: int = 1000,
        on_progress: "OnProgress | None" = None,
    ) -> "Capture[SavedArtifact]": ...

    @overload
    def capture(
        self,
        requests: "Iterable[CommandRequest]",
        into: "Sink[R]",
        *,
        concurrency: int = 8,
        create_concurrency: int = 4,
        timeout: float = 900.0,
        poll_interval: float = 2.0,
        on_quota: "OnQuota" = "stop",
        quota_wait_seconds: float = 90_000.0,
        most_in_flight: int = 1000,
        on_progress: "OnProgress | None" = None,
    ) -> "Capture[R]": ...

    # The types that `typing.get_type_hints` resolves, so they name only the package's public (lazily loaded) names.
    def capture(
        self,
        requests: "Iterable[dexcmd.CommandRequest]",
        into: "str | os.PathLike[str] | dexcmd.Sink[Any]",
        *,
        concurrency: int = 8,
        create_concurrency: int = 4,
        timeout: float = 900.0,
        poll_interval: float = 2.0,
        on_quota: Literal["stop", "wait"] = "stop",
        quota_wait_seconds: float = 90_000.0,
        most_in_flight: int = 1000,
        on_progress: "Callable[[dexcmd.Progress], object] | None" = None,
    ) -> "dexcmd.Capture[Any]":
        """Create commands, follow them and save their artifacts to a folder or another `Sink`, in one step.

            async with dex.capture(requests, into="captures/") as results:
                async for result in results: ...        # one CaptureResult per request, as each completes

        At most `create_concurrency` POSTs and `concurrency` downloads run at once.  A command that has not ended
        `timeout` seconds after its creation is reported as failed (it keeps running: the service can't cancel it).
        While `most_in_flight` commands are created but not yet saved or failed, no more are created; each of the
        `create_concurrency` workers pauses only after a POST, of at most ten commands, that exceeds the limit.
        Everything else is as for `create_many`, `follow` and `save`.  Failures are results, not exceptions.
        `results.stop()` starts nothing new and ends the iteration.  Leaving the block early stops everything and
        removes unfinished files.

        Raises, before anything is created, `ConfigurationError`, also for a folder that can't be written to, and
        `DownloadError` for an object store that doesn't answer.
        """
        from dexcmd.capture import Capture, CaptureOptions
        from dexcmd.fanout import BulkOptions
        from dexcmd.resources.downloads import check_into

        check_into(into)
        if on_progress is not None:
            function("on_progress", on_progress)
        whole_number("create_concurrency", create_concurrency)
        options: CaptureOptions[Any] = CaptureOptions(
            bulk=BulkOptions(
                requests=requests,
                concurrency=create_concurrency,
                on_quota=on_quota,
                quota_wait_seconds=quota_wait_seconds,
            ),
            into=into,
            concurrency=concurrency,
            timeout=timeout,
            poll_interval=poll_interval,
            most_in_flight=most_in_flight,
            on_progress=on_progress,
        )
        return Capture(self._session, self.commands, options)

    @property
    def session(self) -> Session:
        """The session core, for dexcmd's own use; not part of the public API."""
        return self._session

    async def close(self) -> None:
        """Close the client.  Calls in progress fail, and later calls raise `ConfigurationError`."""
        await self._session.close()

    async def __aenter__(self) -> Self:
        """Return the client.  Raises `ConfigurationError` if no asyncio event loop is running."""
        running_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""
        await self.close()

    def __repr__(self) -> str:
        """Show the account and the base URL, but not the token."""
        settings = self._session.settings
        return f"<DexClient account_id={settings.account_id!r} base_url={settings.base_url.text!r}>"


def _checked_clock(clock: Clock) -> Clock:
    if not all(callable(getattr(clock, name, None)) for name in ("monotonic", "now", "sleep")):
        raise ConfigurationError(f"clock must be a Clock, not {clock!r}")
    try:
        weakref.ref(clock)
    except TypeError:
        # The rate limit counted by a clock outlives clients and is dropped with the clock.
        raise ConfigurationError(f"clock must support weak references, which this one does not: {clock!r}") from None
    return clock


def _base_url(given: str | None) -> str:
    if given == "":
        # A setting that got lost must not send requests to the real service instead of the intended one.
        raise ConfigurationError("base_url is empty: omit it to use CLOUDFLARE_BASE_URL or the default")
    return given if given is not None else os.environ.get("CLOUDFLARE_BASE_URL") or DEFAULT_BASE_URL


def _required(name: str, value: str | None, variable: str) -> str:
    found = value if value is not None else os.environ.get(variable)
    if not found:
        raise ConfigurationError(f"no {name}: pass it to DexClient, or set {variable}")
    return found
