"""The public names as text: each with its signature, attributes and types, and what these refer to.

The text is read out of the source, so it is the same on every Python.  `uv run python -m tests.packaging.public_api`
writes it anew.
"""

from collections.abc import Iterator
from pathlib import Path

import griffe

MODULES = (
    "dexcmd",
    "dexcmd.campaign.events",
    "dexcmd.campaign.records",
    "dexcmd.campaign.spec",
    "dexcmd.campaign.store",
    "dexcmd.clock",
    "dexcmd.events",
    "dexcmd.sandbox",
    "dexcmd.testing",
    "dexcmd.transfer.sink",
)
"""Where users may import from: what is in the `__all__` of these is public."""

# Faults are made with the methods of the class.
FAULT_FIELDS = [
    "alterations",
    "amount",
    "applies",
    "at",
    "changes",
    "code",
    "form",
    "framing",
    "kind",
    "label",
    "message",
    "operations",
    "path",
    "processed",
    "rate",
    "real_time",
    "reset",
    "rest",
    "retry_after",
    "same_bytes",
    "seconds",
    "status",
    "target",
    "until",
    "value",
]

NOT_PUBLIC = frozenset(
    {
        *(f"dexcmd.sandbox.faults.Fault.{name}" for name in FAULT_FIELDS),
        "dexcmd.campaign.plan.Plan.events",
        "dexcmd.campaign.plan.Plan.target_events",
        "dexcmd.client.DexClient.session",
        "dexcmd.outcome.Outcome.made",
        "dexcmd.resources.commands.CommandsResource.bulk",
        "dexcmd.resources.commands.CommandsResource.created",
        "dexcmd.resources.commands.CommandsResource.peers",
        "dexcmd.sandbox.script.FaultRule.take",
        "dexcmd.sandbox.script.FaultScript.take",
        "dexcmd.transfer.artifact.Artifact.__init__",
        "dexcmd.transfer.artifact.Artifact.body",
        "dexcmd.transfer.many.SaveTotals.including",
        # What they give is no more than `Sink` says.
        "dexcmd.transfer.folder.FileSink.open",
        "dexcmd.transfer.objectstore.ObjectStoreSink.open",
    }
)
"""What has no underscore, and is for dexcmd itself."""

OF_NO_INTEREST = frozenset({"__all__", "__doc__", "__post_init__", "__attrs_post_init__", "__repr__", "__slots__"})

SNAPSHOT = Path(__file__).with_suffix(".txt")

HEADER = """\
# The public API of dexcmd: what users may rely on.  A line that changes or goes is a break, for CHANGELOG.md to tell.
# Write it anew with `uv run python -m tests.packaging.public_api`.
"""


def main() -> None:
    """Write the snapshot."""
    SNAPSHOT.write_text(public_api(), encoding="utf-8")


def public_api(folder: Path | None = None) -> str:
    """Return the text for what can be imported, or for the package in a folder."""
    return HEADER + "".join(read(folder).blocks())


def read(folder: Path | None = None) -> "Reading":
    """Return what is public of what can be imported, or of the package in a folder."""
    package = griffe.load(
        "dexcmd",
        search_paths=None if folder is None else [folder],
        # What lies in the current folder by that name is not meant.
        try_relative_path=False,
        allow_inspection=False,
    )
    assert isinstance(package, griffe.Module)
    return Reading(package)


class Reading:
    """Goes from the public names to all that they show."""

    def __init__(self, package: griffe.Module) -> None:
        self._package = package
        self._public: dict[str, list[str]] = {}
        self._found: dict[str, griffe.Object] = {}
        for name in MODULES:
            module = package[name.partition(".")[2]] if "." in name else package
            self._public[name] = sorted(map(str, module.exports or ()))
            for exported in self._public[name]:
                self._reach(module[exported])
        for path, shown in list(self._found.items()):
            self._follow(path, shown)

    def find(self, name: str) -> griffe.Class:
        """Return the class that can be had by a full name."""
        found = self._package[name.partition(".")[2]]
        shown = found.final_target if isinstance(found, griffe.Alias) else found
        assert isinstance(shown, griffe.Class)
        return shown

    def homes(self) -> Iterator[tuple[str, str]]:
        """Yield the module and the name of each thing."""
        for _, shown in sorted(self._found.items()):
            yield shown.module.path, shown.name

    def blocks(self) -> Iterator[str]:
        """Yield the names of each module, then each thing."""
        for module, names in self._public.items():
            yield f"\n{module}\n" + "".join(f"    {name}\n" for name in names)
        for path, shown in sorted(self._found.items(), key=lambda item: (item[1].name, item[0])):
            yield "\n" + "".join(f"{line}\n" for line in self._lines(path, shown))

    def _reach(self, found: griffe.Object | griffe.Alias) -> griffe.Object | None:
        """Take in something of the package; return it if it is new."""
        shown = found.final_target if isinstance(found, griffe.Alias) else found
        if isinstance(shown, griffe.Module) or shown.path in self._found:
            return None
        if isinstance(shown, griffe.Function) and shown.name.startswith("_"):
            # It makes a field, whose line shows the call.
            return None
        self._found[shown.path] = shown
        return shown

    def _follow(self, path: str, shown: griffe.Object) -> None:
        for name in self._referred(shown):
            # Members of a class have its path before theirs, and are shown with it.
            if not name.startswith("dexcmd.") or name.startswith(path + "."):
                continue
            found = self._package[name.removeprefix("dexcmd.")]
            new = self._reach(found)
            if new is not None:
                self._follow(new.path, new)

    def _referred(self, shown: griffe.Object) -> Iterator[str]:
        """Yield the paths of what an object mentions, but for a constructor that is not for users."""
        if isinstance(shown, griffe.Class):
            yield from names_in(*shown.bases)
            for member in members(shown):
                if member.name != "__init__":
                    yield from self._referred(member)
        elif isinstance(shown, griffe.Function):
            yield from names_in(shown.returns)
            for parameter in shown.parameters:
                yield from names_in(parameter.annotation, parameter.default)
            for overload in shown.overloads or ():
                yield from self._referred(overload)
        elif isinstance(shown, griffe.Attribute):
            yield from names_in(shown.annotation)
            if isinstance(shown.parent, griffe.Class):
                yield from names_in(default_of(shown))
            elif not shown.name.isupper():
                # An alias of types.  A constant is a default, and shows no more than its value.
                yield from names_in(shown.value)

    def _lines(self, path: str, shown: griffe.Object) -> Iterator[str]:
        name = shown.name
        if sum(other.name == name for other in self._found.values()) > 1:
            name = path
        if isinstance(shown, griffe.Class):
            for decorator in shown.decorators:
                yield f"@{decorator.value}"
            yield f"class {name}({', '.join(map(str, shown.bases))})" if shown.bases else f"class {name}"
            for member in members(shown):
                if member.name != "__init__" or self._for_users(member):
                    for line in member_lines(member):
                        yield f"    {line}"
        else:
            yield from member_lines(shown, name)

    def _for_users(self, constructor: griffe.Object) -> bool:
        """Tell whether users can have all that a constructor takes; where not, only dexcmd makes such objects."""
        names = [name for name in self._referred(constructor) if name.startswith("dexcmd.")]
        return all(self._package[name.removeprefix("dexcmd.")].canonical_path in self._found for name in names)


def members(shown: griffe.Class) -> list[griffe.Object]:
    """Return what a class shows: its fields in their order, which is that of its constructor, then the rest by name."""
    fields: list[griffe.Object] = []
    others: list[griffe.Object] = []
    made = made_by_attrs(shown)
    for name, member in shown.members.items():
        assert isinstance(member, griffe.Object)
        special = name.startswith("__") and name.endswith("__")
        if name in OF_NO_INTEREST or member.path in NOT_PUBLIC:
            continue
        if made and isinstance(member, griffe.Attribute) and "property" not in member.labels:
            if not name.startswith("_") or "init=False" not in str(member.value):
                fields.append(member)
        elif special or not name.startswith("_"):
            others.append(member)
    return fields + sorted(others, key=lambda member: member.name)


def made_by_attrs(shown: griffe.Class) -> bool:
    """Tell whether attrs makes the constructor of a class."""
    return any(str(decorator.value).startswith("attrs.") for decorator in shown.decorators)


def member_lines(shown: griffe.Object, name: str | None = None) -> Iterator[str]:
    """Yield the lines of a function or an attribute."""
    name = name or shown.name
    if isinstance(shown, griffe.Function):
        kinds = sorted(shown.labels & {"classmethod", "staticmethod"})
        for overload in shown.overloads or (shown,):
            start = " ".join([*kinds, *(["async"] if "async" in shown.labels else []), "def"])
            yield f"{start} {overload.signature(name=name)}"
    elif isinstance(shown, griffe.Attribute):
        line = f"property {name}" if "property" in shown.labels else name
        if shown.annotation is not None:
            line += f": {shown.annotation}"
        if name == "__version__":
            line += ": str"
        elif isinstance(shown.parent, griffe.Module):
            line += f" = {shown.value}"
        elif (default := default_of(shown)) is not None:
            line += f" = {default}"
        yield line
    else:
        raise TypeError(f"{shown.path} is a {shown.kind}")


def default_of(attribute: griffe.Attribute) -> "griffe.Expr | str | None":
    """Return what a field is where nothing is given: of `attrs.field(...)` the default, or what the factory makes."""
    if "class-attribute" not in attribute.labels:
        # What a constructor happens to assign.
        return None
    value = attribute.value
    if not isinstance(value, griffe.ExprCall):
        return value
    if str(value.function) != "attrs.field":
        return value
    given = {word.name: word.value for word in value.arguments if isinstance(word, griffe.ExprKeyword)}
    if str(given.get("init")) == "False":
        return "(not in the constructor)"
    return f"{given['factory']}()" if "factory" in given else given.get("default")


def names_in(*expressions: "griffe.Expr | str | None") -> Iterator[str]:
    """Yield the full path of each name that expressions hold."""
    for expression in expressions:
        if isinstance(expression, griffe.Expr):
            for part in expression.iterate(flat=True):
                if isinstance(part, griffe.ExprName):
                    yield part.canonical_path


if __name__ == "__main__":
    main()
