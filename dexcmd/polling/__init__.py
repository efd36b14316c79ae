"""Polling: when to look at the list for which commands, and one engine that does it."""
