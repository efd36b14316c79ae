"""A server that answers what a test says."""

from typing import Any, Self

from aiohttp import web

from dexcmd import DexClient, RetryPolicy

ONCE = RetryPolicy(attempts=1, attempt_seconds=5.0)


class Service:
    """A server that answers what a test says, for what the sandbox would never do."""

    def __init__(self, handler: Any) -> None:
        self._server = web.Server(handler)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=0.1)
        self.origin = ""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.origin = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def client(self, **options: Any) -> DexClient:
        settings: dict[str, Any] = {
            "api_token": "service-token",
            "account_id": "0" * 32,
            "retry": ONCE,
            **options,
        }
        return DexClient(base_url=self.origin, **settings)
