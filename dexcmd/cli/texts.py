"""Parses sizes, and formats commands and options.  Pure."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import cast

__all__ = ["LONGEST_LINE", "TOKEN_VARIABLE", "command_text", "options_text", "parse_size", "token_text"]

LONGEST_LINE = 1000
"""Maximum number of characters in a message: the service's texts have no limit."""

TOKEN_VARIABLE = "CLOUDFLARE_API_TOKEN"  # noqa: S105 - where it is, not what

_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "ki": 2.0**10, "mi": 2.0**20, "gi": 2.0**30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]i?)?b?", re.IGNORECASE)


def parse_size(text: str) -> float:
    """Return a size above 0 in bytes, given as `500000`, `500k`, `2.5MB` or `1GiB`.  Raises `ValueError`."""
    written = _SIZE.fullmatch(text.strip())
    size = 0.0 if written is None else float(written[1]) * _UNITS[(written[2] or "").lower()]
    if not size > 0:
        raise ValueError(f"{text!r} is not a size; write 500k, 2.5M or 1G")
    return size


def command_text(command_type: str, args: Mapping[str, object]) -> str:
    """Return a command with its args, as in `pcap (time-limit-min 2)`."""
    told = ", ".join(f"{name} {_arg_text(value)}" for name, value in args.items())
    return f"{command_type} ({told})" if told else command_type


def _arg_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return " and ".join(cast("Sequence[str]", value))
    return str(value)


def options_text(options: Mapping[str, object]) -> str:
    """Return options for a shell, each preceded by a blank; those that are None are omitted."""
    return "".join(f" {name} {shlex.quote(str(value))}" for name, value in options.items() if value is not None)


def token_text(variable: str) -> str:
    """Return the possible sources of a token, given its variable; `--token-file` applies to only one variable."""
    return f"{variable} or {'--token-file' if variable == TOKEN_VARIABLE else f'{variable}_FILE'}"
