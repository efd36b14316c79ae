"""A campaign's rows, a page at a time."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping

from dexcmd.campaign.events import ForeignFound, SurplusFound
from dexcmd.campaign.export.rows import foreign_row, surplus_row, target_row
from dexcmd.campaign.export.schema import ExportRow
from dexcmd.campaign.records import CampaignRecord
from dexcmd.campaign.store import Store

__all__ = ["PAGE", "pages_of"]

PAGE = 1000
"""Rows that are read, built and written at a time."""


async def pages_of(store: Store, campaign: CampaignRecord) -> AsyncGenerator[list[ExportRow]]:
    """Yield the rows of a campaign: its targets in order, then surplus and foreign commands as they were found."""
    ids = {account.name: account.account_id for account in await store.accounts(campaign.name)}
    after = 0
    while page := await store.export(campaign.name, after, PAGE):
        yield [target_row(campaign, ids[of_target[0].account], *of_target) for of_target in page]
        after = page[-1][0].number
    # Each audit reports everything it finds, even what an earlier one has reported.
    seen: set[str] = set()
    after = 0
    while recorded := await store.events(campaign.name, after, PAGE, (SurplusFound, ForeignFound)):
        found = [one.event for one in recorded if isinstance(one.event, SurplusFound | ForeignFound)]
        numbers = {event.target for event in found if isinstance(event, SurplusFound)}
        known = await _known(store, ids, found)
        targets = {target.number: target for target in await store.targets(campaign.name, numbers)}
        rows: list[ExportRow] = []
        for event in found:
            if event.command_id in seen or (isinstance(event, ForeignFound) and event.command_id in known):
                continue
            seen.add(event.command_id)
            account_id = ids[event.account]
            rows.append(
                surplus_row(campaign, account_id, event, targets[event.target])
                if isinstance(event, SurplusFound)
                else foreign_row(campaign, account_id, event)
            )
        if rows:
            yield rows
        after = recorded[-1].seq


async def _known(store: Store, ids: Mapping[str, str], found: Iterable[SurplusFound | ForeignFound]) -> set[str]:
    """Return the foreign commands that are known by now, as a target's or as surplus, and are no longer foreign."""
    foreign: defaultdict[str, list[str]] = defaultdict(list)
    for event in found:
        if isinstance(event, ForeignFound):
            foreign[ids[event.account]].append(event.command_id)
    known: set[str] = set()
    for account_id, command_ids in foreign.items():
        known |= await store.known(account_id, command_ids)
    return known
