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

__all__ = ["PER_PAGE", "QUOTA", "canned_service", "list_pages"]

PER_PAGE = 50


@contextmanager
def canned_service(rows: int = 0, file: Path | None = None, certificate: Path | None = None) -> Iterator[Service]:
    """Run the service with lists of `rows` commands and devices, and with `file` for every artifact.

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


def list_pages(kind: str, rows: int) -> list[bytes]:
    """Return the pages of a list of so many "commands", newest first, or "devices", and behind them an empty one."""
    rng = random.Random(kind)
    newest = datetime.now(UTC) - timedelta(hours=1)
    row = {"commands": _command, "devices": _device}[kind]
    made = [row(rng, newest - timedelta(seconds=number)) for number in range(rows)]
    pages = [made[start : start + PER_PAGE] for start in range(0, rows, PER_PAGE)]
    return [_page(kind, number, page, rows) for number, page in enumerate([*pages, []], start=1)]


def _command(rng: random.Random, created: datetime) -> dict[str, object]:
    command_id, device_id, registration_id = (_uuid(rng) for _ in range(3))
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


def _device(rng: random.Random, seen: datetime) -> dict[str, object]:
    return {
        "deviceId": _uuid(rng),
        "deviceName": f"LAPTOP-{rng.randrange(100_000)}",
        "eligible": True,
        "personEmail": f"user{rng.randrange(10_000)}@example.com",
        "platform": rng.choice(("windows", "mac", "linux")),
        "registrationId": _uuid(rng),
        "status": "connected",
        "timestamp": _time(seen),
        "version": "2025.4.943.0",
    }


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _time(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _page(kind: str, number: int, rows: list[dict[str, object]], total: int) -> bytes:
    info = {
        "page": number,
        "per_page": PER_PAGE,
        "count": len(rows),
        "total_count": total,
        "total_pages": -(-total // PER_PAGE),
    }
    return _envelope({kind: rows}, result_info=info)


def _envelope(result: object, **more: object) -> bytes:
    return json.dumps({"success": True, "errors": [], "messages": [], "result": result, **more}).encode()


QUOTA = _envelope({"quota": 800, "quota_usage": 0, "reset_time": "2030-01-01T00:00:00Z"})
"""The answer for the quota."""


class _Service:
    def __init__(self, rows: int, file: Path | None) -> None:
        self._pages = {f"/{kind}": list_pages(kind, rows) for kind in ("commands", "devices")}
        self._file = file

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith(tuple(self._pages)):
            pages = self._pages[request.path[request.path.rindex("/") :]]
            page = int(float(request.query["page"]))
            return _json(pages[min(page, len(pages)) - 1])
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
