"""The thread that works in another's place."""

from __future__ import annotations

import os
import threading

import pytest

from kvstore.store.deputy import Deputy


def test_two_that_need_it_first_at_once_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second made another pipe, to which nobody listened."""
    make_pipe, has_come, is_served = os.pipe, threading.Event(), threading.Event()
    makers: list[int] = []

    def pipe() -> tuple[int, int]:
        makers.append(threading.get_ident())
        if len(makers) == 1:
            has_come.wait(0.2)  # for the second, which may have to wait outside
        else:
            has_come.set()
            is_served.wait(10)
        return make_pipe()

    deputy = Deputy(lambda: None, "deputy", is_needed=False)
    monkeypatch.setattr(os, "pipe", pipe)

    def call() -> None:
        deputy.call()
        is_served.set()

    callers = [threading.Thread(target=call, daemon=True) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(10)
    assert not any(caller.is_alive() for caller in callers)
    deputy.close()


def test_it_is_closed_while_its_thread_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its start was interrupted; its pipe was closed before it had read."""
    read, close, reads, is_closed = os.read, os.close, threading.Event(), threading.Event()
    failures: list[BaseException] = []
    begun: list[threading.Thread] = []

    def read_late(file: int, size: int) -> bytes:
        reads.set()
        is_closed.wait(0.2)  # which must not come before
        return read(file, size)

    def close_file(file: int) -> None:
        is_closed.set()
        close(file)

    def begin(thread: threading.Thread) -> None:
        def run() -> None:
            try:
                thread.run()
            except BaseException as error:
                failures.append(error)

        begun.append(threading.Thread(target=run, daemon=True))
        begun[0].start()
        raise KeyboardInterrupt

    monkeypatch.setattr("kvstore.store.worker.start", begin)
    monkeypatch.setattr(os, "read", read_late)
    monkeypatch.setattr(os, "close", close_file)
    deputy = Deputy(lambda: None, "deputy", is_needed=True)
    with pytest.raises(KeyboardInterrupt):
        deputy.poke()
    assert reads.wait(10)
    deputy.close()
    begun[0].join(10)
    assert not failures
    assert not begun[0].is_alive()
