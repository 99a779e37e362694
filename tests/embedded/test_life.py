from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kvstore
from kvstore.errors import DirectoryLocked, InvalidRequest, StoreClosed


class TestOpening:
    def test_what_was_put_is_there_after_reopening(self, open_db: Any, tmp_path: Path) -> None:
        db = open_db(tmp_path / "data")
        db.put("k", "1")
        db.close()
        db = open_db(str(tmp_path / "data"))
        assert db.get("k").value == b"1"
        assert db.revision == 2

    def test_a_directory_is_opened_once(self, open_db: Any, tmp_path: Path) -> None:
        open_db(tmp_path / "data")
        with pytest.raises(DirectoryLocked, match="is open in this process already"):
            open_db(tmp_path / "data")

    def test_an_asynchronous_store_is_entered_or_awaited(self, tmp_path: Path) -> None:
        import asyncio

        async def main() -> None:
            async with kvstore.aopen(tmp_path / "data") as db:
                await db.put("k", "1")
            async with await kvstore.aopen(tmp_path / "data") as db:
                assert await db.get("k") is not None

        asyncio.run(main())


class TestDurability:
    def test_power_loss_warns_of_nothing(
        self, open_db: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        open_db(tmp_path / "data")
        assert caplog.records == []

    def test_process_crash_warns_once(
        self, open_db: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        db = open_db(tmp_path / "data", durability="process-crash")
        db.put("k", "1")
        (record,) = caplog.records
        assert (record.name, record.levelno) == ("kvstore", logging.WARNING)
        assert "power loss" in record.getMessage()

    def test_memory_warns_once(self, open_db: Any, caplog: pytest.LogCaptureFixture) -> None:
        open_db(":memory:")
        (record,) = caplog.records
        assert "in memory only" in record.getMessage()

    def test_another_word_is_refused(self, open_db: Any, tmp_path: Path) -> None:
        with pytest.raises(InvalidRequest):
            open_db(tmp_path / "data", durability="none")


class TestClosing:
    def test_every_call_is_refused_after_it(self, db: Any) -> None:
        db.put("k", "1")
        db.close()
        db.close()
        assert db.closed
        calls: tuple[Callable[[], Any], ...] = (
            lambda: db.get("k"),
            lambda: db.put("k", "2"),
            lambda: db.range(),
            lambda: db.watch(),
            lambda: db.lease(10),
            lambda: db.stats(),
            lambda: db.compact(1),
            lambda: db.revision,
        )
        for call in calls:
            with pytest.raises(StoreClosed):
                call()

    def test_repr_shows_the_state(self, db: Any) -> None:
        assert repr(db).endswith("Store ':memory:', revision 1>")
        db.close()
        assert repr(db).endswith("Store ':memory:', closed>")

    @pytest.mark.slow
    def test_a_program_that_forgets_to_close_ends(self) -> None:
        program = (
            "import kvstore\n"
            "db = kvstore.open(':memory:')\n"
            "lease = db.lease(3).__enter__()\n"
            "db.put('k', '1', lease=lease)\n"
        )
        subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


class TestFork:
    def test_a_child_cannot_use_its_parents_store(self, open_db: Any, tmp_path: Path) -> None:
        db = open_db(tmp_path / "data")
        store = db._target if open_db.face == "loop" else db
        db.put("k", "1")
        store._pid = os.getpid() + 1  # what a forked child sees
        with pytest.raises(StoreClosed, match="open stores after the fork"):
            db.get("k")
        assert "another process" in repr(db)
        db.close()
        store._pid = os.getpid()
        assert db.get("k").value == b"1"

    def test_a_child_leaves_blocks_without_harm(self, tmp_path: Path) -> None:
        program = (
            "import os, sys, kvstore\n"
            f"with kvstore.open({str(tmp_path / 'data')!r}) as db:\n"
            "    with db.lease(60) as lease, db.watch() as watch:\n"
            "        pid = os.fork()\n"
            "        if pid == 0:\n"
            "            try:\n"
            "                db.put('k', '1')\n"
            "            except kvstore.StoreClosed:\n"
            "                sys.exit(7)\n"
            "            sys.exit(8)\n"
            "        status = os.waitpid(pid, 0)[1]\n"
            "        assert db.leases() == [lease.id]\n"
            "        db.put('k', '2')\n"
            "        assert watch.next(20).revision == 2\n"
            "sys.exit(os.waitstatus_to_exitcode(status))\n"
        )
        ended = subprocess.run([sys.executable, "-c", program], timeout=60)
        assert ended.returncode == 7
