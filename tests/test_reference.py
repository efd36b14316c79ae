"""The API reference has every public name, and the map of the code every part of it."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import attrs
import pytest

from tests.packaging.public_api import MODULES, Reading, members, read

DOCS = Path(__file__).parent.parent / "docs"
PACKAGE = DOCS.parent / "dexcmd"

KINDS = "module|currentmodule|class|exception|function|data"
DIRECTIVE = re.compile(rf"^\s*\.\. (auto)?({KINDS}):: ([\w.]+)(?:\(\).*)?$", re.MULTILINE)
IMPORT = re.compile(r"^(?:from|import) (dexcmd[\w.]*)", re.MULTILINE)
NAMED = re.compile(r"`([\w.]+/?)`")
TYPE_VARIABLES = {"R_co"}


def documented() -> list[str]:
    """Return the full names of what the directives of the reference are about; the build of the site checks each."""
    names: list[str] = []
    for page in sorted((DOCS / "reference").glob("*.md")):
        module = ""
        for auto, kind, name in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            if kind in {"module", "currentmodule"}:
                module = name
                if auto:
                    names += [f"{name}.{public}" for public in import_module(name).__all__]
            else:
                names.append(name if name.startswith("dexcmd.") else f"{module}.{name}")
    return names


DOCUMENTED = documented()


@pytest.mark.parametrize("module", MODULES)
def test_the_reference_has_every_public_name(module: str):
    names = set(import_module(module).__all__) - TYPE_VARIABLES
    assert {name for name in names if f"{module}.{name}" not in DOCUMENTED and not elsewhere(module, name)} == set()


def elsewhere(module: str, name: str) -> bool:
    """Tell whether the reference has a name under the package, where it is public too."""
    return f"dexcmd.{name}" in DOCUMENTED and getattr(import_module("dexcmd"), name) is getattr(
        import_module(module), name
    )


def test_the_reference_has_nothing_twice():
    assert sorted(set(DOCUMENTED)) == sorted(DOCUMENTED)


def test_the_docs_import_public_modules_only():
    pages = [PACKAGE.parent / "README.md", *DOCS.rglob("*.md")]
    assert {name for page in pages for name in IMPORT.findall(page.read_text(encoding="utf-8"))} <= set(MODULES)


def test_the_map_names_every_module():
    whole, _, campaign = (DOCS / "map.md").read_text(encoding="utf-8").partition("## Below `campaign/`")
    assert modules_below(PACKAGE) <= set(NAMED.findall(whole))
    assert modules_below(PACKAGE / "campaign") <= {*NAMED.findall(campaign), "__init__.py"}


def modules_below(folder: Path) -> set[str]:
    """Return the modules and, with a slash behind, the packages of a folder."""
    packages = {f"{path.name}/" for path in folder.iterdir() if (path / "__init__.py").is_file()}
    return {path.name for path in folder.glob("*.py")} | packages


def test_the_map_names_nothing_that_is_gone():
    text = (DOCS / "map.md").read_text(encoding="utf-8")
    gone = {
        name for name in NAMED.findall(text) if not any(PACKAGE.rglob(name.rstrip("/"))) and name.endswith((".py", "/"))
    }
    assert gone <= {"dexcmd/"}


INHERITED_PROTOCOL = {"BulkCreate": {"send", "throw", "close"}}
"""What a class has to have for Python's sake, which the reference leaves out."""


@attrs.frozen
class ClassDirective:
    """A directive that shows a class with its members."""

    name: str
    excluded: frozenset[str]
    nested: frozenset[str]
    """Members that have directives of their own."""


def class_directives() -> Iterator[ClassDirective]:
    for page in sorted((DOCS / "reference").glob("*.md")):
        module = ""
        blocks = re.split(r"^(?=\.\. )", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for block in blocks:
            directive = re.match(r"\.\. (\w+):: ([\w.]+)", block)
            if directive is None:
                continue
            kind, name = directive.groups()
            if kind in {"module", "currentmodule", "automodule"}:
                module = name
            if kind not in {"autoclass", "autoexception"}:
                continue
            options = re.search(r":exclude-members:((?:[\s,]+\w+)+)", block)
            yield ClassDirective(
                name if name.startswith("dexcmd.") else f"{module}.{name}",
                frozenset(re.findall(r"\w+", options[1])) if options else frozenset(),
                frozenset(re.findall(r"^ +\.\. auto\w+:: (\w+)", block, re.MULTILINE)),
            )


@pytest.mark.parametrize("directive", list(class_directives()), ids=lambda directive: directive.name)
def test_the_reference_shows_the_public_members_of_a_class(directive: ClassDirective, public_names: Reading):
    shown_class = public_names.find(directive.name)
    own = {name for name in shown_class.members if not name.startswith("_")}
    public = {member.name for member in members(shown_class) if not member.name.startswith("_")}
    assert directive.excluded <= own
    shown = own - directive.excluded | directive.nested
    assert shown == public - INHERITED_PROTOCOL.get(shown_class.name, set())


@pytest.fixture(scope="module")
def public_names() -> Reading:
    return read()
