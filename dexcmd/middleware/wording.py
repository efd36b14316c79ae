"""Messages for requests without a response, since aiohttp's own require knowing aiohttp."""

import os
import ssl

import aiohttp
from aiohttp.client_exceptions import UnixClientConnectorError

from dexcmd.wire.coding import CodingError

__all__ = ["failure_text"]


def failure_text(error: Exception) -> str:
    """Return why there is no response; it may quote what was received instead, over several lines."""
    match error:
        case aiohttp.ClientConnectorError():
            return _unconnected(error)
        case aiohttp.ClientHttpProxyError():
            return f"the proxy refused: {error.status} {error.message}"
        case aiohttp.InvalidURL():
            # The invalid URL may be the proxy of an injected session, containing its password.
            return "there is no such URL"
        case aiohttp.ServerFingerprintMismatch():
            return f"the certificate of {error.host}:{error.port} has another fingerprint"
        case aiohttp.ServerDisconnectedError():
            return "the connection was closed before a response came"
        case CodingError():
            return str(error)
        case aiohttp.ClientPayloadError():
            return "the connection was closed before the body had ended"
        case aiohttp.ClientResponseError():
            return f"what came is not HTTP: {error.message}"
        case aiohttp.ConnectionTimeoutError():
            return "no connection in time"
        case aiohttp.ClientOSError() | ConnectionError() | ssl.SSLError():
            why = _reason(error)
            return f"the connection was lost{': ' if why else ''}{why}"
        case _:
            said = str(error)
            return f"{type(error).__name__}{': ' if said else ''}{said}"


def _unconnected(error: aiohttp.ClientConnectorError) -> str:
    place = f"{error.host}:{error.port}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        # Before aiohttp 3.14 it has no os_error.
        why = getattr(error.certificate_error, "verify_message", None) or error.certificate_error
        return f"the certificate of {place} can't be trusted: {why}"
    cause = error.os_error
    match error:
        case aiohttp.ClientConnectorSSLError():
            return f"no TLS connection with {place}: {getattr(cause, 'reason', None) or cause}"
        case aiohttp.ClientConnectorDNSError():
            return f"the name {error.host} can't be resolved: {cause.strerror or cause}"
        case UnixClientConnectorError():
            place = error.path
        case aiohttp.ClientProxyConnectionError():
            place = f"the proxy {place}"
        case _:
            pass
    return f"can't connect to {place}: {_reason(cause) or str(cause) or 'the connection was closed'}"


def _reason(error: OSError) -> str:
    """Return the meaning of an error number; empty if there is none."""
    # TLS has its own error numbers, which aiohttp takes for the system's.
    tls = error if isinstance(error, ssl.SSLError) else error.__cause__
    if isinstance(tls, ssl.SSLError):
        return tls.reason or str(tls)
    return os.strerror(error.errno) if error.errno else ""
