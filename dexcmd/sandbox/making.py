"""What an artifact is derived from, and the builder of members that all types of artifacts share."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import attrs

from dexcmd.sandbox.content import Loaded
from dexcmd.sandbox.dice import Dice
from dexcmd.sandbox.frames import mac, packed
from dexcmd.sandbox.logs import virtual_log
from dexcmd.sandbox.pcap import TURNS, VirtualPcap, virtual_pcap
from dexcmd.sandbox.traffic import Link
from dexcmd.sandbox.zipfiles import ZIP64_FROM, Member, archive_size

__all__ = ["DEFAULT_SNAPLEN", "INTERFACES", "ArtifactSpec", "Making", "stamp"]

INTERFACES = ("default", "tunnel")  #: of a client, in the order of reports
DEFAULT_SNAPLEN = 160  #: the bytes of each packet that captures keep by default
# Few, so that the blocks behind small captures are soon all cached; ports and times differ anyway.
_VARIANTS = 2


@attrs.frozen
class ArtifactSpec:
    """Everything that determines an artifact."""

    command_id: str
    command_type: str  #: "pcap", "warp-diag" or "speed-test"
    device_name: str
    user_email: str
    platform: str  #: "windows", "mac", "linux", "ios", "android" or "chromeos"
    version: str  #: of the client, such as "2025.4.929.0"
    args: Mapping[str, object]  #: of the command, by their wire names
    created: datetime  #: aware; packets were seen from then on
    size: int | None = None  #: of the whole archive in bytes; None for a plausible one
    revision: int = 0  #: another revision has other content and another ETag


@attrs.frozen
class Making:
    """Builds the members of an artifact's archive, and knows how much space they leave."""

    spec: ArtifactSpec
    size: int
    dice: Dice

    @property
    def variant(self) -> int:
        """Which of a few simulated clients this is."""
        return Dice.of("variant", self.spec.command_id).below(_VARIANTS)

    @property
    def turn(self) -> int:
        """The base of ports and process ids; it differs between revisions."""
        return (Dice.of("turn", self.spec.command_id).below(TURNS) + self.spec.revision) % TURNS

    @property
    def started(self) -> datetime:
        """When the device started; later revisions started later."""
        return self.spec.created + timedelta(seconds=self.spec.revision)

    def text(self, name: str, text: str) -> Member:
        """Return a small member."""
        return Member(name, Loaded(text.encode()), self.spec.created)

    def capture(self, interface: str, size: int, snaplen: int) -> VirtualPcap:
        """Return the packets captured on an interface."""
        return virtual_pcap(
            size,
            snaplen=snaplen,
            link=_link(interface, self.variant),
            seed=f"{interface} {self.variant}",
            started=self.started,
            turn=self.turn,
        )

    def log(self, name: str, size: int) -> Member:
        """Return a log of any size."""
        return Member(name, virtual_log(size, self.started, 1000 + self.turn % 9000), self.spec.created)

    def space(self, members: Sequence[tuple[str, int]], least: int = 0) -> int:
        """Return how many bytes the members and their headers leave free.

        Raises `ValueError` if that is below `least`.
        """
        space = self.size - archive_size(members, zip64=self.size >= ZIP64_FROM)
        if space < least:
            smallest = self.size - space + least
            kind = self.spec.command_type
            raise ValueError(f"a {kind} artifact like this has at least {smallest} bytes, not {self.size}")
        return space

    def cost(self, member: Member) -> int:
        """Return how much larger a member makes the archive."""
        with_it, without = ((member.name, member.content.size),), ()
        wide = self.size >= ZIP64_FROM
        return archive_size(with_it, zip64=wide) - archive_size(without, zip64=wide)


@lru_cache(maxsize=2 * _VARIANTS)
def _link(interface: str, variant: int) -> Link:
    """Return the network interface of one of a few clients."""
    tunnel = interface == "tunnel"
    net = f"100.96.{variant}" if tunnel else f"10.20.{variant}"
    return Link(
        mac=mac(0x10_00 + 2 * variant + tunnel),
        gateway_mac=mac(0x20_00 + 2 * variant + tunnel),
        address=packed(f"{net}.23"),
        address6=packed(f"2001:db8:{20 + variant}:{int(tunnel)}::23"),
        gateway=packed(f"{net}.1"),
        resolver=packed(f"{net}.53"),
        tunnel=None if tunnel else packed("192.0.2.40"),
    )


def stamp(moment: datetime) -> str:
    """Return a time in the format of reports: UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
