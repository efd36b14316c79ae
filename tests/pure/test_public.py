"""What the package shows: every name loads, is documented, and is known to tools that read the source."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import dexcmd

SOURCE = ast.parse(Path(dexcmd.__file__).read_text(encoding="utf-8"))


def imported_for_type_checkers() -> dict[str, str]:
    """Return name -> module of what the `if TYPE_CHECKING:` block imports."""
    blocks = [
        node
        for node in SOURCE.body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]
    assert len(blocks) == 1
    found: dict[str, str] = {}
    for statement in blocks[0].body:
        assert isinstance(statement, ast.ImportFrom)
        for alias in statement.names:
            assert alias.asname is None
            assert alias.name not in found
            found[alias.name] = statement.module or ""
    return found


def assigned(name: str) -> object:
    """Return the literal that the source assigns to a name."""
    for node in SOURCE.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{name} is not assigned")


ALL = assigned("__all__")


def test_all_is_a_literal_without_doubles():
    assert dexcmd.__all__ == ALL
    assert len(set(ALL)) == len(ALL)


def test_type_checkers_see_exactly_the_public_names():
    assert set(imported_for_type_checkers()) | {"__version__"} == set(ALL)


def test_the_lazy_map_agrees_with_what_type_checkers_see():
    homes = assigned("_HOMES")
    lazy = {name: home for home, names in homes.items() for name in names}
    assert sum(len(names) for names in homes.values()) == len(lazy)
    lazy |= {name: "dexcmd.errors" for name in ALL if name not in lazy and name != "__version__"}
    assert lazy == imported_for_type_checkers()


@pytest.mark.parametrize("name", ALL)
def test_every_name_loads_and_is_documented(name: str):
    value = getattr(dexcmd, name)
    assert getattr(dexcmd, name) is value
    if name == "__version__":
        assert isinstance(value, str)
        return
    assert inspect.isclass(value) or inspect.isfunction(value)
    assert value.__name__ == name
    # Its own docstring: one that is inherited or generated would say nothing of it.
    doc = vars(value)["__doc__"] if inspect.isclass(value) else value.__doc__
    assert doc.strip().endswith((".", ")", ":"))
    assert not value.__doc__.startswith("Method generated")


@pytest.mark.parametrize(("name", "home"), imported_for_type_checkers().items())
def test_a_name_comes_from_its_home(name: str, home: str):
    module = import_module(home)
    assert getattr(dexcmd, name) is getattr(module, name)
    assert name in module.__all__


@pytest.mark.parametrize("name", ALL)
def test_public_methods_are_documented(name: str):
    value = getattr(dexcmd, name)
    for attribute, member in vars(value).items() if inspect.isclass(value) else ():
        if attribute.startswith("_") or not (inspect.isfunction(member) or isinstance(member, property)):
            continue
        assert (member.__doc__ or "").strip(), f"{name}.{attribute}"


def test_dir():
    assert dir(dexcmd) == sorted(ALL)


@pytest.mark.parametrize("name", ["Client", "dexclient", "_nothing", "importlib", "Poster", ""])
def test_unknown_names(name: str):
    with pytest.raises(AttributeError, match=f"^module 'dexcmd' has no attribute '{name}'$"):
        getattr(dexcmd, name)
    assert not hasattr(dexcmd, name)


def test_star_import_gives_all():
    names: dict[str, object] = {}
    exec("from dexcmd import *", names)
    assert set(ALL) <= set(names)


def test_looking_at_the_package_loads_no_http_client():
    code = (
        "import sys, dexcmd; dir(dexcmd); dexcmd.__version__; dexcmd.DexError;"
        "print(*[name for name in ('aiohttp', 'cattrs', 'tenacity', 'anyio') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_there_is_a_marker_for_type_checkers():
    assert Path(dexcmd.__file__).with_name("py.typed").is_file()
