"""What every command is told besides its own options."""

from pathlib import Path
from typing import Annotated

import attrs
from cyclopts import Parameter

__all__ = ["STDIN", "Common", "WithCommon"]

STDIN = "<stdin>"
"""What stands for a `-` among the arguments, which the parser would take for an option."""


@attrs.frozen(kw_only=True)
class Common:
    """The global options, which stand before or after the command."""

    json: bool = False
    """Whether the answer is JSON."""

    account: str | None = None
    """The account id; None for that of the environment."""

    base_url: str | None = None
    token_file: Path | None = None
    verbose: int = 0
    """1 tells of what is waited for and tried again, 2 of each request."""


WithCommon = Annotated[Common, Parameter(parse=False)]
"""A parameter that `dexcmd.cli.app` fills in."""
