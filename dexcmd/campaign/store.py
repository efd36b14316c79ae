"""Where a journal is kept: what a runner asks of it, whatever database is behind it."""

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
"""A target with its latest command, the artifact of that command, and its latest intent."""


class Store(Protocol):
    """A journal of campaigns.

    Events come in by `append`, and whatever can be asked follows from them.  Times are timezone-aware.  Any method may
    raise `CampaignError` where the journal can't be read or written.
    """

    async def append(self, campaign: str, events: Sequence[CampaignEvent]) -> None:
        """Write events down, all or none of them; they are durable when it returns.

        Raises `TargetBusyError` where an intent would be the second open one of its device's registration and type, in
        this campaign or another of the same account; one that names no registration is of all of them.  Raises
        `CampaignExistsError` for a second `CampaignPlanned` of one name, and `CampaignError` for a command id that is
        known already and for a campaign, an account, a target or an intent to be closed that is not.
        Foreign commands are not known in this sense: they may turn out to be those of another campaign, and are foreign
        no more then.
        """
        ...

    def hold(self, campaign: str) -> AbstractAsyncContextManager[None]:
        """Hold a campaign against every other process (and this one), until the block or the process ends.

        Raises `CampaignBusyError` where it is held.
        """
        ...

    async def held(self, campaign: str) -> bool:
        """Tell whether some process holds a campaign at this moment."""
        ...

    async def campaigns(self) -> list[CampaignRecord]:
        """Return all campaigns, the oldest first."""
        ...

    async def campaign(self, name: str) -> CampaignRecord | None:
        """Return a campaign, None where there is none of that name."""
        ...

    async def accounts(self, campaign: str) -> list[AccountRecord]:
        """Return the accounts of a campaign, in the order of its spec."""
        ...

    async def counts(self, campaign: str, account: str | None = None) -> list[Count]:
        """Return how many targets there are by account, wave, state and failure class; of one account, or of all."""
        ...

    async def due_targets(
        self, campaign: str, account: str, wave: int, now: datetime, limit: int
    ) -> list[TargetRecord]:
        """Return pending targets of a wave that are due, `now` or earlier, in the order of their numbers."""
        ...

    async def next_due(self, campaign: str, account: str, wave: int) -> datetime | None:
        """Return the earliest `not_before` of the wave's pending targets that have one; None where none has."""
        ...

    async def decided_at(self, campaign: str, account: str, wave: int) -> datetime | None:
        """Return when the last of the wave's targets was decided that are; None where none is.

        It may look at each of them: like `counts` it is asked once in a run.
        """
        ...

    async def targets(self, campaign: str, numbers: Collection[int]) -> list[TargetRecord]:
        """Return targets by their numbers, in order; there is none for a number that no target has."""
        ...

    async def undecided(self, campaign: str, account: str, after: int, limit: int) -> list[TargetRecord]:
        """Return pending targets with numbers above `after`, in order, whatever their wave and due time."""
        ...

    async def open_intents(self, campaign: str, account: str) -> list[IntentRecord]:
        """Return the intents that are not closed, in the order in which they were opened."""
        ...

    async def intents(self, campaign: str, account: str, device_ids: Collection[str]) -> list[IntentRecord]:
        """Return all intents for some devices, open or not, in the order in which they were opened."""
        ...

    async def reserved(self, account_id: str, now: datetime) -> int:
        """Return how many commands the open intents for an account reserve, over all campaigns of the journal.

        `now` is by the service's clock: one that is to have settled by then reserves nothing any more, for what its
        POST made is spent.
        """
        ...

    async def running(self, campaign: str, account: str) -> list[CommandRecord]:
        """Return the latest commands of targets in state `running`, in the order in which they became known."""
        ...

    async def collecting(self, campaign: str, account: str) -> list[CommandRecord]:
        """Return the latest commands of targets in state `collecting`, due or not, the oldest ended first.

        One without a `completed_date` counts by when it became known.
        """
        ...

    async def known(self, account_id: str, command_ids: Collection[str]) -> set[str]:
        """Return which of some command ids belong to targets of campaigns of the journal; so do surplus ones.

        None of them may be taken for the answer to another POST.
        """
        ...

    async def lags(self, campaign: str, account: str) -> Lags:
        """Return how late commands with provenance `response` showed up in the list (`CommandEnded.listed_after`)."""
        ...

    async def mean_artifact_size(self, command_type: str) -> tuple[int, float]:
        """Return how many artifacts of a type the journal knows, and their mean size in bytes (0.0 where none)."""
        ...

    async def events(
        self,
        campaign: str,
        after: int = 0,
        limit: int = 1000,
        kinds: Collection[type[CampaignEvent]] | None = None,
    ) -> list[Recorded]:
        """Return events with a `seq` above `after`, in order; those of some classes only, or of all."""
        ...

    async def export(self, campaign: str, after: int, limit: int) -> list[ExportRecord]:
        """Return targets with numbers above `after`, in order, each with what belongs to it."""
        ...
