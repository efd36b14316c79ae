"""Times as stored in the journal's tables: whole microseconds since 1970, which sort and compare as they are."""

from datetime import UTC, datetime, timedelta

from dexcmd.campaign.journal.failures import DAMAGED
from dexcmd.errors import CampaignError, ConfigurationError
from dexcmd.wire.converter import shown

__all__ = ["micros", "micros_or_none", "moment", "moment_or_none"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def micros(time: datetime) -> int:
    """Return a time as stored in the tables.  Raises `ConfigurationError` for one without a zone."""
    try:
        return (time - EPOCH) // MICROSECOND
    except TypeError:
        raise ConfigurationError(f"times of events must be timezone-aware: {time} has no time zone") from None


def micros_or_none(time: datetime | None) -> int | None:
    """Return a time as stored in the tables, or None."""
    return None if time is None else micros(time)


def moment(value: int) -> datetime:
    """Return a time from the tables, in UTC.  Raises `CampaignError` for an invalid one."""
    try:
        return EPOCH + timedelta(microseconds=value)
    except (TypeError, OverflowError):
        raise CampaignError(f"the journal has {shown(value)} in place of a time: {DAMAGED}") from None


def moment_or_none(value: int | None) -> datetime | None:
    """Return a time from the tables, or None."""
    return None if value is None else moment(value)
