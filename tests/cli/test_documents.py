"""What `--json` writes: whoever adds a field adds it here, and nobody takes one away."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from dexcmd.cli.documents import capture_document, command_document, device_document, download_document, quota_document
from dexcmd.resources.command import Command
from dexcmd.resources.devices import Device
from dexcmd.resources.quota import Quota
from dexcmd.transfer.saved import SavedArtifact

TIME = datetime(2026, 1, 31, 14, 30, tzinfo=timezone(timedelta(hours=2)))
WRITTEN = "2026-01-31T12:30:00Z"


def test_quota():
    assert quota_document(Quota(800, 12, TIME)) == {
        "schema": "quota/1",
        "quota": 800,
        "used": 12,
        "remaining": 788,
        "reset_time": WRITTEN,
    }


def test_device():
    device = Device("d", "name", False, "asleep", "a@example.com", "mac", "r", "connected", TIME, "1.2")
    assert device_document(device) == {
        "schema": "device/1",
        "device_id": "d",
        "registration_id": "r",
        "device_name": "name",
        "user_email": "a@example.com",
        "platform": "mac",
        "version": "1.2",
        "status": "connected",
        "eligible": False,
        "ineligible_reason": "asleep",
        "last_seen": WRITTEN,
    }
    assert device_document(Device(timestamp="2 minutes ago"))["last_seen"] == "2 minutes ago"


def test_command():
    command = Command(
        id="c",
        type="pcap",
        status="SUCCESS",
        device_id="d",
        registration_id="r",
        user_email="a@example.com",
        created_date=TIME,
        completed_date=TIME.astimezone(UTC),
        filename="c.zip",
    )
    assert command_document(command) == {
        "schema": "command/1",
        "id": "c",
        "type": "pcap",
        "status": "SUCCESS",
        "device_id": "d",
        "registration_id": "r",
        "user_email": "a@example.com",
        "created_date": WRITTEN,
        "completed_date": WRITTEN,
        "filename": "c.zip",
    }


def test_download():
    artifact = SavedArtifact(path=Path("x/c.zip"), size=5, sha256="ab", resumed_from=2)
    assert download_document("c", "saved", artifact, None) == {
        "schema": "download/1",
        "id": "c",
        "state": "saved",
        "path": "x/c.zip",
        "size": 5,
        "sha256": "ab",
        "resumed_from": 2,
        "error": None,
    }
    assert download_document("c", "failed", None, "no") == {
        "schema": "download/1",
        "id": "c",
        "state": "failed",
        "path": None,
        "size": None,
        "sha256": None,
        "resumed_from": None,
        "error": "no",
    }


def test_what_is_not_known_is_null_and_what_is_documented_is_there():
    page = (Path(__file__).parents[2] / "docs" / "commandline.md").read_text()
    for document in (
        quota_document(Quota()),
        device_document(Device()),
        command_document(Command()),
        download_document("c", "failed", None, None),
    ):
        assert {document[name] for name in document if name not in ("schema", "id", "state")} == {None}
        schema = document["schema"]
        [row] = [line for line in page.splitlines() if f"`{schema}`" in line]
        for name in document:
            if name != "schema":
                assert f"`{name}`" in row


def test_capture():
    device = Device("d", "name", True, None, "a@example.com", "mac", "r", "connected", TIME, "1.2")
    saved = SavedArtifact(path=Path("captures/c.zip"), size=7, sha256="5e", resumed_from=3)
    document = capture_document(
        device, "pcap", "saved", command_id="c", status="SUCCESS", artifact=saved, reason=None, error=None
    )
    assert document == {
        "schema": "capture/1",
        "id": "c",
        "state": "saved",
        "type": "pcap",
        "status": "SUCCESS",
        "device_id": "d",
        "registration_id": "r",
        "device_name": "name",
        "user_email": "a@example.com",
        "platform": "mac",
        "path": "captures/c.zip",
        "size": 7,
        "sha256": "5e",
        "resumed_from": 3,
        "reason": None,
        "error": None,
    }
    none = capture_document(
        device, "pcap", "not_attempted", command_id=None, status=None, artifact=None, reason="quota", error="used up"
    )
    assert list(none) == list(document)
    assert [none[name] for name in ("id", "path", "size", "sha256", "resumed_from")] == [None] * 5
