"""URLs and paths: which URLs are allowed, and how ids and names are put into a path."""

import ipaddress
import re
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

import attrs
from yarl import URL

from dexcmd.errors import ConfigurationError, UnsafeFilenameError

__all__ = ["DEFAULT_BASE_URL", "BaseURL", "artifact_name", "is_loopback", "segment", "valid_account_id"]

DEFAULT_BASE_URL = "https://api.cloudflare.com/client/v4"

_ACCOUNT_ID = re.compile(r"[0-9a-fA-F]{32}")


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Tell whether `host` is this machine: `localhost`, 127.0.0.0/8 or ::1."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@attrs.frozen
class BaseURL:
    """A checked base URL.  `parse` makes one."""

    text: str

    @classmethod
    def parse(cls, text: str) -> "BaseURL":
        """Check `text` and strip trailing slashes.

        Raises `ConfigurationError` if it is not an absolute http(s) URL, has a query, a fragment or credentials, or
        would send the token unencrypted: plain http is for loopback only.
        """
        # The errors don't quote the text, which may contain credentials.
        if not isinstance(text, str) or not text.isprintable() or " " in text:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError("base_url must be a string without spaces and control characters")
        try:
            parts = urlsplit(text)
            host, _ = parts.hostname or "", parts.port
            host.encode("idna")
        except ValueError:
            # Python's own message quotes it: for "https://user:secret/x@host", half of the password as the port.
            raise ConfigurationError("base_url is not a URL: its host or port can't be read") from None
        if parts.scheme not in ("http", "https") or not host:
            raise ConfigurationError("base_url must be an absolute http(s) URL")
        if parts.username is not None or parts.password is not None:
            raise ConfigurationError("base_url must not contain credentials")
        if "?" in text or "#" in text:
            raise ConfigurationError("base_url must have no query and no fragment")
        if parts.scheme == "http" and not is_loopback(host):
            raise ConfigurationError(f"base_url is plain http to {host}: the token would be sent unencrypted")
        return cls(text.rstrip("/"))

    @property
    def origin(self) -> URL:
        """Scheme, host and port: the only origin that the token may be sent to."""
        return URL(self.text, encoded=True).origin()

    def url(self, path: str, query: str = "") -> URL:
        """Return the URL for a path and a query, both already percent-encoded."""
        return URL(f"{self.text}{path}?{query}" if query else f"{self.text}{path}", encoded=True)


def valid_account_id(text: str) -> str:
    """Return the account id; raises `ConfigurationError` unless it is 32 hex digits."""
    if not isinstance(text, str) or not _ACCOUNT_ID.fullmatch(text):  # pyright: ignore[reportUnnecessaryIsInstance]
        # Without the value: it may be the token, if the two were mixed up.
        raise ConfigurationError("account_id must be 32 hex digits")
    return text


def segment(name: str, value: str) -> str:
    """Return `value` percent-encoded as one path segment.

    Raises `ConfigurationError`, naming the argument `name`, for a value that can't be one, such as "", `.` or `..`.
    """
    if not isinstance(value, str) or value in ("", ".", ".."):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"{name} can't be {value!r}")
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise ConfigurationError(f"{name} can't be {value!r}") from None


def artifact_name(filename: str) -> str:
    """Return the bare name from a command's `filename`, which has been seen both as a name and as an absolute URL.

    Only the last path segment of a URL is ever used.  Raises `UnsafeFilenameError` if nothing usable is left.
    """
    is_url = "://" in filename or filename.startswith("/")
    try:
        name = unquote(urlsplit(filename).path.rpartition("/")[2]) if is_url else filename
    except ValueError:
        name = ""
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise UnsafeFilenameError(f"the service sent an unusable artifact name: {filename[:200]!r}")
    return name
