"""What the package says of itself that depends on where it is built: the addresses of its repository.

The project's files don't name the repository, so a fork's package leads to the fork.  GitHub tells where it builds;
built elsewhere, the package has no such addresses, and what would be a link into the repository is plain text.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"\[([^]]*)\]\((?!https?://|#)([^)]+)\)")
"""A link of Markdown to another file of the repository."""

SERVICE = "https://developers.cloudflare.com/cloudflare-one/insights/dex/remote-captures/"


class RepositoryHook(MetadataHookInterface):
    """Fills in `readme` and `urls`.  Built from an sdist, both stay what they are in there."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add what is not known yet."""
        repository = repository_of(os.environ)
        files = None if repository is None else f"{repository}/blob/v{metadata['version']}"
        if "readme" not in metadata:
            text = Path(self.root, "README.md").read_text(encoding="utf-8")
            metadata["readme"] = {"content-type": "text/markdown", "text": with_links_into(files, text)}
        if "urls" not in metadata:
            metadata["urls"] = {"Remote captures": SERVICE}
            if repository is not None:
                metadata["urls"] |= {
                    "Repository": repository,
                    "Documentation": f"{files}/README.md#more",
                    "Changelog": f"{files}/CHANGELOG.md",
                    "Issues": f"{repository}/issues",
                }


def repository_of(environ: Mapping[str, str]) -> str | None:
    """Return the address of the repository that GitHub builds, or None."""
    name = environ.get("GITHUB_REPOSITORY")
    return f"{environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{name}" if name else None


def with_links_into(files: str | None, text: str) -> str:
    """Return Markdown whose links to files lead below an address; without one, only their text is left."""
    return LINK.sub(r"\1" if files is None else rf"[\1]({files}/\2)", text)
