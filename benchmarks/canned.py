"""A service whose answers are made beforehand, in a process of its own: fast enough not to be what is measured.

`python -m benchmarks.canned ROWS [FILE]` prints its port and serves until it is terminated.
"""

import asyncio
import json
import random
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web

from benchmarks.runner import ROOT

__all__ = ["ACCOUNT_ID", "PER_PAGE", "TOKEN", "canned_service", "command_pages", "service_cpu"]

TOKEN = "benchmarks"
ACCOUNT_ID = "0123456789abcdef" * 2
PER_PAGE = 50


@contextmanager
def canned_service(rows: int = 0, file: Path | None = None) -> Iterator[str]:
    """Run the service with a list of `rows` commands, and with `file` for every artifact; gives its base URL."""
    command = [sys.executable, "-m", "benchmarks.canned", str(rows), *([str(file)] if file else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            port = int(process.stdout.readline())
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def service_cpu(base_url: str) -> float:
    """Return the seconds of CPU that the service has used so far."""
    with urllib.request.urlopen(f"{base_url}/cpu") as answer:
        return float(answer.read())


def command_pages(rows: int) -> list[bytes]:
    """Return the pages of a list of so many commands, newest first, and behind them an empty one."""
    rng = random.Random("commands")
    newest = datetime.now(UTC) - timedelta(hours=1)
    commands = [_command(rng, newest - timedelta(seconds=number)) for number in range(rows)]
    pages = [commands[start : start + PER_PAGE] for start in range(0, rows, PER_PAGE)]
    return [_page(number, page, rows) for number, page in enumerate([*pages, []], start=1)]


def _command(rng: random.Random, created: datetime) -> dict[str, str]:
    command_id, device_id, registration_id = (str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(3))
    return {
        "id": command_id,
        "type": "pcap",
        "status": "SUCCESS",
        "device_id": device_id,
        "registration_id": registration_id,
        "user_email": f"user{rng.randrange(10_000)}@example.com",
        "created_date": _time(created),
        "completed_date": _time(created + timedelta(seconds=30)),
        "filename": f"{command_id}.zip",
    }


def _time(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _page(number: int, commands: list[dict[str, str]], total: int) -> bytes:
    info = {
        "page": number,
        "per_page": PER_PAGE,
        "count": len(commands),
        "total_count": total,
        "total_pages": -(-total // PER_PAGE),
    }
    return _envelope({"commands": commands}, result_info=info)


def _envelope(result: object, **more: object) -> bytes:
    return json.dumps({"success": True, "errors": [], "messages": [], "result": result, **more}).encode()


class _Service:
    def __init__(self, rows: int, file: Path | None) -> None:
        self._pages = command_pages(rows)
        self._file = file
        self._quota = _envelope({"quota": 800, "quota_usage": 0, "reset_time": "2030-01-01T00:00:00Z"})

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("/dex/commands"):
            page = int(float(request.query["page"]))
            return _json(self._pages[min(page, len(self._pages)) - 1])
        if request.path.endswith("/quota"):
            return _json(self._quota)
        if self._file is not None and "/downloads/" in request.path:
            return web.FileResponse(self._file, headers={"Content-Type": "application/zip"})
        if request.path == "/cpu":
            return web.Response(text=str(time.process_time()))
        return web.Response(status=404)


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


async def _serve(rows: int, file: Path | None) -> None:
    service = _Service(rows, file)
    runner = web.ServerRunner(web.Server(service.handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
