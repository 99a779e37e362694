"""Threads that are started and waited for where an exception may come out of anything."""

from __future__ import annotations

import threading

import pytest

from kvstore.store.deputy import run_aside
from kvstore.store.worker import Worker, start
from tests.support.interruption import Interrupted, Interruption

FILES = ("/kvstore/store/worker.py", "/kvstore/store/deputy.py", "/threading.py")


def test_a_thread_whose_start_is_interrupted_runs() -> None:
    """It hung for ever at the Event by which it tells that it has begun."""
    for at in range(1, 1000):
        ran = threading.Event()
        thread = threading.Thread(target=ran.set)
        interruption = Interruption(FILES, at)
        try:
            with interruption:
                start(thread)
        except Interrupted:
            if thread.ident is None and not ran.wait(0.05):
                continue  # before it was asked for
        assert ran.wait(10), interruption.where
        thread.join(10)
        assert not thread.is_alive(), interruption.where
        if interruption.places < at:
            break
    assert at > 5


def test_a_worker_that_runs_is_waited_for() -> None:
    """One that was asked in vain whether it was alive counted as ended."""
    for at in range(1, 1000):
        may_end, ended = threading.Event(), threading.Event()

        def work(may_end: threading.Event = may_end, ended: threading.Event = ended) -> None:
            may_end.wait(10)
            ended.set()

        worker = Worker(work, "worker", daemon=True)
        worker.start()
        interruption = Interruption(FILES, at)
        try:
            with interruption:
                assert worker.runs
                worker.start()
        except Interrupted:
            pass
        may_end.set()
        worker.join()
        assert ended.is_set(), interruption.where
        if interruption.places < at:
            break
    assert at > 5


def test_what_is_done_aside_is_done_once_though_it_is_interrupted() -> None:
    for at in range(1, 1000):
        done: list[int] = []
        interruption = Interruption(FILES, at)
        try:
            with interruption:
                run_aside(lambda done=done: done.append(1), "aside")  # type: ignore[misc]
        except Interrupted:
            if not done and "run_aside" in interruption.where:
                continue  # it was not asked for yet
        assert done == [1], interruption.where
        if interruption.places < at:
            break
    assert at > 5


def test_what_is_raised_aside_comes_out() -> None:
    def fail() -> None:
        raise ValueError("aside")

    with pytest.raises(ValueError, match="aside"):
        run_aside(fail, "aside")
