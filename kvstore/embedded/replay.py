"""Replays: the changes between two revisions, finite, from a watch that ends when it has caught up.

A watch says nothing while nothing happens, so its end is asked for: a progress answer comes only
when every earlier event is out, and carries the revision that was reached.

    events … events, nothing more ──request progress──> progress(revision >= until) ──> done
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Final

from kvstore.embedded.arguments import check_flag, int64
from kvstore.embedded.watch import Batch, Inbox, next_message
from kvstore.errors import Compacted, FutureRevision, WatchCanceled
from kvstore.keys import KeyRange
from kvstore.types import WatchCreate, WatchMessage

if TYPE_CHECKING:
    from kvstore.store.interface import AsyncWatchStream, WatchStreamProtocol

__all__ = ["Replay", "replay", "replay_async"]

POLL_S: Final = 0.01
"""How long to wait for events before asking again for progress."""


class Replay:
    """The changes of `keys` from revision `since` to `until`, both included. Pure.

    Raises:
        InvalidRequest: `since` is below 1, `until` below 0.
        FutureRevision: `until` is above `revision`, the store's newest; 0 means that one.
    """

    __slots__ = ("_inbox", "request", "until")

    def __init__(
        self, keys: KeyRange, since: int, until: int, revision: int, *, prev_kv: bool = False
    ) -> None:
        since, until = int64(since, "since", 1), int64(until, "until", 0)
        check_flag(prev_kv, "prev_kv")
        if until > revision:
            raise FutureRevision
        self.until = until if until > 0 else revision
        self.request = WatchCreate(keys, since, prev_kv=prev_kv)
        self._inbox = Inbox(since)

    @property
    def done(self) -> bool:
        """Every event up to `until` has arrived (and was taken, when `take` came before)."""
        return self._inbox.reached >= self.until

    def feed(self, message: WatchMessage | None) -> None:
        """Take what arrived.

        Raises:
            Compacted: the history asked for is gone.
            WatchCanceled: the watch ended for another reason.
        """
        if message is None:
            return
        try:
            self._inbox.feed(message)
        except WatchCanceled as error:
            if error.compact_revision:
                raise Compacted(error.compact_revision) from None
            raise

    def take(self) -> Iterator[Batch]:
        """The batches that arrived, up to `until`."""
        while (batch := self._inbox.pop()) is not None and batch.revision <= self.until:
            yield batch


def replay(stream: WatchStreamProtocol, plan: Replay) -> Iterator[Batch]:
    """Run `plan` on a stream of its own, which is closed at the end."""
    try:
        stream.create(plan.request)
        while not plan.done:
            message = stream.next(0)
            if message is None:
                stream.request_progress()
                message = stream.next(POLL_S)
            plan.feed(message)
            yield from plan.take()
    finally:
        stream.close()


async def replay_async(stream: AsyncWatchStream, plan: Replay) -> AsyncIterator[Batch]:
    """As `replay`."""
    try:
        stream.create(plan.request)
        while not plan.done:
            message = await next_message(stream, 0)
            if message is None:
                stream.request_progress()
                message = await next_message(stream, POLL_S)
            plan.feed(message)
            for batch in plan.take():
                yield batch
    finally:
        stream.close()
