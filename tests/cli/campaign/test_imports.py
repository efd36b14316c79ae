"""The command line does with campaigns what everybody can do: it is made of public names."""

import ast
from collections.abc import Iterator
from pathlib import Path

from dexcmd.cli import campaign
from tests.packaging.public_api import read

FOLDER = Path(campaign.__file__).parent

WORDS = "a choice of words for people, which may be others in any version"

EXCEPTIONS = {
    "dexcmd.amounts.counted": WORDS,
    "dexcmd.amounts.size_text": WORDS,
    "dexcmd.campaign.campaign.client_for": "what `Campaign` uses anyway, where its argument is left out",
    "dexcmd.campaign.file.ACCOUNT_VARIABLE": "a variable of the environment, for which `--account` stands in",
    "dexcmd.campaign.report.report_account": WORDS,
    "dexcmd.campaign.report.report_lines": WORDS,
    "dexcmd.campaign.report.report_row": WORDS,
    "dexcmd.campaign.report.report_time": WORDS,
    "dexcmd.safe_text.one_line": WORDS,
}
"""What it uses that is not public, and why it need not be."""


def imported(file: Path) -> Iterator[str]:
    """Yield what a module imports of dexcmd, apart from the command line itself; at its top or within a function."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, file
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("dexcmd.") and not name.startswith("dexcmd.cli."):
                yield name


def test_it_uses_public_names_but_for_a_few():
    public = {f"{module}.{name}" for module, name in read().homes()}
    used = {name for file in FOLDER.rglob("*.py") for name in imported(file)}
    assert "dexcmd.campaign.campaign.Campaign" in used & public
    assert used - public == EXCEPTIONS.keys()
