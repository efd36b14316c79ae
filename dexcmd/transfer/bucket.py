"""The operations on an object and its checksum in an object store.  Blocking, so called from threads.

The only module that calls obstore, so it is imported only once there is an obstore store.
"""

import logging
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Protocol

import attrs
import obstore
from obstore.exceptions import BaseError, PermissionDeniedError
from obstore.store import ObjectStore

from dexcmd.errors import DownloadError
from dexcmd.safe_text import one_line, without_secrets

__all__ = ["ETAG_ATTRIBUTE", "Attributes", "Checksum", "ObjectLocation", "StoredObject", "Upload", "check_reachable"]

logger: logging.Logger = logging.getLogger(__name__)

Attributes = dict[str, str] | None
"""The metadata of an object; None if the store accepts none."""

ETAG_ATTRIBUTE = "dexetag"
"""The attribute with the service's ETag, of an object and of its checksum."""

MAX_CHECKSUM_BYTES = 4096
"""A checksum object, with a hash and a name, has some 300 bytes; a larger one is something else."""

MAX_MESSAGE = 400
"""Characters of an error message of obstore's: key and URL come first, then the store's response."""

_CHECKSUM = re.compile(rb"([0-9a-f]{64})  ([^\n]+)\n")


class _Writer(Protocol):
    """The part of obstore's writer that is used here: its own types don't say what `__exit__` accepts."""

    def write(self, buffer: bytes, /) -> int: ...
    def close(self) -> None: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> object: ...


@attrs.frozen
class StoredObject:
    """An existing object."""

    size: int
    e_tag: str | None
    source_etag: str | None
    """The `dexetag` attribute, which tells the version of the artifact.  None if the service gave no ETag, or the store
    keeps no attributes.
    """


@attrs.frozen
class Checksum:
    """The content of the checksum object beside an object."""

    sha256: str
    source_etag: str | None
    """The `dexetag` of the object that it was written for, like `StoredObject.source_etag`."""


class _AbortedError(Exception):
    """Passed to obstore's writer so that it aborts the upload."""


class Upload:
    """The upload of one object, a multipart upload if it has more than one part.

    The object is not visible before `complete`.
    """

    def __init__(self, key: str, writer: _Writer) -> None:
        self._key = key
        self._writer = writer

    def write(self, pieces: Sequence[bytes]) -> None:
        """Take the next bytes, and return when there is buffer space for more.  Raises `DownloadError`."""
        with _typed_errors(self._key):
            for piece in pieces:
                self._writer.write(piece)

    def complete(self) -> None:
        """Complete the upload, which makes the object visible.  If that fails, abort it and raise `DownloadError`."""
        try:
            with _typed_errors(self._key):
                self._writer.close()
        except DownloadError:
            # obstore has tried to abort it, but doesn't say whether that succeeded.
            logger.warning("%s: the unfinished upload may remain in the store", self._key)
            raise

    def abort(self) -> None:
        """Abort the upload and discard its parts.  A failure is only logged: another error led to this call."""
        error = _AbortedError()
        try:
            self._writer.__exit__(type(error), error, None)
        except Exception as failure:  # noqa: BLE001 - whatever it is, it must not replace the error before it
            logger.warning("%s: the unfinished upload could not be aborted: %s", self._key, _message(failure))


@attrs.frozen
class ObjectLocation:
    """The location of an object, `key`, and of its checksum: a small object beside it that contains its SHA-256.

    The checksum is written last and deleted before the object is replaced, so an object with a checksum is complete.
    If two versions are stored at the same time, the checksum of one may end up beside the other: so it has the ETag of
    its version as an attribute.  Each method raises `DownloadError` if the store refuses or fails.
    """

    store: ObjectStore
    key: str
    buffer_size: int
    """Bytes in each part of a multipart upload."""

    concurrency: int
    """How many parts of one upload are sent at a time."""

    @property
    def checksum_key(self) -> str:
        """The key of the checksum."""
        return f"{self.key}.sha256"

    @property
    def _name(self) -> str:
        return self.key.rpartition("/")[2]

    def head(self) -> StoredObject | None:
        """Return the size and metadata of the object if it exists, complete or not."""
        try:
            with _typed_errors(self.key):
                # `obstore.head` doesn't return attributes.
                answer = obstore.get(self.store, self.key, options={"head": True})
        except _NotFoundError:
            return None
        return StoredObject(answer.meta["size"], answer.meta["e_tag"], answer.attributes.get(ETAG_ATTRIBUTE))

    def read_checksum(self) -> Checksum | None:
        """Return the checksum; None if there is none, or its key has other content."""
        try:
            with _typed_errors(self.checksum_key):
                answer = obstore.get(self.store, self.checksum_key)
                text = bytes(answer.bytes()) if answer.meta["size"] <= MAX_CHECKSUM_BYTES else b""
        except _NotFoundError:
            return None
        found = _CHECKSUM.fullmatch(text)
        if found is None or found[2] != self._name.encode():
            return None
        return Checksum(found[1].decode(), answer.attributes.get(ETAG_ATTRIBUTE))

    def write_checksum(self, sha256: str, attributes: Attributes) -> None:
        """Write the checksum, in the format that `sha256sum --check` reads."""
        with _typed_errors(self.checksum_key):
            text = f"{sha256}  {self._name}\n".encode()
            obstore.put(self.store, self.checksum_key, text, attributes=attributes, use_multipart=False)

    def delete_checksum(self) -> None:
        """Delete the checksum if there is one."""
        with suppress(_NotFoundError), _typed_errors(self.checksum_key):
            obstore.delete(self.store, self.checksum_key)

    def put(self, body: bytes, attributes: Attributes) -> str | None:
        """Write the object in one request, and return its ETag."""
        with _typed_errors(self.key):
            return obstore.put(self.store, self.key, body, attributes=attributes, use_multipart=False)["e_tag"]

    def upload(self, attributes: Attributes) -> Upload:
        """Begin an upload of the object in parts."""
        with _typed_errors(self.key):
            writer = obstore.open_writer(
                self.store,
                self.key,
                attributes=attributes,
                buffer_size=self.buffer_size,
                max_concurrency=self.concurrency,
            )
        return Upload(self.key, writer)


def check_reachable(store: ObjectStore, key: str) -> None:
    """Raise `DownloadError` if a store does not answer a request for an object, which need not exist.

    A refusal is an answer: credentials may allow writing but not reading.
    """
    with suppress(_NotFoundError), _typed_errors(key), suppress(PermissionDeniedError):
        obstore.head(store, key)


class _NotFoundError(DownloadError):
    """There is no such object, or no such bucket."""


@contextmanager
def _typed_errors(key: str) -> Generator[None]:
    """Turn what obstore raises into a `DownloadError`."""
    # Not chained, as the original may contain secrets, which `_message` removes.
    try:
        yield
    except FileNotFoundError as error:
        raise _NotFoundError(f"{key}: {_message(error)}") from None
    # `NotImplementedError` is raised for operations that a store lacks.
    except (BaseError, OSError, ValueError, NotImplementedError) as error:
        raise DownloadError(f"{key}: {_message(error)}") from None


def _message(error: Exception) -> str:
    # After an empty line come obstore's own debug details.
    text = str(error).partition("\n\n")[0]
    return one_line(without_secrets(text), MAX_MESSAGE)
