"""The options that every command takes besides its own."""

from pathlib import Path
from typing import Annotated

import attrs
from cyclopts import Parameter

__all__ = ["STDIN", "Common", "WithCommon"]

STDIN = "<stdin>"
"""Placeholder for a `-` among the arguments, which the parser would take for an option."""


@attrs.frozen(kw_only=True)
class Common:
    """The global options, given before or after the command."""

    json: bool = False
    """Whether to write JSON."""

    account: str | None = None
    """The account id; None to take it from the environment."""

    base_url: str | None = None
    token_file: Path | None = None
    verbose: int = 0
    """1 logs waits and retries, 2 every request."""


WithCommon = Annotated[Common, Parameter(parse=False)]
"""A parameter that `dexcmd.cli.app` fills in."""
