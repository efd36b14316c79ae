"""Validation of the queries of lists."""

import re
from collections.abc import Mapping
from datetime import datetime

import attrs

from dexcmd.sandbox.envelope import Code, ServiceError
from dexcmd.sandbox.state import CommandFilter

__all__ = ["COMMAND_TYPES", "STATUSES", "Paging", "parse_command_query", "parse_device_query"]

COMMAND_TYPES = ("pcap", "speed-test", "warp-diag")
STATUSES = ("PENDING_EXEC", "PENDING_UPLOAD", "SUCCESS", "FAILED")
_MAX_PER_PAGE = 50
# Both documented forms of a time; a zone is always needed.
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d(:?\d\d)?)")
_NUMBER = re.compile(r"[0-9]{1,9}")


@attrs.frozen
class Paging:
    """Which page a list query asks for."""

    page: int
    per_page: int


class _Query:
    """Reads values from a query and collects the errors in them."""

    def __init__(self, query: Mapping[str, str]) -> None:
        self._query = query
        self.errors: list[ServiceError] = []

    def refuse(self, message: str) -> None:
        self.errors.append(ServiceError(Code.INVALID_QUERY, message))

    def number(self, name: str, most: int | None = None) -> int:
        text = self._query.get(name)
        if text is None:
            self.refuse(f"{name}: required")
        elif not _NUMBER.fullmatch(text) or int(text) < 1:
            self.refuse(f"{name}: must be an integer of at least 1")
        elif most is not None and int(text) > most:
            self.refuse(f"{name}: must be at most {most}")
        else:
            return int(text)
        return 1

    def choice(self, name: str, choices: tuple[str, ...]) -> str | None:
        text = self._query.get(name)
        if text is not None and text not in choices:
            self.refuse(f"{name}: must be one of {', '.join(choices)}")
        return text

    def time(self, name: str) -> datetime | None:
        text = self._query.get(name)
        if text is None:
            return None
        if _TIME.fullmatch(text):
            try:
                return datetime.fromisoformat(text.upper())
            except ValueError:
                pass  # The 30th of February, for one: refused like any other non-time.
        self.refuse(f"{name}: must be an RFC 3339 date and time with a zone")
        return None

    def paging(self) -> Paging:
        return Paging(self.number("page"), self.number("per_page", _MAX_PER_PAGE))


def parse_command_query(query: Mapping[str, str]) -> tuple[Paging, CommandFilter] | list[ServiceError]:
    """Return the page and filters that a query of the command list asks for, or its errors."""
    reader = _Query(query)
    paging = reader.paging()
    wanted = CommandFilter(
        command_type=reader.choice("command_type", COMMAND_TYPES),
        device_id=query.get("device_id"),
        since=reader.time("from"),
        until=reader.time("to"),
        status=reader.choice("status", STATUSES),
        user_email=query.get("user_email"),
    )
    if wanted.since is not None and wanted.until is not None and wanted.since > wanted.until:
        reader.refuse("from: must not be later than to")
    return reader.errors or (paging, wanted)


def parse_device_query(query: Mapping[str, str]) -> tuple[Paging, str | None] | list[ServiceError]:
    """Return the page and search text that a query of the device list asks for, or its errors."""
    reader = _Query(query)
    paging = reader.paging()
    return reader.errors or (paging, query.get("search"))
