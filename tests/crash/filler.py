"""The child of a full-disk test: write until there is no room, then go on when there is.

    filler.py DIRECTORY limit|ballast|descriptors

Either the kernel limits the size of files, or DIRECTORY is on a small disk, a part of which a file
takes away, or no file can be opened any more. Prints one JSON object: what refused a put, whether
reading still worked then, whether a put went through when there was room again, and what is wrong
with the store after it was closed and opened again.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path

from kvstore.backend import open_backend
from kvstore.errors import StoreError
from kvstore.keys import ALL_KEYS
from kvstore.store.checker import check_directory
from kvstore.store.threads import ThreadStore
from kvstore.types import PutOp, RangeOp, Txn

LIMIT_BYTES = 2_000_000
VALUE = bytes(50_000)


def put(store: ThreadStore, key: bytes, value: bytes) -> int:
    return store.txn(Txn(success=(PutOp(key, value),))).revision


class Limit:
    """No file may be larger."""

    def impose(self, directory: Path) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        _, self.hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, self.hard))

    def lift(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.hard, self.hard))


class Ballast:
    """A file in the way."""

    def impose(self, directory: Path) -> None:
        self.file = directory / "ballast"
        self.file.write_bytes(bytes(LIMIT_BYTES))

    def lift(self) -> None:
        self.file.unlink()


class Descriptors:
    """As many files are open as may be."""

    def impose(self, directory: Path) -> None:
        self.soft, self.hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        first_free = os.open(os.devnull, os.O_RDONLY)
        os.close(first_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (first_free, self.hard))

    def lift(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.soft, self.hard))


SHORTAGES: dict[str, type[Limit | Ballast | Descriptors]] = {
    "limit": Limit,
    "ballast": Ballast,
    "descriptors": Descriptors,
}


def main(directory: Path, shortage: Limit | Ballast | Descriptors) -> None:
    data = directory / "data"
    store = ThreadStore.open(open_backend(data))
    shortage.impose(directory)
    stored, refused = 0, ""
    while not refused:
        try:
            put(store, b"%d" % stored, VALUE)
            stored += 1
        except StoreError as error:
            refused = type(error).__name__
    head = store.revision
    readable = store.range(RangeOp(ALL_KEYS, count_only=True)).count == stored
    shortage.lift()
    try:
        goes_on = put(store, b"later", b"") == head + 1
    except StoreError:
        goes_on = False
    store.close()
    wrong = check_directory(str(data))
    store = ThreadStore.open(open_backend(data))
    keys = {kv.key for kv in store.range(RangeOp(ALL_KEYS, keys_only=True)).kvs} - {b"later"}
    if keys != {b"%d" % number for number in range(stored)}:
        wrong.append(f"{stored} puts were answered, {len(keys)} are there")
    put(store, b"last", b"")
    store.close()
    print(json.dumps([refused, readable, goes_on, wrong]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), SHORTAGES[sys.argv[2]]())
