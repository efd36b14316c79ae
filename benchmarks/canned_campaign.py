"""A service for one large campaign, in a process of its own: it takes every command, and all of them end at once.

`python -m benchmarks.canned_campaign DEVICES` prints its port and serves until it is terminated.  One command in ten is
a SUCCESS, with a small artifact; the others are FAILED.
"""

import asyncio
import io
import json
import subprocess
import sys
import uuid
import zipfile
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
from aiohttp import web

from benchmarks.runner import ROOT
from benchmarks.service import Service

__all__ = ["SUCCESS_IN", "campaign_service"]

PER_PAGE = 50
SUCCESS_IN = 10
"""One command of so many has an artifact."""


@contextmanager
def campaign_service(devices: int) -> Iterator[Service]:
    """Run the service with a fleet of so many devices."""
    command = [sys.executable, "-m", "benchmarks.canned_campaign", str(devices)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            port = int(process.stdout.readline())
            yield Service(f"aiohttp/{aiohttp.__version__}", f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()


def _uuid(kind: int, number: int) -> str:
    return str(uuid.UUID(int=(kind << 96) | number, version=4))


class _Service:
    def __init__(self, devices: int) -> None:
        self._devices = devices
        self._commands: list[dict[str, object]] = []
        self._created: list[datetime] = []
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("results.json", "{}")
        self._artifact = buffer.getvalue()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "POST":
            return self._create(json.loads(await request.read())["commands"])
        if request.path.endswith("/devices"):
            return self._list_devices(int(request.query["page"]))
        if request.path.endswith("/quota"):
            quota = {"quota": 10_000_000, "quota_usage": 0, "reset_time": "2030-01-01T00:00:00Z"}
            return _answer(quota)
        if "/downloads/" in request.path:
            return web.Response(body=self._artifact, content_type="application/zip", headers={"ETag": '"one"'})
        return self._list_commands(request)

    def _list_devices(self, page: int) -> web.Response:
        numbers = range((page - 1) * PER_PAGE, min(page * PER_PAGE, self._devices))
        rows = [
            {
                "deviceId": _uuid(1, number),
                "deviceName": f"LAPTOP-{number}",
                "eligible": True,
                "personEmail": f"user{number}@example.com",
                "platform": "windows",
                "registrationId": _uuid(2, number),
                "status": "connected",
                "version": "2025.4.943.0",
            }
            for number in numbers
        ]
        return _answer({"devices": rows})

    def _create(self, wanted: list[dict[str, str]]) -> web.Response:
        rows: list[dict[str, object]] = []
        for one in wanted:
            number = len(self._commands)
            now = max(datetime.now(UTC), self._created[-1]) if self._created else datetime.now(UTC)
            row: dict[str, object] = {
                "id": _uuid(3, number),
                "type": one["type"],
                "device_id": one["device_id"],
                "registration_id": one.get("registration_id"),
            }
            rows.append({**row, "status": "PENDING_EXEC", "args": {}})
            succeeded = number % SUCCESS_IN == 0
            self._created.append(now)
            self._commands.append(
                {
                    **row,
                    "status": "SUCCESS" if succeeded else "FAILED",
                    "user_email": one["user_email"],
                    "created_date": now.isoformat(),
                    "completed_date": (now + timedelta(milliseconds=1)).isoformat(),
                    "filename": f"{row['id']}.zip" if succeeded else None,
                }
            )
        return _answer({"commands": rows})

    def _list_commands(self, request: web.BaseRequest) -> web.Response:
        query = request.query
        start = bisect_left(self._created, datetime.fromisoformat(query["from"])) if "from" in query else 0
        end = bisect_right(self._created, datetime.fromisoformat(query["to"])) if "to" in query else len(self._created)
        first = end - (int(query["page"]) - 1) * PER_PAGE
        if "status" not in query and "device_id" not in query:
            return _answer({"commands": self._commands[max(start, first - PER_PAGE) : max(start, first)][::-1]})
        rows = [
            row
            for row in reversed(self._commands[start:end])
            if query.get("status") in (None, row["status"]) and query.get("device_id") in (None, row["device_id"])
        ]
        skipped = (int(query["page"]) - 1) * PER_PAGE
        return _answer({"commands": rows[skipped : skipped + PER_PAGE]})


def _answer(result: object) -> web.Response:
    body = {"success": True, "errors": [], "messages": [], "result": result}
    return web.Response(body=json.dumps(body).encode(), content_type="application/json")


async def _serve(devices: int) -> None:
    runner = web.ServerRunner(web.Server(_Service(devices).handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
