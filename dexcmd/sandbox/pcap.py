"""Captures in the classic pcap format, of any exact size, of which any range of bytes can be generated.

Pure.  A block of whole conversations repeats, each time later and with other ports and ids: only a few fields
change, and the packets' checksums stay valid (see `traffic.Packet`).  The format is that of
https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html, little-endian, with microseconds.
"""

import struct
import zlib
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter
from typing import Literal

import attrs

from dexcmd.sandbox.frames import ARP, IPV4, arp, ethernet, ip, udp
from dexcmd.sandbox.traffic import Link, Packet, traffic
from dexcmd.sandbox.zipfiles import Blocks

__all__ = ["TURNS", "VirtualPcap", "file_header", "least_size", "record", "virtual_pcap"]

TURNS = 0x8000  #: after this many blocks (usually 32 GiB), ports and ids repeat

_ETHERNET = 1
_FILE = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
_RECORD_REST = struct.Struct("<III")

_BLOCK_BYTES, _BLOCK_PACKETS = 1 << 20, 8192
_SMALLEST_LIMIT = 64 * 1024
_LARGEST_FRAME = 1514
_PADDING_EVERY = 1000  # microseconds
_SMALLEST_FRAME = 42  # Ethernet, IPv4 and UDP with nothing in it

_ARP_FRAME, _PADDED_FRAME = 42, 60
# The CRC-32 of anything that ends with its own CRC-32, lowest byte first.
_SEALED_CRC32 = 0x2144_DF1C

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000


def file_header(snaplen: int) -> bytes:
    """Return the header of a capture of Ethernet frames, each cut to `snaplen` bytes."""
    return _FILE.pack(0xA1B2C3D4, 2, 4, 0, 0, snaplen, _ETHERNET)


def record(time: int, frame: bytes, snaplen: int) -> bytes:
    """Return the record of a frame seen at `time` (microseconds since 1970), cut to `snaplen` bytes."""
    seconds, microseconds = divmod(time, _SECOND)
    kept = frame[:snaplen]
    return _RECORD.pack(seconds, microseconds, len(kept), len(frame)) + kept


def _padding_sizes(snaplen: int) -> tuple[int, int]:
    """Return the minimum size of padding in bytes, and the maximum size of one record of it."""
    most = min(snaplen, _LARGEST_FRAME)
    if most >= 100:  # then one record reaches from 58 bytes to where two begin
        return _RECORD.size + _SMALLEST_FRAME, _RECORD.size + most
    # Records that keep next to nothing of their frame: enough of them that any larger size can be reached.
    return _RECORD.size * -(-_RECORD.size // most), _RECORD.size + most


def least_size(snaplen: int) -> int:
    """Return the size in bytes from which a capture can have any size."""
    return _FILE.size + _padding_sizes(snaplen)[0]


def _padding(link: Link, time: int, size: int, snaplen: int) -> list[bytes]:
    """Return records of `size` bytes in total, starting at `time`, of UDP packets to the discard port."""
    count = -(-size // _padding_sizes(snaplen)[1])
    records: list[bytes] = []
    for number in range(count):
        kept = size * (number + 1) // count - size * number // count - _RECORD.size
        filler = bytes(max(kept - _SMALLEST_FRAME, 0))
        datagram = udp(link.address, link.gateway, 50_000 + number, 9, filler)
        frame = ethernet(link.mac, link.gateway_mac, IPV4, ip(link.address, link.gateway, 17, datagram))
        records.append(record(time + number * _PADDING_EVERY, frame, kept))
    return records


@attrs.frozen
class _Column:
    """A column of numbers with few distinct values, rewritten for every block; this is most of the work."""

    distinct: frozenset[int]
    spread: Callable[[Mapping[int | None, bytes]], tuple[bytes, ...]]

    @classmethod
    def of(cls, values: Sequence[int | None]) -> "_Column":
        return cls(frozenset(value for value in values if value is not None), itemgetter(*values))

    def written(self, change: int, size: int, order: Literal["little", "big"]) -> tuple[bytes, ...]:
        """Return every number plus `change`, in `size` bytes; None becomes empty."""
        words: dict[int | None, bytes] = {value: (value + change).to_bytes(size, order) for value in self.distinct}
        words[None] = b""
        return self.spread(words)


@attrs.frozen
class _Block:
    """A block of traffic, split at the fields in which its repetitions differ."""

    parts: Sequence[bytes]  #: six a record: second, what is between, key, what is between, complement, rest
    seconds: _Column  #: since the block began
    keys: _Column  #: as they are before any turn; None where a record has no such field
    complements: _Column  #: likewise
    times: Sequence[int]  #: per record, in microseconds since the block began
    ends: Sequence[int]  #: where each record ends in the block
    sealed: bool  #: the last four bytes, not in `parts`, are the CRC-32 of what is before them
    duration: int  #: seconds until the next block begins

    def made(self, second: int, turn: int, records: int) -> bytes:
        """Return the first `records` records of a repetition that begins at `second` (since 1970)."""
        parts = list(self.parts)
        parts[0::6] = self.seconds.written(second, 4, "little")
        parts[2::6] = self.keys.written(turn, 2, "big")
        parts[4::6] = self.complements.written(-turn, 2, "big")
        if records < len(self.ends):
            return b"".join(parts[: 6 * records])
        data = b"".join(parts)
        return data + zlib.crc32(data).to_bytes(4, "little") if self.sealed else data


def _field(kept: bytes, at: int | None) -> tuple[int, int, int | None]:
    """Return the start, end and value of a 16-bit field; the end of `kept` and None if it isn't all there."""
    if at is None or at + 2 > len(kept):
        return len(kept), len(kept), None
    return at, at + 2, int.from_bytes(kept[at : at + 2], "big")


def _cut_up(packet: Packet, snaplen: int) -> tuple[tuple[bytes, ...], int | None, int | None]:
    """Return a record's six parts, and its key and complement if the capture includes them.

    A key without its complement invalidates the checksum, but nobody can check it, as the packet is cut off there.
    """
    kept = packet.frame[:snaplen]
    start = _RECORD_REST.pack(packet.time % _SECOND, len(kept), len(packet.frame))
    key_at, key_end, key = _field(kept, packet.key)
    complement_at, complement_end, complement = _field(kept, packet.complement)
    between, rest = kept[key_end:complement_at], kept[complement_end:]
    return (b"", start + kept[:key_at], b"", between, b"", rest), key, complement


@lru_cache(maxsize=16)
def _block(link: Link, seed: str, snaplen: int, limit: int) -> _Block:
    """Return a block of at least `limit` bytes or 8192 packets, whichever is reached first."""
    conversations = traffic(link, seed)
    packets: list[Packet] = []
    size = 0
    while size < limit and len(packets) < _BLOCK_PACKETS:
        conversation = next(conversations)
        packets += conversation
        size += sum(_RECORD.size + min(len(packet.frame), snaplen) for packet in conversation)
    # The last packet is the gateway's, a frame as short as Ethernet allows: its padding has room for the seal.
    word = arp(1, link.gateway_mac, link.gateway, bytes(6), link.address)
    frame = ethernet(link.gateway_mac, b"\xff" * 6, ARP, word).ljust(_PADDED_FRAME, b"\0")
    packets.append(Packet(packets[-1].time + 5_000, frame))
    sealed = snaplen >= _ARP_FRAME + 4
    cut = [_cut_up(packet, snaplen) for packet in packets]
    parts = [part for parts, _, _ in cut for part in parts]
    if sealed:
        parts[-5] = parts[-5][:-4]
    return _Block(
        parts=parts,
        seconds=_Column.of([packet.time // _SECOND for packet in packets]),
        keys=_Column.of([key for _, key, _ in cut]),
        complements=_Column.of([complement for _, _, complement in cut]),
        times=[packet.time for packet in packets],
        ends=list(accumulate(_RECORD.size + min(len(packet.frame), snaplen) for packet in packets)),
        sealed=sealed,
        duration=packets[-1].time // _SECOND + 1,
    )


@attrs.frozen
class VirtualPcap:
    """A capture whose bytes are generated as they are read."""

    content: Blocks
    packets: int
    first: datetime  #: when the first packet was seen; if there is none, when one might have been
    last: datetime  #: when the last packet was seen


@attrs.frozen
class _Plan:
    """The whole blocks, the records of a further block, and the padding that make up a capture."""

    link: Link
    block: _Block
    snaplen: int
    second: int  #: since 1970, when the first block begins
    turn: int  #: of the first block
    count: int  #: whole blocks
    records: int  #: of the block after these, never all
    padding: int  #: bytes

    def made(self, index: int) -> bytes:
        """Return a block; the one after the whole blocks is the rest."""
        second, turn = self.second + index * self.block.duration, (self.turn + index) % TURNS
        if index < self.count:
            return self.block.made(second, turn, len(self.block.ends))
        time = second * _SECOND + self.block.times[self.records]
        padding = _padding(self.link, time, self.padding, self.snaplen)
        return b"".join([self.block.made(second, turn, self.records), *padding])

    def crc32(self, index: int) -> int:
        """Return the CRC-32 of a whole block."""
        return _SEALED_CRC32 if self.block.sealed else zlib.crc32(self.made(index))

    def pcap(self) -> VirtualPcap:
        """Return the capture."""
        paddings = -(-self.padding // _padding_sizes(self.snaplen)[1])
        before = self.count * len(self.block.ends) + self.records
        # Padding begins where another packet would have been.
        index, number = divmod(before if paddings else max(before - 1, 0), len(self.block.ends))
        last = index * self.block.duration * _SECOND + self.block.times[number]
        last += max(paddings - 1, 0) * _PADDING_EVERY
        tail_size = (self.block.ends[self.records - 1] if self.records else 0) + self.padding
        first = _EPOCH + timedelta(seconds=self.second)
        return VirtualPcap(
            content=Blocks(
                head=file_header(self.snaplen),
                block_size=self.block.ends[-1],
                count=self.count,
                tail_size=tail_size,
                block=self.made,
                block_crc32=self.crc32,
            ),
            packets=before + paddings,
            first=first,
            last=first + timedelta(microseconds=last),
        )


def virtual_pcap(size: int, *, snaplen: int, link: Link, seed: str, started: datetime, turn: int = 0) -> VirtualPcap:
    """Return a capture of exactly `size` bytes of a client's traffic.

    Packets are cut to `snaplen` bytes, and start at the first whole second that is not before `started` (aware).
    The same arguments give the same bytes; `seed` selects the traffic, and `turn` (from 0 to `TURNS` - 1) its ports
    and ids, at next to no cost.

    Raises `ValueError` if `size` is neither that of an empty capture nor at least `least_size(snaplen)`, or if
    `snaplen` is below 1.
    """
    if snaplen < 1:
        raise ValueError(f"packets can't be cut to {snaplen} bytes")
    body = size - _FILE.size
    least, _ = _padding_sizes(snaplen)
    if body < 0 or 0 < body < least:
        raise ValueError(f"a capture has {_FILE.size} bytes, or at least {_FILE.size + least}, not {size}")
    limit = _SMALLEST_LIMIT
    while limit < min(body, _BLOCK_BYTES):
        limit *= 2
    block = _block(link, seed, snaplen, limit)
    count, rest = divmod(body, block.ends[-1])
    if count and 0 < rest < least:
        count, rest = count - 1, rest + block.ends[-1]
    records = bisect_right(block.ends, rest)
    while records and 0 < rest - block.ends[records - 1] < least:
        records -= 1
    return _Plan(
        link=link,
        block=block,
        snaplen=snaplen,
        second=-((_EPOCH - started) // timedelta(seconds=1)),
        turn=turn,
        count=count,
        records=records,
        padding=rest - (block.ends[records - 1] if records else 0),
    ).pcap()
