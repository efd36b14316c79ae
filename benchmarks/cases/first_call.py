"""The import and the first call, in a fresh process."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.case import Case, Metric, Params, Result
from benchmarks.usage import peak_mib

# Everything else is imported where it is used: what is there already costs the contenders nothing.


def _python(_: Params) -> Result:
    """Do nothing: what Python takes by itself."""
    return {"peak": peak_mib(), "modules": len(sys.modules)}


def _dexcmd(params: Params) -> Result:
    began = time.perf_counter()
    import asyncio

    from dexcmd import DexClient

    imported = time.perf_counter()

    async def call() -> None:
        async with DexClient(
            api_token=params["token"], account_id=params["account_id"], base_url=params["base_url"]
        ) as dex:
            await dex.quota.get()

    asyncio.run(call())
    return _result(began, imported)


def _official(params: Params) -> Result:
    began = time.perf_counter()
    import asyncio

    from cloudflare import AsyncCloudflare

    imported = time.perf_counter()

    async def call() -> None:
        async with AsyncCloudflare(api_token=params["token"], base_url=params["base_url"]) as client:
            await client.zero_trust.dex.commands.quota.get(account_id=params["account_id"])

    asyncio.run(call())
    return _result(began, imported)


def _result(began: float, imported: float) -> Result:
    ended = time.perf_counter()
    return {
        "import": imported - began,
        "call": ended - imported,
        "total": ended - began,
        "peak": peak_mib(),
        "modules": len(sys.modules),
    }


@contextmanager
def _prepare(_: float) -> Iterator[Params]:
    from benchmarks.canned import canned_service

    with canned_service() as service:
        yield service.params()


CASE = Case(
    name="first-call",
    title="import and first call (the quota) in a fresh process",
    notes=lambda _: "The interpreter's own start is not in the times, and is in the memory.",
    rounds=7,
    metrics=(
        Metric("import", "import s", 3),
        Metric("call", "first call s", 3),
        Metric("total", "both s", 3, compared=True),
        Metric("peak", "peak MiB", 1, compared=True),
        Metric("modules", "modules", 0),
    ),
    peer="cloudflare",
    contenders={"dexcmd": _dexcmd, "cloudflare": _official, "(Python alone)": _python},
    prepare=_prepare,
)
