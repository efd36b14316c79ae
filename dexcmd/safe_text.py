"""Making foreign text safe for one line of an error message or a log.  Pure."""

import re

__all__ = ["brief_repr", "one_line", "repr_text", "safe_url", "without_secrets"]

EXCERPT_LENGTH = 200

_NOT_PRINTABLE = re.compile(
    # Whitespace and control characters; zero-width and bidi ones, which change what a reader sees; lone surrogates,
    # which no log can encode.
    "[\x00-\x20\x7f-\xa0\u061c\u2028\u2029\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+"
)
_MAX_READ = 65536

_QUERY = re.compile(r"(https?://[^\s?\"'<>()]*)\?[^\s\"'<>()]*")

_USER = re.compile(r"(//)[^\s/@\"'<>()]*@")


def repr_text(value: object) -> str:
    """Return the `repr` of a value, or a description of an integer with more digits than Python converts."""
    try:
        return repr(value)
    except ValueError:
        return "a number with thousands of digits"


def brief_repr(value: object) -> str:
    """Return the `repr` of a value, or its type if that would fill lines, as that of a row or an outcome does."""
    text = repr_text(value)
    return text if len(text) <= 80 else type(value).__name__


def one_line(text: str, length: int = EXCERPT_LENGTH) -> str:
    """Return `text` with each run of whitespace, control and bidi characters as one space, cut to `length`."""
    line = _NOT_PRINTABLE.sub(" ", text[:_MAX_READ]).strip()
    return line if len(line) <= length else line[: length - 1] + "…"


def without_secrets(text: str) -> str:
    """Return `text` with possible credentials removed from the URLs in it: queries, users and passwords."""
    return _USER.sub(r"\1", _QUERY.sub(r"\1", text))


def safe_url(location: str) -> str:
    """Return the parts of a (perhaps relative or malformed) URL that are safe to show."""
    return without_secrets(location.partition("?")[0].partition("#")[0])
