"""Finds the campaign that a command refers to, and its journal."""

import os
import sys
import warnings
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from dexcmd.campaign.campaign import Campaign, client_for
from dexcmd.campaign.file import ACCOUNT_VARIABLE, read_campaign_file
from dexcmd.campaign.spec import AccountSpec, CampaignSpec
from dexcmd.cli.campaign.place import journal_path, named_journal
from dexcmd.cli.common import Common
from dexcmd.cli.stderr import warn
from dexcmd.cli.texts import options_text
from dexcmd.client import DexClient
from dexcmd.errors import CampaignBusyError, CampaignNotFoundError, ConfigurationError, DexWarning

__all__ = ["check_new", "existing", "file_or_name", "journal_of", "opened", "read_file", "told_before"]

ENDING = ".toml"


def journal_of(option: Path | None) -> Path:
    """Return the path of the journal.

    Raises `ConfigurationError`, also if the named journal's folder doesn't exist: a new journal in a new folder would
    know of no campaign, and the quota would be spent again.
    """
    named = named_journal(option, os.environ)
    if named is not None and not named.parent.is_dir():
        raise ConfigurationError(
            f"there is no folder {named.parent} for the journal {named.name}: create it, or name another journal"
        )
    return journal_path(option, os.environ, sys.platform)


def existing(journal: Path) -> Path | None:
    """Return the journal if it exists; None if it would have to be created."""
    return journal if journal.exists() else None


def check_new(journal: Path) -> None:
    """Raise `ConfigurationError` if a journal can't be created; the check leaves nothing behind."""
    folder = next(folder for folder in journal.absolute().parents if folder.exists())
    try:
        # Permissions alone don't show it: a file system may be read-only, full, or unable to hold files.
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"can't create a journal at {journal}: {folder}: {error.strerror}; name another with --journal"
        ) from error


def read_file(common: Common, file: Path) -> CampaignSpec:
    """Return the spec in a campaign file.

    `--account` applies to a file that names no account.  Raises `ConfigurationError`.
    """
    environment = dict(os.environ) if common.account is None else {**os.environ, ACCOUNT_VARIABLE: common.account}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DexWarning)
        spec = read_campaign_file(file, environment)
    for warning in caught:
        warn(str(warning.message))
    return spec


def file_or_name(common: Common, what: str) -> CampaignSpec | str:
    """Return the spec in the file; or the name, if it is neither a file nor looks like the path of one.

    Raises `ConfigurationError`.
    """
    file = Path(what)
    if what.endswith(ENDING) or file.name != what or file.is_file():
        return read_file(common, file)
    return what


@contextmanager
def told_before() -> Generator[None]:
    """Suppress warnings about a campaign in the journal: they were shown when its file was read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DexWarning)
        yield


@asynccontextmanager
async def opened(
    campaign: CampaignSpec | str, option: Path | None, client: Callable[[AccountSpec], DexClient] = client_for
) -> AsyncGenerator[Campaign]:
    """Open a campaign in the journal that the option names, which is created if missing, unless only a name is given.

    Raises `CampaignError`, and `CampaignNotFoundError` if the journal has no campaign of that name.  That one and
    `CampaignBusyError`, also if raised in the block, get a note on how to find out more.
    """
    journal = journal_of(option)
    if isinstance(campaign, str) and existing(journal) is None:
        raise CampaignNotFoundError(f"there is no campaign {campaign!r}: there is no journal at {journal}")
    try:
        with told_before():
            async with Campaign(campaign, journal=journal, client=client) as found:
                yield found
    except CampaignNotFoundError as error:
        error.add_note(f"`dexcmd campaign list{_again(option)}` shows what there is in {journal}")
        raise
    except CampaignBusyError as error:
        name = campaign if isinstance(campaign, str) else campaign.name
        error.add_note(f"`dexcmd campaign status {name}{_again(option)}` shows how far it is")
        raise


def _again(option: Path | None) -> str:
    return options_text({"--journal": option})
