"""When the journal is moved into LMDB, and the thread that does it beside the commits.

A checkpoint is due when the journal holds enough, when what it holds has waited long enough, or
when a commit waits for room. The thread also makes the journal's next segment ahead.

    a checkpoint ends with   what the commits see
    success                  nothing
    MapFull                  MapFull, until the map has grown: the shell grows it
    BackendRefused           nothing while the journal has room, then the same; tried again
    anything else            CommitUncertain, for good
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from kvstore.backend.interface import BackendRefused, CommitUncertain, MapFull
from kvstore.errors import StoreError
from kvstore.limits import (
    CHECKPOINT_BYTES,
    CHECKPOINT_INTERVAL_S,
    CHECKPOINT_PAUSE_S,
    HOUSEKEEPING_RETRY_S,
)

__all__ = ["Checkpointer"]

log = logging.getLogger(__name__)


class Checkpointer:
    def __init__(
        self, checkpoint: Callable[[], None], prepare: Callable[[], None], *, background: bool
    ) -> None:
        """`checkpoint` and `prepare` raise what the table above says.

        Without `background` there is no thread and a checkpoint is made only by `run`.
        """
        self._checkpoint, self._prepare = checkpoint, prepare
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._done = threading.Condition(self._lock)
        self._requests = self._attempts = 0
        self._pending_bytes = 0
        self._since_s: float | None = None
        self._not_before_s = 0.0
        self._needs_segment = self._is_closing = False
        self._error: StoreError | None = None
        self._thread: threading.Thread | None = None
        if background:
            self._thread = threading.Thread(
                target=self._run, name="kvstore-checkpointer", daemon=True
            )
            self._thread.start()

    @property
    def error(self) -> StoreError | None:
        """How the last checkpoint failed, if it did."""
        return self._error

    @property
    def has_failed(self) -> bool:
        """Is what LMDB holds unknown? Then there is no further checkpoint."""
        return self._error is not None and not isinstance(self._error, MapFull | BackendRefused)

    def notice(self, pending_bytes: int, *, needs_segment: bool) -> None:
        """After each commit: so much came since the last checkpoint began."""
        is_news = self._since_s is None or needs_segment != self._needs_segment
        if not is_news and pending_bytes < CHECKPOINT_BYTES:
            return
        with self._wake:
            is_news = is_news or self._pending_bytes < CHECKPOINT_BYTES
            self._pending_bytes, self._needs_segment = pending_bytes, needs_segment
            self._since_s = self._since_s or time.monotonic()
            if is_news:
                self._wake.notify_all()

    def run(self) -> None:
        """Make a checkpoint, or have it made, and wait for its end. Raises as it does."""
        if self._thread is None:
            self._attempt()
        else:
            with self._wake:
                goal = self._attempts + 1
                self._requests += 1
                self._wake.notify_all()
                try:
                    while self._attempts < goal and not self._is_closing:
                        self._done.wait()
                finally:
                    self._requests -= 1
        if self._error is not None:
            raise self._error

    def pause(self) -> None:
        """Between two slices of a checkpoint: let commits and readers have the interpreter."""
        if self._needs_segment and time.monotonic() >= self._not_before_s:
            self._make_segment()
        if not self._requests and not self._is_closing and self._thread is not None:
            time.sleep(CHECKPOINT_PAUSE_S)

    def forgive(self) -> None:
        """The map has grown."""
        with self._wake:
            self._error, self._not_before_s = None, 0.0
            self._wake.notify_all()

    def close(self) -> None:
        """End the thread, after the checkpoint that it is making."""
        with self._wake:
            self._is_closing = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while (wait_s := self._wait_s()) is None or wait_s > 0:
                    if self._is_closing:
                        return
                    self._wake.wait(wait_s)
                if self._is_closing:
                    return
            if self._needs_segment and time.monotonic() >= self._not_before_s:
                self._make_segment()
            if self._is_due():
                self._attempt()

    def _wait_s(self) -> float | None:
        """Seconds until there is something to do; None: nothing."""
        if self._requests:
            return 0
        waits = [self._due_in_s()]
        if self._needs_segment:
            waits.append(self._not_before_s - time.monotonic())
        return min((wait for wait in waits if wait is not None), default=None)

    def _due_in_s(self) -> float | None:
        if self._since_s is None or isinstance(self._error, MapFull) or self.has_failed:
            return None
        has_enough = self._pending_bytes >= CHECKPOINT_BYTES
        at_s = 0.0 if has_enough else self._since_s + CHECKPOINT_INTERVAL_S
        return max(at_s, self._not_before_s) - time.monotonic()

    def _is_due(self) -> bool:
        due_s = self._due_in_s()
        return self._requests > 0 or (due_s is not None and due_s <= 0)

    def _attempt(self) -> None:
        self._since_s, self._pending_bytes = None, 0
        error = self._error
        if not self.has_failed:
            try:
                self._checkpoint()
                error = None
            except Exception as failure:
                error = _as_store_error(failure)
        if error is not None and type(error) is not type(self._error):
            log.warning("a checkpoint failed, the journal keeps what it was to move: %s", error)
        with self._wake:
            self._error = error
            if error is not None:
                self._since_s = self._since_s or time.monotonic()
                self._not_before_s = time.monotonic() + HOUSEKEEPING_RETRY_S
            self._attempts += 1
            self._done.notify_all()

    def _make_segment(self) -> None:
        self._needs_segment = False
        try:
            self._prepare()
        except Exception:  # the commit that needs it tries, too, and says what is wrong
            self._needs_segment = True
            self._not_before_s = time.monotonic() + HOUSEKEEPING_RETRY_S


def _as_store_error(failure: Exception) -> StoreError:
    if isinstance(failure, StoreError):
        return failure
    if isinstance(failure, MemoryError):  # LMDB tells its own; nothing was begun
        return BackendRefused("there is no memory for a checkpoint")
    return CommitUncertain(repr(failure))
