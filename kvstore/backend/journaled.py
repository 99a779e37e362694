"""LMDB behind a journal: a commit is one synced write, LMDB gets many commits at once later.

    commit ──▶ journal (durable) ──▶ memtable ──checkpoint──▶ LMDB (durable) ──▶ segment spare

A commit of LMDB costs two syncs and a copy of each page on the way to a row; an entry of the
journal costs one sync of what is new. Reads see LMDB with the memtables laid over it. The mark, a
row of LMDB, says up to which commit LMDB has them; it is committed together with them, so that a
crash at any point replays exactly what LMDB lacks.

    state     the mark says       a commit goes                       after a crash
    fresh     nothing             to LMDB, with an open mark: open    nothing to replay
    closed    closed              to LMDB, with an open mark: open    nothing to replay
    open      open                to the journal                      replayed from the mark on
    failed    open                nowhere: CommitUncertain            replayed from the mark on

The first commit after an opening pays for LMDB's syncs, and an opening that writes nothing leaves
the directory as it was.
"""

from __future__ import annotations

import logging
import os
import threading

from kvstore.backend.checkpointer import Checkpointer
from kvstore.backend.damage import damaged
from kvstore.backend.interface import (
    BackendError,
    BackendFull,
    BackendRefused,
    CommitUncertain,
    MapFull,
    Table,
    WriteBatch,
)
from kvstore.backend.journal.disk import OUT_OF_SPACE, Disk
from kvstore.backend.journal.entry import encode_body
from kvstore.backend.journal.journal import Journal
from kvstore.backend.journal.legacy import (
    FORMAT_2,
    OLD_MARK_KEY,
    remove_segments,
    unpack_old_mark,
)
from kvstore.backend.journal.mark import MARK_KEY, Mark, pack_mark, unpack_mark
from kvstore.backend.journal.replay import Replayed, replay
from kvstore.backend.lmdb import LmdbBackend
from kvstore.backend.overlay import Memtable, OverlaySnapshot
from kvstore.errors import CorruptStore, OpenError, StoreError
from kvstore.limits import JOURNAL_BYTES, MAP_SIZE_BYTES

__all__ = ["JournaledBackend", "settle_journal"]

log = logging.getLogger(__name__)


class JournaledBackend:
    is_fast = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        create: bool = True,
        map_size_bytes: int = MAP_SIZE_BYTES,
        disk: Disk | None = None,
        background: bool = True,
    ) -> None:
        """Open a directory as LmdbBackend does, and read what its journal holds.

        Without `background` only `checkpoint`, `close` and a lack of room move the journal into
        LMDB. Raises OpenError, DirectoryLocked, CorruptStore.
        """
        self._lmdb = LmdbBackend(path, create=create, map_size_bytes=map_size_bytes)
        self._pid = os.getpid()
        self._disk = disk or Disk(path)
        self._background = background
        self._moving = threading.Lock()  # LMDB is being written, or mapped anew
        self._turning = threading.Lock()  # the memtables change
        self._failure: BaseException | None = None
        self._checkpointer: Checkpointer | None = None
        self._journal: Journal | None = None
        try:
            self._recover()
        except CorruptStore as error:
            self._release()
            raise damaged(error, path) from error
        except BaseException:
            self._release()
            raise

    def _recover(self) -> None:
        try:
            self._mark = self._read_mark()
            self._replayed = replayed = replay(self._disk, self._mark)
            memtable = _memtable_of(replayed)
            if self._mark is not None and self._mark.is_open:
                self._journal = self._open_journal()
        except OSError as error:
            raise OpenError(f"the journal cannot be read: {error}") from error
        self.memtables: tuple[Memtable, ...] = (memtable,)
        self._pending_bytes = memtable.size_bytes
        self._last_append = memtable.keys[-1] if memtable.keys else self._lmdb.last_append()
        if self._journal is not None:
            try:
                self._begin(self._new_checkpointer())
            except BackendRefused as error:
                raise OpenError(str(error)) from error

    def _read_mark(self) -> Mark | None:
        """With a journal of format 2 taken over. Raises CorruptStore, OpenError, OSError."""
        snapshot = self._lmdb.snapshot()
        row, old_row = (snapshot.get(Table.META, key) for key in (MARK_KEY, OLD_MARK_KEY))
        snapshot.close()
        mark = unpack_mark(row)
        if old_row is not None or mark is None:
            old_mark = unpack_old_mark(old_row)
            old = replay(self._disk, old_mark, FORMAT_2)
            if old_mark is not None:
                mark = Mark(old_mark.journal_id, old.last.sequence, 0, 0, False)
                self._take_over(_memtable_of(old), mark)
        remove_segments(self._disk)
        return mark

    def _take_over(self, memtable: Memtable, mark: Mark) -> None:
        """What only a journal of format 2 has goes to LMDB, with a closed mark of this format."""
        merged = memtable.merged()
        puts = [*merged.puts, pack_mark(mark)]
        deletes = [*merged.deletes, (Table.META, OLD_MARK_KEY)]
        while True:
            try:
                self._lmdb.move(merged.appends, puts, deletes, lambda: None)
                return
            except MapFull:
                self._lmdb.grow()
            except (BackendError, CommitUncertain) as error:
                raise OpenError(f"the journal cannot be moved into LMDB: {error}") from error

    def __repr__(self) -> str:
        return f"JournaledBackend({self._lmdb!r}, {self._journal!r}, {list(self.memtables)})"

    def snapshot(self) -> OverlaySnapshot:
        return OverlaySnapshot(self, self._lmdb.snapshot())

    # -- commits ---------------------------------------------------------------------------------

    def commit(self, batch: WriteBatch) -> None:
        self._check_writable()
        if batch.appends and batch.appends[0][0] <= self._last_append:
            raise BackendError("an append is not behind the end of the log")
        try:
            if self._checkpointer is None:
                self._commit_first(batch)
            else:
                self._append(batch, self._checkpointer)
            if batch.appends:
                self._last_append = batch.appends[-1][0]
        except BackendError:
            raise
        except BaseException as error:  # also Ctrl-C: who knows how far it came
            self._failure = error
            raise

    def rewrite(self, batch: WriteBatch) -> None:
        """Past the journal."""
        if self._checkpointer is not None:
            raise BackendError("rows are rewritten only before the journal has commits")
        with self._moving:
            self._lmdb.rewrite(batch)
            self.memtables = (Memtable(),)  # so that snapshots look at LMDB again

    def _check_writable(self) -> None:
        """Raises MapFull, CommitUncertain; StoreClosed in a forked child."""
        self._lmdb.check_process()
        self._check_sound()
        if self._checkpointer is not None and isinstance(self._checkpointer.error, MapFull):
            raise MapFull

    def _check_sound(self) -> None:
        """After a write of unknown outcome there is no other. Raises CommitUncertain."""
        failure, checkpointer = self._failure, self._checkpointer
        if failure is None and checkpointer is not None and checkpointer.has_failed:
            failure = checkpointer.error
        if failure is not None:
            raise CommitUncertain(f"an earlier write failed: {failure!r}") from failure

    def _commit_first(self, batch: WriteBatch) -> None:
        """LMDB must say that there is a journal before the journal has the first commit."""
        journal = self._need_journal()
        checkpointer = self._new_checkpointer()
        mark = Mark(journal.journal_id, journal.last.sequence, journal.number, 0, True)
        try:
            with self._moving:
                puts = [*batch.puts, pack_mark(mark)]
                self._lmdb.commit(WriteBatch(batch.appends, puts, batch.deletes))
                self._mark = mark
                self.memtables = (Memtable(),)  # so that snapshots look at LMDB again
        except BaseException:
            checkpointer.close()
            raise
        self._begin(checkpointer)

    def _append(self, batch: WriteBatch, checkpointer: Checkpointer) -> None:
        journal = self._journal
        assert journal is not None
        try:
            body = encode_body(batch)
        except MemoryError as error:
            raise BackendRefused("there is no memory to encode a commit") from error
        if self._pending_bytes and self._pending_bytes + len(body) > JOURNAL_BYTES:
            checkpointer.run()
        try:
            position = journal.append(body)
        except BackendRefused:
            if not self._pending_bytes:
                raise
            checkpointer.run()  # it frees segments
            position = journal.append(body)
        with self._turning:
            newest = self.memtables[-1]
            newest.add(batch, len(body), position)
            self._pending_bytes += len(body)
        checkpointer.notice(newest.size_bytes, needs_segment=not journal.is_prepared)

    # -- checkpoints -----------------------------------------------------------------------------

    def checkpoint(self) -> None:
        """Have LMDB take over all that was committed before. Blocking; any thread.

        Raises MapFull, BackendFull, CommitUncertain; the journal keeps what LMDB did not take.
        """
        with self._moving:
            self._move_all()

    def settle(self) -> None:
        """Leave a journal that need not be there. No snapshot may be open. Raises as `commit`."""
        with self._moving:
            while self._mark is not None and self._mark.is_open:
                self._check_sound()
                try:
                    self._move_all(is_open=False)
                except MapFull:
                    self._lmdb.grow()

    def _move_all(self, *, is_open: bool = True) -> None:
        if len(self.memtables) > 1:  # an earlier checkpoint failed
            self._move(self.memtables[0])
        newest = self.memtables[-1]
        if newest.last is not None or not is_open:
            with self._turning:
                self.memtables = (newest, Memtable())
            self._move(newest, is_open=is_open)

    def _move(self, memtable: Memtable, *, is_open: bool = True) -> None:
        old, journal = self._mark, self._journal
        assert old is not None
        assert journal is not None
        last = memtable.last or old.position
        mark = Mark(old.journal_id, last.sequence, last.number, last.at, is_open)
        try:
            merged = memtable.merged()
            self._lmdb.move(
                merged.appends, [*merged.puts, pack_mark(mark)], merged.deletes, self._pause
            )
            self._mark = mark
            with self._turning:
                self.memtables = self.memtables[1:]
                self._pending_bytes -= memtable.size_bytes
            journal.release(mark.number)
        except BackendFull:
            journal.shed()
            raise

    def _pause(self) -> None:
        if self._checkpointer is not None:
            self._checkpointer.pause()

    def _need_journal(self) -> Journal:
        """Raises BackendRefused, BackendFull: no commit is in it yet."""
        if self._journal is None:
            try:
                self._journal = self._open_journal()
            except OSError as error:
                kind = BackendFull if error.errno in OUT_OF_SPACE else BackendRefused
                raise kind(f"the journal could not be made: {error}") from error
        return self._journal

    def _open_journal(self) -> Journal:
        journal_id = os.urandom(16) if self._mark is None else self._mark.journal_id
        return Journal(self._disk, journal_id, self._replayed)

    def _new_checkpointer(self) -> Checkpointer:
        """Raises BackendRefused."""
        assert self._journal is not None
        try:
            return Checkpointer(self.checkpoint, self._journal.prepare, background=self._background)
        except RuntimeError as error:  # no thread can be started
            raise BackendRefused(f"the checkpointer could not be started: {error}") from error

    def _begin(self, checkpointer: Checkpointer) -> None:
        """From now on commits go to the journal."""
        self._checkpointer = checkpointer
        if self._pending_bytes:
            checkpointer.notice(self._pending_bytes, needs_segment=False)

    # -- the rest of Backend ---------------------------------------------------------------------

    def mend(self) -> None:
        return  # its commits are made where no signal handler runs

    def grow(self) -> None:
        with self._moving:
            self._lmdb.grow()
        if self._checkpointer is not None:
            self._checkpointer.forgive()

    def trim(self) -> None:
        with self._moving:
            self._lmdb.trim()

    def size_bytes(self) -> tuple[int, int]:
        """Of LMDB, and what the journal holds for it."""
        allocated, in_use = self._lmdb.size_bytes()
        return allocated + self._pending_bytes, in_use + self._pending_bytes

    def close(self) -> None:
        """Have LMDB take over everything; if it cannot, the next opening goes on with it."""
        try:
            if self._pid == os.getpid():
                if self._checkpointer is not None:
                    self._checkpointer.close()
                if self._journal is not None:
                    self.settle()
        except StoreError as error:
            log.warning("commits were left in the journal of %r: %s", self._lmdb, error)
        finally:
            self._release()

    def _release(self) -> None:
        if self._journal is not None:
            self._journal.close()
        self._lmdb.close()


def _memtable_of(replayed: Replayed) -> Memtable:
    memtable = Memtable()
    for position, size, batch in replayed.batches:
        memtable.add(batch, size, position)
    replayed.batches.clear()
    return memtable


def settle_journal(path: str | os.PathLike[str]) -> None:
    """What a journal holds that LMDB lacks goes to LMDB. Raises as an opening and a commit do."""
    backend = JournaledBackend(path, create=False, background=False)
    try:
        backend.settle()
    finally:
        backend.close()
