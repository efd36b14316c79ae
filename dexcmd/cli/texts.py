"""Sizes as they are typed and shown.  Pure."""

import re

__all__ = ["parse_size", "size_text"]

_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "ki": 2.0**10, "mi": 2.0**20, "gi": 2.0**30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]i?)?b?", re.IGNORECASE)


def parse_size(text: str) -> float:
    """Return a number of bytes: `500000`, `500k`, `2.5MB`, `1GiB`; above 0.  Raises `ValueError`."""
    written = _SIZE.fullmatch(text.strip())
    size = 0.0 if written is None else float(written[1]) * _UNITS[(written[2] or "").lower()]
    if not size > 0:
        raise ValueError(f"{text!r} is no size; write 500k, 2.5M or 1G")
    return size


def size_text(size: float) -> str:
    """Return a number of bytes for people."""
    for power, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= power:
            return f"{size / power:.1f} {unit}"
    return f"{size:.0f} bytes"
