"""GitHub does what `.ci/run` does, and no more than it may."""

import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
TEXT = WORKFLOW.read_text(encoding="utf-8")
JOBS: dict[str, Any] = YAML(typ="safe").load(TEXT)["jobs"]
RUN = (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def pythons() -> list[str]:
    """Return the versions that the package says it is for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))


def test_each_python_of_the_package_is_run():
    assert JOBS["check"]["strategy"]["matrix"]["python"] == pythons()


def test_each_python_of_the_package_is_looked_for_on_a_machine_of_ones_own():
    assert f"\nfor version in {' '.join(pythons())}; do\n" in RUN


def test_a_check_is_the_same_as_on_a_machine_of_ones_own():
    *preparation, check = JOBS["check"]["steps"]
    assert [step["uses"].partition("@")[0] for step in preparation] == ["actions/checkout", "actions/setup-python"]
    assert check["run"].split()[-1] == ".ci/run"
    assert check["env"] == {"UV_PYTHON": "${{ matrix.python }}"}


def test_nothing_is_published_that_was_not_checked():
    assert JOBS["build"]["needs"] == "check"
    assert JOBS["publish"]["needs"] == "build"
    assert "github.ref_type == 'tag'" in JOBS["publish"]["if"]


def test_only_publishing_has_a_right_beyond_reading():
    rights = {name: job["permissions"] for name, job in JOBS.items()}
    assert rights == {"check": {"contents": "read"}, "build": {"contents": "read"}, "publish": {"id-token": "write"}}


def test_what_others_wrote_is_pinned_to_a_commit_with_its_version():
    used = re.findall(r"uses: (.*)", TEXT)
    assert len(used) > 0
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)


@pytest.mark.parametrize("schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"])
def test_it_is_a_workflow(schema: str):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(WORKFLOW)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_finds_nothing():
    program = shutil.which("zizmor", path=sysconfig.get_path("scripts"))
    assert program is not None
    command = [program, "--offline", "--no-progress", "--persona", "pedantic", str(WORKFLOW)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
