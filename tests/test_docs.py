"""Each Python block of the README and the docs runs as it stands, against the sandbox; programs also pass mypy."""

import ast
import asyncio
import codeop
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dexcmd.sandbox import Behaviour, Sandbox, SandboxDevice
from dexcmd.sandbox.state import NewCommand

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
ROWS = re.compile(r"(?:^\|.*\n?)+", re.MULTILINE)
TABLE = re.compile(r"\|.*\|\n\|(?: *:?-+:? *\|)+\n(?:\|.*\|\n?)+")

FLEET = [
    SandboxDevice(
        device_id=f"00000000-0000-4000-8000-{index:012d}",
        registration_id=f"00000000-0000-4000-9000-{index:012d}",
        name=f"LON-LT-{index}",
        user_email=f"user{index}@example.com",
    )
    for index in range(4)
]

SESSION = """
import ast, asyncio, inspect, json, sys

async def main():
    names = {"__name__": "__main__"}
    for block in json.load(sys.stdin):
        result = eval(compile(block, block, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
        if inspect.iscoroutine(result):
            await result

asyncio.run(main())
"""
"""Runs blocks as `python -m asyncio` would, one after the other."""

CAMPAIGN = """
import asyncio
from dexcmd import Campaign, read_campaign_file

async def main():
    async with Campaign(read_campaign_file("london.toml"), journal="journal.db") as campaign:
        await campaign.run()

asyncio.run(main())
"""


class Rig:
    """A folder and a sandbox in which a page's blocks run."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.printed = ""

    async def run(self, *command: str, stdin: str | None = None) -> None:
        commands = Path(sys.executable).parent
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.folder,
            env={**os.environ, **self.sandbox.environment, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(None if stdin is None else stdin.encode())
        self.stderr = err.decode()
        assert process.returncode == 0, f"{command[-1]}\n{self.stderr}"
        self.printed += out.decode()

    async def python(self, block: str, *, stdin: str | None = None) -> None:
        if "\ndef test_" in block or "\nasync def test_" in block:
            file = self.folder / f"test_block{len(list(self.folder.glob('test_block*')))}.py"
            file.write_text(block)
            options = ("-q", "-W", "error", "--strict-markers", "-p", "no:asyncio", "-p", "no:cacheprovider")
            await self.run(sys.executable, "-W", "error", "-m", "pytest", *options, file.name)
        else:
            await self.run(sys.executable, "-W", "error", "-c", block, stdin=stdin)


def commands_of_all(rig: Rig) -> None:
    for device in FLEET:
        rig.sandbox.state.create(NewCommand(device, "pcap"))


def a_campaign_file(rig: Rig) -> None:
    (rig.folder / "london.toml").write_text('name = "london"\ncommand.type = "pcap"\n')


async def a_campaign(rig: Rig) -> None:
    a_campaign_file(rig)
    await rig.python(CAMPAIGN)


BEFORE: dict[str, Callable[[Rig], Awaitable[None] | None]] = {
    "downloads.md": commands_of_all,
    "campaigns.md": a_campaign_file,
    "campaigns-export.md": a_campaign,
}


def files(rig: Rig, pattern: str) -> int:
    return len(list(rig.folder.glob(pattern)))


def the_readme(rig: Rig) -> None:
    assert "LON-LT-0 SUCCESS" in rig.printed
    assert "{'saved': 4}" in rig.printed
    assert files(rig, "captures/*.zip") == 8


def bulk(rig: Rig) -> None:
    assert "4 asked for, 4 created, 4 saved" in rig.printed
    assert "4 created; 0 unknown" in rig.printed


def campaigns(rig: Rig) -> None:
    assert "4 commands; {} skipped;" in rig.printed
    assert "finished 4 of 4 saved," in rig.printed
    assert "ArtifactSaved" in rig.printed
    assert files(rig, "captures/**/*.zip") == 4


def campaigns_export(rig: Rig) -> None:
    assert "4 rows" in rig.printed
    assert len((rig.folder / "london.csv").read_text().splitlines()) == 5


def downloads(rig: Rig) -> None:
    assert "SaveTotals(saved=4, skipped=0, failed=0" in rig.printed
    assert files(rig, "captures/*") == 4
    assert (rig.folder / "unpacked" / "capture-default.pcap").exists()


def migrating(rig: Rig) -> None:
    lines = rig.printed.splitlines()
    # The same of both, one after the other.
    assert lines[0] == lines[1].replace(" ", ".0 ", 1)
    assert lines[2] == lines[3] == str([device.name for device in FLEET])
    # Here devices need no time. Elsewhere a Windows device fails the second of two pcaps at once.
    assert len({rig.sandbox.state.commands[line].device.device_id for line in lines[4:6]}) == 2
    assert lines[6:8] == ["SUCCESS", "SUCCESS"]
    assert (rig.folder / "official.zip").read_bytes() == b"".join(rig.sandbox.artifact(lines[4]).read())
    assert lines[8].startswith(f"captures/{lines[5]}")
    assert lines[9:] == ["403 10000", "403 10000"]


def observing(rig: Rig) -> None:
    assert "{200: 1}" in rig.printed
    assert "('POST commands', '200'): 1" in rig.printed
    assert "{'created': 4, 'SUCCESS': 4}" in rig.printed


def retries(rig: Rig) -> None:
    assert "1 POST, 10 commands, 10 adopted" in rig.printed


def start(rig: Rig) -> None:
    assert "SUCCESS" in rig.printed
    assert rig.printed.count(" saved \n") == 4
    # One of the first script, one for each of the second, and what the shell brought into the same folder again.
    assert len(rig.sandbox.state.commands) == files(rig, "captures/*.zip") == 5


def uses(rig: Rig) -> None:
    lines = rig.printed.splitlines()
    assert re.fullmatch(r"200 \d+ bytes", lines[0])
    assert re.fullmatch(r"200 \d+ bytes", lines[1])
    assert lines[2] == "404 for what is not there"
    assert "{'saved': 4}" in lines
    pcaps = [command for command in rig.sandbox.state.commands.values() if command.type == "pcap"]
    assert len(pcaps) == 2
    for pcap, line in zip(reversed(pcaps), lines[-2:], strict=True):
        assert re.fullmatch(rf"{pcap.id} \d+ {rig.sandbox.artifact(pcap.id).size}", line)


def the_kit(rig: Rig) -> None:
    assert len(re.findall(r"^\d passed", rig.printed, re.MULTILINE)) == files(rig, "test_block*.py") > 0


AFTER: dict[str, Callable[[Rig], None]] = {
    "README.md": the_readme,
    "bulk.md": bulk,
    "campaigns.md": campaigns,
    "campaigns-export.md": campaigns_export,
    "downloads.md": downloads,
    "migrating.md": migrating,
    "observing.md": observing,
    "retries.md": retries,
    "start.md": start,
    "testing.md": the_kit,
    "uses.md": uses,
}


def blocks_of(page: Path) -> list[tuple[str, str]]:
    """Return the Python blocks of a page, and those of a shell that are nothing but commands that end by themselves."""
    return [
        (language, block)
        for language, block in BLOCK.findall(page.read_text())
        if language == "python" or (page.name in SHELL and re.match(r"dexcmd (?!sandbox)", block))
    ]


SHELL = {"README.md", "start.md"}
"""Pages whose shell blocks run; on the others they hold what is another one's, such as ids."""


@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)], ids=lambda page: page.name)
async def test_the_examples_of_a_page_run_in_their_order(page: Path, tmp_path: Path) -> None:
    blocks = blocks_of(page)
    async with Sandbox(FLEET, behaviour=Behaviour.instant()) as sandbox:
        rig = Rig(tmp_path, sandbox)
        if (before := BEFORE.get(page.name)) and (prepared := before(rig)):
            await prepared
        if all("asyncio.run(" not in block for _, block in blocks):
            await rig.python(SESSION, stdin=json.dumps([block for _, block in blocks]))
            assert rig.stderr == ""
        else:
            for language, block in blocks:
                if language == "sh":
                    await rig.run("sh", "-ec", block)
                else:
                    await rig.python(block)
                    # What is logged goes there, and no warning.
                    assert rig.stderr == "" or "logging" in block
        assert sandbox.token not in rig.printed
        if after := AFTER.get(page.name):
            after(rig)


def pasted(block: str) -> None:
    """Compile a block as a REPL does that reads it line by line, with an empty line after it."""
    compiled = codeop.CommandCompiler()
    compiled.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    lines: list[str] = []
    for line in [*block.splitlines(), ""]:
        lines.append(line)
        if compiled("\n".join(lines)) is not None:
            lines.clear()
    assert not lines, "the REPL waits for more"


@pytest.mark.parametrize("block", [block for _, block in blocks_of(DOCS / "migrating.md")])
async def test_what_is_said_to_run_in_a_repl_can_be_pasted_there(block: str) -> None:
    """Up to Python 3.12 one empty line ends an indented body, and nothing else does."""
    pasted(block)


def is_program(block: str) -> bool:
    """Say whether a block is a file of its own, not part of a session."""
    return "asyncio.run(" in block or "def test_" in block


async def test_the_examples_pass_a_strict_type_check(tmp_path: Path) -> None:
    names = []
    for page in PAGES:
        for index, (_, block) in enumerate(blocks_of(page)):
            if is_program(block):
                # With the page in the name, as that is what an error begins with.
                names.append(f"{page.stem.replace('-', '_')}_{index}.py")
                (tmp_path / names[-1]).write_text(block)
    assert len(names) > 30
    # dexcmd, which is checked elsewhere, is only read for its types, which saves a third of the time.
    options = ("--strict", "--follow-imports=silent", "--no-incremental", "--config-file=")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mypy", *options, *names), cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()


def anchors(page: Path) -> set[str]:
    """Return what the headings of a page are called in links, on the site and on forges."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
async def test_links_to_other_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", page.read_text())
    for target, anchor in LINK.findall(text):
        other = page.parent / target if target else page
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
async def test_rows_belong_to_a_table(page: Path) -> None:
    """Rows below a blank line have no heading, and are shown as text."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for rows in ROWS.findall(text):
        assert TABLE.fullmatch(rows), rows


async def test_the_readme_shows_the_two_lines() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "\npip install uv && uv run dexcmd demo\n" in readme
    assert "\npip install uv && uv run pytest\n" in readme
