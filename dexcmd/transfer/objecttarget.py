"""The target of one artifact in an object store: upload, checks, checksum."""

import threading
from collections import deque
from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote

import anyio

from dexcmd.errors import ArtifactExistsError, InvalidArtifactError
from dexcmd.threads import let_go, raise_if_stopped, run_stoppable, run_to_the_end
from dexcmd.transfer.bucket import ETAG_ATTRIBUTE, Attributes, ObjectLocation, Upload
from dexcmd.transfer.checks import BodyCheck
from dexcmd.transfer.files import check_zip
from dexcmd.transfer.options import Verify
from dexcmd.transfer.ranges import OVERLAP, Body, Have, Version, is_strong
from dexcmd.transfer.saved import StoredArtifact
from dexcmd.transfer.sink import ArtifactName, UncheckedError
from dexcmd.transfer.spool import Spool
from dexcmd.transfer.writer import QueueThread

__all__ = ["ExistingObject", "ObjectTarget", "Tail"]

ExistingObject = Literal["verify", "overwrite", "error"]

SMALL = 1024 * 1024
"""Bytes.  An artifact of up to this size is kept in memory and stored with one request: a thread would not pay off."""

MAX_ATTRIBUTE = 1024
"""The most bytes of one attribute: S3 accepts 2 KiB for all of them together."""


class ObjectTarget:
    """The target of an artifact in an object store.

    A small artifact is kept in memory until it is complete.  A larger one is uploaded by one thread, which also hashes
    and checks it.  An artifact that can't be checked in one pass is requested again into a temporary file, which is
    checked before it is uploaded: no object is visible before it is known to be complete.
    """

    def __init__(
        self,
        name: ArtifactName,
        place: ObjectLocation,
        verify: Verify,
        *,
        existing: ExistingObject,
        attributes: Mapping[str, str] | None,
        uploads: anyio.Semaphore,
    ) -> None:
        self._name = name
        self._location = place
        self._verify: Verify = verify
        self._existing: ExistingObject = existing
        self._attributes = attributes
        self._uploads = uploads
        self._has_upload_slot = False
        """Whether it holds a slot of `uploads`."""

        self._found: StoredArtifact | None = None
        self._may_have_checksum = True
        """Whether there may be a checksum of an earlier object."""

        self._check = BodyCheck(verify)
        self._size = 0
        self._version = Version()
        self._tail = Tail()
        self._buffered: list[bytes] = []
        self._writer: QueueThread | None = None
        self._upload: Upload | None = None
        self._joined = False
        """Whether bytes of several responses were joined without a strong ETag, so they may be of two versions."""

        self._needs_second_pass = False
        """Whether one pass could not verify the artifact."""

        self._spool: Spool | None = None

    @property
    def have(self) -> Have:
        """What is already stored."""
        return Have(self._size, self._version)

    async def check_existing(self) -> None:
        """Look for an existing object.  Raises `ArtifactExistsError`, or `DownloadError` if the store fails."""
        if self._existing != "overwrite":
            await run_to_the_end(self._check_existing)

    async def find(self, size: int | None) -> StoredArtifact | None:
        """Return the object if it is already complete."""
        return self._found

    async def begin(self, body: Body) -> None:
        """Prepare for a body."""
        if body.offset == 0 and self._size > 0:
            await run_to_the_end(self._restart)
        self._version = Version() if body.coding else body.version

    async def tail(self, size: int) -> bytes:
        """Return the last `size` bytes of what is stored, at most `OVERLAP`."""
        return self._tail.last(size)

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes.  Raises `DownloadError` if the store fails."""
        self._size += len(chunk)
        self._tail.add(chunk)
        if self._writer is None:
            self._buffered.append(chunk)
            if self._size <= SMALL:
                return
            if not self._has_upload_slot:
                await self._uploads.acquire()
                self._has_upload_slot = True
            self._writer = QueueThread(self._write, "dexcmd-uploader")
            chunk, self._buffered = b"".join(self._buffered), []
        await self._writer.put(chunk)

    async def finish(self, resumed_from: int) -> StoredArtifact:
        """Verify the artifact, make the object visible, and write its checksum.

        Raises `InvalidArtifactError`, `UncheckedError`, `ArtifactExistsError` or `DownloadError`.
        """
        self._joined = resumed_from > 0 and not is_strong(self._version.etag)
        try:
            e_tag = await run_stoppable(self._complete, self._check.stop)
        except InvalidArtifactError:
            # The next attempt, if any, starts over.  Until then, the upload slot is free for others that wait for one.
            await self.close()
            raise
        return StoredArtifact(
            key=self._location.key,
            e_tag=e_tag,
            size=self._check.size,
            sha256=self._check.sha256,
            resumed_from=resumed_from,
        )

    async def close(self) -> None:
        """Abort an unfinished upload, and release the upload slot."""
        try:
            if self._writer is not None or self._upload is not None or self._spool is not None:
                await let_go(self._drop)
        finally:
            if self._has_upload_slot:
                self._has_upload_slot = False
                self._uploads.release()

    # The methods below are called in threads.

    def _check_existing(self) -> None:
        if self._existing == "error":
            self._refuse_existing()
            return
        checksum = self._location.read_checksum()
        self._may_have_checksum = checksum is not None
        stored = None if checksum is None else self._location.head()
        if checksum is not None and stored is not None and checksum.source_etag == stored.source_etag:
            self._found = StoredArtifact(
                key=self._location.key, e_tag=stored.e_tag, size=stored.size, sha256=checksum.sha256, skipped=True
            )

    def _refuse_existing(self) -> None:
        if self._location.head() is not None:
            raise ArtifactExistsError(f"{self._location.key} already exists")

    def _drop(self) -> None:
        self._check.stop.set()
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.drop()
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.abort()
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.remove()

    def _restart(self) -> None:
        self._drop()
        self._check = BodyCheck(self._verify)
        self._tail = Tail()
        self._buffered.clear()
        self._size = 0

    def _write(self, pieces: list[bytes]) -> None:
        if self._needs_second_pass:
            self._spool = self._spool or Spool()
            self._spool.write(pieces)
        else:
            self._upload = self._upload or self._location.upload(self._stored_attributes())
            self._upload.write(pieces)
        self._check.feed(b"".join(pieces))

    def _complete(self, stop: threading.Event) -> str | None:
        body = b"".join(self._buffered)
        if self._writer is None:
            self._check.feed(body)
        else:
            self._writer.end()
        self._check_body(body, stop)
        if self._spool is not None:
            self._upload = self._location.upload(self._stored_attributes())
            for piece in self._spool.pieces():
                raise_if_stopped(stop)
                self._upload.write([piece])
        raise_if_stopped(stop)
        return self._publish(body)

    def _check_body(self, body: bytes, stop: threading.Event) -> None:
        """Raise `InvalidArtifactError` unless it is complete; `UncheckedError` if only a second pass can tell."""
        verdict = self._check.verdict(joined=self._joined)
        if verdict == "damaged":
            raise InvalidArtifactError(
                f"{self._location.key}: not a complete zip archive, or one of its checksums is wrong"
            )
        if verdict == "whole":
            return
        if self._upload is not None:
            self._needs_second_pass = True
            raise UncheckedError(f"{self._location.key}: can't be verified in one pass")
        if self._spool is None:
            self._spool = Spool()
            self._spool.write([body])
        check_zip(self._spool.open(), self._location.key, stop, joined=self._joined)

    def _publish(self, body: bytes) -> str | None:
        if self._existing == "error":
            self._refuse_existing()
        if self._may_have_checksum:
            # Before the object is replaced: a checksum must never be beside an object that it does not describe.
            self._location.delete_checksum()
        described = self._stored_attributes()
        if self._upload is None:
            e_tag = self._location.put(body, described)
        else:
            upload, self._upload = self._upload, None
            upload.complete()
            stored = self._location.head()
            e_tag = None if stored is None else stored.e_tag
        if described is not None:
            kept = {name: value for name, value in described.items() if name == ETAG_ATTRIBUTE}
            described = {"Content-Type": "text/plain", **kept}
        self._location.write_checksum(self._check.sha256, described)
        return e_tag

    def _stored_attributes(self) -> Attributes:
        """Return the object's metadata, all of which is known before the first byte arrives."""
        if self._attributes is None:
            return None
        # Azure accepts no hyphen in the name of an attribute, and some proxies no underscore.
        name = self._name.filename
        etag = self._version.etag
        return {
            "Content-Type": "application/zip" if name.lower().endswith(".zip") else "application/octet-stream",
            "dexcommand": _header(self._name.command_id),
            "dexfilename": _header(name),
            **({} if etag is None else {ETAG_ATTRIBUTE: _header(etag)}),
            **self._attributes,
        }


class Tail:
    """The last bytes that arrived, enough for an overlap."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self.size: int = 0
        """Bytes kept."""

    def add(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._chunks.append(chunk)
        self.size += len(chunk)
        while self.size - len(self._chunks[0]) >= OVERLAP:
            self.size -= len(self._chunks.popleft())

    def last(self, size: int) -> bytes:
        """Return the last `size` bytes."""
        return b"".join(self._chunks)[-size:]


def _header(text: str) -> str:
    # Bytes of a header that aren't valid text are percent-encoded as they are.
    return quote(text, safe="", errors="surrogateescape")[:MAX_ATTRIBUTE]
