"""Ctrl-C, or what another signal handler raises, anywhere in a call of the store for threads."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kvstore
from kvstore import NestedCall, ops
from tests.support.interruption import STEP, Interrupted, Interruption

FILES = ("/kvstore/", "/sortedcontainers/", "/threading.py")
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

MODES = {
    "memory": (":memory:", "power-loss"),
    "process-crash": ("data", "process-crash"),
    "power-loss": ("data", "power-loss"),
}


@pytest.fixture(params=MODES)
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    name, durability = MODES[request.param]
    path = name if name == ":memory:" else str(tmp_path / name)
    with kvstore.open(path, durability=durability) as db:  # type: ignore[arg-type]
        yield db
    if path != ":memory:":
        with kvstore.open(path) as again:
            assert again._shell._engine.check() == []


def is_sound(db: Any) -> None:
    """Nothing is left behind, and every thread reads and writes."""
    shell = db._shell
    told: list[int] = []

    def use() -> None:
        told.append(db.put("use", "1").revision)
        assert db.get("use").value == b"1"

    thread = threading.Thread(target=use)
    thread.start()
    thread.join(20)
    use()
    assert len(told) == 2
    assert shell._error is None
    assert shell._leader == 0
    assert not shell._waiters
    assert shell._engine.check() == []
    assert shell._engine.pending == (0, 0)


CALLS: dict[str, Callable[[Any, str], Any]] = {
    "put": lambda db, n: db.put("k" + n, n),
    "put over": lambda db, n: db.put("k", n),
    "put if absent": lambda db, n: db.put("a" + n, n, if_absent=True),
    "txn": lambda db, n: db.txn([], [ops.put("t" + n, n), ops.delete("k"), ops.get("k")]),
    "delete": lambda db, n: db.delete(prefix="k"),
    "update": lambda db, n: db.update("u", lambda old: n),
    "lease": lambda db, n: db.lease_revoke(db.lease_grant(60)),
    "get": lambda db, n: db.get("k"),
    "range": lambda db, n: list(db.range()),
    "watch": lambda db, n: db.watch("k", since=1).close(),
    "compact": lambda db, n: db.compact(db.put("c", n).revision, physical=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_an_exception_anywhere_leaves_a_store_that_goes_on(db: Any, name: str) -> None:
    call = CALLS[name]
    db.put("k", "0")
    call(db, "first")
    for at in range(1, 3000, STEP):
        interruption = Interruption(FILES, at)
        with contextlib.suppress(Interrupted), interruption:
            call(db, str(at))
        assert db._shell._error is None, interruption.where
        if name != "compact":  # else the housekeeper may be at its steps
            assert db._shell._engine.pending == (0, 0), interruption.where
        with contextlib.suppress(kvstore.Conflict):
            call(db, f"{at} again")
        if at % (3 * STEP) == 1 or interruption.places < at:
            is_sound(db)
        if interruption.places < at:
            break
    assert at > 20


@pytest.mark.slow
def test_what_was_acknowledged_is_there_and_what_was_not_is_whole(db: Any) -> None:
    done: dict[str, str] = {}
    for at in range(1, 3000, STEP):
        interruption = Interruption(FILES, at)
        n = str(at)
        try:
            with interruption:
                db.txn([], [ops.put("a" + n, n), ops.put("b" + n, n)])
                done[n] = n
        except Interrupted:
            first, second = db.get("a" + n), db.get("b" + n)
            assert (first is None) == (second is None), interruption.where
        if interruption.places < at:
            break
    assert {kv.key.decode()[1:] for kv in db.range(prefix="a")} >= done.keys()


@pytest.mark.slow
def test_a_handler_that_calls_the_store_gets_an_error_or_is_served(db: Any) -> None:
    """Its error, when it does not catch it, is one from outside for what it interrupted."""
    outcomes = set()
    for at in range(1, 3000, STEP):

        def handle() -> None:
            db.put("handler", "1")

        interruption = Interruption(FILES, at, act=handle)
        try:
            with interruption:
                db.put("k", str(at))
            outcomes.add("served")
        except NestedCall:
            outcomes.add("refused")
        if at % (3 * STEP) == 1:
            is_sound(db)
        if interruption.places < at:
            break
    is_sound(db)
    assert outcomes == {"served", "refused"}


@pytest.mark.slow
def test_other_threads_lose_no_wakeup(db: Any) -> None:
    stop = threading.Event()
    counts = [0, 0, 0]

    def write(number: int) -> None:
        while not stop.is_set():
            db.put(f"w{number}", str(counts[number]))
            counts[number] += 1

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for at in range(1, 400, STEP):
            with contextlib.suppress(Interrupted), Interruption(FILES, at):
                db.put("k", str(at))
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    for number, count in enumerate(counts):
        assert db.get(f"w{number}").value == str(count - 1).encode()
    is_sound(db)


@pytest.mark.slow
def test_a_watch_goes_on_without_loss_or_repetition(db: Any) -> None:
    seen: list[int] = []
    first = revision = db.revision + 1
    with db.watch("k") as watch:
        for at in range(1, 3000, STEP):
            revision = db.put("k", str(at)).revision
            interruption = Interruption(FILES, at)
            with contextlib.suppress(Interrupted), interruption:
                batch = watch.next(10)
                seen.append(batch.revision)
            while watch.revision < revision:
                seen.append(watch.next(10).revision)
            if interruption.places < at:
                break
    assert seen == list(range(first, revision + 1))
    is_sound(db)


@pytest.mark.slow
def test_leases_are_left_in_order(db: Any) -> None:
    for at in range(1, 3000, STEP):
        interruption = Interruption(FILES, at)
        with contextlib.suppress(Interrupted), interruption, db.lease(60) as lease:
            db.put("l", "1", lease=lease)
        if interruption.places < at:
            break
    is_sound(db)
    assert lease.id not in db.leases()


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["process-crash", "power-loss"])
def test_a_close_that_is_interrupted_has_closed(tmp_path: Path, durability: Any) -> None:
    for at in range(1, 3000, STEP):
        interruption = Interruption(FILES, at)
        db = kvstore.open(tmp_path / "data", durability=durability)
        db.put("k", str(at))
        with contextlib.suppress(Interrupted), interruption:
            db.close()
        db.close()
        if interruption.places < at:
            break
    with kvstore.open(tmp_path / "data") as db:
        assert db.get("k").value == str(at).encode()


def test_two_exceptions_at_once_do_not_leave_a_call_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second came before the first could say that the commit was broken off: every later call
    of the thread was told that it is inside another.
    """

    def interrupt(*args: Any) -> None:
        raise Interrupted

    with kvstore.open(tmp_path / "data", durability="process-crash") as db:
        with monkeypatch.context() as patch:
            patch.setattr(db._shell, "_conclude", interrupt)
            patch.setattr(db._shell, "_break_off", interrupt)
            with pytest.raises(Interrupted):
                db.put("k", "1")
        assert db._shell._leader == threading.get_ident()
        db.put("k", "2")
        is_sound(db)


STORM = """
import signal, sys, threading, time, kvstore
class Storm(BaseException): pass
def handle(*_):
    raise Storm
signal.signal(signal.SIGALRM, handle)
seconds = float(sys.argv[3])
acknowledged = interrupted = 0
db = kvstore.open(sys.argv[1], durability=sys.argv[2])
other = [0, True]
def write():
    while other[1]:
        db.put("other", str(other[0]))
        other[0] += 1
thread = threading.Thread(target=write)
thread.start()
n = 0
begun = time.monotonic()
while time.monotonic() < begun + seconds or interrupted < 50:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        while True:
            n += 1
            db.put("k", str(n))
            acknowledged = n
    except Storm:
        interrupted += 1
        while True:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0)
                break
            except Storm:
                pass
    found = db.get("k")
    value = int(found.value) if found else 0
    assert acknowledged <= value <= n, (value, acknowledged, n)
other[1] = False
thread.join(20)
assert not thread.is_alive()
assert int(db.get("other").value) == other[0] - 1
db.close()
with kvstore.open(sys.argv[1]) as db:
    assert db._shell._engine.check() == []
print(interrupted, acknowledged, other[0])
"""


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["process-crash", "power-loss"])
def test_a_storm_of_signals(tmp_path: Path, durability: str) -> None:
    command = [sys.executable, "-c", STORM, str(tmp_path / "data"), durability, "1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    interrupted, acknowledged, other = map(int, ended.stdout.split())
    assert interrupted >= 50
    assert acknowledged > 0
    assert other > 0


CTRL_C = """
import os, signal, sys, threading, kvstore
signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored behind nohup and "&"
with kvstore.open(sys.argv[1]) as db:
    for tried in range(20):
        n = 0
        db.put("k", "0")
        try:
            threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
            while True:
                n += 1
                db.put("k", str(n))
        except KeyboardInterrupt:
            pass
        assert int(db.get("k").value) in (n - 1, n)
"""


@pytest.mark.slow
def test_ctrl_c_in_a_loop_of_puts(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CTRL_C, str(tmp_path / "data")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
