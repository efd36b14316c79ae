"""The service that the demo runs against: its fleet, and the outcomes of commands."""

import secrets
import zlib

from dexcmd.clock import Clock
from dexcmd.sandbox import Behaviour, Sandbox, SandboxDevice, make_devices

__all__ = ["artifact_size", "is_large", "make_fleet", "open_sandbox"]

SMALL = (20_000, 200_000)
LARGE = (1_000_000, 2_500_000)
"""Bytes of the artifacts.  Seconds of captured traffic, so that the demo is over soon, but every tenth is
large enough for a download that is cut off to be taken up in the middle.
"""

BEHAVIOUR = Behaviour(
    # As in any real fleet, a few devices fail and a few are offline.
    failure_rate=0.01,
    disconnected_share=0.01,
    # Ten minutes at the real service; the demo should not wait that long.
    disconnected_timeout=30.0,
)


def make_fleet(eligible: int, seed: int) -> list[SandboxDevice]:
    """Return the rows of a fleet with exactly `eligible` eligible ones.

    A larger fleet also has ineligible devices, which the demo has to skip.
    """
    ineligible = eligible // 50
    rows = eligible + ineligible
    return make_devices(
        rows,
        seed=seed,
        ineligible_share=ineligible / rows,
        disconnected_share=BEHAVIOUR.disconnected_share,
        multi_user_share=BEHAVIOUR.multi_user_share,
    )


def artifact_size(command_id: str) -> int:
    """Return the size of a command's artifact in bytes, which is derived from its id."""
    drawn, tenth = divmod(zlib.crc32(command_id.encode()), 10)
    low, high = LARGE if tenth == 0 else SMALL
    return low + drawn % (high - low)


def is_large(command_id: str) -> bool:
    """Return whether a command's artifact is one of the large ones."""
    return artifact_size(command_id) >= LARGE[0]


def open_sandbox(devices: int, seed: int, clock: Clock) -> Sandbox:
    """Return the sandbox, to be entered."""
    return Sandbox(
        make_fleet(devices, seed),
        clock=clock,
        behaviour=BEHAVIOUR,
        # With repeated command ids, an earlier demo's files would be in the folder, and nothing would be downloaded.
        seed=secrets.randbits(64),
        quota=devices,
        artifact_size=lambda row: artifact_size(row["id"]),
    )
