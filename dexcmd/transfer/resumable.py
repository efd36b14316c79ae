"""A part file that a later download can resume: disk space, state file, and syncs in the background.

Blocking, so called from threads.
"""

import threading
from contextlib import suppress
from pathlib import Path

import attrs

from dexcmd.errors import DownloadError, InsufficientSpaceError, InvalidArtifactError
from dexcmd.threads import starting
from dexcmd.transfer.files import check_zip
from dexcmd.transfer.partfile import PartFile, delete_stale_state
from dexcmd.transfer.partstate import PartState, parse_state
from dexcmd.transfer.ranges import Have, Version
from dexcmd.transfer.sink import ArtifactName
from dexcmd.transfer.system import boot_id, free_bytes

__all__ = ["ResumablePart"]

SYNC_EVERY = 64 * 1024 * 1024
"""After this many bytes a sync starts in the background: a crash loses less, and the final sync takes less time."""


UNCACHED_FROM = 16 * 1024 * 1024
"""An artifact that is announced to have at least this many bytes is written past the system's cache: for less, that is
not worth a buffer.
"""


class ResumablePart:
    """The part file of an artifact, created when it is first needed, and its state file.

    Each method raises `OSError` if the disk fails.
    """

    def __init__(self, name: ArtifactName, final: Path, *, checked: bool) -> None:
        self._name = name
        self._final = final
        self._checked = checked
        self.version: Version = Version()
        """The version that the bytes belong to.  Changed only while nothing is being written or synced."""

        self.file: PartFile | None = None
        self._recorded: Version | None = None
        """The version for which the state file was written, or deleted because it can't be resumed."""

        self._has_space = False
        """Whether disk space for this version has been checked and reserved."""

        self._synced = 0
        """Bytes put on disk by background syncs."""

        self._syncing: threading.Thread | None = None
        self._sync_error: OSError | None = None
        self._sync_failed = False
        """Whether a sync has failed.  The system reports lost writes only once: the next sync would succeed."""

    @property
    def opened(self) -> PartFile:
        """The part file, where it must exist."""
        assert self.file is not None  # noqa: S101 - for the type checker
        return self.file

    def open_existing(self) -> bool:
        """Open and lock the part file of an earlier download, and return whether there is one.

        Raises `PartInUseError` if another download has it locked.
        """
        self.file = PartFile.open_existing(self._final)
        return self.file is not None

    def resume(self, stop: threading.Event, *, accept_whole_zip: bool) -> Have:
        """Return the bytes that can be resumed from, and truncate the file to them; delete it if there are none.

        If `accept_whole_zip`, a file without a state file is accepted if it is a complete zip archive.  Raises
        `Stopped` if `stop` is set while that is checked, `DownloadError` if it can't be read.
        """
        file = self.opened
        described = file.read_state()
        if not described and accept_whole_zip and self._is_whole_archive(file, stop):
            # Its process was killed after the last byte was written, before the file was renamed: see `write_whole`.
            self.version = Version(size=file.size)
            return Have(file.size, self.version)
        state = parse_state(described, self._name.command_id, self._name.filename)
        have = Have() if state is None else state.have(file.size, boot_id())
        if state is None or not have.can_go_on(checked=self._checked):
            self.drop()
            return Have()
        file.truncate(have.offset)
        if state.boot != boot_id():
            # New bytes are written in this boot: if only this process dies, all of them count.
            file.write_state(attrs.evolve(state, durable=min(state.durable, have.offset), boot=boot_id()))
        self.version = self._recorded = have.version
        return have

    def release(self) -> None:
        """Close the file without changing it, if it is open."""
        file, self.file = self.file, None
        if file is not None:
            file.close()

    def _is_whole_archive(self, file: PartFile, stop: threading.Event) -> bool:
        if not self._checked:
            return False
        try:
            check_zip(file.path, self._final.name, stop)
        except InvalidArtifactError:
            return False
        return True

    def prepare(self) -> PartFile:
        """Return the file, created if necessary, with disk space and a state file for this version.

        Raises `InsufficientSpaceError` if this version does not fit on the disk.
        """
        if not self._has_space:
            self._check_space()
            if self.file is None:
                self.file = PartFile.create(self._final)
            if self.version.size is not None:
                self.file.reserve(self.version.size)
            self._has_space = True
        file = self.opened
        if self.version.size is not None and self.version.size >= UNCACHED_FROM:
            file.bypass_cache()
        if self._recorded != self.version:
            # Before any byte of this version is written, so that none is ever attributed to another version.
            self._write_state(file, durable=0)
        return file

    def write(self, pieces: list[bytes]) -> None:
        """Append bytes of this version.  Raises what `prepare` does."""
        file = self.prepare()
        file.write(pieces)
        if file.size - self._synced >= SYNC_EVERY and (self._syncing is None or not self._syncing.is_alive()):
            self.join_sync()
            syncing = threading.Thread(target=self._sync_in_background, args=(file, file.size), daemon=True)
            with starting():
                syncing.start()
            self._syncing = syncing

    def write_whole(self, body: bytes) -> None:
        """Create the file with all bytes of an artifact.  It is renamed right afterwards, so it needs no state file.

        If the process dies before that, the checksums in the zip show the next download that the file is complete.
        """
        self.file = PartFile.create(self._final)
        self.file.write([body])

    def flush(self) -> None:
        """Write the bytes that the file still holds, if there is one."""
        if self.file is not None:
            self.file.flush()

    def start_over(self) -> None:
        """Discard all bytes, but keep the file to write other ones."""
        self.join_sync()
        if self.file is not None:
            # In this order: a state file must never describe bytes that are not there.
            self.file.delete_state()
            self.file.truncate(0)
        self._recorded, self._has_space, self._synced = None, False, 0

    def sync(self) -> None:
        """Wait until all bytes are on disk."""
        try:
            self.opened.sync()
        except OSError:
            self._sync_failed = True
            raise

    def join_sync(self) -> None:
        """Wait for the background sync, if any.  Raises the error of any earlier one."""
        if self._syncing is not None:
            self._syncing.join()
            self._syncing = None
        if self._sync_error is not None:
            raise self._sync_error

    def close_committed(self) -> None:
        """Close the file, which has been renamed to its final name, and delete its state file."""
        if self._recorded is not None:
            # Without its part file a state file is ignored, so it does no harm if it stays.
            with suppress(OSError):
                delete_stale_state(self._final)
        self.opened.close()
        self.file = None

    def drop(self) -> None:
        """Delete the file and its state file."""
        file, self.file = self.file, None
        if file is not None:
            file.remove()

    def keep(self, rest: list[bytes]) -> None:
        """Append the `rest` and leave the file for a later download to resume, or delete it if it can't be resumed."""
        good = not self._sync_failed
        try:
            if good and rest:
                self.prepare().write(rest)
            if good:
                self.flush()
            if good and self.file is not None and boot_id() is None:
                # Without a boot id, the next process can't rule out a reboot, so only synced bytes count.
                self.file.sync()
                self._write_state(self.file, durable=self.file.size)
            elif good and self.file is not None and self._recorded != self.version:
                self._write_state(self.file, durable=0)
        except (OSError, DownloadError):
            # An older state file for the same bytes is good enough.
            good = self._recorded is not None
        if good and self.file is not None and self.file.usual_name and self.file.size:
            self.file.close()
        else:
            self.drop()

    def _check_space(self) -> None:
        if self.version.size is None:
            return
        missing = self.version.size - (0 if self.file is None else self.file.allocated)
        if (free := free_bytes(self._final.parent)) < missing:
            raise InsufficientSpaceError(f"{self._final} needs {missing} bytes, but only {free} are free")

    def _write_state(self, file: PartFile, *, durable: int) -> None:
        version = self.version
        if not file.usual_name or not version.joinable(checked=self._checked):
            # It can't be resumed, so it must not have a state file.
            file.delete_state()
            self._recorded = version
            return
        file.write_state(
            PartState(
                command_id=self._name.command_id,
                filename=self._name.filename,
                etag=version.etag,
                last_modified=version.last_modified,
                size=version.size,
                durable=durable,
                boot=boot_id(),
            )
        )
        self._recorded = version

    def _sync_in_background(self, file: PartFile, size: int) -> None:
        try:
            file.sync()
            self._synced = size
            self._write_state(file, durable=size)
        except OSError as error:
            self._sync_error, self._sync_failed = error, True
