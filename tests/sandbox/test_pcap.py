"""Captures, read here by a reader of their own, and by Wireshark's programs where these are installed."""

import re
import shutil
import struct
import subprocess
import zlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import attrs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_packets import LINK, parse

from dexcmd.sandbox.frames import ARP, SYN
from dexcmd.sandbox.pcap import TURNS, file_header, least_size, record, virtual_pcap

STARTED = datetime(2025, 5, 1, 12, 30, 0, 250_000, tzinfo=UTC)
WHOLE = 65_535


def capture(size, snaplen=160, **changes):
    return virtual_pcap(size, **{"snaplen": snaplen, "link": LINK, "seed": "a seed", "started": STARTED} | changes)


def bytes_of(pcap):
    return b"".join(pcap.content.read())


@attrs.frozen
class Record:
    time: datetime
    kept: bytes
    length: int


def records(data, snaplen):
    """Read a capture to its last byte."""
    assert struct.unpack("<IHHiIII", data[:24]) == (0xA1B2C3D4, 2, 4, 0, 0, snaplen, 1)
    found, at = [], 24
    while at < len(data):
        seconds, microseconds, kept, length = struct.unpack_from("<IIII", data, at)
        assert microseconds < 1_000_000
        assert kept <= min(snaplen, length)
        at += 16 + kept
        assert at <= len(data)
        time = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)
        found.append(Record(time, data[at - kept : at], length))
    return found


def test_file_header():
    assert file_header(160).hex() == "d4c3b2a1" + "0200" + "0400" + "0" * 16 + "a0000000" + "01000000"


def test_record():
    assert record(1_700_000_000_000_017, b"abcdef", 4) == struct.pack("<IIII", 1_700_000_000, 17, 4, 6) + b"abcd"
    assert record(17, b"abcdef", 6) == struct.pack("<IIII", 0, 17, 6, 6) + b"abcdef"


@given(st.integers(0, 400_000), st.sampled_from([1, 7, 20, 45, 46, 60, 99, 100, 160, 1500, WHOLE]))
@settings(deadline=None, max_examples=60)
def test_any_size_is_hit_by_whole_records(more, snaplen):
    size = least_size(snaplen) + more
    made = capture(size, snaplen)
    data = bytes_of(made)
    assert len(data) == made.content.size == size
    found = records(data, snaplen)
    assert made.packets == len(found)
    assert (made.first, made.last) == (found[0].time, found[-1].time)
    assert made.first == datetime(2025, 5, 1, 12, 30, 1, tzinfo=UTC)
    assert all(before.time <= after.time for before, after in pairwise(found))
    if snaplen >= 100:
        assert all(len(each.kept) == min(each.length, snaplen) for each in found)
    assert made.content.crc32() == zlib.crc32(data)


@pytest.mark.parametrize("snaplen", [30, 46, 160, WHOLE])
def test_any_size_is_hit_where_a_block_ends(snaplen):
    block = capture(1 << 20, snaplen).content.block_size
    for more in (-30, -1, 0, 1, 16, 30, 31, 57, 58, 59, 75):
        size = 24 + block + more
        data = bytes_of(capture(size, snaplen))
        assert len(data) == size
        assert records(data, snaplen)


@pytest.mark.parametrize(
    ("size", "snaplen", "message"),
    [
        (0, 160, "24 bytes, or at least 82, not 0"),
        (25, 160, "24 bytes, or at least 82, not 25"),
        (81, 160, "24 bytes, or at least 82, not 81"),
        (1000, 0, "cut to 0 bytes"),
    ],
)
def test_what_no_capture_can_be(size, snaplen, message):
    with pytest.raises(ValueError, match=message):
        capture(size, snaplen)


def test_an_empty_capture():
    made = capture(24)
    assert bytes_of(made) == file_header(160)
    assert made.packets == 0
    assert made.first == made.last


def test_a_capture_that_ends_with_its_block():
    block = capture(3 << 20).content.block_size
    made = capture(24 + 3 * block)
    data = bytes_of(made)
    assert made.content.tail_size == 0
    assert made.last == records(data, 160)[-1].time
    assert made.content.crc32() == zlib.crc32(data)


@pytest.mark.parametrize("snaplen", [30, 160, WHOLE])
@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_any_range_is_the_slice_of_the_whole(snaplen, data):
    size = 3_000_000
    whole = WHOLES.setdefault(snaplen, bytes_of(capture(size, snaplen)))
    start = data.draw(st.integers(0, size))
    stop = data.draw(st.integers(start, size))
    pieces = list(capture(size, snaplen).content.read(start, stop))
    assert b"".join(pieces) == whole[start:stop]
    assert all(0 < len(piece) <= 256 * 1024 for piece in pieces)


WHOLES = {}


@pytest.mark.parametrize("turn", [0, TURNS - 2])
def test_repeated_blocks_are_well_formed_and_other_connections(turn):
    found = records(bytes_of(capture(4_000_000, WHOLE, turn=turn)), WHOLE)
    parsed = [parse(each.kept) for each in found if each.kept[12:14] != struct.pack(">H", ARP)]
    opened = Counter((each.source, each.target, each.ports) for each in parsed if each.flags == SYN)
    assert len(opened) > 60
    assert set(opened.values()) == {1}


@given(st.integers(0, TURNS - 1), st.integers(0, TURNS - 1))
@settings(deadline=None, max_examples=20)
def test_another_turn_is_other_bytes_of_the_same_traffic(one, other):
    assume(one != other)
    first, second = (records(bytes_of(capture(20_000, turn=turn)), 160) for turn in (one, other))
    assert [each.time for each in first] == [each.time for each in second]
    assert sum(a != b for a, b in zip(first, second, strict=True)) > len(first) * 0.9


def test_the_same_arguments_give_the_same_bytes_and_another_seed_others():
    assert bytes_of(capture(5000)) == bytes_of(capture(5000)) != bytes_of(capture(5000, seed="another"))


def test_a_start_in_another_zone_is_the_same_moment():
    assert bytes_of(capture(5000, started=STARTED.astimezone())) == bytes_of(capture(5000))


def test_gigabytes_cost_nothing_until_they_are_read():
    made = capture(40 << 30)
    (last,) = made.content.read((40 << 30) - 100)
    assert len(last) == 100
    assert made.packets > 10**8


needs_wireshark = pytest.mark.skipif(
    not (shutil.which("tshark") and shutil.which("capinfos")),
    reason="tshark and capinfos (Wireshark) are not installed",
)
WRONG = " || ".join(
    [
        "ip.checksum.status==0",
        "tcp.checksum.status==0",
        "udp.checksum.status==0",
        "icmp.checksum.status==0",
        "_ws.malformed",
        "tcp.analysis.flags",
    ]
)


OF_ITSELF = re.compile(r"Running as user|\[GLib CRITICAL\]")


def run(*command):
    """Return what a program prints; it must not complain about anything but its user.

    What GLib complains about is the program's own code: capinfos of Wireshark 4.6 makes it do so for every file.
    """
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    complaints = [line for line in done.stderr.splitlines() if not OF_ITSELF.search(line)]
    assert complaints == []
    return done.stdout


@needs_wireshark
@pytest.mark.parametrize("snaplen", [160, WHOLE])
@pytest.mark.parametrize("size", [82, 30_001, 20 << 20])
def test_wireshark_has_nothing_to_complain_about(tmp_path, size, snaplen):
    file = tmp_path / "capture.pcap"
    made = capture(size, snaplen, turn=TURNS - 5)
    with file.open("wb") as opened:
        opened.writelines(made.content.read())
    facts = run("capinfos", "-TrcoM", str(file)).split()
    assert facts[1:] == [str(made.packets), "True"]
    checks = [part for name in ("ip", "tcp", "udp") for part in ("-o", f"{name}.check_checksum:TRUE")]
    assert run("tshark", "-n", "-r", str(file), *checks, "-Y", WRONG) == ""


@needs_wireshark
def test_wireshark_sees_what_is_meant(tmp_path):
    file = tmp_path / "capture.pcap"
    file.write_bytes(bytes_of(capture(2_000_000, WHOLE)))
    hierarchy = run("tshark", "-n", "-r", str(file), "-q", "-z", "io,phs").split()
    assert {"arp", "ip", "ipv6", "icmp", "udp", "dns", "wg", "tcp", "http"} <= set(hierarchy)
    codes = run("tshark", "-n", "-r", str(file), "-Y", "http.response", "-T", "fields", "-e", "http.response.code")
    assert Counter(codes.split()).keys() == {"200", "201"}
