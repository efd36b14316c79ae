"""The journal on SQLite: a file that survives whatever ends the process."""

from dexcmd.campaign.journal.store import SqliteStore, open_journal

__all__ = ["SqliteStore", "open_journal"]
