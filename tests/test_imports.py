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


COSTLY = {"asyncio", "ssl", "dataclasses", "inspect", "hashlib", "secrets"}
"""Modules of Python that cost as much to load as all of the store does, and what they are for it
can do without: `python -m bench --only imports` has the figures."""


def loaded_by(program: str, *arguments: str) -> set[str]:
    shown = "\nimport sys; print('\\n'.join(sorted(sys.modules)))"
    ended = subprocess.run(
        [sys.executable, "-c", program + shown, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(ended.stdout.split())


class TestImports:
    @pytest.mark.parametrize("program", ["import kvstore", USE, USE_AIO])
    def test_embedded_use_loads_no_wire_library(self, program: str) -> None:
        assert loaded_by(program) & {"grpc", "google", "google.protobuf", "kvstore.proto"} == set()

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
