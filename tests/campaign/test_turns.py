"""Which registrations of a device can't be begun while others of it are."""

import pytest

from dexcmd.campaign.turns import has_to_wait


@pytest.mark.parametrize(
    ("registration_id", "command_type", "begun", "waits"),
    [
        ("a", "pcap", [], False),
        (None, "warp-diag", [], False),
        ("a", "pcap", ["b"], True),
        ("a", "warp-diag", ["b"], False),
        # What is not told can't be told apart from any other, whichever comes first.
        (None, "warp-diag", ["b"], True),
        ("a", "warp-diag", [None], True),
        ("a", "warp-diag", ["b", None], True),
    ],
)
def test_who_has_to_wait(registration_id: str | None, command_type: str, begun: list[str | None], waits: bool) -> None:
    assert has_to_wait(registration_id, "windows", command_type, begun) is waits
