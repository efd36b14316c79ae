"""The journal on SQLite: a file that survives however the process ends."""

from dexcmd.campaign.journal.store import SqliteStore, open_journal

__all__ = ["SqliteStore", "open_journal"]
