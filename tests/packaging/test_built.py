"""What is in the package that users get, and what it says of itself."""

import configparser
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

import attrs
import pytest

import dexcmd

ROOT = Path(__file__).parent.parent.parent
NAME = f"dexcmd-{dexcmd.__version__}"
REPOSITORY = "https://github.com/example/dexcmd"
LINK = re.compile(r"\]\(([^)]+)\)")


def build(kind: str, source: Path, out: Path, **environ: str) -> Path:
    """Build an sdist or a wheel from a folder, with the variables of GitHub that are given."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(out)]
    subprocess.run(command, cwd=source, env={**others, **environ}, check=True, capture_output=True)
    [built] = out.iterdir()
    return built


@attrs.frozen
class Built:
    """An sdist, and the wheel that was made of it."""

    sdist: Path
    wheel: Path

    @classmethod
    def make(cls, folder: Path, **environ: str) -> "Built":
        sdist = build("sdist", ROOT, folder / "sdist", **environ)
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        return cls(sdist, build("wheel", folder / NAME, folder / "wheel"))

    def read(self, name: str) -> bytes:
        """Return a file of the wheel's metadata."""
        with zipfile.ZipFile(self.wheel) as archive:
            return archive.read(f"{NAME}.dist-info/{name}")

    def metadata(self) -> Message:
        return BytesParser().parsebytes(self.read("METADATA"))

    def description(self) -> str:
        """Return the page that the index shows."""
        text = self.metadata().get_payload(decode=True)
        assert isinstance(text, bytes)
        return text.decode()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built.make(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def built_by_github(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("by-github")
    return Built.make(folder, GITHUB_SERVER_URL="https://github.com", GITHUB_REPOSITORY="example/dexcmd")


def test_the_wheel_holds_the_package_and_nothing_else(built: Built):
    with zipfile.ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "dexcmd").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "dexcmd/py.typed" in package
    files = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    assert names == package | {f"{NAME}.dist-info/{file}" for file in files}


def test_the_sdist_holds_all_that_it_takes_to_build_and_test(built: Built):
    with tarfile.open(built.sdist) as archive:
        names = {Path(name).relative_to(NAME).as_posix() for name in archive.getnames()}
    for folder in (".ci", ".github", "benchmarks", "dexcmd", "docs", "tests"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert path.relative_to(ROOT).as_posix() in names
    assert {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md", "pyproject.toml"} <= names
    assert not {name for name in names if re.search(r"__pycache__|\.pyc$|\.lock$|^\.venv|^\.git/", name)}


def test_the_wheel_is_the_same_from_the_source_as_from_the_sdist(built: Built, tmp_path: Path):
    assert build("wheel", ROOT, tmp_path).read_bytes() == built.wheel.read_bytes()


def test_the_license_goes_along(built: Built):
    assert built.read("licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    metadata = built.metadata()
    assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")


def test_the_version_has_one_source(built: Built):
    assert built.metadata()["Version"] == dexcmd.__version__
    version = re.escape(dexcmd.__version__)
    sources = [path for path in (ROOT / "dexcmd").rglob("*.py") if re.search(f'"{version}"', path.read_text())]
    assert [path.name for path in sources] == ["_version.py"]
    assert not re.search(r"^version *=", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def test_what_it_says_of_itself(built: Built):
    metadata = built.metadata()
    assert metadata["Name"] == "dexcmd"
    assert metadata["Summary"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    classifiers = metadata.get_all("Classifier") or []
    assert {"Framework :: AsyncIO", "Typing :: Typed", "Programming Language :: Python :: 3.11"} <= set(classifiers)


def test_what_it_needs(built: Built):
    metadata = built.metadata()
    extras = metadata.get_all("Provides-Extra") or []
    assert extras == ["cli", "object-store", "parquet", "speedups"]
    needed = metadata.get_all("Requires-Dist") or []
    core = {re.split(r"[<>=]", line)[0] for line in needed if "extra ==" not in line}
    assert core == {"aiohttp", "anyio", "attrs", "cattrs", "tenacity"}
    for extra in extras:
        assert [line for line in needed if f"extra == '{extra}'" in line]


def test_the_command(built: Built):
    points = configparser.ConfigParser()
    points.read_string(built.read("entry_points.txt").decode())
    assert dict(points["console_scripts"]) == {"dexcmd": "dexcmd.cli:main"}


def test_the_index_can_show_it(built: Built, built_by_github: Built):
    files = [str(file) for made in (built, built_by_github) for file in (made.sdist, made.wheel)]
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_what_github_builds_leads_to_its_repository(built_by_github: Built):
    files = f"{REPOSITORY}/blob/v{dexcmd.__version__}/"
    links = LINK.findall(built_by_github.description())
    ours = [link.removeprefix(files) for link in links if link.startswith(files)]
    assert "docs/downloads.md#object-storage" in ours
    assert all((ROOT / link.partition("#")[0]).is_file() for link in ours)
    assert all(link.startswith("https://") for link in links)
    urls = dict(line.split(", ") for line in built_by_github.metadata().get_all("Project-URL") or [])
    assert urls.pop("Remote captures").startswith("https://developers.cloudflare.com/")
    assert urls.pop("Repository") == REPOSITORY
    assert urls.pop("Issues") == f"{REPOSITORY}/issues"
    assert all((ROOT / url.removeprefix(files).partition("#")[0]).is_file() for url in urls.values())


def test_what_is_built_elsewhere_leads_nowhere_that_is_not_there(built: Built):
    assert all(link.startswith("https://") for link in LINK.findall(built.description()))
    assert "straight to S3, R2, GCS or Azure" in built.description()
    [url] = built.metadata().get_all("Project-URL") or []
    assert url.startswith("Remote captures, https://developers.cloudflare.com/")
