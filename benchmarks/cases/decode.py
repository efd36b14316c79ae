"""A page of a list from its bytes to objects, without a network: that of the commands."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from benchmarks.case import Case, Metric, Params, Result
from benchmarks.lists import COMMANDS, ListKind

PAGES = 4_000
"""How often a process decodes the page."""

WARM_UP = 20

NOTES = """\
The same {rows} rows in {size:.1f} KB, {pages:,} times in one process, after {warm_up} times that are not counted.
dexcmd reads the envelope and gives its models: every type is checked, and all times are parsed. "cloudflare" is its own
response parsing (`AsyncAPIResponse.parse`) into its model of the page, as its other calls give theirs; a value of the
wrong type stays as it came. Its lists come out of the same parsing as plain dicts: "cloudflare, as its list".
"cloudflare, validated" is pydantic alone, which is compiled: `model_validate_json` of that model, without a response
around it. "(json.loads)" makes no objects."""

Decode = Callable[[bytes], Awaitable[Sequence[object]]]


def _dexcmd(kind: ListKind) -> Decode:
    from dexcmd.wire.answer import Answer
    from dexcmd.wire.envelope import read_envelope

    decode, now = kind.decode(), datetime.now(UTC)

    async def rows(page: bytes) -> Sequence[object]:
        return decode(read_envelope(Answer("GET", kind.path, 200, {}, page), now).result)

    return rows


def _official(kind: ListKind) -> Decode:
    from cloudflare._wrappers import ResultWrapper

    return _parsed_as(ResultWrapper[kind.official_model()], lambda parsed: getattr(parsed.result, kind.name))


def _official_list(kind: ListKind) -> Decode:
    from cloudflare.pagination import AsyncV4PagePagination

    model = kind.official_model()
    return _parsed_as(AsyncV4PagePagination[model | None], lambda parsed: getattr(parsed.result, kind.name))


def _parsed_as(cast_to: Any, take: Callable[[Any], Sequence[object]]) -> Decode:
    import httpx
    from cloudflare import AsyncAPIResponse, AsyncCloudflare
    from cloudflare._models import FinalRequestOptions

    client = AsyncCloudflare(api_token="none")
    options = FinalRequestOptions(method="get", url="/")
    headers = {"Content-Type": "application/json"}

    async def rows(page: bytes) -> Sequence[object]:
        response = AsyncAPIResponse(
            raw=httpx.Response(200, headers=headers, content=page),
            cast_to=cast_to,
            client=client,
            stream=False,
            stream_cls=None,
            options=options,
        )
        return take(await response.parse())

    return rows


def _validated(kind: ListKind) -> Decode:
    from cloudflare._wrappers import ResultWrapper

    model = ResultWrapper[kind.official_model()]

    async def rows(page: bytes) -> Sequence[object]:
        return getattr(model.model_validate_json(page).result, kind.name)

    return rows


def _loads(kind: ListKind) -> Decode:
    import json

    async def rows(page: bytes) -> Sequence[object]:
        return json.loads(page)["result"][kind.name]

    return rows


def _contender(kind: ListKind, make: Callable[[ListKind], Decode]) -> Callable[[Params], Result]:
    return lambda params: asyncio.run(_measure(params, make(kind)))


async def _measure(params: Params, decode: Decode) -> Result:
    page, pages = params["page"].encode(), params["pages"]
    for _ in range(WARM_UP):
        if (found := len(await decode(page))) != params["rows"]:
            raise RuntimeError(f"a page of {params['rows']} rows came as {found}")
    cpu, began = time.process_time(), time.perf_counter()
    for _ in range(pages):
        await decode(page)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    rows = pages * params["rows"]
    return {"rate": rows / seconds, "cpu": cpu / rows * 1e6}


def _notes(params: Params) -> str:
    size = len(params["page"]) / 1000
    return NOTES.format(rows=params["rows"], size=size, pages=params["pages"], warm_up=WARM_UP)


def case(kind: ListKind, name: str) -> Case:
    """Return the case for a list."""

    @contextmanager
    def prepare(scale: float) -> Iterator[Params]:
        from benchmarks.canned import PER_PAGE, list_pages

        page = list_pages(kind.name, PER_PAGE)[0]
        yield {"page": page.decode(), "rows": PER_PAGE, "pages": max(1, round(PAGES * scale))}

    return Case(
        name=name,
        title=f"a page of {kind.name}, from its bytes to objects",
        notes=_notes,
        rounds=5,
        metrics=(
            Metric("rate", "rows/s", 0, compared=True),
            Metric("cpu", "CPU µs/row", 2, compared=True, spread=True),
        ),
        peer="cloudflare",
        contenders={
            "dexcmd": _contender(kind, _dexcmd),
            "cloudflare": _contender(kind, _official),
            "cloudflare, as its list": _contender(kind, _official_list),
            "cloudflare, validated": _contender(kind, _validated),
            "(json.loads)": _contender(kind, _loads),
        },
        prepare=prepare,
    )


CASE = case(COMMANDS, "decode")
