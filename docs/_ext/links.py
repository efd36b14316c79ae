"""Links that nobody has to write: from a name in code to the reference, and from Python's own types to its docs.

The pages say `DexClient` or `dex.downloads.save(...)` as code, which reads well in an editor and on a forge too.
"""

import re
import sys

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.python import ObjectEntry, PythonDomain
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import find_pending_xref_condition, make_refnode

# What `dex` stands for in the pages, its resources, and what of them goes by its name alone.
WRITTEN = {
    "dex": "dexcmd.DexClient",
    "dex.commands": "dexcmd.resources.commands.CommandsResource",
    "dex.devices": "dexcmd.resources.devices.DevicesResource",
    "dex.downloads": "dexcmd.resources.downloads.DownloadsResource",
    "dex.quota": "dexcmd.resources.quota.QuotaResource",
    "create_many": "dexcmd.resources.commands.CommandsResource.create_many",
    "save_many": "dexcmd.resources.downloads.DownloadsResource.save_many",
}
# Where names are looked for that stand without their module.
MODULES = (
    "dexcmd",
    "dexcmd.sandbox",
    "dexcmd.events",
    "dexcmd.clock",
    "dexcmd.campaign.spec",
    "dexcmd.campaign.events",
)

NAME = re.compile(r"^(?:async |await )?([A-Za-z_][\w.]*?)(?:\(.*\))?$")

PYTHON = "https://docs.python.org/3/library"
BUILTINS = {
    **dict.fromkeys(["bytes", "dict", "list", "str", "tuple"], "stdtypes"),
    **dict.fromkeys(["bool", "float", "int", "object", "type"], "functions"),
    "None": "constants",
}
OTHERS = {
    "aiohttp.client.ClientSession": "https://docs.aiohttp.org/en/stable/client_reference.html#aiohttp.ClientSession",
    "ObjectStore": "https://developmentseed.org/obstore/latest/api/store/",
}


def python_url(name: str) -> str | None:
    """Return where Python's documentation has a name of its standard library; None where it is no such name."""
    if name in BUILTINS:
        return f"{PYTHON}/{BUILTINS[name]}.html#{name}"
    if isinstance(builtin := getattr(__import__("builtins"), name, None), type) and issubclass(builtin, BaseException):
        return f"{PYTHON}/exceptions.html#{name}"
    module, _, attribute = name.rpartition(".")
    if module.partition(".")[0] in sys.stdlib_module_names and attribute:
        return f"{PYTHON}/{module}.html#{name}"
    return None


class LinkPython(SphinxPostTransform):
    """Makes links of types of others, before Sphinx looks for the like in dexcmd: `type` is here no attribute."""

    default_priority = 5

    def run(self, **kwargs: object) -> None:
        """Look at each name of Python that is still to be resolved."""
        for node in list(self.document.findall(addnodes.pending_xref)):
            name = node["reftarget"]
            url = OTHERS.get(name) or python_url(name)
            if node["refdomain"] == "py" and url is not None:
                short = find_pending_xref_condition(node, "resolved")
                content = node.children if short is None else short.children
                link = nodes.reference("", "", *content, internal=False, refuri=url, reftitle=name)
                node.replace_self(link)


class LinkNames(SphinxPostTransform):
    """Makes links of the names of dexcmd that stand as code."""

    default_priority = 5

    def run(self, **kwargs: object) -> None:
        """Look at each piece of code that is no link, heading or block."""
        domain = self.env.domains.python_domain
        for literal in list(self.document.findall(nodes.literal)):
            if isinstance(literal.parent, nodes.title | nodes.reference | addnodes.pending_xref):
                continue
            found = self._find(domain, literal.astext(), literal.get("inside"))
            if found is None:
                continue
            name, entry = found
            reference = make_refnode(self.app.builder, self.env.docname, entry.docname, entry.node_id, [], name)
            literal.replace_self(reference)
            reference += literal

    @staticmethod
    def _find(domain: PythonDomain, text: str, inside: list[str] | None) -> tuple[str, ObjectEntry] | None:
        match = NAME.match(text)
        if match is None:
            return None
        name = match[1]
        tried = [name]
        head, _, tail = name.rpartition(".")
        if head in WRITTEN:
            tried.insert(0, f"{WRITTEN[head]}.{tail}")
        if name in WRITTEN:
            tried.insert(0, WRITTEN[name])
        if inside is not None:
            module, cls = inside
            tried += [f"{home}.{cls}.{name}" for home in (module, *MODULES)]
        tried += [f"{module}.{name}" for module in MODULES]
        return next(((each, domain.objects[each]) for each in tried if each in domain.objects), None)


def setup(app: Sphinx) -> dict[str, object]:
    """Connect to Sphinx."""
    app.add_post_transform(LinkPython)
    app.add_post_transform(LinkNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
