"""Captures for the helpdesk: a sample of an application on dexcmd."""
