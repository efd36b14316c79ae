"""Well-formed network frames, layer by layer, with correct lengths and checksums."""

# Pure.  Addresses are packed bytes (4 of IPv4, 16 of IPv6, 6 of a MAC), ports and ids are ints.

import struct
from ipaddress import ip_address

__all__ = [
    "ACK",
    "ARP",
    "FIN",
    "ICMP",
    "IPV4",
    "IPV6",
    "PSH",
    "SYN",
    "TCP",
    "UDP",
    "arp",
    "checksum",
    "dns_answer",
    "dns_query",
    "ethernet",
    "icmp_echo",
    "ip",
    "mac",
    "packed",
    "tcp",
    "udp",
]

FIN, SYN, PSH, ACK = 0x01, 0x02, 0x08, 0x10  #: flags of TCP
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD  #: kinds of Ethernet frames
ICMP, TCP, UDP = 1, 6, 17  #: protocols of IP


def packed(address: str) -> bytes:
    """Return an IPv4 or IPv6 address as bytes.  Raises `ValueError` for anything else."""
    return ip_address(address).packed


def mac(number: int) -> bytes:
    """Return a locally administered unicast MAC address; `number` is below 2**40."""
    return b"\x02" + number.to_bytes(5, "big")


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of `data`; an odd last byte counts as if a zero followed."""
    # 2**16 is 1 modulo 65535: the remainder of the whole is the sum of its 16-bit words with carries folded.
    number = int.from_bytes(data, "big") << 8 * (len(data) % 2)
    folded = number % 0xFFFF
    return 0xFFFF - folded if folded or not number else 0


def ethernet(source: bytes, target: bytes, kind: int, payload: bytes) -> bytes:
    """Return an Ethernet II frame, without padding and without the frame check sequence."""
    return target + source + kind.to_bytes(2, "big") + payload


def arp(operation: int, source_mac: bytes, source: bytes, target_mac: bytes, target: bytes) -> bytes:
    """Return an ARP message for IPv4 over Ethernet: `operation` 1 asks, 2 answers."""
    return struct.pack(">HHBBH6s4s6s4s", 1, IPV4, 6, 4, operation, source_mac, source, target_mac, target)


def ip(source: bytes, target: bytes, protocol: int, payload: bytes, ident: int = 0) -> bytes:
    """Return an IPv4 or IPv6 packet (depending on the length of the addresses) that must not be fragmented.

    `ident` is IPv4's identification; in a packet that is never fragmented it may repeat (RFC 6864).
    """
    if len(source) == 16:
        return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + source + target + payload
    fields = (0x45, 0, 20 + len(payload), ident, 0x4000, 64, protocol)
    header = struct.pack(">BBHHHBBH4s4s", *fields, 0, source, target)
    return struct.pack(">BBHHHBBH4s4s", *fields, checksum(header), source, target) + payload


def _transport_checksum(source: bytes, target: bytes, protocol: int, segment: bytes) -> int:
    # The pseudo headers of IPv4 and IPv6 are laid out differently but have the same sum.
    return checksum(source + target + struct.pack(">HH", protocol, len(segment)) + segment)


def udp(source: bytes, target: bytes, source_port: int, target_port: int, payload: bytes) -> bytes:
    """Return a UDP datagram, to be put into `ip` with protocol 17."""
    header = struct.pack(">HHH", source_port, target_port, 8 + len(payload))
    # A checksum of 0 would mean "no checksum", so the other zero of ones' complement is sent instead.
    check = _transport_checksum(source, target, UDP, header + b"\0\0" + payload) or 0xFFFF
    return header + check.to_bytes(2, "big") + payload


def tcp(
    source: bytes,
    target: bytes,
    source_port: int,
    target_port: int,
    *,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    options: bytes = b"",
    payload: bytes = b"",
) -> bytes:
    """Return a TCP segment, to be put into `ip` with protocol 6; the length of `options` is a multiple of 4."""
    offset = (20 + len(options)) // 4 << 4
    header = struct.pack(">HHIIBBH", source_port, target_port, seq, ack, offset, flags, window)
    rest = b"\0\0" + options + payload
    check = _transport_checksum(source, target, TCP, header + b"\0\0" + rest)
    return header + check.to_bytes(2, "big") + rest


def icmp_echo(kind: int, ident: int, sequence: int, payload: bytes) -> bytes:
    """Return an ICMP echo request (`kind` 8) or reply (0), to be put into `ip` with protocol 1."""
    check = checksum(struct.pack(">BBHHH", kind, 0, 0, ident, sequence) + payload)
    return struct.pack(">BBHHH", kind, 0, check, ident, sequence) + payload


def _question(name: str, record: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return labels + b"\0" + struct.pack(">HH", record, 1)


def dns_query(ident: int, name: str, record: int) -> bytes:
    """Return a DNS question for a `record` type (1 is A, 28 AAAA), to be put into `udp` towards port 53."""
    return struct.pack(">HHHHHH", ident, 0x0100, 1, 0, 0, 0) + _question(name, record)


def dns_answer(ident: int, name: str, record: int, address: bytes, seconds: int = 300) -> bytes:
    """Return the DNS answer to `dns_query`: one address, with a TTL of `seconds`."""
    header = struct.pack(">HHHHHH", ident, 0x8180, 1, 1, 0, 0)
    answer = struct.pack(">HHHIH", 0xC00C, record, 1, seconds, len(address)) + address
    return header + _question(name, record) + answer
