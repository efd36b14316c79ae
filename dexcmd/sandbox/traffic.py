"""The plausible traffic of one client: an endless sequence of conversations, packet by packet."""

# Pure.  TCP's bookkeeping is correct, like the frames themselves: an analyser finds nothing to complain about.

import hashlib
from collections.abc import Iterator

import attrs

from dexcmd.sandbox.dice import Dice
from dexcmd.sandbox.frames import (
    ACK,
    ARP,
    FIN,
    ICMP,
    IPV4,
    IPV6,
    PSH,
    SYN,
    TCP,
    UDP,
    arp,
    dns_answer,
    dns_query,
    ethernet,
    icmp_echo,
    ip,
    packed,
    tcp,
    udp,
)

__all__ = ["Link", "Packet", "traffic"]

_BROADCAST = b"\xff" * 6
# Maximum segment size, two fillers, SACK permitted, a filler, the window scale.
_SYN_OPTIONS = "0204{:04x}01010402010303{:02x}"
_WINDOW_SHIFT = 8
_BODY_LINE = b"All work and no play makes for a dull packet capture, 64 bytes.\n"

# A field that counts up starts in the second quarter of the 16-bit range, one that counts down in the last: within
# 32768 steps neither wraps, client ports stay above the servers', and windows never get small.
_KEY_BASE, _KEY_RANGE = 0x4000, 0x4000
_COMPLEMENT_BASE, _COMPLEMENT_RANGE = 0xC000, 0x4000


@attrs.frozen
class Packet:
    """A frame, the time it was seen, and how it can be varied without changing its checksums.

    A repetition of the same traffic adds n to the big-endian 16-bit field at `key` (a client's port, an id) and
    subtracts n from the one at `complement` (a window, another id).  The checksum over both stays valid.
    """

    time: int  #: microseconds since the traffic began
    frame: bytes
    key: int | None = None  #: offset in the frame; up to 32767 may be added there
    complement: int | None = None  #: offset in the frame, after `key`; up to 32767 may be subtracted there


@attrs.frozen
class Link:
    """A client's network interface and its neighbours."""

    mac: bytes
    gateway_mac: bytes
    address: bytes  #: of the client, IPv4
    address6: bytes  #: of the client, IPv6
    gateway: bytes  #: answers ARP and pings, IPv4
    resolver: bytes  #: answers DNS, IPv4
    tunnel: bytes | None = None  #: the other end of a WireGuard tunnel that runs over this link, IPv4


def _server(number: int, six: bool) -> tuple[bytes, int]:
    """Return address and port of the n-th server; the first 1016 are distinct, and with IPv6 all are."""
    if six:
        return packed("2001:db8:80::")[:12] + (number + 1).to_bytes(4, "big"), 80
    network = ("198.51.100.0", "203.0.113.0")[number // 254 % 2]
    return packed(network)[:3] + bytes([number % 254 + 1]), (80, 8080)[number // 508 % 2]


@attrs.define
class _Wire:
    """The packets seen on a link so far in one conversation."""

    link: Link
    dice: Dice
    time: int
    packets: list[Packet] = attrs.field(factory=list[Packet])

    def wait(self, low: int, high: int) -> None:
        """Advance the time by a random number of microseconds."""
        self.time += self.dice.between(low, high)

    def key(self) -> int:
        """Return a number that may be incremented."""
        return _KEY_BASE + self.dice.below(_KEY_RANGE)

    def complement(self) -> int:
        """Return a number that may be decremented."""
        return _COMPLEMENT_BASE + self.dice.below(_COMPLEMENT_RANGE)

    def see(
        self, outbound: bool, kind: int, payload: bytes, key: int | None = None, complement: int | None = None
    ) -> None:
        """Record a frame between the client and its gateway; offsets are relative to the start of `payload`."""
        ends = (self.link.mac, self.link.gateway_mac)
        source, target = ends if outbound else reversed(ends)
        frame = ethernet(source, target, kind, payload)
        if key is None or complement is None:
            self.packets.append(Packet(self.time, frame))
        else:
            self.packets.append(Packet(self.time, frame, 14 + key, 14 + complement))

    def datagram(
        self, outbound: bool, peer: bytes, ports: tuple[int, int], payload: bytes, key: int, complement: int
    ) -> None:
        """Record a UDP datagram; `ports` are the client's and the peer's, offsets are relative to its UDP header."""
        source, target = (self.link.address, peer) if outbound else (peer, self.link.address)
        source_port, target_port = ports if outbound else reversed(ports)
        segment = udp(source, target, source_port, target_port, payload)
        packet = ip(source, target, UDP, segment, self.dice.below(65536))
        self.see(outbound, IPV4, packet, 20 + key, 20 + complement)


@attrs.define
class _Connection:
    """One TCP connection of the client."""

    wire: _Wire
    peer: bytes
    peer_port: int
    port: int
    window: int
    sent: int  #: the client's next sequence number
    received: int  #: the server's next sequence number
    rtt: int  #: microseconds

    @classmethod
    def to(cls, wire: _Wire, peer: bytes, port: int) -> "_Connection":
        dice = wire.dice
        numbers = dice.below(2**31), dice.below(2**31)
        return cls(wire, peer, port, wire.key(), wire.complement(), *numbers, dice.between(4_000, 40_000))

    def segment(self, outbound: bool, flags: int, payload: bytes = b"", options: bytes = b"") -> None:
        """Send one segment and advance the sequence numbers."""
        wire, six = self.wire, len(self.peer) == 16
        mine = wire.link.address6 if six else wire.link.address
        ends, ports, counters = (mine, self.peer), (self.port, self.peer_port), (self.sent, self.received)
        source, target = ends if outbound else reversed(ends)
        source_port, target_port = ports if outbound else reversed(ports)
        seq, ack = counters if outbound else reversed(counters)
        segment = tcp(
            source,
            target,
            source_port,
            target_port,
            seq=seq,
            ack=ack if flags & ACK else 0,
            flags=flags,
            window=self.window,
            options=options,
            payload=payload,
        )
        packet = ip(source, target, TCP, segment, wire.dice.below(65536))
        header = 40 if six else 20
        # The window decreases as the client's port increases.
        wire.see(outbound, IPV6 if six else IPV4, packet, header + (0 if outbound else 2), header + 14)
        counted = len(payload) + (1 if flags & (SYN | FIN) else 0)
        if outbound:
            self.sent += counted
        else:
            self.received += counted

    def open(self) -> None:
        size = 1440 if len(self.peer) == 16 else 1460
        options = bytes.fromhex(_SYN_OPTIONS.format(size, _WINDOW_SHIFT))
        self.segment(True, SYN, options=options)
        self.wire.wait(self.rtt, self.rtt + 2_000)
        self.segment(False, SYN | ACK, options=options)
        self.wire.wait(20, 200)
        self.segment(True, ACK)

    def stream(self, outbound: bool, data: bytes) -> None:
        """Send a message of any size; the peer acknowledges every second segment and the last one."""
        size = 1440 if len(self.peer) == 16 else 1460
        starts = range(0, len(data), size)
        for number, start in enumerate(starts):
            last = number == len(starts) - 1
            self.wire.wait(12, 180)
            self.segment(outbound, ACK | PSH if last else ACK, data[start : start + size])
            if last or number % 2:
                self.wire.wait(12, 60)
                self.segment(not outbound, ACK)

    def close(self) -> None:
        """Close from the server's side, as after `Connection: close`."""
        self.wire.wait(100, 900)
        self.segment(False, FIN | ACK)
        self.wire.wait(20, 200)
        self.segment(True, ACK)
        self.wire.wait(50, 3_000)
        self.segment(True, FIN | ACK)
        self.wire.wait(self.rtt, self.rtt + 2_000)
        self.segment(False, ACK)


def _resolve(wire: _Wire, name: str, number: int) -> None:
    """Look up both kinds of addresses of a server."""
    for record, six in ((1, False), (28, True)):
        ports, ident = (wire.key(), 53), wire.complement()
        address, _ = _server(number, six)
        wire.datagram(True, wire.link.resolver, ports, dns_query(ident, name, record), 0, 8)
        wire.wait(1_500, 18_000)
        wire.datagram(False, wire.link.resolver, ports, dns_answer(ident, name, record, address), 2, 8)
        wire.wait(50, 400)


def _fetch(wire: _Wire, number: int) -> None:
    """Resolve a name, then GET a page from the server or PUT one there, over plain HTTP."""
    dice, name = wire.dice, f"www{number}.example.com"
    _resolve(wire, name, number)
    size = dice.between(*((200, 4_000), (4_000, 40_000), (40_000, 120_000))[dice.below(3)])
    body = (_BODY_LINE * (size // len(_BODY_LINE) + 1))[:size]
    described = f"Content-Type: text/plain\r\nContent-Length: {size}\r\n"
    ended = "Connection: close\r\n\r\n"
    connection = _Connection.to(wire, *_server(number, six=dice.below(4) == 0))
    connection.open()
    if dice.below(5):
        request = f"GET /pages/{dice.below(1000)}.txt HTTP/1.1\r\nHost: {name}\r\n{ended}".encode()
        response = f"HTTP/1.1 200 OK\r\n{described}{ended}".encode() + body
    else:
        start = f"PUT /pages/{dice.below(1000)}.txt HTTP/1.1\r\nHost: {name}\r\n"
        request = f"{start}{described}{ended}".encode() + body
        response = f"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n{ended}".encode()
    connection.stream(True, request)
    wire.wait(connection.rtt, connection.rtt + 60_000)
    connection.stream(False, response)
    connection.close()


def _ping(wire: _Wire) -> None:
    """Ping the gateway a few times."""
    link, ident, mark = wire.link, wire.key(), wire.complement()
    payload = mark.to_bytes(2, "big") + bytes(range(16, 70))
    for sequence in range(1, wire.dice.between(2, 4)):
        for outbound, kind in ((True, 8), (False, 0)):
            source, target = (link.address, link.gateway) if outbound else (link.gateway, link.address)
            echo = icmp_echo(kind, ident, sequence, payload)
            wire.see(outbound, IPV4, ip(source, target, ICMP, echo, wire.dice.below(65536)), 24, 28)
            wire.wait(800, 9_000)
        wire.wait(990_000, 1_000_000)


def _tunnel(wire: _Wire, peer: bytes) -> None:
    """Exchange WireGuard transport messages: receiver index, counter, and noise that looks encrypted."""
    for _ in range(wire.dice.between(4, 16)):
        outbound = wire.dice.below(3) == 0
        counter = wire.dice.below(65536).to_bytes(2, "little") + wire.key().to_bytes(2, "big") + bytes(4)
        noise = hashlib.sha256(counter).digest() * wire.dice.between(1, 42)
        sealed = wire.complement().to_bytes(2, "big") + noise[2:]
        message = b"\x04\0\0\0" + (b"\x00\x5a\x17\xc0" if outbound else b"\x00\x3b\x02\xd1") + counter + sealed
        wire.datagram(outbound, peer, (51820, 2408), message, 18, 24)
        wire.wait(300, 12_000)


def _neighbour(wire: _Wire) -> None:
    """Ask for the gateway's MAC address."""
    link = wire.link
    question = arp(1, link.mac, link.address, bytes(6), link.gateway)
    wire.packets.append(Packet(wire.time, ethernet(link.mac, _BROADCAST, ARP, question)))
    wire.wait(200, 2_000)
    wire.see(False, ARP, arp(2, link.gateway_mac, link.gateway, link.mac, link.address))


def traffic(link: Link, seed: str) -> Iterator[list[Packet]]:
    """Yield the client's conversations endlessly, one after the other, each a list of packets.

    Times increase throughout.  No two of the first 1016 TCP connections share the server's address and port,
    so that varying the client's ports never makes one connection look like another.
    """
    dice = Dice.of("traffic", seed)
    time = fetched = 0
    while True:
        wire = _Wire(link, dice, time)
        event = dice.below(10)
        if event == 0:
            _neighbour(wire)
        elif event == 1:
            _ping(wire)
        elif event < 4 and link.tunnel is not None:
            _tunnel(wire, link.tunnel)
        else:
            _fetch(wire, fetched)
            fetched += 1
        wire.wait(20_000, 400_000)
        time = wire.time
        yield wire.packets
