"""The child of a crash round: many writers over one embedded store, until it is killed.

    writer.py DIRECTORY SEED

Every acknowledged write is one line on standard output, written as soon as it is acknowledged.
"""

from __future__ import annotations

import os
import sys
import threading

from kvstore.backend import open_backend
from kvstore.store.threads import ThreadStore
from tests.crash.workload import WRITERS, Acknowledged, Writer

_STDOUT = 1


def report(acknowledged: Acknowledged) -> None:
    """One write of less than a pipe's atomic size, so lines of many threads never mix."""
    os.write(_STDOUT, acknowledged.line())


def run(writer: Writer) -> None:
    try:
        while True:
            writer.step()
    except BaseException as error:
        os.write(_STDOUT, f"! writer {writer.number}: {error!r}\n".encode())
        os._exit(1)


def main(directory: str, seed: int) -> None:
    store = ThreadStore.open(open_backend(directory))
    os.write(_STDOUT, b"open\n")
    for number in range(WRITERS):
        writer = Writer(store, number, seed, report)
        threading.Thread(target=run, args=(writer,), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
