"""The object store sink: stores artifacts in S3, R2, GCS or Azure."""

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from dexcmd.clock import Clock
from dexcmd.errors import ConfigurationError
from dexcmd.transfer.options import Verify
from dexcmd.transfer.sink import ArtifactName
from dexcmd.validators import count, one_of, whole_number

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from dexcmd.transfer.objecttarget import ExistingObject, ObjectTarget

__all__ = ["ObjectStoreSink"]

MIB = 1024 * 1024

LEAST_PART = 5 * MIB
"""Bytes: S3 accepts no smaller part, except for the last."""

_CHECKSUM = re.compile(r".*\.sha256_*", re.IGNORECASE)
"""The names of checksum objects, also with the `_` that `Objects.target` appends to an artifact's name like that."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def _store(_: object, __: object, value: Any) -> None:
    # Imported only here: obstore is an optional extra, and whoever passes one of its stores has it.
    try:
        from obstore.store import ObjectStore
    except ModuleNotFoundError:
        raise ConfigurationError(
            "an object store requires an optional dependency: pip install 'dexcmd[object-store]'"
        ) from None
    if not isinstance(value, ObjectStore):
        raise ConfigurationError(f"store must be an obstore store, not {value!r}")


def _prefix(_: object, __: object, value: object) -> None:
    if not isinstance(value, str) or not value.isprintable():
        raise ConfigurationError(f"prefix must be a printable string, not {value!r}")
    folders = value.strip("/").split("/")
    if folders != [""] and not {"", ".", ".."}.isdisjoint(folders):
        raise ConfigurationError(f"prefix can't be {value!r}")


def _part(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if whole_number(attribute.name, value) < LEAST_PART:
        raise ConfigurationError(f"{attribute.name} must be at least {LEAST_PART}, not {value!r}")


def _attributes(_: object, __: object, value: Mapping[Any, Any] | None) -> None:
    for name, text in () if value is None else value.items():
        # obstore panics on a name that is not a valid header name.
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError(f"attributes must have names of ASCII letters and digits, not {name!r}")
        if not isinstance(text, str) or not text.isascii() or not text.isprintable():
            raise ConfigurationError(f"attributes must be printable ASCII, not {text!r}")


@attrs.frozen
class ObjectStoreSink:
    """Saves artifacts as objects in a store that you create with obstore, which handles the credentials.

        store = obstore.store.S3Store("captures", region="eu-central-1")
        saved = await dex.downloads.save(command, ObjectStoreSink(store, "2026/"))      # StoredArtifact

    An artifact streams into a multipart upload, in constant memory, and is verified on the way.  The object is not
    visible before it is complete; an upload that fails or is cancelled is aborted.  Requires `pip install
    'dexcmd[object-store]'`.

    Beside each object is its checksum, `KEY.sha256`, in the format that `sha256sum --check` reads.  It is written last
    and deleted before the object is replaced, so an object that has one is complete, and is not downloaded again.  It
    is a separate object because the hash is known only at the end, when no store accepts metadata any more, and because
    this works for all sizes and stores.  The metadata are the content type and, percent-encoded, `dexcommand`,
    `dexfilename` and `dexetag`: the command id, and the name and ETag that the service gives.

    A cancellation waits for the requests in progress.  The store's `client_options` and `retry_config` determine how
    long these may take, and how often they are retried.  If the process dies, an upload stays unfinished: have a
    lifecycle rule of the bucket abort it (`AbortIncompleteMultipartUpload`).

    Raises `ConfigurationError` for an invalid value, or if obstore is not installed.
    """

    store: "ObjectStore" = attrs.field(validator=_store)
    """`S3Store`, `GCSStore`, `AzureStore`, `LocalStore` or `MemoryStore` of `obstore.store`."""

    prefix: str = attrs.field(default="", validator=_prefix)
    """The folder within the store that all keys are in, with or without a slash at the end."""

    existing: "ExistingObject" = attrs.field(
        default="verify", validator=one_of("verify", "overwrite", "error"), kw_only=True
    )
    """What to do with an existing object that has the key.

    - `verify`: one with its checksum beside it is kept, without a request to the service; any other is replaced;
    - `overwrite`: it is replaced;
    - `error`: it is kept, and `ArtifactExistsError` is raised.  This is checked at the start and again at the end; if
      two calls write at the same time, the later one still wins.
    """

    buffer_size: int = attrs.field(default=8 * MIB, validator=_part, kw_only=True)
    """Bytes in each part of an upload, at least 5 MiB.  S3 allows 10,000 parts, by default 78 GiB for an artifact."""

    concurrency: int = attrs.field(default=4, validator=count, kw_only=True)
    """How many parts of one upload are sent at a time."""

    uploads: int = attrs.field(default=8, validator=count, kw_only=True)
    """How many artifacts larger than 1 MiB are uploaded at a time; others wait.

    Each takes at most `concurrency` + 1 times `buffer_size` of memory, plus 8 MiB.
    """

    attributes: Mapping[str, str] | None = attrs.field(factory=dict[str, str], validator=_attributes, kw_only=True)
    """More metadata and headers for each object, such as `{"Storage-Class": "STANDARD_IA"}`.  None stores no metadata
    at all, for stores that accept none, such as `LocalStore`.
    """

    @asynccontextmanager
    async def open(self, clock: Clock) -> AsyncGenerator["Objects"]:
        """Open the sink, without any request to the store."""
        yield Objects(self)


class Objects:
    """A store, for as long as artifacts are stored into it."""

    def __init__(self, sink: ObjectStoreSink) -> None:
        # Imported only here, as `bucket` imports obstore.
        from dexcmd.transfer import bucket, objecttarget

        self._sink = sink
        self._location = bucket.ObjectLocation
        self._target = objecttarget.ObjectTarget
        self._uploads = anyio.Semaphore(sink.uploads, fast_acquire=True)

    @asynccontextmanager
    async def target(self, name: ArtifactName, verify: Verify) -> AsyncGenerator["ObjectTarget"]:
        """Return the target of an artifact.  Raises `UnsafeFilenameError`, `ArtifactExistsError`, `DownloadError`."""
        sink = self._sink
        *above, last = name.parts
        if _CHECKSUM.fullmatch(last):
            # Otherwise it could overwrite another artifact's checksum, whose name is that artifact's plus `.sha256`.
            last += "_"
        key = "/".join((sink.prefix.strip("/"), *above, last)).lstrip("/")
        target = self._target(
            name,
            self._location(sink.store, key, sink.buffer_size, sink.concurrency),
            verify,
            existing=sink.existing,
            attributes=sink.attributes,
            uploads=self._uploads,
        )
        try:
            await target.check_existing()
            yield target
        finally:
            await target.close()
