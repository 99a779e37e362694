"""The process of a damage test: damages copies of stores and sees what an opening makes of them.

python -m tests.crash.damaged DIRECTORY SEED COUNT

Each copy is opened, checked and salvaged in a child, so that a signal ends that alone. Prints a
line of JSON for each copy: [description, {opened: what, checked: what, ...}]. What an opening came
to is "true" (all it serves is true), "true, older" (but for the last commits, whose damage in a
journal cannot be told from a torn write), "told" (OpenError), or anything else, a failure.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from kvstore.backend import open_backend
from kvstore.core.mvcc.record import key_of
from kvstore.errors import OpenError
from kvstore.store.checker import check_directory
from kvstore.store.salvage import Salvaged, salvage
from kvstore.store.salvaged import write_salvaged
from kvstore.store.threads import ThreadStore
from tests.store.formats.content import content_of
from tests.support.damage import build, damage

FINE = {
    "opened": {"true", "true, older", "told"},
    "again": {"true", "true, older", "told"},
    "checked": {"sound", "wrong", "told"},
    "salvaged": {"true", "true, older", "incomplete", "nothing"},
}


def in_child(work: Callable[[], str]) -> str:
    """What it returned, or how the child ended."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        try:
            with open(os.devnull, "w") as null:
                os.dup2(null.fileno(), 2)
            said = work()
        except BaseException as error:
            said = f"raised {error!r}"
        os.write(write, said.encode()[:60_000])
        os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        said = pipe.read().decode()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return said if code == 0 else f"ended with {code}"


def opened(path: Path, truth: dict[str, Any], *, may_be_older: bool) -> str:
    try:
        backend = open_backend(path)
    except OpenError:
        return "told"
    try:
        store = ThreadStore.open(backend)
    except OpenError:
        backend.close()
        return "told"
    said = judge(store, truth, may_be_older=may_be_older)
    store.close()
    return said


def judge(store: ThreadStore, truth: dict[str, Any], *, may_be_older: bool) -> str:
    try:
        found = json.loads(json.dumps(content_of(store)))
    except OpenError:
        return "told"
    whole = truth["content"]
    if found == whole:
        return "true"
    if not may_be_older:
        return "false: not what it holds"
    revision = found["revision"]
    keys = [row[:2] for row in found["keys"]]
    if keys != truth["keys"].get(str(revision)):
        return f"false: not the keys of revision {revision}"
    return "true, older"


def checked(path: Path) -> str:
    try:
        return "wrong" if check_directory(str(path)) else "sound"
    except OpenError:
        return "told"


def salvaged(path: Path, truth: dict[str, Any], *, may_be_older: bool) -> str:
    """What it says is whole must be true, and all of it be there; the rest must be said."""
    made = salvage(path)
    if not made.records and not made.leases:
        return "nothing"
    write_salvaged(made, path.with_name("salvaged"))  # which checks it
    written = {int(packed): bytes.fromhex(each) for packed, each in truth["records"].items()}
    at = {(packed >> 32, record) for packed, record in written.items()}
    for packed, record in made.records.items():
        if (packed >> 32, record) not in at:
            return f"false: what it has at revision {packed >> 32}"
    for packed in written:
        if made.compact < packed >> 32 <= made.head and packed not in made.records:
            return f"false: revision {packed >> 32} is missing in its history"
    if made.missing:
        return _incomplete(made, written)
    return judge(
        ThreadStore.open(open_backend(path.with_name("salvaged"))),
        truth,
        may_be_older=may_be_older,
    )


def _incomplete(made: Salvaged, written: dict[int, bytes]) -> str:
    """A key that is not named as uncertain has its newest record, or none at all."""
    newest = {key_of(record): packed for packed, record in sorted(written.items())}
    found = {key_of(record): packed for packed, record in made.records.items()}
    uncertain = {each.key for each in made.uncertain}
    for key, packed in found.items():
        if key not in uncertain and newest[key] >> 32 != packed >> 32:
            return f"false: {key!r} is not as it was last and not uncertain"
    return "incomplete"


def main(directory: Path, seed: int, count: int) -> None:
    truths = {}
    for is_closed in (False, True):
        name = "closed" if is_closed else "crashed"
        truth = build(directory / name, is_closed=is_closed, seed=seed)
        truths[name] = json.loads(json.dumps(truth))
    for number in range(count):
        random = Random(f"{seed}/{number}")
        name = random.choice(list(truths))
        what = [f"{seed}/{number} {name}"]
        outcome = try_one(directory, directory / name, truths[name], random, what)
        print(json.dumps([" ".join(what), outcome]), flush=True)


def as_it_is(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.iterdir()}


def try_one(
    directory: Path, store: Path, truth: dict[str, Any], random: Random, what: list[str]
) -> dict[str, str]:
    copy, other = directory / "copy", directory / "other"
    shutil.copytree(store, copy)
    file, done = damage(copy, random)
    what += [file, done]
    shutil.copytree(copy, other)
    shutil.copytree(copy, directory / "third")
    before = as_it_is(directory / "third")
    look = partial(opened, copy, truth, may_be_older=file != "data.lmdb")
    outcome = {
        "opened": in_child(look),
        "again": in_child(look),
        "checked": in_child(partial(checked, other)),
        "salvaged": in_child(
            partial(salvaged, directory / "third", truth, may_be_older=file != "data.lmdb")
        ),
    }
    if as_it_is(directory / "third") != before:
        outcome["salvaged"] = "false: it changed the directory"
    for each in (copy, other, directory / "third", directory / "salvaged"):
        shutil.rmtree(each, ignore_errors=True)
    return outcome


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
