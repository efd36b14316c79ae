"""Where the journal is."""

from pathlib import Path

import pytest

from dexcmd.cli.campaign.place import journal_path, same_options
from dexcmd.cli.common import Common
from dexcmd.errors import ConfigurationError

HOME = Path("/home/ada")


@pytest.mark.parametrize(
    ("option", "environment", "system", "expected"),
    [
        (Path("j.db"), {"DEXCMD_JOURNAL": "other.db"}, "linux", "j.db"),
        (None, {"DEXCMD_JOURNAL": "other.db"}, "linux", "other.db"),
        (None, {"DEXCMD_JOURNAL": ""}, "linux", "/home/ada/.local/state/dexcmd/journal.db"),
        (None, {"XDG_STATE_HOME": "/state"}, "linux", "/state/dexcmd/journal.db"),
        (None, {"XDG_STATE_HOME": "state"}, "linux", "/home/ada/.local/state/dexcmd/journal.db"),
        (None, {}, "darwin", "/home/ada/Library/Application Support/dexcmd/journal.db"),
        (None, {}, "win32", "/home/ada/AppData/Local/dexcmd/journal.db"),
        (None, {"LOCALAPPDATA": "/data"}, "win32", "/data/dexcmd/journal.db"),
    ],
)
def test_the_journal(option: Path | None, environment: dict[str, str], system: str, expected: str):
    assert journal_path(option, environment, system, lambda: HOME) == Path(expected)


def test_no_home_for_it():
    def fail() -> Path:
        raise RuntimeError("none")

    with pytest.raises(ConfigurationError, match="--journal"):
        journal_path(None, {}, "linux", fail)


def test_how_another_command_finds_it_again():
    assert same_options(Common(), None) == ""
    common = Common(base_url="http://127.0.0.1:1", token_file=Path("my token"))
    expected = " --journal j.db --base-url http://127.0.0.1:1 --token-file 'my token'"
    assert same_options(common, Path("j.db")) == expected
