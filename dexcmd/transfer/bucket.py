"""What is done to an object and its checksum in an object store: blocking, so called from a thread.

The only place that calls obstore, and so it is imported only once there is a store of obstore's.
"""

import logging
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Protocol

import attrs
import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from dexcmd.errors import DownloadError
from dexcmd.safe_text import one_line, without_secrets

__all__ = ["ETAG_ATTRIBUTE", "Attributes", "Checksum", "ObjectLocation", "StoredObject", "Upload"]

logger: logging.Logger = logging.getLogger(__name__)

Attributes = dict[str, str] | None
"""None where nothing but bytes can be stored."""

ETAG_ATTRIBUTE = "dexetag"
"""The attribute that tells of which version an object is, and a mark."""

MOST_CHECKSUM_BYTES = 4096
"""Of a checksum and a name there are some 300."""

MOST_MESSAGE = 400
"""Characters: key and URL come first, and what the store answered behind them."""

_CHECKSUM = re.compile(rb"([0-9a-f]{64})  ([^\n]+)\n")


class _Writer(Protocol):
    """Of obstore's writer what is used here: its own types leave open what may be passed to `__exit__`."""

    def write(self, buffer: bytes, /) -> int: ...
    def close(self) -> None: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> object: ...


@attrs.frozen
class StoredObject:
    """An object that is there."""

    size: int
    e_tag: str | None
    source_etag: str | None
    """Which one of the artifact it is; None where nobody said, or the store keeps no attributes."""


@attrs.frozen
class Checksum:
    """What the mark beside an object says."""

    sha256: str
    source_etag: str | None
    """That of the object which it describes, as `Written.version`."""


class _AbortedError(Exception):
    """Tells obstore's writer that what came is not to be kept."""


class Upload:
    """One object on its way, as a multipart upload if there is more of it than one part.

    Nothing is seen of it before `complete`.
    """

    def __init__(self, key: str, writer: _Writer) -> None:
        self._key = key
        self._writer = writer

    def write(self, pieces: Sequence[bytes]) -> None:
        """Take the next bytes, and return when there is room for more.  Raises `DownloadError`."""
        with _typed_errors(self._key):
            for piece in pieces:
                self._writer.write(piece)

    def complete(self) -> None:
        """Make it an object, once all of it is there, or drop it.  Raises `DownloadError`."""
        try:
            with _typed_errors(self._key):
                self._writer.close()
        except DownloadError:
            # obstore has tried to abort it, and does not say with what success.
            logger.warning("%s: the unfinished upload may be left in the store", self._key)
            raise

    def abort(self) -> None:
        """Drop it, with what the store holds of it.  Where that fails it is logged: there is an error already."""
        error = _AbortedError()
        try:
            self._writer.__exit__(type(error), error, None)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the error that came before it must not be lost
            logger.warning("%s: the unfinished upload could not be aborted: %s", self._key, _message(failure))


@attrs.frozen
class ObjectLocation:
    """The place of an object, `key`, and of its mark: a small object beside it that holds its sha256.

    The mark is written last, and removed before the object is replaced: where it is, the object is whole.  Of two that
    are written at the same time the mark of one may come to stand beside the other: so it says which version it is of.
    Each method raises `DownloadError` where the store refuses or fails.
    """

    store: ObjectStore
    key: str
    buffer_size: int
    """Bytes of a part of an upload."""

    concurrency: int
    """Parts of one upload that are under way at a time."""

    @property
    def checksum_key(self) -> str:
        """The key of the mark."""
        return f"{self.key}.sha256"

    @property
    def _name(self) -> str:
        return self.key.rpartition("/")[2]

    def head(self) -> StoredObject | None:
        """Return the object if it is there, whole or not."""
        try:
            with _typed_errors(self.key):
                # `obstore.head` tells no attributes.
                answer = obstore.get(self.store, self.key, options={"head": True})
        except _NotFoundError:
            return None
        return StoredObject(answer.meta["size"], answer.meta["e_tag"], answer.attributes.get(ETAG_ATTRIBUTE))

    def read_checksum(self) -> Checksum | None:
        """Return what the mark says, None where there is no mark, or something else in its place."""
        try:
            with _typed_errors(self.checksum_key):
                answer = obstore.get(self.store, self.checksum_key)
                text = bytes(answer.bytes()) if answer.meta["size"] <= MOST_CHECKSUM_BYTES else b""
        except _NotFoundError:
            return None
        found = _CHECKSUM.fullmatch(text)
        if found is None or found[2] != self._name.encode():
            return None
        return Checksum(found[1].decode(), answer.attributes.get(ETAG_ATTRIBUTE))

    def write_checksum(self, sha256: str, attributes: Attributes) -> None:
        """Write the mark, as `sha256sum --check` reads it."""
        with _typed_errors(self.checksum_key):
            text = f"{sha256}  {self._name}\n".encode()
            obstore.put(self.store, self.checksum_key, text, attributes=attributes, use_multipart=False)

    def delete_checksum(self) -> None:
        """Remove the mark if there is one."""
        with suppress(_NotFoundError), _typed_errors(self.checksum_key):
            obstore.delete(self.store, self.checksum_key)

    def put(self, body: bytes, attributes: Attributes) -> str | None:
        """Write the object in one request, and return its ETag."""
        with _typed_errors(self.key):
            return obstore.put(self.store, self.key, body, attributes=attributes, use_multipart=False)["e_tag"]

    def upload(self, attributes: Attributes) -> Upload:
        """Begin to write the object in parts."""
        with _typed_errors(self.key):
            writer = obstore.open_writer(
                self.store,
                self.key,
                attributes=attributes,
                buffer_size=self.buffer_size,
                max_concurrency=self.concurrency,
            )
        return Upload(self.key, writer)


class _NotFoundError(DownloadError):
    """There is no such object, or no such bucket."""


@contextmanager
def _typed_errors(key: str) -> Generator[None]:
    """Turn what obstore raises into a `DownloadError`."""
    # Without the original, for that may hold what `_message` takes out.
    try:
        yield
    except FileNotFoundError as error:
        raise _NotFoundError(f"{key}: {_message(error)}") from None
    # Stores raise it for what they can't do.
    except (BaseError, OSError, ValueError, NotImplementedError) as error:
        raise DownloadError(f"{key}: {_message(error)}") from None


def _message(error: Exception) -> str:
    # Behind an empty line comes what the library knows of itself.
    text = str(error).partition("\n\n")[0]
    return one_line(without_secrets(text), MOST_MESSAGE)
