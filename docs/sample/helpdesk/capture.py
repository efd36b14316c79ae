"""Capture from everybody who has an open ticket: `python -m helpdesk.capture tickets.jsonl captures/`."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from dexcmd import CommandRequest, DexClient, DexError, Pcap
from helpdesk.tickets import Ticket, read_tickets, waiting

__all__ = ["capture_tickets", "main"]


async def capture_tickets(dex: DexClient, tickets: Mapping[str, Ticket], folder: Path) -> dict[str, list[str]]:
    """Capture two minutes on each device of the tickets' users, and return what became of each ticket.

    The notes are for the ticket: a file for each device, or why there is none.
    """
    notes: dict[str, list[str]] = {ticket.id: [] for ticket in tickets.values()}
    requests: list[CommandRequest] = []
    for email, ticket in tickets.items():
        # A search finds parts of names and emails too.
        async for device in dex.devices.list(search=email):
            if (device.person_email or "").lower() != email:
                continue
            if device.eligible:
                requests.append(device.request(Pcap(time_limit_min=2)))
            else:
                notes[ticket.id].append(f"{device.device_name}: {device.ineligible_reason}")
    async with dex.capture(requests, into=folder) as results:
        async for result in results:
            ticket = tickets[result.request.user_email.lower()]
            if result.artifact is not None:
                notes[ticket.id].append(f"captured: {result.artifact.path.name}")
            else:
                notes[ticket.id].append(f"no capture ({result.state}): {result.error or result.reason}")
    return notes


async def run(tickets: Path, folder: Path) -> int:
    """Do it for a file of tickets, print the notes, and return an exit code."""
    try:
        async with DexClient() as dex:
            notes = await capture_tickets(dex, waiting(read_tickets(tickets)), folder)
    except DexError as error:
        print(error, file=sys.stderr)
        return 1
    for ticket, lines in notes.items():
        for line in lines or ["no device"]:
            print(f"{ticket}\t{line}")
    return 0


def main(arguments: list[str]) -> int:
    """Run with the arguments of a command line."""
    tickets, folder = map(Path, arguments)
    return asyncio.run(run(tickets, folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
