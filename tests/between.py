"""What stands between a client and the sandbox, and changes what passes."""

import json
from collections.abc import Awaitable, Callable
from email.utils import format_datetime

import aiohttp
import attrs
from aiohttp import web

from dexcmd.resources.requests import CommandRequest
from tests.conftest import Rig

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


async def passed_on(rig: Rig, request: web.BaseRequest, body: bytes | None = None) -> tuple[int, bytes]:
    """Return what the sandbox answers to a request of its service, as something on the way sees it.

    That may pass on another body.
    """
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            request.method,
            f"{rig.sandbox.base_url.removesuffix('/client/v4')}{request.raw_path}",
            data=await request.read() if body is None else body,
            headers={"Authorization": request.headers["Authorization"]},
        ) as answer,
    ):
        return answer.status, await answer.read()


def in_capitals(request: CommandRequest) -> CommandRequest:
    """Return the request as it is made of an inventory that writes UUIDs in capitals."""
    registration = None if request.registration_id is None else request.registration_id.upper()
    return attrs.evolve(request, device_id=request.device_id.upper(), registration_id=registration)


def of_uuids(rig: Rig, *, lose: bool = False) -> Handler:
    """Return what makes the sandbox a service that takes UUIDs in any letters, and may lose the answers to POSTs."""

    async def forward(request: web.BaseRequest) -> web.StreamResponse:
        headers = {"Date": format_datetime(rig.clock.now(), usegmt=True)}
        if request.method != "POST":
            status, body = await passed_on(rig, request)
            return web.Response(status=status, body=body, headers=headers)
        asked = json.loads(await request.read())
        for command in asked["commands"]:
            command |= {name: command[name].lower() for name in ("device_id", "registration_id") if name in command}
        status, body = await passed_on(rig, request, json.dumps(asked).encode())
        return web.Response(status=502 if lose else status, body=b"<html>" if lose else body, headers=headers)

    return forward
