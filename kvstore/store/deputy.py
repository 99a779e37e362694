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

from kvstore.store.worker import Worker, start

__all__ = ["Deputy", "run_aside"]


class Deputy:
    def __init__(self, work: Callable[[], None], name: str, *, is_needed: bool) -> None:
        """`work` is what it does each time; it must not raise. Started when it is first needed.

        `is_needed` takes its descriptors at once, when it is sure to be: later there may be none.
        """
        self._work = work
        self._pipe = os.pipe() if is_needed else None
        self._worker = Worker(self._run, name, daemon=True)
        self._waiting: deque[threading.Lock] = deque()
        self._making = threading.RLock()  # its pipe and its thread, which many may miss at once
        self._is_closing = False

    def poke(self) -> None:
        """Have the work done, without waiting for it."""
        pipe = self._pipe
        if pipe is None or not self._worker.runs:
            pipe = self._make()
        os.write(pipe[1], b"\0")

    def _make(self) -> tuple[int, int]:
        with self._making:
            pipe = self._pipe
            if pipe is None:
                self._pipe = pipe = os.pipe()
            if not self._worker.runs:
                self._worker.start()
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
            self._worker.join()
            for file in pipe:
                os.close(file)

    def _run(self) -> None:
        pipe = self._pipe  # None if it begins late
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
    first, ended = threading.Lock(), threading.Lock()
    ended.acquire()
    failures: list[BaseException] = []

    def run() -> None:
        if not first.acquire(blocking=False):
            return
        try:
            work()
        except BaseException as error:
            failures.append(error)
        finally:
            ended.release()

    def wait() -> None:
        thread = threading.Thread(target=run, name=name)
        try:
            start(thread)
        except RuntimeError:  # there are no new ones while the interpreter ends
            run()
        with ended:
            pass

    try:
        wait()
    except BaseException:
        wait()
        raise
    if failures:
        raise failures[0]
