"""What a fresh interpreter loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

USE = """
import kvstore
with kvstore.open(":memory:") as db:
    db.put("k", "1")
    assert db.get("k").value == b"1"
    with db.watch(since=1) as watch:
        assert watch.next(20).revision == 2
"""
USE_AIO = """
import asyncio, kvstore
async def main():
    async with kvstore.aopen(":memory:") as db:
        await db.put("k", "1")
asyncio.run(main())
"""


def loaded_by(program: str) -> set[str]:
    shown = "\nimport sys; print('\\n'.join(sorted(sys.modules)))"
    ended = subprocess.run(
        [sys.executable, "-c", program + shown], check=True, capture_output=True, text=True
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

    def test_use_with_threads_does_not_load_the_asynchronous_face(self) -> None:
        assert loaded_by(USE) & {"kvstore.embedded.aio", "kvstore.store.aio"} == set()
