"""A walk over a whole list: that of the commands."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.case import Case, Metric, Params, Result
from benchmarks.lists import COMMANDS, ListKind
from benchmarks.usage import cpu_seconds

ROWS = 20_000

WALKS = 5
"""How often a process walks: once is over too soon to be measured well."""

NOTES = """\
Means of 5 walks in one process, after the client's first call. The official client's own `async for` yields nothing,
so its pages are asked for by number until one is empty; the rows are then plain dicts, as they come on the wire.
"Models" are its own, checked and with parsed times, which is what dexcmd gives. "Bare aiohttp" parses nothing.
dexcmd's limit of 200 requests a second is off here. "Service busy" is the CPU of the canned service, in per cent of
the time: it is not what is measured unless near 100."""

FetchPage = Callable[[ListKind, Any, Params, int], Awaitable[Sequence[object]]]
"""Fetches a page, by its number, with the official client."""


def _dexcmd(kind: ListKind) -> Callable[[Params], Result]:
    async def walk(params: Params) -> Result:
        from dexcmd import DexClient

        async with DexClient(
            api_token=params["token"], account_id=params["account_id"], base_url=params["base_url"], rate_limit=None
        ) as dex:
            return await _measure(params, lambda: aiter(kind.resource(dex).list()))

    return lambda params: asyncio.run(walk(params))


def _bare(kind: ListKind) -> Callable[[Params], Result]:
    async def rows(http: Any, params: Params) -> AsyncIterator[object]:
        url = f"{params['base_url']}/accounts/{params['account_id']}{kind.path}"
        for page in range(1, params["rows"] // params["per_page"] + 1):
            async with http.get(url, params={"page": page, "per_page": params["per_page"]}) as response:
                await response.read()
            for row in range(params["per_page"]):
                yield row

    async def walk(params: Params) -> Result:
        import aiohttp

        async with aiohttp.ClientSession() as http:
            return await _measure(params, lambda: rows(http, params))

    return lambda params: asyncio.run(walk(params))


def _official(kind: ListKind, fetch: FetchPage) -> Callable[[Params], Result]:
    async def rows(client: Any, params: Params) -> AsyncIterator[object]:
        page = 1
        while found := await fetch(kind, client, params, page):
            for row in found:
                yield row
            page += 1

    async def walk(params: Params) -> Result:
        from cloudflare import AsyncCloudflare

        async with AsyncCloudflare(api_token=params["token"], base_url=params["base_url"]) as client:
            return await _measure(params, lambda: rows(client, params))

    return lambda params: asyncio.run(walk(params))


async def _page(kind: ListKind, client: Any, params: Params, page: int) -> Sequence[object]:
    answer = await kind.official_resource(client).list(
        account_id=params["account_id"], page=page, per_page=params["per_page"]
    )
    return getattr(answer.result, kind.name)


async def _raw_page(kind: ListKind, client: Any, params: Params, page: int) -> Sequence[object]:
    answer = await kind.official_resource(client).with_raw_response.list(
        account_id=params["account_id"], page=page, per_page=params["per_page"]
    )
    return (await answer.json())["result"][kind.name]


async def _page_of_models(kind: ListKind, client: Any, params: Params, page: int) -> Sequence[object]:
    rows = await _raw_page(kind, client, params, page)
    return getattr(kind.official_model().model_validate({kind.name: rows}), kind.name)


async def _measure(params: Params, walk: Callable[[], AsyncIterator[object]]) -> Result:
    """Take one row, so that the first call is over, and then all of some new walks."""
    await anext(walk())
    served, cpu, began = cpu_seconds(params["service_pid"]), time.process_time(), time.perf_counter()
    count = 0
    for _ in range(WALKS):
        async for _ in walk():
            count += 1
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    served = cpu_seconds(params["service_pid"]) - served
    if count != WALKS * params["rows"]:
        raise RuntimeError(f"{count} rows came in {WALKS} walks over {params['rows']}")
    return {
        "seconds": seconds / WALKS,
        "rate": count / seconds,
        "cpu": cpu / count * 1e6,
        "busy": served / seconds * 100,
    }


@contextmanager
def _prepare(scale: float) -> Iterator[Params]:
    from benchmarks.canned import PER_PAGE, canned_service

    pages = max(1, round(ROWS * scale / PER_PAGE))
    with canned_service(rows=pages * PER_PAGE) as service:
        yield {**service.params(), "rows": pages * PER_PAGE, "per_page": PER_PAGE}


def case(kind: ListKind, name: str) -> Case:
    """Return the case for a list."""
    return Case(
        name=name,
        title=f"walk of the list of {kind.name}, 50 a page",
        notes=lambda params: f"{params['rows']:,} {kind.name}. {NOTES}",
        rounds=5,
        metrics=(
            Metric("seconds", "time s", 3, compared=True),
            Metric("rate", "rows/s", 0, compared=True),
            Metric("cpu", "CPU µs/row", 1, compared=True),
            Metric("busy", "service busy %", 0),
        ),
        peer="cloudflare",
        contenders={
            "dexcmd": _dexcmd(kind),
            "cloudflare": _official(kind, _page),
            "cloudflare, raw pages": _official(kind, _raw_page),
            "cloudflare, models": _official(kind, _page_of_models),
            "(bare aiohttp)": _bare(kind),
        },
        prepare=_prepare,
    )


CASE = case(COMMANDS, "walk")
