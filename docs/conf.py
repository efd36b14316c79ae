"""How the site is built: `uv run --group docs sphinx-build -W --keep-going -n docs build/docs`."""

import ast
import sys
from pathlib import Path

from dexcmd import __version__, client

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "dexcmd"
author = "The dexcmd authors"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx's name for it
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "docstrings", "links"]
exclude_patterns = ["_ext"]

# --- pages

myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline", "colon_fence"]

# --- the reference

add_module_names = False
autodoc_default_options = {"members": True, "undoc-members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
# The signatures of the client speak of what it loads when that is used, and otherwise imports for type checkers only.
_client = ast.parse(Path(client.__file__).read_text(encoding="utf-8"))
_late = [name for block in _client.body if isinstance(block, ast.If) for name in block.body]
exec(compile(ast.Module(_late, []), client.__file__, "exec"), vars(client))  # noqa: S102 - our own source
# One argument a line where a signature does not fit a line of the page.
maximum_signature_line_length = 70
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# Whether users make objects of a class. Of others it is told by their constructor: it has a docstring, or is of attrs.
made_by_users = {
    "dexcmd.clock.ManualClock": True,
    "dexcmd.clock.ScaledClock": True,
    "dexcmd.sandbox.Fault": False,
    "dexcmd.sandbox.Sandbox": True,
}

# What has no place of its own in the reference.
nitpick_ignore = [
    # Type variables.
    ("py:class", "T"),
    ("py:class", "dexcmd.paging.T"),
    ("py:class", "dexcmd.transfer.saved.R"),
    ("py:class", "dexcmd.transfer.saved.R_co"),
    # An alias that only type checkers load, since its module needs an extra; the field's text spells it out.
    ("py:class", "ExistingObject"),
]

# --- the look

html_theme = "furo"
pygments_style = "friendly"
pygments_dark_style = "monokai"
html_title = f"dexcmd {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["tables.js"]
html_copy_source = False
html_show_sourcelink = False
