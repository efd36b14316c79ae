"""What users may rely on changes only where somebody decided that it does."""

import difflib
import re
import shutil
from pathlib import Path

import pytest

import dexcmd
from tests.packaging.public_api import MODULES, SNAPSHOT, public_api

ROOT = Path(__file__).parent.parent.parent
IMPORT = re.compile(r"^(?:from|import) (dexcmd[a-z_.]*)", re.MULTILINE)


def difference(before: str, after: str) -> list[str]:
    """Return the lines that went, with `-`, and those that came, with `+`."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "committed", "now", lineterm="", n=0)
    return [line for line in lines if not line.startswith("@@")]


@pytest.fixture(scope="module")
def now() -> str:
    return public_api()


def test_the_public_api_is_the_one_that_was_decided_on(now: str):
    changes = difference(SNAPSHOT.read_text(encoding="utf-8"), now)
    if changes:
        pytest.fail(
            "the public API is not what was decided on:\n\n"
            + "\n".join(changes)
            + "\n\nA line with - may break what users have written.  If the change is meant:\n"
            f"  1. uv run python -m {public_api.__module__}\n"
            "  2. say in CHANGELOG.md, under Unreleased, what changed, and under which heading\n"
            "  3. commit both with the change\n",
            pytrace=False,
        )


def test_every_public_name_is_there_with_all_it_is(now: str):
    things = re.findall(r"^(?:async def |def |class |property )?([\w.]+)", now, re.MULTILINE)
    assert set(dexcmd.__all__) <= {thing.rpartition(".")[2] for thing in things}


def test_what_the_docs_import_from_is_public():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "tests" / "sample_user_code.py"]
    used = {module for page in pages for module in IMPORT.findall(page.read_text(encoding="utf-8"))}
    assert used <= set(MODULES)


def test_what_would_break_users_is_seen(now: str, tmp_path: Path):
    changed = tmp_path / "dexcmd"
    shutil.copytree(Path(dexcmd.__file__).parent, changed, ignore=shutil.ignore_patterns("__pycache__"))

    def change(name: str, before: str, after: str) -> None:
        text = (changed / name).read_text(encoding="utf-8")
        assert text.count(before) == 1
        (changed / name).write_text(text.replace(before, after), encoding="utf-8")

    change("__init__.py", '    "Quota",\n', "")
    change("fanout.py", 'OnQuota = Literal["stop", "wait"]', 'OnQuota = Literal["stop"]')
    change("resources/quota.py", "async def get", "def get")
    change("resources/requests.py", "    user_email: str = ", "    email: str = ")
    change(
        "transfer/limits.py",
        "stall_seconds: float = attrs.field(default=30.0",
        "stall_seconds: int = attrs.field(default=9",
    )
    assert sorted(difference(now, public_api(tmp_path))) == [
        "+    def get() -> Quota",
        "+    email: str",
        "+    stall_seconds: int = 9",
        "+++ now",
        "+OnQuota = Literal['stop']",
        "-    Quota",
        "-    async def get() -> Quota",
        "-    stall_seconds: float = 30.0",
        "-    user_email: str",
        "--- committed",
        "-OnQuota = Literal['stop', 'wait']",
    ]
