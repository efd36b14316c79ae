"""The protocol of a journal: what a runner asks of it, whatever database is behind it."""

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from dexcmd.campaign.events import CampaignEvent
from dexcmd.campaign.records import (
    AccountRecord,
    ArtifactRecord,
    CampaignRecord,
    CommandRecord,
    Count,
    IntentRecord,
    Lags,
    Recorded,
    TargetRecord,
)

__all__ = ["ExportRecord", "Store"]

ExportRecord = tuple[TargetRecord, CommandRecord | None, ArtifactRecord | None, IntentRecord | None]
"""A target with its latest command, that command's artifact, and its latest intent."""


class Store(Protocol):
    """A journal of campaigns.

    Events are written by `append`, and every answer follows from them.  Times are timezone-aware.  Any method may raise
    `CampaignError` if the journal can't be read or written.
    """

    async def append(self, campaign: str, events: Sequence[CampaignEvent]) -> None:
        """Write events, all or none of them; they are durable when this returns.

        Raises `TargetBusyError` if an intent would be the second open one for its device's registration and type, in
        this campaign or another of the same account; an intent without a registration counts for all of them.  Raises
        `CampaignExistsError` for a second `CampaignPlanned` of the same name, and `CampaignError` for a command id that
        is already known and for an unknown campaign, account, target or intent to close.  Foreign commands do not count
        as known: one may turn out to belong to another campaign, and is then foreign no more.
        """
        ...

    def hold(self, campaign: str) -> AbstractAsyncContextManager[None]:
        """Hold a campaign against every other process (and this one) until the block or the process ends.

        Raises `CampaignBusyError` if it is held already.
        """
        ...

    async def held(self, campaign: str) -> bool:
        """Return whether any process holds a campaign right now."""
        ...

    async def campaigns(self) -> list[CampaignRecord]:
        """Return all campaigns, oldest first."""
        ...

    async def campaign(self, name: str) -> CampaignRecord | None:
        """Return the campaign named `name`, or None if there is none."""
        ...

    async def accounts(self, campaign: str) -> list[AccountRecord]:
        """Return the accounts of a campaign, in the order of its spec."""
        ...

    async def counts(self, campaign: str, account: str | None = None) -> list[Count]:
        """Return the number of targets by account, wave, state and failure class, for one account or all."""
        ...

    async def due_targets(
        self, campaign: str, account: str, wave: int, now: datetime, limit: int
    ) -> list[TargetRecord]:
        """Return up to `limit` pending targets of a wave that are due by `now`, in the order of their numbers.

        One that was put off later than `now` is due as well: the clock was set back since, by who knows how much.
        """
        ...

    async def next_due(self, campaign: str, account: str, wave: int) -> datetime | None:
        """Return the earliest `not_before` of the wave's pending targets, or None if none of them has one."""
        ...

    async def decided_at(self, campaign: str, account: str, wave: int) -> datetime | None:
        """Return when the wave's most recently decided target was decided, or None if none is.

        This may look at each of them: like `counts`, it is meant to be asked once in a run.
        """
        ...

    async def targets(self, campaign: str, numbers: Collection[int]) -> list[TargetRecord]:
        """Return targets by number, in order, without numbers that no target has."""
        ...

    async def undecided(self, campaign: str, account: str, after: int, limit: int) -> list[TargetRecord]:
        """Return up to `limit` pending targets numbered above `after`, in order, whatever their wave and due time."""
        ...

    async def open_intents(self, campaign: str, account: str) -> list[IntentRecord]:
        """Return the open intents, in the order in which they were opened."""
        ...

    async def intents(self, campaign: str, account: str, device_ids: Collection[str]) -> list[IntentRecord]:
        """Return all intents for the given devices, open or not, in the order in which they were opened."""
        ...

    async def reserved(self, account_id: str, now: datetime) -> int:
        """Return how many commands the open intents for an account reserve, over all campaigns of the journal.

        `now` is by the service's clock.  An intent that should have settled by then reserves nothing any more: what its
        POST created already counts as used.
        """
        ...

    async def running(self, campaign: str, account: str) -> list[CommandRecord]:
        """Return the latest commands of targets in state `running`, in the order in which they became known."""
        ...

    async def collecting(self, campaign: str, account: str) -> list[CommandRecord]:
        """Return the latest commands of targets in state `collecting`, due or not, in the order in which they ended.

        A command without a `completed_date` is ordered by when it became known.
        """
        ...

    async def known(self, account_id: str, command_ids: Collection[str]) -> set[str]:
        """Return which of the command ids belong to targets of campaigns in the journal, surplus commands included.

        None of these may be taken for the response to another POST.
        """
        ...

    async def lags(self, campaign: str, account: str) -> Lags:
        """Return how late commands with provenance `response` showed up in the list (`CommandEnded.listed_after`)."""
        ...

    async def mean_artifact_size(self, command_type: str) -> tuple[int, float]:
        """Return how many artifacts of a type the journal knows, and their mean size in bytes (0.0 if none)."""
        ...

    async def events(
        self,
        campaign: str,
        after: int = 0,
        limit: int = 1000,
        kinds: Collection[type[CampaignEvent]] | None = None,
    ) -> list[Recorded]:
        """Return up to `limit` events with a `seq` above `after`, in order, of the given classes only or of all."""
        ...

    async def export(self, campaign: str, after: int, limit: int) -> list[ExportRecord]:
        """Return up to `limit` targets numbered above `after`, in order, each with the records that belong to it."""
        ...
