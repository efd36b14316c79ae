"""What the cases that create many commands share: the targets, and how each client creates for all of them.

Nothing of a client is imported before one of the functions is called.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from benchmarks.canned_campaign import make_id

__all__ = ["CONCURRENCY", "batches", "command_requests", "create_officially"]

CONCURRENCY = 4
"""POSTs at a time: the default of `create_many`."""

PER_POST = 10


def command_requests(targets: int) -> list[Any]:
    """Return so many requests for dexcmd."""
    from dexcmd import CommandRequest, Pcap

    return [
        CommandRequest(
            device_id=make_id(1, number),
            registration_id=make_id(2, number),
            user_email=f"user{number}@example.com",
            args=Pcap(),
        )
        for number in range(targets)
    ]


def batches(targets: int) -> list[list[dict[str, str]]]:
    """Return the same as they go into POSTs."""
    commands = [
        {
            "device_id": make_id(1, number),
            "registration_id": make_id(2, number),
            "user_email": f"user{number}@example.com",
            "type": "pcap",
        }
        for number in range(targets)
    ]
    return [commands[start : start + PER_POST] for start in range(0, targets, PER_POST)]


async def create_officially(client: Any, account_id: str, posts: Sequence[Any]) -> list[str]:
    """Create with the official client, a few POSTs at a time, and return the ids of the commands."""
    left = iter(posts)
    created: list[str] = []

    async def work() -> None:
        for commands in left:
            answer = await client.zero_trust.dex.commands.create(account_id=account_id, commands=commands)
            created.extend(command.id for command in answer.commands)

    await asyncio.gather(*[work() for _ in range(CONCURRENCY)])
    return created
