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

_HOUR_SIZE = len("[1234] 2025-04-02T11")


@lru_cache(maxsize=8)
def _log_lines(limit: int) -> tuple[bytes, ...]:
    """Return at least `limit` bytes of lines of one hour, without the prefix of process id and hour."""
    dice = Dice.of("log")
    lines: list[bytes] = []
    size = 0
    while size < limit:
        seconds, milliseconds = divmod(_LOG_LINE_EVERY * len(lines) + dice.below(_LOG_LINE_EVERY), 1000)
        message = _MESSAGES[dice.below(len(_MESSAGES))].format(a=dice.below(250), b=dice.below(65536))
        line = f":{seconds // 60:02}:{seconds % 60:02}.{milliseconds:03}Z {message}\n".encode()
        lines.append(line)
        size += _HOUR_SIZE + len(line)
    return tuple(lines)


@attrs.frozen
class _Log:
    """A log: blocks of the same lines, each an hour later, the last one cut off to give the exact size."""

    lines: tuple[bytes, ...]
    first: datetime  #: the hour of the first block, UTC
    pid: int  #: four digits
    count: int  #: whole blocks
    rest: int  #: bytes of the block that is cut off

    def hour(self, index: int) -> bytes:
        """Return the prefix that all lines of a block share."""
        return f"[{self.pid}] {self.first + timedelta(hours=index):%Y-%m-%dT%H}".encode()

    def made(self, index: int) -> bytes:
        """Return a block; the one after the whole blocks is the rest."""
        block = self.hour(index).join((b"", *self.lines))
        if index < self.count:
            return block
        return block[: self.rest - 1] + b"\n" if self.rest else b""

    @cached_property
    def _first_crc32(self) -> int:
        return zlib.crc32(self.made(0))

    @cached_property
    def _effects(self) -> dict[tuple[int, int], int]:
        """The change (xor) in a block's CRC-32 when a bit of its hour changes in all lines at once."""
        hour = self.hour(0)
        effects: dict[tuple[int, int], int] = {}
        for position, bit in ((position, bit) for position in range(len(hour)) for bit in range(4)):
            other = bytearray(hour)
            other[position] ^= 1 << bit
            block = bytes(other).join((b"", *self.lines))
            effects[position, bit] = zlib.crc32(block) ^ self._first_crc32
        return effects

    def crc32(self, index: int) -> int:
        """Return the CRC-32 of a whole block without generating it; digits differ only in four bits."""
        crc = self._first_crc32
        for position, (ours, first) in enumerate(zip(self.hour(index), self.hour(0), strict=True)):
            for bit in range(4):
                if (ours ^ first) >> bit & 1:
                    crc ^= self._effects[position, bit]
        return crc


def virtual_log(size: int, ended: datetime, pid: int) -> Blocks:
    """Return a log of exactly `size` bytes that ends in the hour before `ended`; `pid` has four digits."""
    limit = _SMALLEST_LOG_BLOCK
    while limit < min(size, _LOG_BLOCK):
        limit *= 2
    lines = _log_lines(limit)
    block_size = sum(_HOUR_SIZE + len(line) for line in lines)
    count, rest = divmod(size, block_size)
    hour = ended.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    log = _Log(lines, hour - timedelta(hours=count + 1), pid, count, rest)
    return Blocks(b"", block_size, count, rest, log.made, log.crc32)
