"""The target of one artifact in a folder: part file, checks, sync, rename."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from dexcmd.clock import Clock
from dexcmd.errors import ArtifactExistsError, InvalidArtifactError
from dexcmd.threads import let_go, run_stoppable, run_to_the_end
from dexcmd.transfer.checks import BodyCheck
from dexcmd.transfer.commit import GroupCommit
from dexcmd.transfer.files import check_zip, whole_file_hash
from dexcmd.transfer.options import Verify
from dexcmd.transfer.partfile import PartInUseError, delete_abandoned_parts, delete_stale_state, part_path
from dexcmd.transfer.ranges import Body, Have, Version, is_strong
from dexcmd.transfer.resumable import ResumablePart
from dexcmd.transfer.saved import SavedArtifact
from dexcmd.transfer.sink import ArtifactName
from dexcmd.transfer.system import explained, put_in_place
from dexcmd.transfer.writer import QueueThread

__all__ = ["Existing", "FileTarget"]

Existing = Literal["verify", "overwrite", "rename", "error"]

T = TypeVar("T")

SMALL = 1024 * 1024
"""Bytes.  A small artifact, of up to this size, is kept in memory and written at once: threads would not pay off."""

CHECKED_IN_COMMIT = 64 * 1024 * 1024
"""The most bytes of a small artifact to unpack during a group commit, as other files wait for it."""

LOCK_POLL_SECONDS = 0.2
LOCK_STALL_SECONDS = 30.0
"""While another download of the same artifact has the part file locked: how often to try again, and how long to wait
for it without progress.
"""


class _UndecidedError(Exception):
    """One pass over the bytes did not show that the archive is complete; never leaves this module."""


class FileTarget:
    """The target of an artifact in a folder.

    A small artifact is kept in memory until it is complete.  For a larger one, one thread writes into a locked part
    file while another hashes and checks the same bytes.  No file is accessed on the event loop.
    """

    def __init__(
        self,
        name: ArtifactName,
        final: Path,
        verify: Verify,
        commit: GroupCommit,
        *,
        existing: Existing,
        keep_part: bool,
    ) -> None:
        self._final = final
        self._verify: Verify = verify
        self._commit = commit
        self._existing: Existing = existing
        self._keep_part = keep_part
        self._check = BodyCheck(verify)
        self._size = 0
        self._may_be_complete = False
        """Whether an existing file has the final name, and is to be kept if it is complete."""

        self._found: SavedArtifact | None = None
        self._buffered: list[bytes] = []
        self._writer: QueueThread | None = None
        self._checker: QueueThread | None = None
        self._unchecked = 0
        """Bytes in the part file of an earlier download that are still to be hashed and checked."""

        self._joined = False
        """Whether bytes of several responses were joined without a strong ETag, so they may be of two versions."""

        self._part = ResumablePart(name, final, checked=verify == "zip")
        self._done = False
        self._not_resumable = False
        """Whether to delete the part file: it is not a valid archive, or the final name is taken."""

    @property
    def folder(self) -> Path:
        """The folder of the final name."""
        return self._final.parent

    @property
    def have(self) -> Have:
        """What is already stored."""
        return Have(self._size, self._part.version)

    async def check_existing(self, clock: Clock) -> None:
        """Look for the complete file, or a part file to resume from.

        While another download of the same artifact has the part file locked, wait as long as it makes progress.  Raises
        `ArtifactExistsError`, and `DownloadError` if the disk fails.
        """
        part = part_path(self._final)
        last, since = await run_to_the_end(partial(_progress_of, part)), clock.monotonic()
        while True:
            with explained(self._final):
                if await run_stoppable(self._check_existing):
                    return
            await clock.sleep(LOCK_POLL_SECONDS)
            now = await run_to_the_end(partial(_progress_of, part))
            if now != last:
                last, since = now, clock.monotonic()
            elif clock.monotonic() - since > LOCK_STALL_SECONDS:
                # The other one hangs: this download gets its own part file.
                return

    async def find(self, size: int | None) -> SavedArtifact | None:
        """Return the file if it is already complete."""
        if self._found is None and size is not None and self._may_be_complete and self._verify != "zip":
            with explained(self._final):
                self._found = await run_stoppable(partial(self._whole_file, size))
                if self._found is not None and self._on_disk:
                    await run_to_the_end(self._drop_all)
        return self._found

    async def begin(self, body: Body) -> None:
        """Prepare for a body."""
        if self._size > 0:
            # The threads read the version, so they have to end before it changes.
            with explained(self._final):
                if body.offset == 0:
                    await run_to_the_end(self._restart)
                else:
                    await self._run_stopping_check(self._flush)
        self._part.version = Version() if body.coding else body.version
        if body.size is not None and body.size > SMALL:
            # A lack of disk space is found before the body is read.
            with explained(self._final):
                await run_to_the_end(self._part.prepare)

    async def tail(self, size: int) -> bytes:
        """Return the last `size` bytes of what is stored."""
        if not self._on_disk:
            return b"".join(self._buffered)[self._size - size :]
        with explained(self._final):
            return await self._run_stopping_check(partial(self._read_tail, size))

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises `InsufficientSpaceError` if the disk is full, `DownloadError` if it fails otherwise.
        """
        self._size += len(chunk)
        if self._writer is None:
            self._buffered.append(chunk)
            if self._part.file is None and self._size <= SMALL:
                return
            # Two threads, as hashing takes about as long as writing.
            self._writer = QueueThread(self._part.write, "dexcmd-writer")
            self._checker = QueueThread(self._feed, "dexcmd-checker")
            chunk, self._buffered = b"".join(self._buffered), []
        with explained(self._final):
            await self._writer.put(chunk)
            if self._checker is not None:
                await self._checker.put(chunk)
            if self._size == self._part.version.size:
                # Before another download gets this one's slot: the memory of full queues must not add up.
                await self._run_stopping_check(self._end_threads)

    async def finish(self, resumed_from: int) -> SavedArtifact:
        """Verify the file and rename it to its final name, durably.

        Raises `InvalidArtifactError`, `InsufficientSpaceError`, `ArtifactExistsError` or `DownloadError`.
        """
        self._joined = resumed_from > 0 and not is_strong(self._part.version.etag)
        with explained(self._final):
            if self._on_disk:
                await self._run_stopping_check(self._complete)
            try:
                await self._commit.commit(self)
            except _UndecidedError:
                # Reading the file may take long, and must not delay the rest of the group commit.
                await self._run_stopping_check(self._check_file)
                await self._commit.commit(self)
        return SavedArtifact(path=self._final, size=self._size, sha256=self._check.sha256, resumed_from=resumed_from)

    @property
    def _on_disk(self) -> bool:
        """Whether there is a part file, or a thread about to create one: not all bytes are only in memory."""
        return self._part.file is not None or self._writer is not None

    async def _run_stopping_check(self, work: Callable[[], T]) -> T:
        """Call `work`, which waits for the check or runs it, in a thread; a cancellation stops the check."""
        return await run_stoppable(lambda _: work(), self._check.stop)

    async def close(self) -> None:
        """Close the part file, and keep it if it can be resumed and `keep_part` is set."""
        await let_go(self._close)

    # The methods below are called in threads.

    def _check_existing(self, stop: threading.Event) -> bool:
        """Return False if another download has the part file locked, else True."""
        self._final_status()
        try:
            has_part = self._part.open_existing()
        except PartInUseError:
            return False
        try:
            self._use_existing(stop, has_part=has_part)
        except BaseException:
            # A later download may succeed, for example with more disk space.
            self._part.release()
            raise
        return True

    def _use_existing(self, stop: threading.Event, *, has_part: bool) -> None:
        delete_abandoned_parts(self._final)
        # Again: the download that had the part file locked may just have renamed it.
        status = self._final_status()
        self._may_be_complete = status is not None and self._existing == "verify"
        if status is not None and self._may_be_complete and self._verify == "zip":
            self._found = self._whole_file(status.st_size, stop)
        if self._found is not None:
            # Beside a complete file leftovers do no harm, if they can't be deleted (on a read-only file system).
            with suppress(OSError):
                self._part.drop() if has_part else delete_stale_state(self._final)
        elif not has_part:
            delete_stale_state(self._final)
        else:
            # The part file of a small artifact has no state file (see `write_rest`).  Like an existing final file, it
            # is accepted only because of the checksums in it.
            accept_whole_zip = self._existing == "verify" and self._part.opened.size <= SMALL
            self._size = self._unchecked = self._part.resume(stop, accept_whole_zip=accept_whole_zip).offset

    def _final_status(self) -> os.stat_result | None:
        """Return the status of an existing final file, or None.  Raises `ArtifactExistsError` if that is an error."""
        try:
            status = self._final.lstat()
        except FileNotFoundError:
            return None
        if self._existing == "error":
            raise ArtifactExistsError(f"{self._final} already exists")
        return status

    def _drop_all(self) -> None:
        self._check.stop.set()
        self._drop_threads()
        self._part.join_sync()
        self._part.drop()

    def _whole_file(self, size: int, stop: threading.Event) -> SavedArtifact | None:
        sha256 = whole_file_hash(self._final, size, self._verify, stop)
        if sha256 is None:
            return None
        return SavedArtifact(path=self._final, size=size, sha256=sha256, skipped=True)

    def _restart(self) -> None:
        self._check.stop.set()
        self._drop_threads()
        self._part.start_over()
        self._check = BodyCheck(self._verify)
        self._buffered.clear()
        self._size = self._unchecked = 0
        self._not_resumable = False

    def _flush(self) -> None:
        self._end_threads()
        self._part.join_sync()

    def _drop_threads(self) -> None:
        for thread in (self._writer, self._checker):
            if thread is not None:
                thread.drop()
        self._writer = self._checker = None

    def _read_tail(self, size: int) -> bytes:
        self._end_threads()
        return self._part.opened.tail(size)

    def _feed(self, chunks: list[bytes]) -> None:
        self._catch_up()
        # In one piece: each hash update releases the GIL, and must then wait to get it back from the busy event loop.
        self._check.feed(b"".join(chunks))

    def _catch_up(self) -> None:
        """Hash and check the bytes of an earlier download."""
        size, self._unchecked = self._unchecked, 0
        if size:
            for piece in self._part.opened.pieces(size):
                self._check.feed(piece)

    def _end_writer(self) -> None:
        try:
            if self._writer is not None:
                self._writer.end()
                self._part.flush()
        finally:
            self._writer = None

    def _end_threads(self) -> None:
        try:
            self._end_writer()
            if self._checker is not None:
                self._checker.end()
        finally:
            self._drop_threads()

    def _complete(self) -> None:
        self._flush()
        self._catch_up()
        if self._check.verdict(joined=self._joined) != "whole":
            self._check_file()

    def _check_file(self) -> None:
        # Reading the file decides what one pass could not, and the error says what is wrong.
        try:
            check_zip(self._part.opened.path, self._final.name, self._check.stop, joined=self._joined)
        except InvalidArtifactError:
            self._not_resumable = True
            raise

    def write_rest(self) -> None:
        """Write and check a small artifact; larger ones are already written and checked."""
        if self._part.file is None:
            # In one piece: each system call or hash update must wait for the GIL afterwards.
            body, self._buffered = b"".join(self._buffered), []
            self._part.write_whole(body)
            self._check = BodyCheck(self._verify, most=CHECKED_IN_COMMIT)
            self._check.feed(body)
            if self._check.verdict(joined=self._joined) != "whole":
                raise _UndecidedError

    def start_writeback(self) -> None:
        """Have the system start writing it to disk, without waiting for it."""
        self._part.opened.start_writeback()

    def sync(self) -> None:
        """Wait until it is on disk (fsync)."""
        self._part.sync()

    def put_in_place(self) -> None:
        """Give it its final name."""
        file = self._part.opened
        if file.locked:
            # Another download's part file must never get the final name.
            file.check_path()
        else:
            # There are no locks on Windows, which can't rename an open file.
            file.close()
        if self._existing == "rename":
            self._final = _rename(file.path, self._final)
        else:
            try:
                put_in_place(file.path, self._final, replace=self._existing != "error")
            except FileExistsError:
                self._not_resumable = True
                raise ArtifactExistsError(f"{self._final} already exists") from None
        self._part.close_committed()
        self._done = True

    def _close(self) -> None:
        if self._done:
            return
        self._check.stop.set()
        keep = self._keep_part and not self._not_resumable and self.have.can_go_on(checked=self._verify == "zip")
        for stop in (*((self._end_writer,) if keep else ()), self._drop_threads, self._part.join_sync):
            # Errors of the cleanup must not hide the error that ended the download.
            with suppress(Exception):
                stop()
        with suppress(OSError):
            if keep:
                self._part.keep(self._buffered)
            else:
                self._part.drop()


def _rename(part: Path, final: Path) -> Path:
    """Rename a file to the first free final name (`name.zip`, `name (1).zip`, ...), and return that."""
    name, number = final, 0
    while True:
        try:
            put_in_place(part, name, replace=False)
        except FileExistsError:
            number += 1
            name = final.with_stem(f"{final.stem} ({number})")
        else:
            return name


def _progress_of(part: Path) -> tuple[int, int] | None:
    """Return the size and modification time of a part file, which change while another download writes to it."""
    try:
        status = part.lstat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
