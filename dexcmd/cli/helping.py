"""Hides global options from the help and completion of commands for which they have no meaning."""

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions

__all__ = ["HelpWithout"]


@attrs.frozen
class HelpWithout:
    """Formats the help of a command as usual, without the options in `names`."""

    names: tuple[str, ...]

    def __call__(self, console: "Console", options: "ConsoleOptions", panel: "HelpPanel") -> None:
        """Show a panel."""
        from cyclopts.help import DefaultFormatter

        entries = [entry for entry in panel.entries if not set(self.names).intersection(entry.positive_names)]
        DefaultFormatter()(console, options, attrs.evolve(panel, entries=entries))

    def render_usage(self, console: "Console", options: "ConsoleOptions", usage: Any) -> None:
        """Show the usage line."""
        from cyclopts.help import DefaultFormatter

        DefaultFormatter().render_usage(console, options, usage)
