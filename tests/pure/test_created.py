"""What a client knows of the commands that it made, and of the POSTs that are making some."""

from collections.abc import Collection

import pytest

from dexcmd.created import CreatedLog, kind, unclaimed
from dexcmd.resources.command import Command
from dexcmd.resources.requests import CommandRequest, Pcap

A, B = (CommandRequest(device_id=device, user_email="ada@example.com", args=Pcap()) for device in ("a", "b"))


def test_the_oldest_are_forgotten() -> None:
    created = CreatedLog(size=2)
    for command_id in ("1", "2", "3"):
        created.add(command_id, None)
    assert [command_id in created for command_id in ("1", "2", "3")] == [False, True, True]


def test_two_posts_for_the_same_are_under_way_until_both_are_over() -> None:
    created = CreatedLog()
    with created.under_way([A]):
        with created.under_way([A, B]):
            pass
        with created.posts() as posts:
            assert set(posts) == {kind(A)}
    with created.posts() as posts:
        assert not posts


def test_who_looks_notes_posts_for_as_long_as_it_looks_whoever_else_does() -> None:
    created = CreatedLog()
    with created.posts() as posts:
        with created.posts() as others:
            pass
        with created.under_way([A]):
            pass
        assert set(posts) == {kind(A)}
    with created.under_way([B]):
        assert (set(posts), set(others)) == ({kind(A)}, set())


@pytest.mark.anyio
async def test_what_is_claimed_while_others_are_asked_is_taken() -> None:
    created = CreatedLog()
    asked: list[Collection[str]] = []

    async def known(ids: Collection[str]) -> Collection[str]:
        asked.append(ids)
        created.add("2", None)
        return ["3"]

    created.add("1", None)
    rows = [Command(id=command_id) for command_id in ("1", "2", "3", "4", None)]
    assert [row.id for row in await unclaimed(rows, created, known)] == ["4"]
    assert asked == [["2", "3", "4"]]
