"""The rig of campaigns: sandboxes as accounts, a journal on disk, and one clock that stands still."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest

from dexcmd import Campaign, DexClient, Pcap, RetryPolicy
from dexcmd.campaign.events import CampaignEvent
from dexcmd.campaign.spec import AccountSpec, ArtifactsSpec, CampaignSpec
from dexcmd.clock import ManualClock
from dexcmd.sandbox import Behaviour, Sandbox

SWIFT = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where tests have their folders that are about much, and not about disks: syncing takes no time there."""

HEALTHY: dict[str, Any] = {"multi_user_share": 0, "ineligible_share": 0, "disconnected_share": 0}
"""How a fleet is made of which every device can be captured, each with one registration."""


@attrs.define
class CampaignRig:
    """Starts sandboxes, and runs campaigns against them."""

    folder: Path
    clock: ManualClock
    stack: AsyncExitStack
    sandboxes: dict[str, Sandbox] = attrs.field(factory=dict[str, Sandbox])
    events: list[CampaignEvent] = attrs.field(factory=list[CampaignEvent])
    client_options: dict[str, Any] = attrs.field(factory=dict[str, Any])
    control_interval: float = 0.01
    base_url: str | None = None
    """Of all accounts, if not each has an address of its own."""

    @property
    def journal(self) -> Path:
        return self.folder / "journal.db"

    @property
    def captures(self) -> Path:
        return self.folder / "captures"

    @property
    def sandbox(self) -> Sandbox:
        """The only one."""
        [sandbox] = self.sandboxes.values()
        return sandbox

    async def account(self, name: str = "acme", devices: Any = 12, **options: Any) -> Sandbox:
        """Start a sandbox, an account of the campaigns to come."""
        options.setdefault("behaviour", Behaviour(multi_user_share=0, ineligible_share=0, disconnected_share=0))
        options.setdefault("seed", len(self.sandboxes))
        sandbox = Sandbox(devices, clock=self.clock, **options)
        self.sandboxes[name] = await self.stack.enter_async_context(sandbox)
        return sandbox

    def share_origin(self) -> None:
        """Have all accounts at one address, as the service has them: the path says which of them is meant."""
        first, *others = self.sandboxes.values()
        for other in others:
            first.also_serve(other)
        self.base_url = first.base_url

    def spec(self, **changes: Any) -> CampaignSpec:
        settings: dict[str, Any] = {
            "name": "one",
            "command": Pcap(),
            "accounts": tuple(
                AccountSpec(account_id=sandbox.account_id, name=name) for name, sandbox in self.sandboxes.items()
            ),
            "artifacts": ArtifactsSpec(into=str(self.captures)),
        }
        return CampaignSpec(**{**settings, **changes})

    def client(self, account: AccountSpec) -> DexClient:
        sandbox = self.sandboxes[account.name]
        options: dict[str, Any] = {
            "api_token": sandbox.token,
            "account_id": sandbox.account_id,
            "base_url": self.base_url or sandbox.base_url,
            "clock": self.clock,
            "random": lambda: 0.0,
            "retry": RetryPolicy(attempt_seconds=20.0),
        }
        return DexClient(**{**options, **self.client_options})

    def campaign(self, spec: CampaignSpec | str, *, journal: Any = None, **options: Any) -> Campaign:
        return Campaign(
            spec,
            journal=self.journal if journal is None else journal,
            client=options.pop("client", self.client),
            clock=self.clock,
            control_interval=self.control_interval,
            **options,
        )

    async def run(self, spec: CampaignSpec | str, **options: Any) -> Any:
        """Run a campaign and return its status."""
        async with self.campaign(spec, **options) as campaign:
            return await campaign.run(on_event=self.events.append)

    def of(self, kind: type[CampaignEvent]) -> list[Any]:
        """Return the events of a kind, as they were told."""
        return [event for event in self.events if isinstance(event, kind)]

    def files(self) -> list[Path]:
        return sorted(path for path in self.captures.rglob("*") if path.is_file())

    def asked(self, operation: str, account: str | None = None) -> int:
        """Return how many requests of an operation have arrived."""
        sandboxes = self.sandboxes.values() if account is None else [self.sandboxes[account]]
        return sum(request.operation == operation for sandbox in sandboxes for request in sandbox.requests)


@pytest.fixture
async def campaigns(tmp_path: Path, clock: ManualClock) -> AsyncIterator[CampaignRig]:
    async with AsyncExitStack() as stack:
        yield CampaignRig(tmp_path, clock, stack)
