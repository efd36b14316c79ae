"""A plain HTTP client for a sandbox, which shows its answers as they are."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp
import attrs
import pytest

from dexcmd.sandbox import Sandbox, SandboxDevice


@attrs.frozen
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    json: Any

    @property
    def result(self) -> Any:
        return self.json["result"]

    @property
    def codes(self) -> list[int]:
        return [error["code"] for error in self.json["errors"]]

    @property
    def pointers(self) -> list[str]:
        return [error["source"]["pointer"] for error in self.json["errors"]]


def order(device: SandboxDevice, command_type: str = "pcap", **more: Any) -> dict[str, Any]:
    """Return the wire form of a command for a device."""
    return {
        "device_id": device.device_id,
        "registration_id": device.registration_id,
        "user_email": device.user_email,
        "type": command_type,
        **more,
    }


@attrs.define
class Api:
    """Calls the sandbox and reads the answers."""

    sandbox: Sandbox
    session: aiohttp.ClientSession

    @property
    def commands_url(self) -> str:
        return f"{self.sandbox.base_url}/accounts/{self.sandbox.account_id}/dex/commands"

    async def request(self, method: str, url: str, **kwargs: Any) -> Answer:
        kwargs.setdefault("headers", {})
        kwargs["headers"].setdefault("Authorization", f"Bearer {self.sandbox.token}")
        async with self.session.request(method, url, allow_redirects=False, **kwargs) as response:
            body = await response.read()
            is_json = response.content_type == "application/json"
            return Answer(response.status, response.headers, body, await response.json() if is_json else None)

    async def list(self, page: int = 1, per_page: int = 50, **query: Any) -> Answer:
        params = {"page": page, "per_page": per_page, **query}
        return await self.request("GET", self.commands_url, params=params)

    async def devices(self, page: int = 1, per_page: int = 50, **query: Any) -> Answer:
        params = {"page": page, "per_page": per_page, **query}
        return await self.request("GET", f"{self.commands_url}/devices", params=params)

    async def quota(self) -> Answer:
        return await self.request("GET", f"{self.commands_url}/quota")

    async def create(self, *orders: Any) -> Answer:
        return await self.request("POST", self.commands_url, json={"commands": list(orders)})

    def download_url(self, command_id: str) -> str:
        return f"{self.commands_url}/{command_id}/downloads/{command_id}.zip"

    async def download(self, command_id: str, **headers: str) -> Answer:
        url = self.download_url(command_id)
        return await self.request("GET", url, headers={k.replace("_", "-"): v for k, v in headers.items()})

    async def make(self, count: int = 1, command_type: str = "pcap") -> Sequence[str]:
        """Create commands for the first devices and return their ids."""
        answer = await self.create(*(order(each, command_type) for each in self.sandbox.state.devices[:count]))
        return [row["id"] for row in answer.result["commands"]]


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until the condition holds, for two seconds at most."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.001)
    pytest.fail("it didn't come to that")


async def open_body(api: Api, command_id: str, **headers: str) -> tuple[aiohttp.ClientResponse, bytes]:
    """Start a download and return it with the bytes that come before the connection ends."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    headers["Authorization"] = f"Bearer {api.sandbox.token}"
    got = bytearray()
    async with api.session.get(api.download_url(command_id), headers=headers) as response:
        try:
            async for chunk in response.content.iter_any():
                got += chunk
        except aiohttp.ClientPayloadError:
            got += b"<broken off>"
        return response, bytes(got)
