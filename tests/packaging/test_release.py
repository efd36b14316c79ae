"""A version is published only if it is the one that the changelog tells of."""

import re
import shutil
import subprocess
from datetime import date
from pathlib import Path

import pytest

import dexcmd

ROOT = Path(__file__).parent.parent.parent
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_changelog_has_its_form():
    assert HEADINGS[0] == "[Unreleased]"
    days: list[date] = []
    for heading in HEADINGS[1:]:
        version, day = re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\S+)", heading).groups()  # type: ignore[union-attr]
        assert version
        days.append(date.fromisoformat(day))
    assert days == sorted(days, reverse=True)
    assert set(re.findall(r"^### (.*)$", CHANGELOG, re.MULTILINE)) <= KINDS


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of what decides about a tag, whose version is 1.2.3 and in the changelog."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / "dexcmd").mkdir()
    shutil.copy(ROOT / ".ci" / "tag", tmp_path / ".ci")
    source = Path(dexcmd.__file__).with_name("_version.py").read_text(encoding="utf-8")
    (tmp_path / "dexcmd" / "_version.py").write_text(source.replace(dexcmd.__version__, "1.2.3"), encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text("## [Unreleased]\n\n## [1.2.3] - 2026-12-01\n", encoding="utf-8")
    return tmp_path


def refusal(project: Path, tag: str) -> str:
    """Return what is said against a tag; empty where nothing is."""
    done = subprocess.run([project / ".ci" / "tag", tag], capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == bool(done.stderr)
    return done.stderr.strip()


def test_the_version_may_be_tagged(project: Path):
    assert refusal(project, "v1.2.3") == ""


@pytest.mark.parametrize("tag", ["v1.2.4", "1.2.3", "v1.2.3rc1", ""])
def test_another_tag(project: Path, tag: str):
    assert refusal(project, tag) == f"the tag is {tag}, and the version v1.2.3"


@pytest.mark.parametrize(
    "line", ["## [1.2.3]", "## [1.2.3] - soon", "## [1x2.3] - 2026-12-01", "## 1.2.3 - 2026-12-01"]
)
def test_a_version_that_the_changelog_does_not_tell_of(project: Path, line: str):
    (project / "CHANGELOG.md").write_text(f"{line}\n", encoding="utf-8")
    assert refusal(project, "v1.2.3") == "CHANGELOG.md has no line '## [1.2.3] - YEAR-MONTH-DAY'"
