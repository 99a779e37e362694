"""The public names: there, documented, and the same on both faces."""

from __future__ import annotations

import inspect

import pytest

import kvstore
from kvstore import errors
from kvstore.embedded import conditions, ops
from kvstore.embedded.aio import AsyncView
from kvstore.embedded.leases import AsyncHeldLease, HeldLease
from kvstore.embedded.ranges import AsyncRange, Range
from kvstore.embedded.sync import View
from kvstore.embedded.watch import AsyncWatch, Watch

NAMED_BY_THE_API = [
    "AsyncHeldLease",
    "AsyncRange",
    "AsyncStore",
    "AsyncView",
    "AsyncWatch",
    "Batch",
    "CompactResult",
    "Compare",
    "DeleteRangeResult",
    "Event",
    "EventType",
    "HeldLease",
    "KeyValue",
    "Lease",
    "LeaseStatus",
    "PutResult",
    "Range",
    "Store",
    "StoreOptions",
    "StoreStatus",
    "Swap",
    "TxnBuilder",
    "TxnResult",
    "View",
    "Watch",
]

PAIRS = [
    (kvstore.Store, kvstore.AsyncStore),
    (View, AsyncView),
    (Watch, AsyncWatch),
    (Range, AsyncRange),
    (HeldLease, AsyncHeldLease),
]


def public_names(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


class TestExports:
    @pytest.mark.parametrize("name", kvstore.__all__)
    def test_each_name_is_there(self, name: str) -> None:
        assert getattr(kvstore, name) is not None
        assert name in dir(kvstore)

    @pytest.mark.parametrize("name", [*errors.__all__, *NAMED_BY_THE_API])
    def test_what_the_api_answers_with_and_raises_is_among_them(self, name: str) -> None:
        assert name in kvstore.__all__

    def test_the_list_is_sorted_and_without_repetition(self) -> None:
        assert sorted(set(kvstore.__all__)) == kvstore.__all__

    def test_a_wrong_name_is_an_attribute_error(self) -> None:
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            _ = kvstore.nothing

    @pytest.mark.parametrize("module", [ops, conditions])
    def test_the_lists_of_the_modules_hold(self, module: object) -> None:
        for name in module.__all__:  # type: ignore[attr-defined]
            assert getattr(module, name) is not None


class TestFaces:
    @pytest.mark.parametrize(("sync", "aio"), PAIRS)
    def test_both_have_the_same_names(self, sync: type, aio: type) -> None:
        assert public_names(sync) == public_names(aio)

    @pytest.mark.parametrize(("sync", "aio"), PAIRS)
    def test_both_take_the_same_arguments(self, sync: type, aio: type) -> None:
        for name in public_names(sync):
            one, other = getattr(sync, name), getattr(aio, name)
            if inspect.isfunction(one):
                ours, theirs = inspect.signature(one), inspect.signature(other)
                assert list(ours.parameters.values()) == list(theirs.parameters.values()), name

    @pytest.mark.parametrize("kind", [kind for pair in PAIRS for kind in pair])
    def test_every_method_says_what_it_does(self, kind: type) -> None:
        for name in public_names(kind) - {"closed"}:
            member = getattr(kind, name)
            if inspect.isfunction(member) or isinstance(member, property):
                assert member.__doc__, f"{kind.__name__}.{name}"
