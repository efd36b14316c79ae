"""The status of a campaign, read from its journal."""

from datetime import datetime

from dexcmd.campaign.settling import SettlingTime
from dexcmd.campaign.spec import CampaignSpec
from dexcmd.campaign.status import CampaignStatus, Settling, is_between_waves, status_of
from dexcmd.campaign.store import Store
from dexcmd.errors import CampaignNotFoundError
from dexcmd.session import SETTLE_SECONDS

__all__ = ["read_status"]


async def read_status(store: Store, spec: CampaignSpec, *, here: bool = False) -> CampaignStatus:
    """Return a campaign's status; raises `CampaignNotFoundError` if the journal does not have it.

    `here` is whether this process runs it.
    """
    # Asked first, as the holder may end meanwhile: this way a campaign that has ended never looks interrupted.
    held = await store.held(spec.name)
    record = await store.campaign(spec.name)
    if record is None:
        raise CampaignNotFoundError(f"the journal has no campaign {spec.name!r}")
    accounts = await store.accounts(spec.name)
    settling: dict[str, Settling] = {}
    for account in accounts:
        lags = await store.lags(spec.name, account.name)
        # Before the first run, the default is all there is to go by.
        configured = SETTLE_SECONDS if account.settle_seconds is None else account.settle_seconds
        settling[account.name] = SettlingTime(configured, n=lags.n, longest=lags.longest).told()
    counts = await store.counts(spec.name)
    ended: dict[str, datetime] = {}
    # Only where needed: the journal may have to scan all targets of the wave.
    for account in accounts if spec.waves.soak else ():
        if is_between_waves(account, counts) and (at := await store.decided_at(spec.name, account.name, account.wave)):
            ended[account.name] = at
    return status_of(record, spec, accounts, counts, settling, ended, held=held, here=here)
