"""Watches: one Batch per revision, pulled by an iterator.

    messages of a watch stream ──Inbox──> batches ──> for batch in watch

A message may hold several revisions, a batch holds exactly one. The Inbox is pure; the two Watch
classes only wait. A watch is resumed with `since=watch.revision + 1`: nothing is missed, nothing
comes twice. Nothing runs behind the caller's back: events are fetched when they are asked for.

So does a watch itself when an exception from outside (Ctrl-C) came out of its waiting, since a
batch may have been on its way: it begins again behind the last one that it handed out. The last
steps of handing out are no calls, so that nothing comes between them.
"""

import warnings
from collections import deque
from collections.abc import Callable
from itertools import groupby
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from kvstore.embedded.arguments import wait_s
from kvstore.errors import StoreClosed, WatchCanceled
from kvstore.types import Event, WatchCreate, WatchMessage

if TYPE_CHECKING:
    from kvstore.store.interface import AsyncWatchStream, WatchStreamProtocol

__all__ = ["AsyncWatch", "Batch", "Inbox", "Watch", "next_message"]


class Batch(NamedTuple):
    """All watched events of one revision, in the order they were made."""

    revision: int
    events: tuple[Event, ...]


class Inbox:
    """What arrived on one watch and was not handed out yet.

    `revision` is the last one handed out (before the first: the one before the watch begins).
    `reached` is a revision up to which every event has arrived.
    """

    __slots__ = ("batches", "reached", "revision")

    def __init__(self, start_revision: int) -> None:
        self.batches: deque[Batch] = deque()
        self.revision = self.reached = start_revision - 1

    def feed(self, message: WatchMessage) -> None:
        """Take a message.

        Raises:
            WatchCanceled: it refuses or ends the watch.
        """
        if message.canceled:
            raise WatchCanceled(message.cancel_reason, message.compact_revision)
        if message.created:
            return
        for revision, events in groupby(message.events, lambda event: event.kv.mod_revision):
            self.batches.append(Batch(revision, tuple(events)))
        arrived = self.batches[-1].revision if message.events else message.revision
        self.reached = max(self.reached, arrived)

    def pop(self) -> Batch | None:
        """The next batch; None when another message is needed first."""
        if not self.batches:
            return None
        batch = self.batches.popleft()
        self.revision = batch.revision
        return batch


class _WatchBase:
    __slots__ = ("_check", "_closed", "_inbox", "_is_broken", "_open", "_request", "_stream")

    def __init__(
        self,
        open_stream: "Callable[[], WatchStreamProtocol | AsyncWatchStream]",
        request: WatchCreate,
        check: Callable[[], object],
    ) -> None:
        self._open, self._stream = open_stream, open_stream()
        try:
            self._stream.create(request)
        except BaseException:
            self._stream.close()
            raise
        self._request, self._inbox = request, Inbox(request.start_revision)
        self._check = check
        self._is_broken = False  # a batch may have been lost on its way
        self._closed = False

    @property
    def revision(self) -> int:
        """The revision last handed out; go on later with `since=watch.revision + 1`."""
        return self._inbox.revision

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """End the watch; again, or once the store is closed: nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._check()
        except StoreClosed:
            return  # the store has closed the stream, or it is another process's
        self._stream.close()

    def _renew(self) -> None:
        """Begin again behind what was handed out."""
        self._stream.close()
        self._stream = self._open()
        self._inbox = Inbox(self.revision + 1)
        self._stream.create(self._request._replace(start_revision=self.revision + 1))
        self._is_broken = False

    def __del__(self) -> None:
        if getattr(self, "_closed", True):
            return
        try:
            self._check()
        except StoreClosed:
            return
        warnings.warn(f"{self!r} was not closed", ResourceWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<{type(self).__name__} {state}, revision {self.revision}>"


class Watch(_WatchBase):
    """A blocking watch: an endless iterator of batches and a context manager.

    One thread iterates; another may `close` it, which ends the iteration. Iterating raises
    WatchCanceled when the history it needs was compacted, StoreClosed when the store was closed.
    """

    __slots__ = ()
    _stream: "WatchStreamProtocol"

    def next(self, timeout: float | None = None) -> Batch | None:
        """The next batch, waiting for it.

        Args:
            timeout: seconds to wait for something to happen; None: as long as it takes; 0 or less:
                not at all.

        Returns:
            One revision's events; None when none came in time.

        Raises:
            WatchCanceled: the history it needs was compacted (`compact_revision`).
            StoreClosed: the watch or the store was closed.
            TypeError, ValueError: `timeout` is no number.
        """
        timeout = wait_s(timeout)
        try:
            if self._is_broken:
                self._renew()
            inbox = self._inbox
            while not inbox.batches:
                self._check()
                message = self._stream.next(timeout)
                if message is None:
                    return None
                inbox.feed(message)
            batch = inbox.batches[0]
            del inbox.batches[0]
            inbox.revision = batch.revision
            return batch
        except (StoreClosed, WatchCanceled):
            raise
        except BaseException:
            self._is_broken = True
            raise

    def __iter__(self) -> "Watch":
        return self

    def __next__(self) -> Batch:
        try:
            batch = self.next()
        except StoreClosed:
            if self._closed:
                raise StopIteration from None
            raise
        if batch is None:
            raise StopIteration
        return batch

    def __enter__(self) -> "Watch":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncWatch(_WatchBase):
    """As Watch, for `async for` and `async with`; `next` is awaited, `close` is not."""

    __slots__ = ()
    _stream: "AsyncWatchStream"

    async def next(self, timeout: float | None = None) -> Batch | None:  # noqa: ASYNC109
        """As Watch.next, with the same argument; a surrounding asyncio.timeout works as well."""
        timeout = wait_s(timeout)
        try:
            if self._is_broken:
                self._renew()
            inbox = self._inbox
            while not inbox.batches:
                self._check()
                message = await next_message(self._stream, timeout)
                if message is None:
                    return None
                inbox.feed(message)
            batch = inbox.batches[0]
            del inbox.batches[0]
            inbox.revision = batch.revision
            return batch
        except (StoreClosed, WatchCanceled):
            raise
        except BaseException:
            self._is_broken = True
            raise

    def __aiter__(self) -> "AsyncWatch":
        return self

    async def __anext__(self) -> Batch:
        try:
            batch = await self.next()
        except StoreClosed:
            if self._closed:
                raise StopAsyncIteration from None
            raise
        if batch is None:
            raise StopAsyncIteration
        return batch

    async def __aenter__(self) -> "AsyncWatch":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


async def next_message(stream: "AsyncWatchStream", timeout_s: float | None) -> WatchMessage | None:
    """The stream's next message; None after `timeout_s` seconds without one."""
    import asyncio  # here, so that blocking use of the package does not load it

    try:
        async with asyncio.timeout(timeout_s):
            return await stream.next()
    except TimeoutError:
        return None
