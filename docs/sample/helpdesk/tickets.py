"""The tickets that the helpdesk exports, one JSON document a line."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Ticket", "read_tickets", "waiting"]


@dataclass(frozen=True)
class Ticket:
    """Somebody who has a problem with the network."""

    id: str
    user_email: str
    status: str


def read_tickets(path: Path) -> list[Ticket]:
    """Return the tickets of a file."""
    return [
        Ticket(id=row["id"], user_email=row["user"].lower(), status=row["status"])
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())
    ]


def waiting(tickets: Iterable[Ticket]) -> dict[str, Ticket]:
    """Return the oldest open ticket of each user, by email."""
    found: dict[str, Ticket] = {}
    for ticket in tickets:
        if ticket.status == "open":
            found.setdefault(ticket.user_email, ticket)
    return found
