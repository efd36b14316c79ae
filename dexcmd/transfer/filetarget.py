"""One artifact on its way into a file: part file, checks, sync, name."""

import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
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
from dexcmd.transfer.system import explain, put_in_place
from dexcmd.transfer.writer import QueueThread

__all__ = ["Existing", "FileTarget"]

Existing = Literal["verify", "overwrite", "rename", "error"]

T = TypeVar("T")

SMALL = 1024 * 1024
"""Up to so many bytes are kept in memory and written in one go: a thread would cost more than it gives."""

CHECKED_IN_COMMIT = 64 * 1024 * 1024
"""Of those that are small so many bytes are unpacked where others wait for their names."""

LOCK_POLL_SECONDS = 0.2
LOCK_STALL_SECONDS = 30.0
"""How long another download of the same artifact is waited for while it gets no further."""


class _UndecidedError(Exception):
    """The bytes passing by did not show that the archive is whole; never leaves this module."""


class FileTarget:
    """The place of an artifact in a folder.

    Bytes are kept in memory while they are few.  Then one thread writes them into a locked part file while another
    hashes and checks them; nothing here touches a file on the event loop.
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
        """Whether there is something under the final name that may be the whole file."""

        self._found: SavedArtifact | None = None
        self._buffered: list[bytes] = []
        self._writer: QueueThread | None = None
        self._checker: QueueThread | None = None
        self._unchecked = 0
        """Bytes of the part file that an earlier download left, still to be hashed and checked."""

        self._joined = False
        """Whether bytes were put together without an ETag that vouches for them."""

        self._part = ResumablePart(name, final, checked=verify == "zip")
        self._done = False
        self._not_resumable = False
        """Whether what came is nothing to go on from: it is no whole archive, or has no place."""

    @property
    def folder(self) -> Path:
        """Where the file gets its name."""
        return self._final.parent

    @property
    def have(self) -> Have:
        """What is there of it."""
        return Have(self._size, self._part.version)

    async def check_existing(self, clock: Clock) -> None:
        """See what is there already: the file, or a part of it.

        While another download of the same artifact is at work, it is waited for, as long as it gets further.  Raises
        `ArtifactExistsError`, and `DownloadError` where the disk fails.
        """
        part = part_path(self._final)
        last, since = await run_to_the_end(partial(_progress_of, part)), clock.monotonic()
        while True:
            with self._explained():
                if await run_stoppable(self._check_existing):
                    return
            await clock.sleep(LOCK_POLL_SECONDS)
            now = await run_to_the_end(partial(_progress_of, part))
            if now != last:
                last, since = now, clock.monotonic()
            elif clock.monotonic() - since > LOCK_STALL_SECONDS:
                # It hangs.  A part file of its own is made for this one.
                return

    async def find(self, size: int | None) -> SavedArtifact | None:
        """Return the file if it is there whole."""
        if self._found is None and size is not None and self._may_be_complete and self._verify != "zip":
            with self._explained():
                self._found = await run_stoppable(partial(self._whole_file, size))
                if self._found is not None and self._on_disk:
                    await run_to_the_end(self._drop_all)
        return self._found

    async def begin(self, body: Body) -> None:
        """Prepare for a body."""
        if self._size > 0:
            # The threads look at the version, too: it must not change beside them.
            with self._explained():
                if body.offset == 0:
                    await run_to_the_end(self._restart)
                else:
                    await self._run_stopping_check(self._flush)
        self._part.version = Version() if body.coding else body.version
        if body.size is not None and body.size > SMALL:
            # Before a byte is fetched, so that it is not in vain.
            with self._explained():
                await run_to_the_end(self._part.prepare)

    async def tail(self, size: int) -> bytes:
        """Return the last `size` bytes of what is there."""
        if not self._on_disk:
            return b"".join(self._buffered)[self._size - size :]
        with self._explained():
            return await self._run_stopping_check(partial(self._read_tail, size))

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises `InsufficientSpaceError` where the disk is full, `DownloadError` where it fails otherwise.
        """
        self._size += len(chunk)
        if self._writer is None:
            self._buffered.append(chunk)
            if self._part.file is None and self._size <= SMALL:
                return
            # Hashing takes about as long as writing does, and neither has to wait for the other.
            self._writer = QueueThread(self._part.write, "dexcmd-writer")
            self._checker = QueueThread(self._feed, "dexcmd-checker")
            chunk, self._buffered = b"".join(self._buffered), []
        with self._explained():
            await self._writer.put(chunk)
            if self._checker is not None:
                await self._checker.put(chunk)
            if self._size == self._part.version.size:
                # Before another one may begin in its place: full queues must not add up.
                await self._run_stopping_check(self._end_threads)

    async def finish(self, resumed_from: int) -> SavedArtifact:
        """Verify the file and give it its name, durably.

        Raises `InvalidArtifactError`, `InsufficientSpaceError`, `ArtifactExistsError` or `DownloadError`.
        """
        self._joined = resumed_from > 0 and not is_strong(self._part.version.etag)
        with self._explained():
            if self._on_disk:
                await self._run_stopping_check(self._complete)
            try:
                await self._commit.commit(self)
            except _UndecidedError:
                # Reading it may take long, and must not keep the others from their names.
                await self._run_stopping_check(self._check_file)
                await self._commit.commit(self)
        return SavedArtifact(path=self._final, size=self._size, sha256=self._check.sha256, resumed_from=resumed_from)

    @property
    def _on_disk(self) -> bool:
        """Whether there are bytes that are not, or not only, in memory."""
        return self._part.file is not None or self._writer is not None

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise explain(error, self._final) from error

    async def _run_stopping_check(self, work: Callable[[], T]) -> T:
        """Do in a thread what the check has to come to its end for; a cancellation ends the check within a piece."""
        return await run_stoppable(lambda _: work(), self._check.stop)

    async def close(self) -> None:
        """Close the part, and keep it if it can be gone on from."""
        await let_go(self._close)

    # From here on in threads.

    def _check_existing(self, stop: threading.Event) -> bool:
        """Return whether there is an answer: not while another download is at work."""
        self._final_status()
        try:
            has_part = self._part.open_existing()
        except PartInUseError:
            return False
        try:
            self._use_existing(stop, has_part=has_part)
        except BaseException:
            # A later download may have what this one lacks.
            self._part.release()
            raise
        return True

    def _use_existing(self, stop: threading.Event, *, has_part: bool) -> None:
        delete_abandoned_parts(self._final)
        # Once more: whoever had the part may have given it its final name just before.
        status = self._final_status()
        self._may_be_complete = status is not None and self._existing == "verify"
        if status is not None and self._may_be_complete and self._verify == "zip":
            self._found = self._whole_file(status.st_size, stop)
        if self._found is not None:
            # Beside a whole file it is no matter if they stay, as where the disk can only be read.
            with suppress(OSError):
                self._part.drop() if has_part else delete_stale_state(self._final)
        elif not has_part:
            delete_stale_state(self._final)
        else:
            # One as `write_rest` makes it has no state; as a file that is there, it can only speak for itself.
            accept_whole_zip = self._existing == "verify" and self._part.opened.size <= SMALL
            self._size = self._unchecked = self._part.resume(stop, accept_whole_zip=accept_whole_zip).offset

    def _final_status(self) -> os.stat_result | None:
        """Return what is under the final name.  Raises `ArtifactExistsError` where nothing may be."""
        try:
            status = self._final.lstat()
        except FileNotFoundError:
            return None
        if self._existing == "error":
            raise ArtifactExistsError(f"{self._final} is there already")
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
        # In one piece: a hash gives the interpreter away, and waits for the busy event loop to get it back.
        self._check.feed(b"".join(chunks))

    def _catch_up(self) -> None:
        """Hash and check what an earlier download left."""
        size, self._unchecked = self._unchecked, 0
        if size:
            for piece in self._part.opened.pieces(size):
                self._check.feed(piece)

    def _end_writer(self) -> None:
        try:
            if self._writer is not None:
                self._writer.end()
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
        # What one pass can't tell, the file can; and it says what is wrong.
        try:
            check_zip(self._part.opened.path, self._final.name, self._check.stop, joined=self._joined)
        except InvalidArtifactError:
            self._not_resumable = True
            raise

    def write_rest(self) -> None:
        """Write and check what is not yet."""
        if self._part.file is None:
            # In one piece: each call into the system or a hash waits for the interpreter when it comes back.
            body, self._buffered = b"".join(self._buffered), []
            self._part.write_whole(body)
            self._check = BodyCheck(self._verify, most=CHECKED_IN_COMMIT)
            self._check.feed(body)
            if self._check.verdict(joined=self._joined) != "whole":
                raise _UndecidedError

    def start_writeback(self) -> None:
        """Have the system begin to write it to disk."""
        self._part.opened.start_writeback()

    def sync(self) -> None:
        """Return when it is on disk."""
        self._part.sync()

    def put_in_place(self) -> None:
        """Give it its final name."""
        file = self._part.opened
        if file.locked:
            # Another download's part must never get it.
            file.check_path()
        else:
            # Where there are no locks, no file can be renamed while it is open.
            file.close()
        if self._existing == "rename":
            self._final = _rename(file.path, self._final)
        else:
            try:
                put_in_place(file.path, self._final, replace=self._existing != "error")
            except FileExistsError:
                self._not_resumable = True
                raise ArtifactExistsError(f"{self._final} is there already") from None
        self._part.close_committed()
        self._done = True

    def _close(self) -> None:
        if self._done:
            return
        self._check.stop.set()
        keep = self._keep_part and not self._not_resumable and self.have.can_go_on(checked=self._verify == "zip")
        for stop in (*((self._end_writer,) if keep else ()), self._drop_threads, self._part.join_sync):
            # What has ended the download is told, and not what comes after it.
            with suppress(Exception):
                stop()
        with suppress(OSError):
            if keep:
                self._part.keep(self._buffered)
            else:
                self._part.drop()


def _rename(part: Path, final: Path) -> Path:
    """Give a file the first final name that is free, and return that."""
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
    """Return what changes while somebody writes to a part file."""
    try:
        status = part.lstat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
