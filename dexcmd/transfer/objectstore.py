"""The object store sink: artifacts into S3, R2, GCS or Azure."""

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
"""S3 takes none that is smaller, but for the last."""

_CHECKSUM = re.compile(r".*\.sha256_*", re.IGNORECASE)
"""Names like those of checksums, and what such names become here."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def _store(_: object, __: object, value: Any) -> None:
    # Only here is obstore looked for: it is an extra, and whoever has a store of its has it.
    try:
        from obstore.store import ObjectStore
    except ModuleNotFoundError:
        raise ConfigurationError("an object store needs more: pip install 'dexcmd[object-store]'") from None
    if not isinstance(value, ObjectStore):
        raise ConfigurationError(f"store must be one of obstore's, not {value!r}")


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
        # With a name that is none for a header, obstore panics.
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError(f"attributes must have names of ASCII letters and digits, not {name!r}")
        if not isinstance(text, str) or not text.isascii() or not text.isprintable():
            raise ConfigurationError(f"attributes must be printable ASCII, not {text!r}")


@attrs.frozen
class ObjectStoreSink:
    """Stores artifacts as objects, with a store that you make with obstore, whose business the credentials are.

        store = obstore.store.S3Store("captures", region="eu-central-1")
        saved = await dex.downloads.save(command, ObjectStoreSink(store, "2026/"))      # StoredArtifact

    An artifact streams into a multipart upload, in constant memory, and is verified on the way.  Its object is not
    seen before it is whole; an upload that fails or is cancelled is aborted.  Needs `pip install
    'dexcmd[object-store]'`.

    Beside each object is its checksum, `KEY.sha256`, as `sha256sum --check` reads it.  It is written last and removed
    before an object is replaced, so an object that has one is whole, and is not fetched again.  It is an object of its
    own because the hash is known only at the end, when no store takes metadata any more, and because one way does for
    all sizes and all stores.  Metadata are the content type and, percent-encoded, `dexcommand`, `dexfilename` and
    `dexetag`: command id, name and ETag as the service gives them.

    A cancellation waits for the requests that are under way.  How long these may take, and how often they are tried
    again, the store's `client_options` and `retry_config` say.  An upload that the end of the process leaves
    unfinished is for a rule of the bucket's to clear up (`AbortIncompleteMultipartUpload`).

    Raises `ConfigurationError` for a value that can't be right, and where obstore is not installed.
    """

    store: "ObjectStore" = attrs.field(validator=_store)
    """`S3Store`, `GCSStore`, `AzureStore`, `LocalStore` or `MemoryStore` of `obstore.store`."""

    prefix: str = attrs.field(default="", validator=_prefix)
    """The folder, within the store, for all keys; with or without a slash at its end."""

    existing: "ExistingObject" = attrs.field(
        default="verify", validator=one_of("verify", "overwrite", "error"), kw_only=True
    )
    """What becomes of an object that is there under the key.

    - `verify`: one with a checksum beside it is left as it is, and nothing is asked of the service; another one is
      replaced;
    - `overwrite`: it is replaced;
    - `error`: it stays, and `ArtifactExistsError` is raised.  It is looked for at the start and again at the end; of
      two that come at the same time, the later wins all the same.
    """

    buffer_size: int = attrs.field(default=8 * MIB, validator=_part, kw_only=True)
    """Bytes of a part of an upload, at least 5 MiB.  S3 takes 10,000 parts, so artifacts may have 78 GiB by default."""

    concurrency: int = attrs.field(default=4, validator=count, kw_only=True)
    """Parts of one upload that are under way at a time."""

    uploads: int = attrs.field(default=8, validator=count, kw_only=True)
    """Artifacts above 1 MiB that are uploaded at a time; others wait for their turn.

    Each takes at most `concurrency` + 1 times `buffer_size` of memory, and 8 MiB.
    """

    attributes: Mapping[str, str] | None = attrs.field(factory=dict[str, str], validator=_attributes, kw_only=True)
    """More metadata and headers for each object, such as `{"Storage-Class": "STANDARD_IA"}`.  None to store no metadata
    at all, for stores that take none, such as `LocalStore`.
    """

    @asynccontextmanager
    async def open(self, clock: Clock) -> AsyncGenerator["Objects"]:
        """Open it.  Asks nothing of the store."""
        yield Objects(self)


class Objects:
    """A store, for as long as artifacts are stored into it."""

    def __init__(self, sink: ObjectStoreSink) -> None:
        # It imports obstore.
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
            # Or it would meet the checksum of the artifact whose name is its own without the suffix.
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
