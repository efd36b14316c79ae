"""How to continue with what a capture left behind.  Pure."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from dexcmd.cli.capture.rows import Row
from dexcmd.cli.common import Common
from dexcmd.cli.documents import time_document
from dexcmd.cli.texts import options_text

__all__ = ["advice"]

MARGIN = timedelta(seconds=1)

MAX_NAMED = 5
"""Maximum number of ids in a suggested command line."""


def advice(rows: Sequence[Row], common: Common, into: Path, since: datetime) -> Iterator[str]:
    """Yield lines that say how to get the artifacts that these rows lack; `since` is before the first POST."""
    dexcmd = _dexcmd(common)
    if unknown := sum(row.state == "unknown" for row in rows):
        listed = _list(rows, {"--since": time_document(since)})
        yield f"{unknown} may have been created; before trying again, check: {dexcmd} {listed}"
    left = [row for row in rows if row.goes_on]
    ids = [row.command_id for row in left if row.command_id is not None]
    if not ids:
        return
    rest = f"| {dexcmd} download - --into {shlex.quote(str(into))}"
    if len(ids) <= MAX_NAMED:
        yield f"to continue: {dexcmd} follow --json {' '.join(ids)} {rest}"
    else:
        # Commands that may have been created in addition can be of any time since then.
        bounds = {} if unknown else _bounds(left)
        listed = _list(rows, bounds or {"--since": time_document(since)})
        yield f"to continue with {len(ids)} commands, and whatever else was created: {dexcmd} {listed} --json" + (
            f" | {dexcmd} follow --json - {rest}"
        )


def _list(rows: Sequence[Row], bounds: Mapping[str, object]) -> str:
    return f"commands --type {rows[0].type}{options_text(bounds)}"


def _bounds(rows: Sequence[Row]) -> dict[str, object]:
    """Return the times between which all of these were created, with a second's margin; empty if unknown."""
    created = [row.created for row in rows if row.created is not None]
    if len(created) < len(rows):
        return {}
    since, until = min(created) - MARGIN, max(created) + 2 * MARGIN
    return {name: time_document(time.replace(microsecond=0)) for name, time in (("--since", since), ("--until", until))}


def _dexcmd(common: Common) -> str:
    options = {"--account": common.account, "--base-url": common.base_url, "--token-file": common.token_file}
    return f"dexcmd{options_text(options)}"
