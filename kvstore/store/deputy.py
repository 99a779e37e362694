"""A thread that works in another's place, where no signal handler can interrupt the work.

Python runs signal handlers in the main thread alone, between any two of its instructions, and what
they raise (Ctrl-C) comes out of whatever runs there. What has to come to its end is done here.

It is woken through a pipe: the write gives up the interpreter, so that it begins at once.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable

__all__ = ["Deputy", "run_aside", "start"]


def start(thread: threading.Thread) -> None:
    """Start a thread. Raises RuntimeError when there are no new ones since the interpreter ends.

    `Thread.start` waits for a Condition, which makes "release unlocked lock" of an exception from
    outside; here it comes out as it is.
    """
    try:
        thread.start()
    except RuntimeError as error:
        if error.__context__ is not None:
            raise error.__context__ from None
        raise


class Deputy:
    def __init__(self, work: Callable[[], None], name: str, *, is_needed: bool) -> None:
        """`work` is what it does each time; it must not raise. Started when it is first needed.

        `is_needed` takes its descriptors at once, when it is sure to be: later there may be none.
        """
        self._work, self._name = work, name
        self._pipe = os.pipe() if is_needed else None
        self._threads: list[threading.Thread] = []  # more than one if a start was interrupted
        self._waiting: deque[threading.Lock] = deque()
        self._making = threading.RLock()  # its pipe and its thread, which many may miss at once
        self._is_closing = False

    def poke(self) -> None:
        """Have the work done, without waiting for it."""
        pipe = self._pipe
        if pipe is None or not self._threads or not self._threads[-1].is_alive():
            pipe = self._make()
        os.write(pipe[1], b"\0")

    def _make(self) -> tuple[int, int]:
        with self._making:
            pipe = self._pipe
            if pipe is None:
                self._pipe = pipe = os.pipe()
            if not self._threads or not self._threads[-1].is_alive():
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._threads.append(thread)
                start(thread)
            return pipe

    def call(self) -> None:
        """Have the work done and wait for its end; interrupted, it is done all the same."""
        done = threading.Lock()
        done.acquire()
        self._waiting.append(done)
        try:
            self.poke()
        except (OSError, RuntimeError):  # no descriptors, or no new threads any more
            self._work()
            return
        done.acquire()

    def close(self) -> None:
        """End the thread. Not from itself."""
        self._is_closing = True
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            os.write(pipe[1], b"\0")
            for thread in self._threads:
                if thread.is_alive():
                    thread.join()
            for file in pipe:
                os.close(file)

    def _run(self) -> None:
        pipe = self._pipe
        while pipe is not None:
            os.read(pipe[0], 1)
            if self._is_closing:
                os.write(pipe[1], b"\0")  # for the next, should there be another
                return
            waiting = []
            with contextlib.suppress(IndexError):
                while True:
                    waiting.append(self._waiting.popleft())
            self._work()
            for done in waiting:
                done.release()


def run_aside(work: Callable[[], None], name: str) -> None:
    """Do `work` in a thread of its own and wait; interrupted once, still wait for its end.

    Raises what `work` raises.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name=name)
    try:
        start(thread)
        thread.join()
    except BaseException as error:
        if thread.ident is not None or not isinstance(error, RuntimeError):
            if thread.is_alive():
                thread.join()
            raise
        run()  # there are no new threads while the interpreter ends
    if failures:
        raise failures[0]
