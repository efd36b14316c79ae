"""A service whose answers are made beforehand, in a process of its own: fast enough not to be what is measured.

`python -m benchmarks.canned ROWS [FILE [CERTIFICATE]]` prints its port and serves until it is terminated.
"""

import asyncio
import json
import random
import ssl
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from aiohttp import web

from benchmarks.runner import ROOT
from benchmarks.service import Service

__all__ = ["PER_PAGE", "QUOTA", "canned_service", "command_pages"]

PER_PAGE = 50


@contextmanager
def canned_service(rows: int = 0, file: Path | None = None, certificate: Path | None = None) -> Iterator[Service]:
    """Run the service with a list of `rows` commands, and with `file` for every artifact.

    With a certificate, a PEM file with its key, it speaks TLS.
    """
    paths = [str(path) for path in (file, certificate) if path is not None]
    command = [sys.executable, "-m", "benchmarks.canned", str(rows), *paths]
    scheme = "http" if certificate is None else "https"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            port = int(process.stdout.readline())
            yield Service(f"aiohttp/{aiohttp.__version__}", f"{scheme}://127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()


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


QUOTA = _envelope({"quota": 800, "quota_usage": 0, "reset_time": "2030-01-01T00:00:00Z"})
"""The answer for the quota."""


class _Service:
    def __init__(self, rows: int, file: Path | None) -> None:
        self._pages = command_pages(rows)
        self._file = file

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("/dex/commands"):
            page = int(float(request.query["page"]))
            return _json(self._pages[min(page, len(self._pages)) - 1])
        if request.path.endswith("/quota"):
            return _json(QUOTA)
        if self._file is not None and "/downloads/" in request.path:
            return web.FileResponse(self._file, headers={"Content-Type": "application/zip"})
        return web.Response(status=404)


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


async def _serve(rows: int, file: Path | None, certificate: Path | None) -> None:
    service = _Service(rows, file)
    tls = None
    if certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    runner = web.ServerRunner(web.Server(service.handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def _main(rows: str, file: str | None = None, certificate: str | None = None) -> None:
    asyncio.run(_serve(int(rows), file and Path(file), certificate and Path(certificate)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
