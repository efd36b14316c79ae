"""What injects dependencies or checks arguments asks for types at run time, and is to get them."""

import inspect
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from dexcmd import FileSink, Sink
from tests.packaging.public_api import read

UNRESOLVED = {
    # The type of its store is obstore's, which is an extra, and is loaded only to check what is given.
    "dexcmd.transfer.objectstore.ObjectStoreSink",
    "dexcmd.transfer.objectstore.ObjectStoreSink.__init__",
}

OVERLOADS_UNRESOLVED = {
    # They name a type variable, which a client that captures nothing would have to load.
    "dexcmd.client.DexClient.capture",
}


def callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the public functions and classes, and their methods and properties, each with its path."""
    for module, name in read().homes():
        value = getattr(import_module(module), name, None)
        if inspect.isfunction(value) or inspect.isclass(value):
            yield f"{module}.{name}", value
        for attribute, member in vars(value).items() if inspect.isclass(value) else ():
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            special = attribute.startswith("__") and attribute.endswith("__")
            if inspect.isfunction(function) and (special or not attribute.startswith("_")):
                yield f"{module}.{name}.{attribute}", function


def test_the_types_of_all_that_can_be_called_are_there_at_run_time():
    failed: dict[str, str] = {}
    asked: set[str] = set()
    for path, function in callables():
        asked.add(path)
        try:
            typing.get_type_hints(function)
            for form in () if path in OVERLOADS_UNRESOLVED else typing.get_overloads(function):
                typing.get_type_hints(form)
        except NameError as error:
            failed[path] = str(error)
    assert {
        "dexcmd.client.DexClient.capture",
        "dexcmd.client.DexClient.__init__",
        "dexcmd.resources.commands.CommandsResource.follow",
        "dexcmd.campaign.file.parse_campaign",
    } <= asked
    assert {path: why for path, why in failed.items() if path not in UNRESOLVED} == {}
    assert failed.keys() == UNRESOLVED, "what resolves by now is no exception"


def test_types_are_loaded_when_they_are_asked_for():
    code = (
        "import sys, typing; from dexcmd import DexClient;"
        "print('dexcmd.capture' in sys.modules);"
        "print(typing.get_type_hints(DexClient.capture)['return'].__origin__.__qualname__)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "Capture"]


def test_what_checks_arguments_can_tell_a_sink(tmp_path: Path):
    assert isinstance(FileSink(tmp_path), Sink)
    assert isinstance(tmp_path, Sink), "what the docstring warns of"
    assert not isinstance(str(tmp_path), Sink)
