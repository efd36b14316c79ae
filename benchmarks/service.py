"""What is known of a service that is measured against."""

from typing import NamedTuple

from benchmarks.case import Params

__all__ = ["ACCOUNT_ID", "TOKEN", "Service"]

TOKEN = "benchmarks"
ACCOUNT_ID = "0123456789abcdef" * 2


class Service(NamedTuple):
    """A service in a process of its own."""

    name: str
    """What it is, for the report."""

    base_url: str
    pid: int
    """Of the one process that does its work."""

    def params(self) -> Params:
        """Return what contenders need to be told to use it, and to see what it uses."""
        return {
            "service": self.name,
            "base_url": self.base_url,
            "service_pid": self.pid,
            "token": TOKEN,
            "account_id": ACCOUNT_ID,
        }
