"""Write the stored directory of a format, with the code that has this format.

    write.py DIRECTORY [close]

Run once for each format, by code that wrote it at its time (a worktree of then on PYTHONPATH); the
directory is then packed beside this file as `format-N.tar.gz`:

    tar --sort=name --mtime=@0 --owner=0 --group=0 -C DIRECTORY -czf format-N.tar.gz .

It holds the same whatever the format: keys put, overwritten, deleted and made again, transactions
of many operations, values of none to many bytes, leases granted and revoked, two compactions; where
there is a journal, a part of it is in LMDB and the rest in the journal alone, unless `close` is
said: without it the process ends as if it was killed.
"""

from __future__ import annotations

import os
import sys

from kvstore.backend import open_backend
from kvstore.keys import KeyRange
from kvstore.store.threads import ThreadStore
from kvstore.types import DeleteRangeOp, PutOp, Txn


def put(store: ThreadStore, *ops: PutOp | DeleteRangeOp) -> None:
    store.txn(Txn(success=ops))


def first_part(store: ThreadStore) -> None:
    store.lease_grant(600, 7)
    store.lease_grant(9_000_000_000, -8)
    store.lease_grant(60, 9)
    for number in range(6):
        put(store, PutOp(b"k/%d" % number, b"value %d" % number))
    put(store, PutOp(b"leased", b"x", 7), PutOp(b"leased too", b"y" * 200, -8))
    put(store, PutOp(b"goes", b"z", 9))
    put(store, PutOp(b"k/1", b"again"), DeleteRangeOp(KeyRange(b"k/2")))
    put(store, PutOp(b"empty", b""), PutOp(b"\xff\x00" * 100, bytes(range(256)) * 20))
    put(store, DeleteRangeOp(KeyRange(b"k/3", b"k/5")))
    put(store, PutOp(b"k/3", b"made again"))
    store.compact(store.revision - 2, physical=True)


def second_part(store: ThreadStore) -> None:
    for number in range(5):
        put(store, PutOp(b"k/%d" % number, b"later %d" % number, 7 if number % 2 else 0))
    store.lease_revoke(9)
    put(store, PutOp(b"k/5", b"1"), DeleteRangeOp(KeyRange(b"k/0")), PutOp(b"new", b"\x00"))
    store.compact(store.revision - 3, physical=True)
    put(store, PutOp(b"last", b"the last one"))
    put(store, DeleteRangeOp(KeyRange(b"empty")))


def main(directory: str, *, close: bool) -> None:
    backend = open_backend(directory)
    store = ThreadStore.open(backend)
    first_part(store)
    checkpoint = getattr(backend, "checkpoint", None)
    if checkpoint is not None:
        checkpoint()
    second_part(store)
    if close:
        store.close()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], close=sys.argv[2:] == ["close"])
