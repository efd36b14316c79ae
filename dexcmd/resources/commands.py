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
from dexcmd.paging import MAX_AT_ONCE, Listing, ListQuery, given_filters
from dexcmd.polling.peers import Peers
from dexcmd.polling.watch import Watch
from dexcmd.resources.command import Command, command_id_of, decode_commands, identity
from dexcmd.resources.requests import CommandRequest, Target, check_batch
from dexcmd.searches import Searches
from dexcmd.session import Session
from dexcmd.validators import number_above_zero, several
from dexcmd.wire.pages import MAX_PER_PAGE
from dexcmd.wire.times import format_time

__all__ = ["CommandsResource"]


class CommandsResource:
    """`dex.commands`."""

    def __init__(self, session: Session, created: CreatedLog, peers: Peers, searches: Searches) -> None:
        self._session = session
        self.created = created
        """The commands that this client has created."""

        self.peers = peers
        """Everything that follows commands through this client."""

        self._searches = searches

    async def create(self, requests: Iterable[CommandRequest]) -> builtins.list[Command]:
        """Create 1 to 10 commands with one POST and return them in the order of the requests.

        The POST is retried only if it certainly was not processed: no connection was made, or the rate limit refused
        it.  If its response is lost, the list is searched for the commands until they are found or the client's
        `settle_seconds` have passed; those still missing are then sent once more.  If cancelled, it can't report what
        was created; `create_many` can.

        Raises `ConfigurationError` for an invalid batch, `QuotaExceededError`, another `APIError` if the service
        refuses, `TransportError` if the POST could not be sent, and `AmbiguousCreateError`, holding the commands known
        to exist, if not all of them are.
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
        """Create any number of commands, ten per POST, with `concurrency` POSTs at once.  Await the returned object.

        Awaiting it gives a `BulkResult` with an outcome for each request; failures are outcomes, not exceptions.
        Requests beyond the daily quota are not attempted with `on_quota="stop"`; with `"wait"` they wait for the
        reset, for up to `quota_wait_seconds` in total.  After a cancellation, the returned object's `result` still
        says what was created.

        Raises `ConfigurationError` for invalid arguments, such as a duplicate target, before anything is sent.
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
        """Do what `create_many` does, and pass on outcomes as they become final.

        `on_outcomes` is awaited with the outcomes of a POST.
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
        per_page: int = MAX_PER_PAGE,
    ) -> Listing[Command]:
        """List the commands that match the filters, newest first.

        `since` and `until` bound the creation time.  Iterate over the listing with `async for`, await it for a
        list, or iterate over its `pages()`.  Raises `ConfigurationError` for an empty filter, a naive datetime or a
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
        query = ListQuery("/dex/commands", per_page, filters, bound="to", at_once=MAX_AT_ONCE)
        return Listing(self._session, query, decode_commands, identity)

    def follow(
        self, commands: Iterable[Command | str], *, timeout: float = 900.0, poll_interval: float = 2.0
    ) -> Follow:
        """Follow commands, given as `Command` objects or ids, until each has reached SUCCESS or FAILED.

            async with dex.commands.follow(commands) as ended:
                async for command in ended: ...         # each once, in the order in which they end

        All of them share the same polls.  Up to ten commands are polled every `poll_interval` seconds, and up to five
        times less often while nothing changes.  With many commands, each completion is noticed within about six
        intervals, or half of the command's own duration if that is longer.  Iterating raises `WaitTimeoutError` after
        `timeout` seconds, and `DexError`.  No request is retried for longer than `timeout`, or `attempt_seconds` if
        that is longer.  The command of a disconnected device fails after 10 minutes, so a shorter `timeout` may expire
        too early.
        """
        several("commands", commands, "commands or their ids")
        number_above_zero("timeout", timeout)
        number_above_zero("poll_interval", poll_interval)
        # The last poll starts when the timeout expires, so there must be time for one attempt.
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
        """Wait until a command, given as a `Command` or its id, has reached SUCCESS or FAILED, and return it.

        Raises `WaitTimeoutError` after `timeout` seconds, and `DexError`.
        """
        async with self.follow([command], timeout=timeout, poll_interval=poll_interval) as ended:
            return await anext(ended)
