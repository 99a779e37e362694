"""No dict holds as much as there are watchers: its growth would be a pause for everybody."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from types import ModuleType

import pytest

from kvstore.keys import FROM_KEY, KeyRange
from kvstore.types import WatchCreate
from tests.core.watch.worlds import World

WATCHERS = 5000
SHAPES: dict[str, Callable[[int], WatchCreate]] = {
    "keys": lambda at: WatchCreate(KeyRange(b"%06d" % at)),
    "intervals": lambda at: WatchCreate(KeyRange(b"%06d" % at, FROM_KEY)),
    "one-interval": lambda at: WatchCreate(KeyRange(b"0", FROM_KEY)),
    "in-the-past": lambda at: WatchCreate(KeyRange(b"0", FROM_KEY), start_revision=1),
    "chosen-ids": lambda at: WatchCreate(KeyRange(b"%06d" % at), watch_id=(at + 1) << 5),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_no_dict_is_as_large_as_the_crowd(shape: str) -> None:
    world = World()
    world.put(b"%06d" % WATCHERS)
    stream = world.engine.watch_stream(lambda: None)
    for at in range(WATCHERS):
        stream.create(SHAPES[shape](at))
    world.put(b"%06d" % WATCHERS)  # more are told than the stream has room for
    while world.hub.has_work:
        world.hub.work()
    tables = list(_tables([world.hub, stream]))
    assert tables
    assert max(map(len, tables)) <= WATCHERS // 4


def _tables(roots: Iterable[object]) -> Iterable[dict[object, object] | set[object]]:
    """Those that watching has, of whatever kind."""
    found, seen = list(roots), set[int]()
    while found:
        each = found.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, dict | set):
            yield each
        elif isinstance(each, ModuleType | type) or not _is_ours(each):
            continue
        found += gc.get_referents(each)


def _is_ours(each: object) -> bool:
    kind = type(each).__module__
    return kind.startswith("kvstore.core.watch.") or type(each) in {list, tuple}
