"""Commands: create them, list them, follow them.  /dex/commands."""

# From Python 3.14 on, a `list` in the annotation of a method is the method of that name.
import builtins
from collections.abc import Iterable
from datetime import datetime

import attrs

from dexcmd.created import CreatedLog
from dexcmd.creation import Creation, OnOutcomes
from dexcmd.errors import AmbiguousCreateError
from dexcmd.fanout import BulkCreate, BulkOptions, OnQuota
from dexcmd.follow import Follow
from dexcmd.outcome import Outcome
from dexcmd.paging import MOST_AT_ONCE, Listing, ListQuery, given_filters
from dexcmd.polling.peers import Peers
from dexcmd.polling.watch import Watch
from dexcmd.resources.command import Command, command_id_of, decode_commands, identity
from dexcmd.resources.requests import CommandRequest, Target, check_batch
from dexcmd.searches import Searches
from dexcmd.session import Session
from dexcmd.validators import number_above_zero, several
from dexcmd.wire.pages import MOST_PER_PAGE
from dexcmd.wire.times import format_time

__all__ = ["CommandsResource"]


class CommandsResource:
    """`dex.commands`."""

    def __init__(self, session: Session, created: CreatedLog, peers: Peers, searches: Searches) -> None:
        self._session = session
        self.created = created
        """The commands that this client has made."""

        self.peers = peers
        """All that follows commands by this client."""

        self._searches = searches

    async def create(self, requests: Iterable[CommandRequest]) -> builtins.list[Command]:
        """Create 1 to 10 commands with one POST and return them in the order of the requests.

        The POST is sent again only where it surely was not processed: no connection was made, or it was refused for
        the rate limit.  Where its answer was lost, the list is asked for the commands until they are found or
        `settle_seconds` of the client have passed; what is not there by then is sent again, once.  After a
        cancellation nothing tells what was made: `create_many` does that.

        Raises `ConfigurationError` for a batch that can't be right, `QuotaExceededError`, another `APIError` where
        the service refuses, `TransportError` where the POST could not be sent, and `AmbiguousCreateError`, with the
        commands that are known to exist, where not all of them are.
        """
        batch = check_batch(requests)
        outcomes: dict[Target, Outcome] = {}

        def record(outcome: Outcome) -> None:
            outcomes[outcome.request.target] = outcome

        await Creation(self._session, self.created, record, searches=self._searches, split=False).run([batch])
        found = [outcomes[request.target] for request in batch]
        created = [outcome.command for outcome in found if outcome.command is not None]
        if len(created) == len(batch):
            return created
        errors = [outcome.error for outcome in found if outcome.error is not None]
        if created or any(outcome.state == "unknown" for outcome in found):
            missing = len(batch) - len(created)
            raise AmbiguousCreateError(
                f"{missing} of {len(batch)} commands are not known to exist; the first of them: {errors[0]}",
                created,
                getattr(errors[0], "cause", errors[0]),
                found,
            )
        raise errors[0]

    def create_many(
        self,
        requests: Iterable[CommandRequest],
        *,
        concurrency: int = 4,
        on_quota: OnQuota = "stop",
        quota_wait_seconds: float = 90_000.0,
    ) -> BulkCreate:
        """Create any number of commands, ten a POST and `concurrency` POSTs at a time; await the answer.

        It gives a `BulkResult` with an outcome for each request; what fails is an outcome and no exception.
        What exceeds the day's quota is not attempted with `on_quota="stop"`, and waits for the reset with
        `"wait"`, for `quota_wait_seconds` in all.  After a cancellation the answer's `result` still tells
        what was made.

        Raises `ConfigurationError`, before anything is sent, for a target that comes twice and the like.
        """
        return self.bulk(
            BulkOptions(
                requests=requests,
                concurrency=concurrency,
                on_quota=on_quota,
                quota_wait_seconds=quota_wait_seconds,
            )
        )

    def bulk(self, options: BulkOptions, on_outcomes: OnOutcomes | None = None) -> BulkCreate:
        """Do what `create_many` does, and hand outcomes on as they come.

        `on_outcomes` is awaited with those of a POST.
        """
        self._session.check_open()
        return BulkCreate(self._session, self.created, self._searches, options, on_outcomes)

    def list(
        self,
        *,
        status: str | None = None,
        command_type: str | None = None,
        device_id: str | None = None,
        user_email: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        per_page: int = MOST_PER_PAGE,
    ) -> Listing[Command]:
        """List commands, newest first, as far as the filters let through.

        `since` and `until` bound the time of creation.  Iterate the answer with `async for`, await it for a
        list, or take its `pages()`.  Raises `ConfigurationError` for a filter that is empty, a naive datetime or a
        `per_page` outside 1 to 50, and `DexError` while iterating.
        """
        filters = given_filters(
            {
                "status": status,
                "command_type": command_type,
                "device_id": device_id,
                "user_email": user_email,
                "from": None if since is None else format_time("since", since),
                "to": None if until is None else format_time("until", until),
            }
        )
        query = ListQuery("/dex/commands", per_page, filters, bound="to", at_once=MOST_AT_ONCE)
        return Listing(self._session, query, decode_commands, identity)

    def follow(
        self, commands: Iterable[Command | str], *, timeout: float = 900.0, poll_interval: float = 2.0
    ) -> Follow:
        """Follow commands, given as themselves or by their ids, until each has reached SUCCESS or FAILED.

            async with dex.commands.follow(commands) as ended:
                async for command in ended: ...         # each once, in the order in which they end

        Polls are shared by all of them.  Up to ten are polled for after `poll_interval` seconds, and up to five
        times as rarely while nothing changes.  Of many, each end is noticed within about six intervals, or half of
        the command's own duration if that is longer.  Iterating raises `WaitTimeoutError` after `timeout` seconds,
        and `DexError`.  No request is tried for longer than `timeout`, or one attempt where that is longer.  A device
        that is not connected lets its command fail after 10 minutes, so a `timeout` below that may give up too early.
        """
        several("commands", commands, "commands or their ids")
        number_above_zero("timeout", timeout)
        number_above_zero("poll_interval", poll_interval)
        # The last poll begins when the time is over, so one attempt has to be possible then.
        retry = self._session.settings.retry
        budget = min(retry.total_seconds, max(timeout, retry.attempt_seconds))
        session = self._session.with_retry(attrs.evolve(retry, total_seconds=budget))
        watch = Watch(session, peers=self.peers, poll_interval=poll_interval)
        for command in commands:
            command_id = command_id_of(command)
            not_before = self.created.not_before(command_id)
            if isinstance(command, Command):
                watch.add(
                    command_id,
                    command.created_date,
                    not_before,
                    command_type=command.type,
                    device_id=command.device_id,
                )
            else:
                watch.add(command_id, not_before=not_before)
        return Follow(self._session.settings.clock, watch, timeout=timeout)

    async def wait(self, command: Command | str, *, timeout: float = 900.0, poll_interval: float = 2.0) -> Command:
        """Wait until a command, given as itself or by its id, has reached SUCCESS or FAILED, and return it.

        Raises `WaitTimeoutError` after `timeout` seconds, and `DexError`.
        """
        async with self.follow([command], timeout=timeout, poll_interval=poll_interval) as ended:
            return await anext(ended)
