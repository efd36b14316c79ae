"""`dexcmd completion`: what makes a shell complete."""

from typing import Annotated, Literal

from cyclopts import Parameter

from dexcmd.cli.exits import OK

__all__ = ["completion"]

Shell = Literal["bash", "zsh", "fish"]


def completion(shell: Annotated[Shell, Parameter(name="shell", help="Which shell.")], /) -> int:
    """Print a script that makes a shell complete commands and options.

    For example:
      eval "$(dexcmd completion bash)"       # a line for ~/.bashrc
      source <(dexcmd completion zsh)        # for ~/.zshrc, after compinit
      dexcmd completion fish | source        # for ~/.config/fish/config.fish
    """
    from dexcmd.cli.app import app
    from dexcmd.cli.rows import write

    write(app.generate_completion(prog_name="dexcmd", shell=shell))
    return OK
