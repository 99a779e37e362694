"""What a fresh interpreter loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

USE = """
import kvstore
with kvstore.open(":memory:") as db:
    db.put("k", "1")
    assert db.get("k").value == b"1"
    with db.watch(since=1) as watch:
        assert watch.next(20).revision == 2
"""
USE_DISK = """
import sys, kvstore
with kvstore.open(sys.argv[1]) as db, db.lease(ttl_s=10) as lease:
    db.put("k", "1", lease=lease)
    assert db.if_(kvstore.value("k") == "1").then(kvstore.ops.put("k", "2")).commit().succeeded
    assert [kv.value for kv in db.range(prefix="k")] == [b"2"]
    with db.watch(since=1) as watch:
        assert watch.next(20).revision == 2
"""
"""All that a store for threads has, but the checks and the replay of its history."""
USE_AIO = """
import asyncio, kvstore
async def main():
    async with kvstore.aopen(":memory:") as db:
        await db.put("k", "1")
asyncio.run(main())
"""


COMMAND = """
import sys
from kvstore.cli.main import main
assert main(sys.argv[1:]) == 0
"""
SERVE = """
import asyncio, sys
BLOCKED = sys.argv[1:]
for name in BLOCKED:
    sys.modules[name] = None
from kvstore.server.app import Server
from kvstore.server.config import make_config, read_source

async def ask(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ") and b'"health":"true"' in answer, answer

async def main():
    url = "http://127.0.0.1:0"
    line = ["--in-memory", "--listen-client-urls", url, "--advertise-client-urls", url]
    server = await Server.start(make_config(read_source(line, {})))
    await ask(server.config.client_urls[0].port)
    await server.stop()

asyncio.run(main())
for name in BLOCKED:
    del sys.modules[name]
"""
ETCD3 = """
import asyncio, threading, etcd3, kvstore
from kvstore.server.app import Server
from kvstore.server.config import make_config, read_source

def use(port):
    with etcd3.client("127.0.0.1", port) as client:
        client.put("a", "1")
        assert client.get("a")[0] == b"1"
        client.replace("a", "1", "2")
        return client.get("a")[0]

async def main():
    url = "http://127.0.0.1:0"
    line = ["--in-memory", "--listen-client-urls", url, "--advertise-client-urls", url]
    server = await Server.start(make_config(read_source(line, {})))
    assert await asyncio.to_thread(use, server.config.client_urls[0].port) == b"2"
    await server.stop()

asyncio.run(main())
with kvstore.open(":memory:") as db:
    db.put("a", "1")
"""
"""A server, its client and a store in one process: their messages have the same names."""
NO_ANNOTATION_AS_TEXT = "import typing; typing.ForwardRef = None\n"
"""What stops a program where typing is given text: the first that it compiles takes as long as a
dozen modules of the store. A module with a NamedTuple does without `from __future__ import
annotations`, and bases and bounds are classes."""
KINDS = """
import sys
for name, module in sorted(sys.modules.items()):
    for kind in vars(module).values() if name.startswith("kvstore.") else ():
        if isinstance(kind, type) and kind.__module__ == name:
            if issubclass(kind, tuple):
                print("tuple", name, kind.__name__)
            if getattr(kind, "_is_protocol", False):
                print("protocol", name, kind.__name__)
"""
"""The classes of an opened store that take long to make: one of typing.NamedTuple takes as long as
eight plain ones with `__slots__`, a Protocol as two."""
TUPLES = {
    "kvstore.embedded.plans Swap",
    "kvstore.embedded.watch Batch",
    "kvstore.keys KeyRange",
    "kvstore.store.options StoreOptions",
}
"""Values that users unpack, compare and `_replace`, beside all of kvstore.types."""
PROTOCOLS = {
    "kvstore.backend.interface Backend",
    "kvstore.backend.interface Snapshot",
    "kvstore.embedded.base Shell",
    "kvstore.embedded.ops HasLeaseId",
}
"""The others are for type checkers alone, and made for nobody else."""
SELDOM = {
    "kvstore.backend.remains",
    "kvstore.core.ports",
    "kvstore.store.checker",
    "kvstore.store.interface",
    "kvstore.store.salvage",
    "kvstore.store.upgrade",
}
"""What only old or damaged data needs, or nobody who runs a store."""
HEAVY = {"grpc", "cryptography", "yaml", "prometheus_client"}
"""The modules of grpcio, cryptography, PyYAML and Prometheus' client: imported where they are
used, and few ask for what uses them."""
COSTLY = {"asyncio", "ssl", "dataclasses", "inspect", "hashlib", "secrets", "pathlib", "subprocess"}
"""Modules of Python that cost as much to load as all of the store does, and what they are for it
can do without: `python -m bench --only imports` has the figures."""


def lines_of(program: str, *arguments: str) -> set[str]:
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(ended.stdout.splitlines())


def loaded_by(program: str, *arguments: str) -> set[str]:
    return lines_of(program + "\nimport sys; print('\\n'.join(sorted(sys.modules)))", *arguments)


def kinds_of(sort: str, directory: Path) -> set[str]:
    """ "MODULE NAME" of each class of that sort in an opened store."""
    found = (line.split(" ", 1) for line in lines_of(USE_DISK + KINDS, str(directory)))
    return {name for kind, name in found if kind == sort}


class TestImports:
    @pytest.mark.parametrize("program", ["import kvstore", USE, USE_AIO])
    def test_embedded_use_loads_no_wire_library(self, program: str) -> None:
        assert loaded_by(program) & {"grpc", "google", "google.protobuf", "kvstore.proto"} == set()

    @pytest.mark.parametrize("wanted", [True, False])
    def test_the_collector_goes_on_as_it_did_before(self, *, wanted: bool, tmp_path: Path) -> None:
        before = "import gc; gc.disable()" if not wanted else "import gc"
        check = f"\nassert gc.isenabled() is {wanted}"
        loaded_by(before + USE_DISK + check, str(tmp_path))
        loaded_by(f"{before}\ntry:\n    kvstore.no_such\nexcept NameError:\n    pass{check}")

    def test_a_server_without_tls_needs_none_of_what_few_ask_for(self) -> None:
        """Not installed is what they are here."""
        assert loaded_by(SERVE, *HEAVY) & HEAVY == set()

    def test_the_command_line_of_a_server_loads_none_of_them_either(self) -> None:
        assert loaded_by("import kvstore.cli.serve, kvstore.server.app") & HEAVY == set()

    @pytest.mark.parametrize("program", [USE, USE_DISK, USE_AIO])
    def test_embedded_use_loads_nothing_heavy(self, program: str, tmp_path: Path) -> None:
        assert loaded_by(program, str(tmp_path)) & HEAVY == set()

    def test_version_and_check_load_nothing_heavy(self, tmp_path: Path) -> None:
        loaded_by(USE_DISK, str(tmp_path))
        assert loaded_by(COMMAND, "version") & HEAVY == set()
        assert loaded_by(COMMAND, "check", str(tmp_path)) & HEAVY == set()

    # Its messages are of a protoc that protobuf 4 and later load only in pure Python.
    @pytest.mark.slow
    def test_etcd3_works_in_the_same_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
        assert {"etcd3", "kvstore.proto.rpc_pb2"} <= loaded_by(ETCD3)

    def test_the_bare_import_loads_no_other_module_of_the_package(self) -> None:
        assert {
            name for name in loaded_by("import kvstore") if name.startswith("kvstore.")
        } == set()

    @pytest.mark.parametrize("program", [USE, USE_DISK])
    def test_use_with_threads_does_not_load_the_asynchronous_face(
        self, program: str, tmp_path: Path
    ) -> None:
        loaded = loaded_by(program, str(tmp_path))
        assert loaded & {"kvstore.embedded.aio", "kvstore.store.aio"} == set()

    @pytest.mark.parametrize("program", [USE, USE_DISK])
    def test_use_with_threads_loads_nothing_costly_of_python(
        self, program: str, tmp_path: Path
    ) -> None:
        assert (loaded_by(program, str(tmp_path)) - loaded_by("")) & COSTLY == set()

    @pytest.mark.parametrize("program", [USE, USE_DISK])
    def test_use_with_threads_compiles_no_annotation(self, program: str, tmp_path: Path) -> None:
        loaded_by(NO_ANNOTATION_AS_TEXT + program, str(tmp_path))

    def test_use_of_new_and_of_old_data_loads_nothing_that_few_need(self, tmp_path: Path) -> None:
        for _ in range(2):
            assert loaded_by(USE_DISK, str(tmp_path)) & SELDOM == set()

    def test_only_values_of_users_are_named_tuples(self, tmp_path: Path) -> None:
        made = kinds_of("tuple", tmp_path)
        assert {name for name in made if not name.startswith("kvstore.types ")} == TUPLES

    def test_no_protocol_is_made_for_type_checkers_alone(self, tmp_path: Path) -> None:
        assert kinds_of("protocol", tmp_path) == PROTOCOLS
