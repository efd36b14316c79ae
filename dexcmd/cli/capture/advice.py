"""How to go on with what a capture left behind.  Pure."""

import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from dexcmd.cli.capture.rows import Row
from dexcmd.cli.common import Common
from dexcmd.cli.documents import time_document
from dexcmd.cli.texts import options_text

__all__ = ["advice"]

MOST_NAMED = 5
"""More ids than that are no command line any more."""


def advice(rows: Sequence[Row], common: Common, into: Path, since: datetime) -> Iterator[str]:
    """Yield lines that tell how to get what these rows have not got; `since` is before the first POST."""
    dexcmd = _dexcmd(common)
    listed = f"{dexcmd} commands --type {rows[0].type} --since {time_document(since)}" if rows else ""
    if unknown := sum(row.state == "unknown" for row in rows):
        yield f"{unknown} may have been created; before you try again, look at: {listed}"
    ids = [row.command_id for row in rows if row.goes_on and row.command_id is not None]
    if not ids:
        return
    rest = f"| {dexcmd} download - --into {shlex.quote(str(into))}"
    if len(ids) <= MOST_NAMED:
        yield f"to go on: {dexcmd} follow --json {' '.join(ids)} {rest}"
    else:
        yield f"to go on with {len(ids)} commands, and whatever else was created: {listed} --json" + (
            f" | {dexcmd} follow --json - {rest}"
        )


def _dexcmd(common: Common) -> str:
    options = {"--account": common.account, "--base-url": common.base_url, "--token-file": common.token_file}
    return f"dexcmd{options_text(options)}"
