"""The names on the page: documented all of them, and those of etcd as etcd has them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import pytest

from kvstore.keys import ALL_KEYS
from kvstore.proto import rpc_pb2
from kvstore.types import PutOp, Txn, WatchCreate
from tests.server.metrics.pages import Family, Page, Served
from tests.support.etcd import EtcdServer, EtcdVersion

DOCUMENT = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*)\|", re.MULTILINE)


def our_page() -> Page:
    """After a call of every kind, with all options on."""

    async def main() -> Page:
        served = await Served.open(timed=True)
        store = served.store
        await store.lease_grant(10, 7)
        await store.txn(Txn(success=(PutOp(b"k", b"v", lease=7),)))
        store.watch_stream().create(WatchCreate(ALL_KEYS))
        served.metrics.health.answered(is_healthy=True)
        served.metrics.health.checked("livez", "serializable_read", is_ok=True)
        page = served.page()
        await store.close()
        return page

    return asyncio.run(main())


def documented() -> dict[str, Family]:
    return {
        name: Family(kind, frozenset(filter(None, (label.strip() for label in labels.split(",")))))
        for name, kind, labels in ROW.findall(DOCUMENT.read_text())
    }


class TestDocument:
    def test_every_family_is_in_it_with_type_and_labels(self) -> None:
        assert our_page().families() == documented()


class TestAgainstEtcd:
    @pytest.mark.slow
    @pytest.mark.parametrize("version", EtcdVersion)
    def test_families_with_its_names_have_its_types_and_labels(
        self, version: EtcdVersion, tmp_path: Path
    ) -> None:
        flags = ["--metrics=extensive"] if version is EtcdVersion.ETCD_34 else []
        etcd = EtcdServer(version, tmp_path / "d", flags)
        try:
            theirs = etcd_page(etcd.target)
        finally:
            etcd.stop()
        ours, known = our_page(), theirs.families()
        families = ours.families()
        shared = {name for name in families if name in known}
        assert {name: families[name] for name in shared} == {name: known[name] for name in shared}
        unknown = {name for name in families if not name.startswith("kvstore_")} - shared
        assert unknown == ONLY_IN_THE_OTHER[version]
        for name in shared:
            assert bounds(ours, name) == bounds(theirs, name), name

    @pytest.mark.slow
    def test_methods_have_the_kinds_that_etcd_gives_them(self, tmp_path: Path) -> None:
        etcd = EtcdServer(EtcdVersion.ETCD_37, tmp_path / "d")
        try:
            theirs = etcd_page(etcd.target)
        finally:
            etcd.stop()
        name = "grpc_server_handled_total"
        ours = {labels for sample, labels in our_page().samples if sample == name}
        known = {labels for sample, labels in theirs.samples if sample == name}
        assert ours <= known


ONLY_IN_THE_OTHER = {
    # Newer than 3.4: checks of /livez and /readyz, the time of the last compaction.
    EtcdVersion.ETCD_34: {
        "etcd_debugging_mvcc_db_compaction_last",
        "etcd_server_healthcheck",
        "etcd_server_healthchecks_total",
    },
    # Our build of 3.7 has no flag for --metrics extensive.
    EtcdVersion.ETCD_37: {"grpc_server_handling_seconds"},
}


def bounds(page: Page, family: str) -> set[str]:
    """Of the buckets, as they are written."""
    name = f"{family}_bucket"
    return {value for sample, labels in page.samples if sample == name
            for label, value in labels if label == "le"}  # fmt: skip


def etcd_page(target: str) -> Page:
    """The page of a real etcd after a put and, where it has them, a health check."""
    with grpc.insecure_channel(target) as channel:
        put = channel.unary_unary(
            "/etcdserverpb.KV/Put",
            rpc_pb2.PutRequest.SerializeToString,
            rpc_pb2.PutResponse.FromString,
        )
        put(rpc_pb2.PutRequest(key=b"k", value=b"v"), timeout=10)
    for path in ("health", "livez"):
        # There is no /livez in 3.4.
        with contextlib.suppress(urllib.error.HTTPError):
            get(f"http://{target}/{path}")
    return Page(get(f"http://{target}/metrics"))


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())
