"""Locates the journal, and the options with which another command finds it.  Pure."""

from collections.abc import Callable, Mapping
from pathlib import Path

from dexcmd.cli.common import Common
from dexcmd.cli.texts import options_text
from dexcmd.errors import ConfigurationError

__all__ = ["VARIABLE", "journal_path", "named_journal", "same_options"]

VARIABLE = "DEXCMD_JOURNAL"

FILE = Path("dexcmd", "journal.db")


def named_journal(option: Path | None, environment: Mapping[str, str]) -> Path | None:
    """Return the journal named explicitly, by the option or by `DEXCMD_JOURNAL`."""
    if option is not None:
        return option
    return Path(named) if (named := environment.get(VARIABLE)) else None


def journal_path(
    option: Path | None, environment: Mapping[str, str], system: str, home: Callable[[], Path] = Path.home
) -> Path:
    """Return the path of the journal: from the option, `DEXCMD_JOURNAL`, or the system's place for a user's state.

    `system` is `sys.platform`.  Raises `ConfigurationError` if there is no home folder.
    """
    if (named := named_journal(option, environment)) is not None:
        return named
    try:
        return _state_folder(environment, system, home) / FILE
    except RuntimeError:
        raise ConfigurationError(f"no home folder for the journal: set {VARIABLE} or pass --journal") from None


def _state_folder(environment: Mapping[str, str], system: str, home: Callable[[], Path]) -> Path:
    if system == "win32":
        return Path(environment.get("LOCALAPPDATA") or home() / "AppData" / "Local")
    if system == "darwin":
        return home() / "Library" / "Application Support"
    # The XDG specification says to ignore paths that are not absolute.
    named = environment.get("XDG_STATE_HOME", "")
    return Path(named) if named.startswith("/") else home() / ".local" / "state"


def same_options(common: Common, journal: Path | None) -> str:
    """Return the options with which another command finds the same campaign and service, each preceded by a blank."""
    return options_text({"--journal": journal, "--base-url": common.base_url, "--token-file": common.token_file})
