"""The checks on an artifact, while it arrives and at the end."""

import hashlib
import threading

from dexcmd.threads import raise_if_stopped
from dexcmd.transfer.options import Verify
from dexcmd.transfer.zipformat import MAX_UNPACKED
from dexcmd.transfer.zipstream import Verdict, ZipStream

__all__ = ["BodyCheck"]


class BodyCheck:
    """Takes the bytes of an artifact in order, and hashes and checks them.

    This takes some 0.6 ms per MiB, mostly for SHA-256, which releases the GIL: call it in a thread, not on the event
    loop.  At most `most` bytes of a zip archive are unpacked; the verdict on a larger one is `unknown`.
    """

    def __init__(self, verify: Verify, stop: threading.Event | None = None, most: int = MAX_UNPACKED) -> None:
        self.stop: threading.Event = stop or threading.Event()
        """Set to end a `feed` in progress, even within a piece: a few bytes may unpack to very many."""

        self._sha256 = hashlib.sha256()
        self._zip = ZipStream(self.stop, most) if verify == "zip" else None
        self.size: int = 0
        """Bytes taken."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes.  Raises `Stopped` if `stop` is set; how much was taken is then unknown."""
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
        """Tell whether the archive is complete, as `ZipStream.verdict` does; `whole` if it is not checked."""
        return "whole" if self._zip is None else self._zip.verdict(joined=joined)
