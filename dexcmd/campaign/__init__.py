"""Campaigns: bulk captures over accounts and days, planned, journaled and resumed."""
