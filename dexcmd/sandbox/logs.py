"""Logs of any exact size, repeating the same lines every hour; their bytes are generated as they are read."""

import zlib
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache

import attrs

from dexcmd.sandbox.dice import Dice
from dexcmd.sandbox.zipfiles import Blocks

__all__ = ["virtual_log"]

_LOG_BLOCK = 1 << 20
_SMALLEST_LOG_BLOCK = 64 * 1024
_LOG_LINE_EVERY = 320  # milliseconds: a block's lines fit into the hour that they share

_MESSAGES = (
    " INFO main_loop: warp::warp_service: Entered main loop arm branch=incoming_ipc elapsed={b}us depth={a}",
    "DEBUG actor_device_state: Evaluated rule number={a} in {b}us, posture unchanged since the last one",
    "DEBUG warp_net::ipc: Accepted a connection handle={b} from user interface process, protocol version={a}",
    " INFO warp_edge::tunnel: Keepalive answered peer=192.0.2.40:2408 rtt={b}us lost={a} of the last 10000",
    "DEBUG dns_proxy: Answered query id={b} www{a}.example.com. IN A 198.51.100.{a} from 2001:db8:53::1",
    "DEBUG dns_proxy: Forwarded query id={b} corp{a}.example.net. to fallback resolver 10.20.0.53, udp",
    " INFO connectivity: Reached https://edge.example.net/trace over default colo=EX{a} elapsed={b}us",
    " WARN firewall: Rule set differs from the wanted one entries={a} checksum={b:08x}, applied it once more",
    "TRACE route_monitor: Interface event index={a} kind=address-changed generation={b}, nothing to do",
    "DEBUG stats: tunnel sent={b}kB received={b}kB estimated_loss=0.{a:03} latency={a}ms handshake_age={a}s",
)

_PREFIX = b"[0000] 0000-00-00T00"
"""What all lines of an hour begin with, before its digits are set: process id and hour."""

_VARYING_BITS = 4
"""Digits differ only in so many of their bits, the lowest."""


@attrs.frozen(eq=False)
class _Lines:
    """The lines of one hour, without the prefix that they share."""

    lines: tuple[bytes, ...]

    @cached_property
    def size(self) -> int:
        """Size in bytes of all lines with their prefixes."""
        return sum(len(_PREFIX) + len(line) for line in self.lines)

    def block(self, prefix: bytes) -> bytes:
        """Return all lines with this prefix."""
        return prefix.join((b"", *self.lines))

    def crc32(self, prefix: bytes) -> int:
        """Return the CRC-32 of the block with this prefix without generating it."""
        crc = self._crc32
        for position, (ours, base) in enumerate(zip(prefix, _PREFIX, strict=True)):
            for bit in range(_VARYING_BITS):
                if (ours ^ base) >> bit & 1:
                    crc ^= self._effects[position, bit]
        return crc

    @cached_property
    def _crc32(self) -> int:
        return zlib.crc32(self.block(_PREFIX))

    @cached_property
    def _effects(self) -> dict[tuple[int, int], int]:
        """The change (xor) in the CRC-32 when a bit of the prefix changes in all lines, whatever the others are."""
        effects: dict[tuple[int, int], int] = {}
        for position, bit in ((position, bit) for position in range(len(_PREFIX)) for bit in range(_VARYING_BITS)):
            other = bytearray(_PREFIX)
            other[position] ^= 1 << bit
            effects[position, bit] = zlib.crc32(self.block(bytes(other))) ^ self._crc32
        return effects


# Their checksums take a tenth of a second, and serve every log.
@lru_cache(maxsize=8)
def _log_lines(limit: int) -> _Lines:
    """Return at least `limit` bytes of lines."""
    dice = Dice.of("log")
    lines: list[bytes] = []
    size = 0
    while size < limit:
        seconds, milliseconds = divmod(_LOG_LINE_EVERY * len(lines) + dice.below(_LOG_LINE_EVERY), 1000)
        message = _MESSAGES[dice.below(len(_MESSAGES))].format(a=dice.below(250), b=dice.below(65536))
        line = f":{seconds // 60:02}:{seconds % 60:02}.{milliseconds:03}Z {message}\n".encode()
        lines.append(line)
        size += len(_PREFIX) + len(line)
    return _Lines(tuple(lines))


@attrs.frozen
class _Log:
    """A log: blocks of the same lines, each an hour later, the last one cut off to give the exact size."""

    lines: _Lines
    first: datetime  #: the hour of the first block, UTC
    pid: int  #: four digits
    count: int  #: whole blocks
    rest: int  #: bytes of the block that is cut off

    def prefix(self, index: int) -> bytes:
        """Return what all lines of a block begin with."""
        return f"[{self.pid}] {self.first + timedelta(hours=index):%Y-%m-%dT%H}".encode()

    def made(self, index: int) -> bytes:
        """Return a block; the one after the whole blocks is the rest."""
        block = self.lines.block(self.prefix(index))
        if index < self.count:
            return block
        return block[: self.rest - 1] + b"\n" if self.rest else b""

    def crc32(self, index: int) -> int:
        """Return the CRC-32 of a whole block without generating it."""
        return self.lines.crc32(self.prefix(index))


def virtual_log(size: int, ended: datetime, pid: int) -> Blocks:
    """Return a log of exactly `size` bytes that ends in the hour before `ended`; `pid` has four digits."""
    limit = _SMALLEST_LOG_BLOCK
    while limit < min(size, _LOG_BLOCK):
        limit *= 2
    lines = _log_lines(limit)
    count, rest = divmod(size, lines.size)
    hour = ended.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    log = _Log(lines, hour - timedelta(hours=count + 1), pid, count, rest)
    return Blocks(b"", lines.size, count, rest, log.made, log.crc32)
