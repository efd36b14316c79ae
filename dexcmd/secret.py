"""The API token, wrapped so that it can't be shown by accident."""

import hashlib
import string

from dexcmd.errors import ConfigurationError

__all__ = ["Secret"]

_ALLOWED = frozenset(string.ascii_letters + string.digits + string.punctuation)


class Secret:
    """A token.  Only `reveal`, for the one place that sets the header, returns it; it never appears in output."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not isinstance(value, str) or not value or not _ALLOWED.issuperset(value):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                "api_token must be ASCII without spaces and line breaks: is there a newline at its end?"
            )
        self._value = value

    def reveal(self) -> str:
        """Return the token."""
        return self._value

    def digest(self) -> str:
        """Return a hash that distinguishes tokens without containing one."""
        return hashlib.sha256(self._value.encode()).hexdigest()

    def redact(self, body: bytes) -> bytes:
        """Return `body` with the token redacted, in case the service quotes what it was sent."""
        return body.replace(self._value.encode(), b"[api token]")

    def redact_text(self, text: str) -> str:
        """Return `text` with the token redacted."""
        return text.replace(self._value, "[api token]")

    def __repr__(self) -> str:
        """Return a text without the token."""
        return "Secret(...)"

    def __reduce__(self) -> str | tuple[object, ...]:
        """Refuse to be pickled: a pickle would contain the token in plain text."""
        raise TypeError("an API token can't be pickled or copied")
