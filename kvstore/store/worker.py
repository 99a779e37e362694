"""Threads that are started and waited for where a signal handler may raise (Ctrl-C).

What `threading.Thread` has for that goes wrong when an exception comes out of its midst: one whose
`start` was interrupted may hang for ever at its own Event, and one that was asked whether it
`is_alive`, or that was joined, counts as ended though it runs.
"""

from __future__ import annotations

import threading
from _thread import start_new_thread
from collections.abc import Callable

__all__ = ["Worker", "start"]


def start(thread: threading.Thread) -> None:
    """Start a thread; interrupted, it starts all the same.

    Raises RuntimeError when there are no new threads since the interpreter ends.
    """
    begun = threading.Lock()
    begun.acquire()
    failures: list[RuntimeError] = []

    def begin() -> None:  # where no signal handler runs
        try:
            thread.start()
        except RuntimeError as error:
            failures.append(error)
        finally:
            begun.release()

    start_new_thread(begin, ())
    begun.acquire()
    if failures:
        raise failures[0]


class Worker:
    """Work in the background, in one thread; in more if a start was interrupted."""

    def __init__(self, work: Callable[[], None], name: str, *, daemon: bool) -> None:
        """`work` has to look itself whether it is still wanted when it begins."""
        self._work, self._name, self._daemon = work, name, daemon
        self._threads: list[tuple[threading.Thread, threading.Lock]] = []  # with what ends last
        self._active: set[threading.Thread] = set()

    @property
    def runs(self) -> bool:
        return bool(self._active)

    def start(self) -> None:
        """Raises RuntimeError as `start`."""
        for each in tuple(self._threads):
            if not each[1].locked():
                self._threads.remove(each)
        begun = threading.Lock()
        begun.acquire()

        def run() -> None:
            me, ended = threading.current_thread(), threading.Lock()
            with ended:
                self._threads.append((me, ended))
                self._active.add(me)
                begun.release()
                try:
                    self._work()
                finally:
                    self.leave()

        start(threading.Thread(target=run, name=self._name, daemon=self._daemon))
        begun.acquire()

    def leave(self) -> None:
        """In its own thread: from now on it does not count as running."""
        self._active.discard(threading.current_thread())

    def join(self) -> None:
        """Wait for the end of each. Not in its own thread."""
        for thread, ended in tuple(self._threads):
            with ended:
                pass
            thread.join()
