"""A service for many commands, in a process of its own: it takes every one, and they end at once or over a while.

`python -m benchmarks.canned_campaign OPTIONS` prints its port and serves until it is terminated; the options are those
of `campaign_service` as JSON.  A command ends in SUCCESS, with a small artifact, or in FAILED.
"""

import asyncio
import io
import json
import random
import subprocess
import sys
import urllib.request
import uuid
import zipfile
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from email.utils import format_datetime
from itertools import islice

import aiohttp
from aiohttp import web

from benchmarks.canned import PER_PAGE
from benchmarks.case import Params
from benchmarks.runner import ROOT
from benchmarks.service import Service
from benchmarks.shared_clock import SharedClock

__all__ = ["campaign_service", "make_id", "requests_made"]

REQUESTS_MADE = "/requests-made"
"""A path of this service alone, and no request that it counts."""


@contextmanager
def campaign_service(
    *, devices: int = 0, success_in: int = 1, least: float = 0.001, most: float = 0.001, speed: float = 1.0
) -> Iterator[Params]:
    """Run the service with a fleet of so many devices.

    One command of `success_in` is a SUCCESS, and each takes from `least` to `most` seconds.  Its `clock` goes `speed`
    times as fast as the machine's.  Gives the service's params with that clock's and with `devices`.
    """
    clock = SharedClock.start(speed)
    options = {"devices": devices, "success_in": success_in, "least": least, "most": most, **clock.params()}
    command = [sys.executable, "-m", "benchmarks.canned_campaign", json.dumps(options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            port = int(process.stdout.readline())
            service = Service(f"aiohttp/{aiohttp.__version__}", f"http://127.0.0.1:{port}", process.pid)
            yield {**service.params(), **clock.params(), "devices": devices}
        finally:
            process.terminate()


def requests_made(params: Params) -> int:
    """Return how many requests the service has had."""
    # Whatever proxy the environment names: none of the clients takes one to this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(params["base_url"] + REQUESTS_MADE) as answer:
        return int(answer.read())


def make_id(kind: int, number: int) -> str:
    """Return what looks like an id of the service, the same for the same numbers."""
    return str(uuid.UUID(int=(kind << 96) | number, version=4))


class _Service:
    def __init__(self, options: Params) -> None:
        self._options = options
        self._clock = SharedClock.of(options)
        self._rng = random.Random("durations")
        self._requests = 0
        self._commands: list[dict[str, object]] = []
        """As they are in the end."""

        self._created: list[datetime] = []
        self._ends: list[datetime] = []
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("results.json", "{}")
        self._artifact = buffer.getvalue()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == REQUESTS_MADE:
            return web.Response(text=str(self._requests))
        self._requests += 1
        response = await self._answer(request)
        response.headers["Date"] = format_datetime(self._clock.now(), usegmt=True)
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
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
        numbers = range((page - 1) * PER_PAGE, min(page * PER_PAGE, self._options["devices"]))
        rows = [
            {
                "deviceId": make_id(1, number),
                "deviceName": f"LAPTOP-{number}",
                "eligible": True,
                "personEmail": f"user{number}@example.com",
                "platform": "windows",
                "registrationId": make_id(2, number),
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
            now = max([self._clock.now(), *self._created[-1:]])
            ends = now + timedelta(seconds=self._rng.uniform(self._options["least"], self._options["most"]))
            row: dict[str, object] = {
                "id": make_id(3, number),
                "type": one["type"],
                "device_id": one["device_id"],
                "registration_id": one.get("registration_id"),
            }
            rows.append({**row, "status": "PENDING_EXEC", "args": {}})
            succeeded = number % self._options["success_in"] == 0
            self._created.append(now)
            self._ends.append(ends)
            self._commands.append(
                {
                    **row,
                    "status": "SUCCESS" if succeeded else "FAILED",
                    "user_email": one["user_email"],
                    "created_date": now.isoformat(),
                    "completed_date": ends.isoformat(),
                    "filename": f"{row['id']}.zip" if succeeded else None,
                }
            )
        return _answer({"commands": rows})

    def _list_commands(self, request: web.BaseRequest) -> web.Response:
        query, now = request.query, self._clock.now()
        start = bisect_left(self._created, datetime.fromisoformat(query["from"])) if "from" in query else 0
        end = bisect_right(self._created, datetime.fromisoformat(query["to"])) if "to" in query else len(self._created)
        numbers = range(start, end)[::-1]
        skipped = (int(query["page"]) - 1) * PER_PAGE
        if "status" in query or "device_id" in query:
            found = (number for number in numbers if self._matches(number, query, now))
            shown = [*islice(found, skipped, skipped + PER_PAGE)]
        else:
            shown = [*numbers[skipped : skipped + PER_PAGE]]
        return _answer({"commands": [self._row(number, now) for number in shown]})

    def _matches(self, number: int, query: Mapping[str, str], now: datetime) -> bool:
        wanted = query.get("device_id")
        if wanted is not None and wanted != self._commands[number]["device_id"]:
            return False
        return query.get("status") in (None, self._row(number, now)["status"])

    def _row(self, number: int, now: datetime) -> dict[str, object]:
        row = self._commands[number]
        if self._ends[number] <= now:
            return row
        return {**row, "status": "PENDING_EXEC", "completed_date": None, "filename": None}


def _answer(result: object) -> web.Response:
    body = {"success": True, "errors": [], "messages": [], "result": result}
    return web.Response(body=json.dumps(body).encode(), content_type="application/json")


async def _serve(options: Params) -> None:
    runner = web.ServerRunner(web.Server(_Service(options).handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.argv[1])))
