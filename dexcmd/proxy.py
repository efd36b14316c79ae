"""The proxy from the environment or a session, with its password kept apart from its address."""

import base64
import urllib.request

import aiohttp
import attrs
from yarl import URL

from dexcmd.errors import ConfigurationError
from dexcmd.wire.paths import is_loopback

__all__ = ["Proxy", "proxy_for", "proxy_of"]


@attrs.frozen
class Proxy:
    """A proxy for requests."""

    url: URL
    """Without credentials, as aiohttp's errors quote it."""

    headers: dict[str, str] = attrs.field(repr=False)


def proxy_for(scheme: str, host: str) -> Proxy | None:
    """Return the proxy for a host according to the environment (`HTTPS_PROXY`, `NO_PROXY` and the like).

    Raises `ConfigurationError` if it is not a valid proxy.
    """
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    text = urllib.request.getproxies().get(scheme)
    if not text:
        return None
    try:
        # The default scheme is http, as for curl.
        url = URL(text if "://" in text else f"http://{text}")
        usable = url.scheme in ("http", "https") and bool(url.host and url.host.encode("idna"))
    except ValueError:
        url, usable = URL(), False
    if not usable:
        # Without the text itself, which may contain a password.
        raise ConfigurationError(
            f"{scheme.upper()}_PROXY is not a usable http(s) proxy: its scheme, host or port can't be used"
        )
    return Proxy(url.with_user(None), _credentials(url))


def proxy_of(session: aiohttp.ClientSession) -> Proxy | None:
    """Return the proxy that a session was given.  It has been used already, so it is valid."""
    # aiohttp has no public names for these.
    named, auth = (getattr(session, f"_default_{name}", None) for name in ("proxy", "proxy_auth"))
    if named is None:
        return None
    url = URL(named)
    return Proxy(url.with_user(None), _credentials(url) if auth is None else {"Proxy-Authorization": auth.encode()})


def _credentials(url: URL) -> dict[str, str]:
    if url.user is None and url.password is None:
        return {}
    both = f"{url.user or ''}:{url.password or ''}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(both.encode()).decode()}"}
