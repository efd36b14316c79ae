"""The proxy that the environment names, or a session, with its password apart from its address."""

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
    """A proxy to send through."""

    url: URL
    """Without a user: errors of aiohttp quote it."""

    headers: dict[str, str] = attrs.field(repr=False)


def proxy_for(scheme: str, host: str) -> Proxy | None:
    """Return the proxy that the environment names for a host, as `HTTPS_PROXY` and `NO_PROXY` do.

    Raises `ConfigurationError` where what it names is no proxy.
    """
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    text = urllib.request.getproxies().get(scheme)
    if not text:
        return None
    try:
        # Without a scheme it is http, as it is for curl.
        url = URL(text if "://" in text else f"http://{text}")
        usable = url.scheme in ("http", "https") and bool(url.host and url.host.encode("idna"))
    except ValueError:
        url, usable = URL(), False
    if not usable:
        # Told without the text itself: there may be a password in it.
        raise ConfigurationError(
            f"{scheme.upper()}_PROXY names no http(s) proxy: its scheme, host or port can't be used"
        )
    return Proxy(url.with_user(None), _credentials(url))


def proxy_of(session: aiohttp.ClientSession) -> Proxy | None:
    """Return the proxy that a session was given.  It has been sent through, so it is one."""
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
