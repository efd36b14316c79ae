"""An artifact as a stream."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import attrs

from dexcmd.async_only import AsyncOnlyIteration
from dexcmd.errors import InvalidArtifactError, StalledDownloadError, TruncatedArtifactError
from dexcmd.middleware.wording import failure_text
from dexcmd.safe_text import one_line
from dexcmd.session import Request, Session
from dexcmd.transfer.direct import body_chunks
from dexcmd.transfer.ranges import Ask, Body, Version, describe_body
from dexcmd.wire.coding import CodingError, Decoder

__all__ = ["Artifact", "open_artifact"]

ACCEPT = "application/zip, application/octet-stream;q=0.9, application/json;q=0.5, */*;q=0.1"
"""Zip first.  JSON is included because the gateway sends its errors as JSON only to clients that accept it."""

WHOLE = Ask()
UNKNOWN = Version()

_NOT_AN_ARTIFACT = ("application/json", "application/problem+json", "text/html")


class Artifact(AsyncOnlyIteration):
    """An artifact being received.  Iterate over it with `async for` to get its bytes as they arrive."""

    def __init__(self, chunks: AsyncIterator[bytes], body: Body, filename: str, path: str, left: asyncio.Event) -> None:
        self._chunks = chunks
        self._path = path
        self._left = left
        self.body = body
        self.filename = filename
        """The bare name that the service gives the artifact.  It is not checked for use as a file name."""
        self.size: int | None = body.size
        """Bytes of the whole artifact; None if the service does not announce it."""
        self.etag: str | None = body.version.etag
        self.offset: int = body.offset
        """The offset in the artifact at which the body starts: 0 except in a resumed download."""
        self.received: int = body.offset
        """The offset in the artifact up to which the body has been received."""

    def __aiter__(self) -> "Artifact":
        """Return itself: the bytes can be read once."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next bytes that have arrived.

        Raises `StalledDownloadError` if none arrive within the time of an attempt, `TruncatedArtifactError` if the
        body is broken off, not as long as announced, or empty.
        """
        if self._left.is_set():
            # Otherwise it would look as if the service had broken it off.
            raise RuntimeError("Artifact: iterate over it inside its `async with` block")
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            if self.size is not None and self.received != self.size:
                raise TruncatedArtifactError(f"{self._path}: {self.received} of {self.size} bytes arrived") from None
            if not self.received:
                # No artifact is empty, and without a length a broken connection looks the same.
                raise TruncatedArtifactError(f"{self._path}: no bytes arrived") from None
            raise
        except TimeoutError:
            raise StalledDownloadError(f"{self._path}: no more bytes arrived after {self.received}") from None
        except (aiohttp.ClientError, CodingError, OSError) as error:
            total = "an unknown number of" if self.size is None else self.size
            raise TruncatedArtifactError(
                f"{self._path}: the body ended after {self.received} of {total} bytes: {one_line(failure_text(error))}"
            ) from None
        self.received += len(chunk)
        if self.size is not None and self.received > self.size:
            raise TruncatedArtifactError(f"{self._path}: more than the announced {self.size} bytes arrived")
        return chunk


@asynccontextmanager
async def open_artifact(
    session: Session,
    path: str,
    filename: str,
    ask: Ask = WHOLE,
    version: Version = UNKNOWN,
    silence_seconds: float | None = None,
    on_retry: Callable[[], None] | None = None,
) -> AsyncGenerator[Artifact]:
    """Open the artifact at `path`, or the range of its `version` that `ask` requests.

    The stream ends with an error if nothing arrives for the time of an attempt; `silence_seconds`, if less, replaces
    that time.  `on_retry` is as in `Session.stream`.

    Raises `DexError`; if the service sends JSON or HTML instead, or nothing, `InvalidArtifactError`.
    """
    headers = {"Accept": ACCEPT, "Accept-Encoding": "identity", **ask.headers}
    policy = session.settings.retry
    if silence_seconds is not None and silence_seconds < policy.attempt_seconds:
        policy = attrs.evolve(policy, attempt_seconds=silence_seconds)
        session = session.with_retry(policy)
    request = Request("GET", path, headers=headers)
    async with session.stream(request, on_retry) as response:
        if response.content_type in _NOT_AN_ARTIFACT:
            raise InvalidArtifactError(f"GET {path}: the service sent {response.content_type} instead of an artifact")
        body = describe_body(response.status, response.headers, ask, version)
        try:
            decoder = None if body.coding is None else Decoder(body.coding)
        except CodingError as error:
            raise InvalidArtifactError(f"GET {path}: {one_line(str(error))}") from None
        if body.size == 0:
            raise InvalidArtifactError(f"GET {path}: the service sent an empty artifact")
        async with body_chunks(response, decoder=decoder, silence_seconds=policy.attempt_seconds) as chunks:
            left = asyncio.Event()
            try:
                yield Artifact(chunks, body, filename, path, left)
            finally:
                left.set()
