"""`dexcmd completion`: what makes a shell complete."""

import re
from typing import Annotated, Literal

from cyclopts import Parameter

from dexcmd.cli.exits import OK

__all__ = ["completion"]

Shell = Literal["bash", "zsh", "fish"]


def completion(shell: Annotated[Shell, Parameter(name="shell", help="Which shell.")], /) -> int:
    """Print a script that makes a shell complete commands and options.

    For example:
      eval "$(dexcmd completion bash)"    # in ~/.bashrc
      eval "$(dexcmd completion zsh)"     # in ~/.zshrc, after compinit
      dexcmd completion fish | source     # in ~/.config/fish/config.fish
    """
    from dexcmd.cli.app import app
    from dexcmd.cli.rows import write

    script = app.generate_completion(prog_name="dexcmd", shell=shell)
    write(script + _registration(script) if shell == "zsh" else script)
    return OK


def _registration(script: str) -> str:
    """Return what is missing from a script for zsh, which is made to be found in a folder and not to be run."""
    return "".join(f"\ncompdef {name} dexcmd\n" for name in re.findall(r"^(\w+)\(\) \{$", script, re.MULTILINE)[:1])
