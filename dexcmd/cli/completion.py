"""`dexcmd completion`: scripts for shell completion."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Literal

from cyclopts import Parameter

from dexcmd.cli.exits import OK

__all__ = ["completion", "without"]

Shell = Literal["bash", "zsh", "fish"]

_COMMAND = re.compile(r' +"?([a-z][a-z -]*)"?\)')
"""The line at which the part for a command begins in the scripts for bash and zsh."""

_IN_FISH = re.compile(r"complete .*_using_command (\S+)' -[ls] (\S+) ")
_IN_ZSH = re.compile(r" +'\*?(-[\w-]+)\[")


def completion(shell: Annotated[Shell, Parameter(name="shell", help="Shell to complete in.")], /) -> int:
    """Print a shell script that completes commands and options.

    For example:
      eval "$(dexcmd completion bash)"    # in ~/.bashrc
      eval "$(dexcmd completion zsh)"     # in ~/.zshrc, after compinit
      dexcmd completion fish | source     # in ~/.config/fish/config.fish
    """
    from dexcmd.cli.app import app
    from dexcmd.cli.helping import HelpWithout
    from dexcmd.cli.rows import write

    formatters = {name: app[name].help_formatter for name in app}
    hidden = {name: shown.names for name, shown in formatters.items() if isinstance(shown, HelpWithout)}
    script = without(hidden, app.generate_completion(prog_name="dexcmd", shell=shell))
    write(script + _registration(script) if shell == "zsh" else script)
    return OK


def without(hidden: Mapping[str, Collection[str]], script: str) -> str:
    """Return a script without the options `hidden` for each command, which its generator can't be told to leave out."""
    return "\n".join(_shown(hidden, script.split("\n")))


def _shown(hidden: Mapping[str, Collection[str]], lines: list[str]) -> Iterator[str]:
    command = ""
    for line in lines:
        if found := _COMMAND.fullmatch(line):
            command = found[1]
        if found := _IN_FISH.match(line):
            if f"{'-' * min(len(found[2]), 2)}{found[2]}" not in hidden.get(found[1], ()):
                yield line
        elif not (found := _IN_ZSH.match(line)) or found[1] not in hidden.get(command, ()):
            words = "|".join(map(re.escape, hidden.get(command, ())))
            yield re.sub(rf'(?<=[( ])"(?:{words})" ?', "", line) if words else line


def _registration(script: str) -> str:
    """Return what a zsh script lacks when it is evaluated: it is generated to be autoloaded from a folder."""
    return "".join(f"\ncompdef {name} dexcmd\n" for name in re.findall(r"^(\w+)\(\) \{$", script, re.MULTILINE)[:1])
