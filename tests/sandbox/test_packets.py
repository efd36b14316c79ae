"""Frames are taken apart here by other means than they are made with."""

import struct
from array import array
from itertools import islice, pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexcmd.sandbox.dice import Dice
from dexcmd.sandbox.frames import (
    ACK,
    ARP,
    FIN,
    IPV4,
    IPV6,
    SYN,
    arp,
    checksum,
    dns_answer,
    dns_query,
    ethernet,
    icmp_echo,
    ip,
    mac,
    packed,
    tcp,
    udp,
)
from dexcmd.sandbox.traffic import Link, traffic

LINK = Link(
    mac=mac(7),
    gateway_mac=mac(8),
    address=packed("10.20.0.7"),
    address6=packed("2001:db8:7::7"),
    gateway=packed("10.20.0.1"),
    resolver=packed("10.20.0.53"),
    tunnel=packed("192.0.2.9"),
)


def ones_sum(data):
    """Add 16-bit words with end-around carry, the slow and obvious way."""
    words = array("H", data + b"\0" * (len(data) % 2))
    words.byteswap()
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@attrs.frozen
class Parsed:
    kind: int
    source: bytes = b""
    target: bytes = b""
    protocol: int = 0
    ports: tuple[int, int] = (0, 0)
    seq: int = 0
    ack: int = 0
    flags: int = 0
    window: int = 0
    payload: bytes = b""


def parse(frame):
    """Take a whole frame apart; every length and checksum in it is asserted."""
    (kind,) = struct.unpack(">H", frame[12:14])
    body = frame[14:]
    if kind == ARP:
        assert body[:6] == bytes.fromhex("000108000604")
        return Parsed(kind, body[14:18], body[24:28], payload=body)
    if kind == IPV4:
        assert body[0] == 0x45
        assert struct.unpack(">H", body[2:4]) == (len(body),)
        assert ones_sum(body[:20]) == 0xFFFF
        protocol, source, target, segment = body[9], body[12:16], body[16:20], body[20:]
    else:
        assert kind == IPV6
        assert body[0] == 0x60
        assert struct.unpack(">H", body[4:6]) == (len(body) - 40,)
        protocol, source, target, segment = body[6], body[8:24], body[24:40], body[40:]
    pseudo = source + target + struct.pack(">IBBBB", len(segment), 0, 0, 0, protocol)
    if protocol == 1:
        assert ones_sum(segment) == 0xFFFF
        return Parsed(kind, source, target, protocol, payload=segment)
    assert ones_sum(pseudo + segment) == 0xFFFF
    ports = struct.unpack(">HH", segment[:4])
    if protocol == 17:
        assert struct.unpack(">H", segment[4:6]) == (len(segment),)
        assert segment[6:8] != b"\0\0"
        return Parsed(kind, source, target, protocol, ports, payload=segment[8:])
    assert protocol == 6
    seq, ack, offset, flags, window = struct.unpack(">IIBBH", segment[4:16])
    payload = segment[(offset >> 4) * 4 :]
    return Parsed(kind, source, target, protocol, ports, seq, ack, flags, window, payload)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("", 0xFFFF),
        ("0000", 0xFFFF),
        ("ffff", 0),
        ("ffffffff", 0),
        ("0001f203f4f5f6f7", 0x220D),  # the example of RFC 1071
        ("4500003c1c4640004006" + "0000" + "ac100a63ac100a0c", 0xB1E6),
        ("01", 0xFEFF),
    ],
)
def test_checksum(data, expected):
    assert checksum(bytes.fromhex(data)) == expected


@given(st.binary(max_size=200))
def test_checksum_is_the_ones_complement_of_the_sum(data):
    assert checksum(data) == 0xFFFF - ones_sum(data)


addresses = st.one_of(
    st.tuples(st.binary(min_size=4, max_size=4), st.binary(min_size=4, max_size=4)),
    st.tuples(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16)),
)
word = st.integers(0, 0xFFFF)


def framed(source, target, protocol, segment, ident=0):
    kind = IPV6 if len(source) == 16 else IPV4
    return ethernet(mac(1), mac(2), kind, ip(source, target, protocol, segment, ident))


@given(addresses, word, word, st.binary(max_size=1500), word)
def test_udp_is_well_formed(ends, source_port, target_port, payload, ident):
    segment = udp(*ends, source_port, target_port, payload)
    parsed = parse(framed(*ends, 17, segment, ident))
    assert (parsed.source, parsed.target) == ends
    assert parsed.ports == (source_port, target_port)
    assert parsed.payload == payload


@given(
    addresses,
    word,
    st.integers(0, 2**32 - 1),
    st.integers(0, 255),
    st.integers(0, 10),
    st.binary(max_size=1500),
)
def test_tcp_is_well_formed(ends, port, seq, flags, options, payload):
    segment = tcp(
        *ends, port, 80, seq=seq, ack=7, flags=flags, window=9, options=b"\x01" * 4 * options, payload=payload
    )
    parsed = parse(framed(*ends, 6, segment))
    assert parsed == Parsed(parsed.kind, *ends, 6, (port, 80), seq, 7, flags, 9, payload)


def test_a_udp_checksum_is_never_the_zero_that_means_none():
    ends = packed("192.0.2.1"), packed("192.0.2.2")
    rest = udp(*ends, 1, 2, b"\0\0")[6:8]
    assert udp(*ends, 1, 2, rest)[6:8] == b"\xff\xff"


@given(word, word, st.binary(max_size=100))
def test_icmp_echo_is_well_formed(ident, sequence, payload):
    echo = icmp_echo(8, ident, sequence, payload)
    assert parse(framed(packed("192.0.2.1"), packed("192.0.2.2"), 1, echo)).payload == echo
    assert echo[:2] == b"\x08\x00"
    assert echo[4:] == struct.pack(">HH", ident, sequence) + payload


def test_dns():
    question = bytes.fromhex("03777777076578616d706c6503636f6d00" + "0001" + "0001")
    assert dns_query(0xABCD, "www.example.com", 1) == bytes.fromhex("abcd01000001000000000000") + question
    assert dns_answer(0xABCD, "www.example.com", 1, packed("192.0.2.1"), seconds=60) == (
        bytes.fromhex("abcd81800001000100000000") + question + bytes.fromhex("c00c000100010000003c0004c0000201")
    )


def test_arp_and_ethernet():
    message = arp(1, mac(1), packed("192.0.2.1"), bytes(6), packed("192.0.2.2"))
    assert ethernet(mac(1), b"\xff" * 6, ARP, message).hex() == (
        "ffffffffffff" + "020000000001" + "0806"
        "0001080006040001" + "020000000001" + "c0000201" + "000000000000" + "c0000202"
    )  # fmt: skip


def test_dice_are_the_same_for_ever():
    dice = Dice.of("a", 1)
    assert [dice.below(1000) for _ in range(5)] == [261, 578, 685, 745, 206]
    assert Dice.of("a1") != Dice.of("a", 1)


@given(st.integers(0, 2**64), st.integers(-5, 5), st.integers(0, 5))
def test_dice_stay_between_their_bounds(state, low, more):
    dice = Dice(state)
    assert all(low <= dice.between(low, low + more) <= low + more for _ in range(20))


def flat(conversations):
    return [packet for conversation in conversations for packet in conversation]


@pytest.fixture(scope="module")
def conversations():
    return list(islice(traffic(LINK, "a seed"), 150))


def test_traffic_follows_from_its_seed(conversations):
    assert list(islice(traffic(LINK, "a seed"), 20)) == conversations[:20]
    assert list(islice(traffic(LINK, "another"), 20)) != conversations[:20]


def test_traffic_goes_forward_in_time(conversations):
    packets = flat(conversations)
    assert packets[0].time == 0
    assert all(before.time <= after.time for before, after in pairwise(packets))


def test_traffic_is_well_formed_and_of_many_kinds(conversations):
    parsed = [parse(packet.frame) for packet in flat(conversations)]
    assert {each.kind for each in parsed} == {ARP, IPV4, IPV6}
    assert {each.protocol for each in parsed} == {0, 1, 6, 17}
    peers = {(each.target, each.ports[1]) for each in parsed if each.protocol == 17}
    assert (LINK.resolver, 53) in peers
    assert (LINK.tunnel, 2408) in peers


def test_frames_fit_into_ethernet_and_name_their_ends(conversations):
    frames = [packet.frame for packet in flat(conversations)]
    assert max(map(len, frames)) == 1514
    assert {frame[6:12] for frame in frames} == {LINK.mac, LINK.gateway_mac}
    assert all(address[0] & 3 == 2 for address in (LINK.mac, LINK.gateway_mac))


def test_without_a_tunnel_there_is_none_in_the_traffic():
    packets = flat(islice(traffic(attrs.evolve(LINK, tunnel=None), "a seed"), 60))
    assert all(2408 not in parse(packet.frame).ports for packet in packets)


@pytest.mark.parametrize("step", [1, 4711, 32767])
def test_counting_key_and_complement_keeps_the_checksums(conversations, step):
    for packet in flat(conversations[:40]):
        if packet.key is None:
            assert struct.unpack(">H", packet.frame[12:14]) == (ARP,)
            continue
        frame = bytearray(packet.frame)
        for at, change in ((packet.key, step), (packet.complement, -step)):
            struct.pack_into(">H", frame, at, struct.unpack_from(">H", frame, at)[0] + change)
        before, after = parse(packet.frame), parse(bytes(frame))
        assert before != after
        if before.protocol == 6:
            outbound = before.source in (LINK.address, LINK.address6)
            client = 0 if outbound else 1
            assert after.ports[client] == before.ports[client] + step
            assert after.ports[1 - client] == before.ports[1 - client]
            assert after.window == before.window - step
            assert after.window > 0x4000


def test_every_connection_counts_its_bytes_and_ends(conversations):
    opened = set()
    for conversation in conversations:
        segments = [each for packet in conversation if (each := parse(packet.frame)).protocol == 6]
        if not segments:
            continue
        assert [each.flags for each in segments[:3]] == [SYN, SYN | ACK, ACK]
        opened.add((segments[0].target, segments[0].ports[1]))
        following = {segments[0].source: segments[0].seq, segments[0].target: segments[1].seq}
        sent = dict.fromkeys(following, b"")
        for each in segments:
            assert each.seq == following[each.source]
            following[each.source] += len(each.payload) + bool(each.flags & (SYN | FIN))
            sent[each.source] += each.payload
            if each.flags & ACK:
                assert each.ack == following[each.target]
        assert sum(bool(each.flags & FIN) for each in segments) == 2
        for message in sent.values():
            head, body = message.split(b"\r\n\r\n", 1)
            assert head.startswith((b"GET /", b"PUT /", b"HTTP/1.1 20"))
            length = [line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")]
            assert len(body) == (int(length[0].split()[1]) if length else 0)
    assert len(opened) == sum(parse(packet.frame).flags == SYN for packet in flat(conversations))


def test_dns_answers_name_the_server_that_is_then_opened(conversations):
    answers = {
        each.payload[-len(end) :]
        for packet in flat(conversations)
        if (each := parse(packet.frame)).ports[0] == 53
        for end in (each.payload[-4:], each.payload[-16:])
    }
    opened = [each.target for packet in flat(conversations) if (each := parse(packet.frame)).flags == SYN]
    assert opened
    assert all(target in answers for target in opened)
