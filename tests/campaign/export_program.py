"""Exports a campaign of 40,000 targets, and prints by how many MiB that made the process grow.

python export_program.py PATH FORMAT
"""

import asyncio
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pyarrow.parquet  # noqa: F401 - what it takes by itself does not count

from dexcmd.campaign.export.write import export_campaign
from dexcmd.campaign.records import (
    AccountRecord,
    ArtifactRecord,
    CampaignRecord,
    CommandRecord,
    IntentRecord,
    TargetRecord,
)

COUNT = 40_000
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def row(n):
    target = TargetRecord(
        number=n,
        account="main",
        wave=1,
        device_id=f"d{n:036}",
        registration_id=f"r{n:036}",
        user_email=f"user{n}@example.com",
        device_name=f"laptop-{n}",
        platform="windows",
        version="2025.1",
        skip=None,
        detail=None,
        state="saved",
        failure=None,
        error=None,
        reason=None,
        changed_at=NOW,
        tries={},
        not_before=None,
        command_id=f"c{n:036}",
    )
    command = CommandRecord(
        command_id=f"c{n:036}",
        target=n,
        account="main",
        provenance="response",
        known_at=NOW,
        created_date=NOW,
        not_before=NOW,
        status="SUCCESS",
        completed_date=NOW,
        filename=f"f{n}.zip",
    )
    artifact = ArtifactRecord(
        command_id=f"c{n:036}",
        location=f"captures/main/2026-03-01/user{n}.zip",
        size=n,
        sha256=f"{n:064x}",
        saved_at=NOW,
    )
    intent = IntentRecord(
        target=n, post=f"p{n}", attempt=1, since=NOW, settled_at=NOW, outcome="created", opened_at=NOW, closed_at=NOW
    )
    return target, command, artifact, intent


class Canned:
    """As much of a journal as an export asks for."""

    async def campaign(self, name):
        return CampaignRecord(
            name=name,
            spec="{}",
            fingerprint="",
            type="pcap",
            control="run",
            planned_at=NOW,
            first_run_at=NOW,
            ended=None,
        )

    async def accounts(self, campaign):
        nothing = dict.fromkeys(field.name for field in attrs.fields(AccountRecord))
        return [AccountRecord(**{**nothing, "name": "main", "account_id": "1" * 32})]

    async def export(self, campaign, after, limit):
        return [row(n) for n in range(after + 1, min(after + limit, COUNT) + 1)]

    async def events(self, *args):
        return []


def peak() -> int:
    # Not `ru_maxrss`, which begins with what the parent had.
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024


if __name__ == "__main__":
    path, export_format = sys.argv[1:]
    before = peak()
    assert asyncio.run(export_campaign(Canned(), "c", path, export_format)) == COUNT
    print(peak() - before)
