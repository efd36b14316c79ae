"""The innermost middleware: one attempt, bounded in time, ending in a good response or a typed error."""

import asyncio
import logging
from collections.abc import Collection

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from aiohttp.hdrs import AUTHORIZATION

from dexcmd.connections import Connections
from dexcmd.errors import (
    APIError,
    ConfigurationError,
    DexError,
    ResponseDecodeError,
    TransportError,
    TransportTimeoutError,
)
from dexcmd.events import RequestFinished, RequestSent
from dexcmd.middleware.call import Call
from dexcmd.middleware.limit import TimeLimit
from dexcmd.middleware.wording import failure_text
from dexcmd.safe_text import one_line, without_secrets
from dexcmd.secret import Secret
from dexcmd.wire.answer import Answer
from dexcmd.wire.coding import CodingError, content_coding, decoded
from dexcmd.wire.envelope import api_error, read_envelope

__all__ = ["MAX_ERROR_BYTES", "MAX_JSON_BYTES", "Attempt", "transport_error"]

logger: logging.Logger = logging.getLogger(__name__)

MAX_JSON_BYTES = 32 * 1024 * 1024
"""The largest JSON body that is read, so that a wrong response can't fill the memory.  Fifty rows take some 20 KiB."""

MAX_ERROR_BYTES = 64 * 1024
"""How much of an error's body is read; plenty for its message."""

_PERMANENT = (
    aiohttp.ClientConnectorCertificateError,
    aiohttp.InvalidURL,
    aiohttp.ServerFingerprintMismatch,
)


class Attempt:
    """Sends a request once.

    The body is read here, unless the status is one of `stream`.  So a body that stalls or breaks off is a failed
    attempt like any other, and the connection is free before the next attempt.
    """

    def __init__(
        self, call: Call, secret: Secret, stream: Collection[int], *, at_home: bool, connections: Connections
    ) -> None:
        self._call = call
        self._secret = secret
        self._token = secret if at_home else None
        self._stream = stream
        self._connections = connections

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Return a good response.

        Raises `TransportError`, `APIError` or `ResponseDecodeError`; `ConfigurationError` if the client is closed.
        """
        call = self._call
        started = call.clock.monotonic()
        if self._connections.closed:
            raise ConfigurationError("this client is closed")
        seconds = min(call.policy.attempt_seconds, call.seconds_left)
        if seconds <= 0:
            raise TransportTimeoutError(
                f"{call.method} {call.path}: not sent: the time for the call is used up", sent=False
            )
        if self._token is not None:
            # The token is set only here, so that a traceback with local variables shows it in no other frame of dexcmd.
            request.headers[AUTHORIZATION] = f"Bearer {self._token.reveal()}"
        if call.on_sent is not None:
            call.on_sent(True)
        call.emit(RequestSent(call.method, call.path, call.attempt))
        response: ClientResponse | None = None
        failure: DexError
        # aiohttp sets `request.response` when it sends the first byte.  Until then, that of the last attempt is there.
        # So a change means that the request may have reached the service.
        before = request.response
        try:
            # `seconds` is also limited by the call's budget, whatever the policy allows for each attempt.
            async with TimeLimit(seconds):
                response = await handler(request)
                self._connections.answers.add(response)
                call.headers, call.answered_at = response.headers, call.clock.monotonic()
                if response.status not in self._stream:
                    self._take(await self._read(response))
                return response
        except TimeoutError as error:
            failure = self._refused_so_far(response) or self._timed_out(
                error, seconds, sent=request.response is not before
            )
        except (aiohttp.ClientError, CodingError, OSError) as error:
            failure = self._failed(error, sent=request.response is not before)
        except RuntimeError as error:
            if request.response is not before or "thread" not in str(error):
                raise
            # The system is out of threads, and aiohttp needs one to resolve a host name.
            failure = self._failed(error, sent=False)
        except BaseException as error:
            if not self._was_cut_off(error):
                if response is not None:
                    response.close()
                raise
            failure = TransportError(
                f"{call.method} {call.path}: the client was closed", sent=request.response is not before
            )
        finally:
            self._tell(response, call.clock.monotonic() - started)
        if response is not None:
            response.close()
        # Raised outside the `except` block: aiohttp's exception, whose repr may include the headers, must not be its
        # context.
        raise failure

    async def _read(self, response: ClientResponse) -> Answer:
        good = 200 <= response.status < 300
        most = MAX_JSON_BYTES if good else MAX_ERROR_BYTES
        try:
            body = await _read_bounded(response, most)
            if (coding := content_coding(response.headers)) is not None:
                body = decoded(body, coding, most)
        except (aiohttp.ClientPayloadError, CodingError):
            if good:
                raise
            # The status is known, and says more than the broken body.
            body = b""
        call, redacted = self._call, self._secret.redact(body)
        return Answer(call.method, call.path, response.status, response.headers, redacted)

    def _take(self, answer: Answer) -> None:
        now = self._call.clock.now()
        if self._stream:
            # The caller expected a stream, and this is not one of its statuses, even if it is a good one.
            raise api_error(answer, now)
        if len(answer.body) > MAX_JSON_BYTES:
            raise ResponseDecodeError(
                f"{answer.method} {answer.path}: the response is larger than {MAX_JSON_BYTES} bytes"
            )
        self._call.envelope = read_envelope(answer, now)

    def _refused_so_far(self, response: ClientResponse | None) -> APIError | None:
        """Return the error of a response whose body did not arrive in time; None if its status is no refusal."""
        if response is None or 200 <= response.status < 300:
            return None
        answer = Answer(self._call.method, self._call.path, response.status, response.headers, b"")
        return api_error(answer, self._call.clock.now())

    def _was_cut_off(self, error: BaseException) -> bool:
        """Tell whether a cancellation comes from the closed connections instead of from outside.

        aiohttp then cancels the lookups of host names, and so whatever waits for one.
        """
        task = asyncio.current_task()
        is_cancelled = task is not None and task.cancelling() > 0
        return isinstance(error, asyncio.CancelledError) and self._connections.closed and not is_cancelled

    def _failed(self, error: Exception, *, sent: bool) -> TransportError:
        call = self._call
        return transport_error(error, call.method, call.path, self._secret, sent=sent)

    def _timed_out(self, error: TimeoutError, seconds: float, *, sent: bool) -> TransportError:
        if isinstance(error, aiohttp.ClientError):
            return self._failed(error, sent=sent)
        call, what = self._call, "no response" if sent else "not sent: no connection"
        return TransportTimeoutError(f"{call.method} {call.path}: {what} within {seconds:.3g} s", sent=sent)

    def _tell(self, response: ClientResponse | None, seconds: float) -> None:
        call = self._call
        status = None if response is None else response.status
        ray_id = None if response is None else response.headers.get("cf-ray")
        level = logging.INFO if call.method == "POST" else logging.DEBUG
        logger.log(
            level,
            "%s %s: %s, attempt %d, %.3f s, waited %.1f s, cf-ray %s",
            call.method,
            call.path,
            status or "no response",
            call.attempt,
            seconds,
            call.waited,
            None if ray_id is None else one_line(ray_id, 64),
        )
        call.emit(RequestFinished(call.method, call.path, call.attempt, status, seconds, ray_id))


async def _read_bounded(response: ClientResponse, most: int) -> bytes:
    """Return the body, or a little more than its first `most` bytes; either way the connection is no longer used."""
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > most:
            response.close()
            break
    return b"".join(pieces)


def transport_error(error: Exception, method: str, path: str, secret: Secret, *, sent: bool) -> TransportError:
    """Return the typed error for an exception of aiohttp or the operating system.

    The exception may quote what was received instead of a response, which may quote the token.
    """
    kind = TransportTimeoutError if isinstance(error, TimeoutError) else TransportError
    # Redacted before the text is cut, or half of a secret might remain.
    said = one_line(without_secrets(secret.redact_text(failure_text(error))))
    return kind(message=f"{method} {path}: {said}", sent=sent, permanent=isinstance(error, _PERMANENT))
