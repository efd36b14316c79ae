"""A survey of one account of a campaign: its quota, its devices, and what runs on them.  GETs only."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs

from dexcmd.campaign.named import Names
from dexcmd.campaign.spec import AccountSpec, CampaignSpec
from dexcmd.campaign.targeting import Running, Selection
from dexcmd.client import DexClient
from dexcmd.errors import DexError
from dexcmd.resources.quota import Quota

__all__ = ["Survey"]

MAX_SEARCHES = 20
"""The most emails to search for, at two requests each; for more, the whole list is read."""

RUNNING_MARGIN = timedelta(minutes=10)
"""How far beyond a command's timeout to look back for running ones: clocks differ, and some commands end late."""


@attrs.define(eq=False)
class Survey:
    """What was seen of an account."""

    spec: CampaignSpec
    account: AccountSpec
    names: Names
    now: datetime
    """By this machine's clock."""

    selection: Selection = attrs.field(init=False)
    quota: Quota = attrs.field(init=False, factory=Quota)
    requests: int = attrs.field(init=False, default=0)
    """How many requests it took, not counting retries."""

    error: DexError | None = attrs.field(init=False, default=None)
    """Why the account can't be read; anything seen before does not count."""

    def __attrs_post_init__(self) -> None:
        """Start with no rows."""
        account = self.account
        self.selection = Selection(self.spec, account.name, account.account_id, self.names, self.now)

    async def take(self, client: DexClient) -> None:
        """Survey the account; a failure is kept in `error`."""
        try:
            self.quota = await client.quota.get()
            self.requests += 1
            served_at = await self._see_devices(client)
            running = Running(self.spec.command.type)
            if len(self.selection):
                await self._see_running(client, running, served_at or self.now)
            self.selection.decide(running)
        except DexError as error:
            self.error = error

    def _searches(self) -> Sequence[str | None]:
        if self.spec.targets.search:
            return self.spec.targets.search
        emails = self.names.emails(self.account.name) if len(self.names) else None
        return emails if emails is not None and len(emails) <= MAX_SEARCHES else (None,)

    async def _see_devices(self, client: DexClient) -> datetime | None:
        """Read the device lists, and return the service's time of the first walk that has one."""
        served_at: datetime | None = None
        for search in self._searches():
            pages = client.devices.list(search=search).pages()
            async for page in pages:
                for device in page:
                    self.selection.add(device)
            self.requests += pages.fetched
            served_at = served_at or pages.served_at
        return served_at

    async def _see_running(self, client: DexClient, running: Running, now: datetime) -> None:
        # Not filtered by status: commands that change theirs during the walk would shift others past it.
        since = now - self.spec.pace.timeout - RUNNING_MARGIN
        pages = client.commands.list(command_type=self.spec.command.type, since=since).pages()
        async for page in pages:
            for command in page:
                running.add(command)
        self.requests += pages.fetched
