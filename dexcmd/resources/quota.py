"""The daily command quota: GET /dex/commands/quota."""

from datetime import datetime

import attrs

from dexcmd.session import Request, Session
from dexcmd.wire.converter import register_model, structure

__all__ = ["Quota", "QuotaResource"]


@attrs.frozen
class Quota:
    """How many commands may be created until `reset_time`.

    An account has 100 (Free), 200 (Standard) or 800 (Enterprise) per day, which Cloudflare can raise:
    https://developers.cloudflare.com/cloudflare-one/insights/dex/remote-captures/.
    """

    quota: int | None = None
    """Commands allowed until the reset."""

    quota_usage: int | None = None
    """Commands already created."""

    reset_time: datetime | None = None
    """When the usage is reset to 0; timezone-aware."""

    @property
    def remaining(self) -> int | None:
        """How many commands may still be created; None if the service doesn't say."""
        if self.quota is None or self.quota_usage is None:
            return None
        return max(0, self.quota - self.quota_usage)


register_model(Quota)


class QuotaResource:
    """`dex.quota`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def get(self) -> Quota:
        """Return the account's current quota.  Raises `DexError`."""
        envelope = await self._session.call(Request("GET", "/dex/commands/quota"))
        return structure(envelope.result, Quota, "$.result")
