"""The journal of campaigns in a file: SQLite behind the protocol of `dexcmd.campaign.store`."""

from dexcmd.campaign.journal.sqlite import SqliteStore, open_journal

__all__ = ["SqliteStore", "open_journal"]
