"""Every fault against every call, random campaigns, and a search for leaks."""
