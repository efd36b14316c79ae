"""What is checked of an artifact, on its way and at the end."""

import hashlib
import threading

from dexcmd.threads import raise_if_stopped
from dexcmd.transfer.options import Verify
from dexcmd.transfer.zipformat import MOST_UNPACKED
from dexcmd.transfer.zipstream import Verdict, ZipStream

__all__ = ["BodyCheck"]


class BodyCheck:
    """Takes the bytes of an artifact in their order, and hashes and checks them.

    Costs some 0.6 ms a MiB, most of it sha256, in which other threads go on: for a thread, not for the event loop.
    Of a zip archive `most` bytes are unpacked; one that has more is `unknown`.
    """

    def __init__(self, verify: Verify, stop: threading.Event | None = None, most: int = MOST_UNPACKED) -> None:
        self.stop: threading.Event = stop or threading.Event()
        """Set to end a `feed` that is under way, within a piece: few bytes may unpack to very many."""

        self._sha256 = hashlib.sha256()
        self._zip = ZipStream(self.stop, most) if verify == "zip" else None
        self.size: int = 0
        """Bytes taken."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes.  Raises `Stopped` where `stop` is set: what was taken is then not known."""
        raise_if_stopped(self.stop)
        self._sha256.update(data)
        if self._zip is not None:
            self._zip.feed(data)
        self.size += len(data)

    @property
    def sha256(self) -> str:
        """The hash of all bytes so far, in hex."""
        return self._sha256.hexdigest()

    def verdict(self, *, joined: bool = False) -> Verdict:
        """Tell whether the archive is whole, as `ZipStream.verdict` does; `whole`, too, where it is not checked."""
        return "whole" if self._zip is None else self._zip.verdict(joined=joined)
