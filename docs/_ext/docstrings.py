"""The docstrings of dexcmd as Sphinx wants them.

They are written to be read in an editor: blocks that are set in are code, and single backticks are names or values.
"""

import re
from functools import partial
from typing import Any

import attrs
from docutils import nodes
from docutils.nodes import Node, system_message
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole

FENCE = re.compile(r"^```(\w*)$")
INDENT = "    "
CONSTANT = re.compile(r"(?<== )[A-Z][A-Z_]{2,}\b")
ATTRS_DEFAULT = re.compile(r"attr_dict\['(\w+)'\]\.default")


def to_rest(lines: list[str]) -> list[str]:
    """Return the lines of a docstring with their code made code blocks of reStructuredText."""
    out: list[str] = []
    in_item = in_code = in_fence = False
    for index, line in enumerate(lines):
        if fence := FENCE.match(line):
            in_fence = not in_fence
            out += ["", f".. code-block:: {fence[1] or 'text'}", ""] if in_fence else [""]
            continue
        if in_fence:
            out.append(f"{INDENT}{line}" if line else "")
            continue
        if line and not line.startswith(" "):
            in_item, in_code = line.startswith("- "), False
        elif line.startswith(INDENT) and not in_item and not in_code and index and not lines[index - 1]:
            out += [".. code-block:: python", ""]
            in_code = True
        out.append(line)
    return out


def _docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines[:] = to_rest(lines)


def _signature(
    app: Sphinx, what: str, name: str, obj: Any, options: object, signature: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """Take away the signature of what its users don't make, and show defaults as the values that they are."""
    if signature is None:
        return None
    if what not in {"class", "exception"}:
        return CONSTANT.sub(partial(_constant, getattr(obj, "__globals__", {})), signature), returns
    if not app.config.made_by_users.get(name, _is_made_by_users(obj)):
        return "", ""
    if attrs.has(obj):
        # What a factory makes is NOTHING to attrs.
        given = signature.replace(" = NOTHING", " = ...").replace("=NOTHING", "=...")
        return ATTRS_DEFAULT.sub(partial(_attrs_default, attrs.fields_dict(obj)), given), returns
    return CONSTANT.sub(partial(_constant, obj.__init__.__globals__), signature), returns


def _constant(names: dict[str, Any], match: re.Match[str]) -> str:
    return _shown(names[match[0]]) if match[0] in names else match[0]


def _attrs_default(fields: dict[str, Any], match: re.Match[str]) -> str:
    return _shown(fields[match[1]].default)


def _shown(default: object) -> str:
    if attrs.has(type(default)):
        return f"{type(default).__name__}()" if default == type(default)() else "..."
    return "..." if isinstance(default, type(attrs.Factory(list))) else repr(default)


def _is_made_by_users(cls: Any) -> bool:
    if attrs.has(cls):
        return not any(field.name.startswith("_") for field in attrs.fields(cls))
    if getattr(cls, "_is_protocol", False) or cls.__init__ is object.__init__:
        return False
    # Not `inspect.getdoc`, which would find what a base class says.
    return bool(cls.__init__.__doc__)


class Name(SphinxRole):
    """What stands in single backticks: a name of dexcmd, as seen from where it stands, or a value."""

    def run(self) -> tuple[list[Node], list[system_message]]:
        """Return it as code; `links` makes a link of it where it names anything."""
        node = nodes.literal(self.rawtext, self.text, classes=["code"])
        node["inside"] = [self.env.ref_context.get(f"py:{part}") or "" for part in ("module", "class")]
        return [node], []


def setup(app: Sphinx) -> dict[str, object]:
    """Connect to Sphinx."""
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("autodoc-process-signature", _signature)
    app.add_config_value("made_by_users", {}, "env", [dict])
    app.add_role("name", Name())
    app.config.default_role = "name"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
