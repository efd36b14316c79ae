"""Types of option values, which are validated before anything is done."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, Token

from dexcmd.campaign.durations import format_duration
from dexcmd.cli.moments import parse_moment, parse_typed_duration
from dexcmd.cli.texts import parse_size

__all__ = ["CommandType", "Duration", "Moment", "Place", "Platform", "Search", "Size", "Text", "User"]

CommandType = Literal["pcap", "speed-test", "warp-diag"]


def _reads(parse: Callable[[str], object]) -> Callable[[Any, Sequence[Token]], object]:
    def convert(_: Any, tokens: Sequence[Token]) -> object:
        return parse(tokens[0].value)

    return convert


def _filled(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty; is a variable not set?")
    return text


Text = Annotated[str | None, Parameter(converter=_reads(_filled))]
"""A non-empty text: an empty one would select everything, or nothing, or look like an omitted option."""

Place = Annotated[Path, Parameter(converter=_reads(lambda text: Path(_filled(text))))]
"""A file or folder: an empty text would mean the current folder."""

Search = Annotated[Text, Parameter(help="Search names and emails for this text.")]
User = Annotated[Text, Parameter(help="Filter by the user's email address.")]
Platform = Annotated[Text, Parameter(help="Filter by platform, such as windows, mac or linux.")]

Moment = Annotated[datetime, Parameter(converter=_reads(lambda text: parse_moment(text, datetime.now(UTC))))]
"""A time, or an age."""

Duration = Annotated[timedelta, Parameter(converter=_reads(parse_typed_duration), show_default=format_duration)]
Size = Annotated[float, Parameter(converter=_reads(parse_size))]
"""Bytes."""
