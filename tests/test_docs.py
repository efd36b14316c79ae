"""Each Python block of the README and the docs runs as it stands, against the sandbox."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from dexcmd.sandbox import Behaviour, Sandbox, SandboxDevice
from dexcmd.sandbox.state import NewCommand

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)([^)#]+)")

FLEET = [
    SandboxDevice(
        device_id=f"00000000-0000-4000-8000-{index:012d}",
        registration_id=f"00000000-0000-4000-9000-{index:012d}",
        name=f"london-laptop-{index}",
        user_email=f"user{index}@example.com",
    )
    for index in range(4)
]


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=lambda page: page.name)
async def test_the_examples_of_a_page_run_in_their_order(page: Path, tmp_path: Path) -> None:
    blocks = BLOCK.findall(page.read_text())
    async with Sandbox(FLEET, behaviour=Behaviour.instant()) as sandbox:
        if page.name == "downloads.md":
            for device in FLEET:
                sandbox.state.create(NewCommand(device, "pcap"))
        if page.name == "campaigns.md":
            (tmp_path / "london.toml").write_text('name = "london"\ncommand.type = "pcap"\n')
        printed = ""
        for block in blocks:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "error", "-c", block),
                cwd=tmp_path,
                env={**os.environ, **sandbox.environment},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await process.communicate()
            assert (process.returncode, err.decode()) == (0, ""), block
            printed += out.decode()
        assert sandbox.token not in printed
        if page.name == "downloads.md":
            assert "SaveTotals(saved=4, skipped=0, failed=0" in printed
            assert len(list((tmp_path / "captures").iterdir())) == 4
            assert (tmp_path / "unpacked" / "capture-default.pcap").exists()
        if page.name == "campaigns.md":
            assert "4 commands; {} skipped;" in printed
            assert "finished 4 of 4 saved," in printed
            assert "ArtifactSaved" in printed
            assert len(list((tmp_path / "captures").rglob("*.zip"))) == 4
        if page.name == "README.md":
            assert "london-laptop-0 SUCCESS" in printed
            assert "{'saved': 4}" in printed
            assert len(list((tmp_path / "captures").glob("*.zip"))) == 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_links_to_other_pages_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


async def test_the_readme_shows_the_two_lines() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "\npip install uv && uv run dexcmd demo\n" in readme
    assert "\npip install uv && uv run pytest\n" in readme
