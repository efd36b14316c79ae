"""A part file that a later download can go on from: room, state, and syncs behind the writer's back.  For threads."""

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
"""So many bytes are synced behind the writer's back: there is less to lose, and less to wait for at the end."""


class ResumablePart:
    """The part file of an artifact, made when it is first needed, and the state that vouches for its bytes.

    Each method raises `OSError` where the disk fails.
    """

    def __init__(self, name: ArtifactName, final: Path, *, checked: bool) -> None:
        self._name = name
        self._final = final
        self._checked = checked
        self.version: Version = Version()
        """Which version the bytes are of.  Changed only while nothing is written or synced."""

        self.file: PartFile | None = None
        self._recorded: Version | None = None
        """The version that the state says, or would if anything could be joined to it."""

        self._has_space = False
        """Whether there is room for this version."""

        self._synced = 0
        """Bytes that are on disk."""

        self._syncing: threading.Thread | None = None
        self._sync_error: OSError | None = None
        self._sync_failed = False
        """Whether a sync has failed.  The system tells only once of what it has lost: the next sync would succeed."""

    @property
    def opened(self) -> PartFile:
        """The file, for whoever knows that there is one."""
        assert self.file is not None  # noqa: S101 - for the type checker
        return self.file

    def open_existing(self) -> bool:
        """Open the file that an earlier download left, and return whether there is one.

        Raises `PartInUseError` where another download has it.
        """
        self.file = PartFile.open_existing(self._final)
        return self.file is not None

    def resume(self, stop: threading.Event, *, accept_whole_zip: bool) -> Have:
        """Return what of the file can be gone on from, and cut the rest; where it is nothing, the file is dropped.

        `on_its_word` is whether one without a state that is a whole zip archive is taken for the artifact.  Raises
        `Stopped` where `stop` is set while that is told, `DownloadError` where it can't be read.
        """
        file = self.opened
        described = file.read_state()
        if not described and accept_whole_zip and self._is_whole_archive(file, stop):
            # Its process was killed between its last byte and its name, see `write_whole`.
            self.version = Version(size=file.size)
            return Have(file.size, self.version)
        state = parse_state(described, self._name.command_id, self._name.filename)
        have = Have() if state is None else state.have(file.size, boot_id())
        if state is None or not have.can_go_on(checked=self._checked):
            self.drop()
            return Have()
        file.truncate(have.offset)
        if state.boot != boot_id():
            # What comes now is written by this run of the system, and outlives this process.
            file.write_state(attrs.evolve(state, durable=min(state.durable, have.offset), boot=boot_id()))
        self.version = self._recorded = have.version
        return have

    def release(self) -> None:
        """Let go of the file, which stays as it was taken up."""
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
        """Return the file, made if need be, with room and a state that describes it.

        Raises `InsufficientSpaceError` where this version does not fit on the disk.
        """
        if not self._has_space:
            self._check_space()
            if self.file is None:
                self.file = PartFile.create(self._final)
            if self.version.size is not None:
                self.file.reserve(self.version.size)
            self._has_space = True
        file = self.opened
        if self._recorded != self.version:
            # Before any byte of this version is written, so that none is ever taken for another's.
            self._write_state(file, durable=0)
        return file

    def write(self, pieces: list[bytes]) -> None:
        """Append bytes of this version.  Raises as `ready` does."""
        file = self.prepare()
        file.write(pieces)
        if file.size - self._synced >= SYNC_EVERY and (self._syncing is None or not self._syncing.is_alive()):
            self.join_sync()
            syncing = threading.Thread(target=self._sync_in_background, args=(file, file.size), daemon=True)
            with starting():
                syncing.start()
            self._syncing = syncing

    def write_whole(self, body: bytes) -> None:
        """Make the file of a whole artifact: it gets its name at once, and needs no state.

        Where it does not get that far, its own checksums tell the next download that it is whole.
        """
        self.file = PartFile.create(self._final)
        self.file.write([body])

    def start_over(self) -> None:
        """Forget all bytes, and keep the file for others."""
        self.join_sync()
        if self.file is not None:
            # What vouches for bytes goes before they do.
            self.file.delete_state()
            self.file.truncate(0)
        self._recorded, self._has_space, self._synced = None, False, 0

    def sync(self) -> None:
        """Return when all bytes are on disk."""
        try:
            self.opened.sync()
        except OSError:
            self._sync_failed = True
            raise

    def join_sync(self) -> None:
        """Wait for the sync that is under way.  Raises what one has raised."""
        if self._syncing is not None:
            self._syncing.join()
            self._syncing = None
        if self._sync_error is not None:
            raise self._sync_error

    def close_committed(self) -> None:
        """Let go of the file, which has its final name."""
        if self._recorded is not None:
            # Without its part it vouches for nothing, so it is no matter if it stays.
            with suppress(OSError):
                delete_stale_state(self._final)
        self.opened.close()
        self.file = None

    def drop(self) -> None:
        """Delete the file and its state."""
        file, self.file = self.file, None
        if file is not None:
            file.remove()

    def keep(self, rest: list[bytes]) -> None:
        """Append what is still to be written, and leave the file to a later download, or drop it if it is no good."""
        good = not self._sync_failed
        try:
            if good and rest:
                self.prepare().write(rest)
            if good and self.file is not None and boot_id() is None:
                # Where the runs of the system can't be told apart, only what is on disk counts for the next process.
                self.file.sync()
                self._write_state(self.file, durable=self.file.size)
            elif good and self.file is not None and self._recorded != self.version:
                self._write_state(self.file, durable=0)
        except (OSError, DownloadError):
            # An older state of the same bytes is as good.
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
            raise InsufficientSpaceError(f"{self._final} needs {missing} bytes, and {free} are free")

    def _write_state(self, file: PartFile, *, durable: int) -> None:
        version = self.version
        if not file.usual_name or not version.joinable(checked=self._checked):
            # Nothing could be joined to it, so nothing may vouch for it.
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
