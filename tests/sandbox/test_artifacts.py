"""What the sandbox's commands leave behind."""

import io
import json
import re
import zipfile
import zlib
from datetime import UTC, datetime, timedelta, timezone

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_pcap import records

from dexcmd.sandbox.artifacts import ArtifactSpec, build_artifact
from tests.heap import measured_heap
from tests.sandbox.opened import Opened

TYPES = ["pcap", "warp-diag", "speed-test"]
PLATFORMS = ["windows", "mac", "linux", "ios", "android", "chromeos"]
MIB = 1 << 20

SPEC = ArtifactSpec(
    command_id="5f0c1d6e-6f3b-4b58-9d51-1c1f1a2b3c4d",
    command_type="pcap",
    device_name="LON-LAPTOP-0001",
    user_email="ada@example.com",
    platform="linux",
    version="2025.4.929.0",
    args={},
    created=datetime(2025, 5, 1, 12, 34, 56, 789_012, tzinfo=UTC),
)


def build(command_type="pcap", **changes):
    return build_artifact(attrs.evolve(SPEC, command_type=command_type, **changes))


def bytes_of(artifact, start=0, stop=None):
    return b"".join(artifact.read(start, stop))


def files(artifact):
    """Return what is in an artifact, everything checked."""
    with zipfile.ZipFile(io.BytesIO(bytes_of(artifact))) as opened:
        assert opened.testzip() is None
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.mark.parametrize("command_type", TYPES)
def test_what_the_service_tells_about_it(command_type):
    artifact = build(command_type)
    assert artifact.content_type == "application/zip"
    assert re.fullmatch('"[0-9a-f]{32}"', artifact.etag)
    assert artifact.last_modified == datetime(2025, 5, 1, 12, 34, 56, tzinfo=UTC)
    assert artifact.size == len(bytes_of(artifact))
    assert "Archive" not in repr(artifact)


@pytest.mark.parametrize(
    ("command_type", "smallest", "largest"),
    [("pcap", 20, 200), ("warp-diag", 100, 400), ("speed-test", 2, 10)],
)
def test_a_size_is_chosen_where_none_is_wanted(command_type, smallest, largest):
    sizes = {build(command_type, command_id=f"command {number}").size for number in range(12)}
    assert len(sizes) > 6
    assert all(smallest * 1024 <= size <= largest * 1024 for size in sizes)


@pytest.mark.parametrize("command_type", TYPES)
@given(size=st.integers(2048, 700_000), platform=st.sampled_from(PLATFORMS), revision=st.integers(0, 3))
@settings(deadline=None, max_examples=25)
def test_any_size_is_hit(command_type, size, platform, revision):
    artifact = build(command_type, size=size, platform=platform, revision=revision)
    assert artifact.size == size == len(bytes_of(artifact))
    assert files(artifact)


@pytest.mark.parametrize("command_type", TYPES)
def test_a_size_that_is_too_small(command_type):
    with pytest.raises(ValueError, match=r"at least \d+ bytes, not 100$") as caught:
        build(command_type, size=100)
    (least,) = re.findall(r"least (\d+)", str(caught.value))
    assert int(least) < 2048
    assert files(build(command_type, size=int(least)))
    with pytest.raises(ValueError, match=f"at least {least} bytes"):
        build(command_type, size=int(least) - 1)


@pytest.mark.parametrize("command_type", TYPES)
@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_any_range_is_the_slice_of_the_whole(command_type, data):
    size = 2_500_000
    whole = WHOLES.setdefault(command_type, bytes_of(build(command_type, size=size)))
    start = data.draw(st.integers(0, size))
    stop = data.draw(st.integers(start, size))
    pieces = list(build(command_type, size=size).read(start, stop))
    assert b"".join(pieces) == whole[start:stop]
    assert all(0 < len(piece) <= 256 * 1024 for piece in pieces)


WHOLES = {}


@pytest.mark.parametrize("command_type", TYPES)
@pytest.mark.parametrize("size", [0xFFFF_FFFE, 0xFFFF_FFFF, 0xFFFF_FFFF + 60, (9 << 30) + 1])
def test_gigabytes(command_type, size):
    artifact = build(command_type, size=size)
    assert artifact.size == size
    tail = bytes_of(artifact, size - 50_000)
    assert (b"PK\x06\x06" in tail) == (size >= 0xFFFF_FFFF)
    with zipfile.ZipFile(Opened(artifact)) as archive:
        members = archive.infolist()
        # Each begins where the directory says.
        for member in members:
            archive.open(member).close()
    assert sum(member.file_size for member in members) > 0.99 * size


@pytest.mark.parametrize("command_type", TYPES)
def test_the_same_spec_gives_the_same_bytes(command_type):
    one, other = (
        build(command_type),
        build(command_type, created=SPEC.created.astimezone(timezone(timedelta(hours=2)))),
    )
    assert one.etag == other.etag
    assert bytes_of(one) == bytes_of(other)


@pytest.mark.parametrize("command_type", TYPES)
@pytest.mark.parametrize("change", [{"revision": 1}, {"command_id": "another"}, {"size": 9999}, {"args": {"a": 1}}])
def test_another_spec_has_another_etag(command_type, change):
    assert build(command_type).etag != build(command_type, **change).etag


@pytest.mark.parametrize("args", [{}, {"packet-size-bytes": 20}, {"packet-size-bytes": 1500}])
@pytest.mark.parametrize("command_type", TYPES)
def test_another_revision_is_different_nearly_everywhere(command_type, args):
    one, other = (bytes_of(build(command_type, size=600_000, args=args, revision=revision)) for revision in (0, 1))
    windows = range(0, 590_000, 5000)
    same = [at for at in windows if one[at : at + 5000] == other[at : at + 5000]]
    assert same == []


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="timezone-aware"):
        build(created=datetime(2025, 5, 1))  # noqa: DTZ001


def test_an_unknown_type_is_refused():
    with pytest.raises(ValueError, match="'reboot'"):
        build("reboot")


# -- pcap ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "snaplen"),
    [
        ({}, 160),
        ({"packet-size-bytes": 1500}, 1500),
        ({"packet-size-bytes": "96"}, 96),
        ({"packet-size-bytes": 64.0, "max-file-size-mb": 5, "time-limit-min": 2}, 64),
        ({"packet-size-bytes": 0.5}, 1),
        ({"packet-size-bytes": 10**9}, 262_144),
    ],
)
def test_the_report_tells_what_the_captures_have(args, snaplen):
    found = files(build(args=args, size=300_000))
    assert list(found) == ["capture-default.pcap", "capture-tunnel.pcap", "results.json"]
    report = json.loads(found["results.json"])
    assert report["command_id"] == SPEC.command_id
    assert report["device"] == {"name": "LON-LAPTOP-0001", "platform": "linux", "version": "2025.4.929.0"}
    assert report["user_email"] == "ada@example.com"
    assert report["args"] == args
    assert list(report["interfaces"]) == ["default", "tunnel"]
    for told in report["interfaces"].values():
        data = found[told["file"]]
        packets = records(data, snaplen)
        assert told["status"] == "SUCCESS"
        assert told["bytes"] == len(data)
        assert told["packets"] == len(packets)
        for name, packet in (("started_at", packets[0]), ("ended_at", packets[-1])):
            told_time = datetime.fromisoformat(told[name])
            assert told_time <= packet.time < told_time + timedelta(milliseconds=1)
        assert SPEC.created <= packets[0].time < SPEC.created + timedelta(seconds=1)


def test_odd_names_have_room():
    name = "Zoë 🖥" * 30
    report = json.loads(files(build(device_name=name, size=30_000))["results.json"])
    assert report["device"]["name"] == name


# -- warp-diag -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_collection_has_dozens_of_files(platform):
    found = files(build("warp-diag", platform=platform))
    assert len(found) >= 24
    captures = {name for name in found if name.endswith(".pcap")}
    assert captures == {"capture-default.pcap", "capture-tunnel.pcap"}
    assert all(records(found[name], 160) for name in captures)
    texts = {name: data.decode() for name, data in found.items() if name not in captures}
    assert texts["version.txt"].startswith("Version: 2025.4.929.0\n")
    assert "Status update: Connected" in texts["warp-status.txt"]
    assert SPEC.user_email in texts["warp-account.txt"]
    assert all(text.endswith("\n") for text in texts.values())
    assert ("ipconfig.txt" in found) == (platform == "windows")
    assert ("pfctl-rules.txt" in found) == (platform == "mac")
    assert ("uname.txt" in found) == (platform in {"linux", "android", "chromeos"})


def test_a_small_collection_has_the_core_only():
    found = files(build("warp-diag", size=2048))
    assert {"daemon.log", "warp-status.txt", "warp-settings.txt"} <= set(found)
    assert len(found) < 10


@pytest.mark.parametrize(
    ("args", "tested"),
    [
        ({}, 64),
        ({"test-all-routes": True}, 64),
        ({"test-all-routes": "true"}, 64),
        ({"test-all-routes": False}, 2),
        ({"test-all-routes": "false"}, 2),
    ],
)
def test_how_many_routes_are_tested(args, tested):
    text = files(build("warp-diag", args=args))["route-tests.txt"].decode()
    assert text.count("answered") == tested


def test_a_long_log_goes_forward_in_time_until_its_end():
    found = files(build("warp-diag", size=5 * MIB))
    lines = found["daemon.log"].decode().splitlines()
    times = [datetime.fromisoformat(line.split()[1]) for line in lines[:-1]]
    assert times == sorted(times)
    assert times[-1] - times[0] > timedelta(hours=3)
    assert times[-1] < SPEC.created
    assert len({line.split()[0] for line in lines[:-1]}) == 1


def test_a_log_over_midnight_has_the_right_checksum():
    created = datetime(2025, 1, 1, 2, tzinfo=UTC)
    assert files(build("speed-test", size=9 * MIB, created=created))["speed-test.log"]


# -- speed-test ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "interfaces"),
    [
        ({}, ["default", "tunnel"]),
        ({"interfaces": ["tunnel"]}, ["tunnel"]),
        ({"interfaces": "default"}, ["default"]),
        ({"interfaces": ["tunnel", "default"]}, ["default", "tunnel"]),
        ({"interfaces": []}, ["default", "tunnel"]),
    ],
)
def test_a_speed_test_measures_the_interfaces_that_were_asked_for(args, interfaces):
    found = files(build("speed-test", args=args))
    assert list(found) == [*(f"speed-test-{name}.json" for name in interfaces), "speed-test.log"]
    for name in interfaces:
        result = json.loads(found[f"speed-test-{name}.json"])
        assert result["interface"] == name
        assert result["status"] == "SUCCESS"
        assert min(result["download_mbps"]) > 0


# -- memory --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command_type", "args"), [("pcap", {"packet-size-bytes": 1500}), ("warp-diag", {})])
def test_nothing_large_is_held(command_type, args):
    with measured_heap() as heap:
        tail = bytes_of(build(command_type, size=1024 * MIB, args=args), 1023 * MIB)
        crc = read = 0
        for piece in build(command_type, size=300 * MIB, args=args).read():
            crc, read = zlib.crc32(piece, crc), read + len(piece)
    assert len(tail) == MIB
    assert read == 300 * MIB
    assert heap.peak < 24 * MIB
