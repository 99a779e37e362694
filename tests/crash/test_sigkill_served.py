"""The same as test_sigkill, through the server: what a client was answered survives a SIGKILL."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from random import Random

import pytest

from kvstore.client.grpc import GrpcStore, RemoteError
from kvstore.errors import StoreClosed
from kvstore.store.checker import check_directory
from tests.crash.judge import Judge
from tests.crash.workload import WRITERS, Acknowledged, Writer
from tests.support.kvserver import KvServer

ROUNDS = int(os.environ.get("KVSTORE_CRASH_SERVED_ROUNDS", "4"))
SEED = int(os.environ.get("KVSTORE_CRASH_SEED", "1"))


class Load:
    """Writers in threads, each with a client of its own, until the server is gone."""

    def __init__(self, target: str, seed: int, enough: int) -> None:
        self.told: list[Acknowledged] = []
        self.failures: list[BaseException] = []
        self.enough = threading.Event()
        self._enough_after = enough
        self._stores = [GrpcStore(target, timeout_s=20.0) for _ in range(WRITERS)]
        self._threads = [
            threading.Thread(target=self._run, args=(Writer(store, number, seed, self._report),))
            for number, store in enumerate(self._stores)
        ]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Until every writer has met the end of the server."""
        for thread in self._threads:
            thread.join()
        for store in self._stores:
            store.close()

    def _report(self, acknowledged: Acknowledged) -> None:
        self.told.append(acknowledged)
        if len(self.told) >= self._enough_after:
            self.enough.set()

    def _run(self, writer: Writer) -> None:
        try:
            while True:
                writer.step()
        except (RemoteError, StoreClosed):
            return
        except BaseException as error:
            self.failures.append(error)
        finally:
            self.enough.set()


class TestKill:
    @pytest.mark.slow
    def test_nothing_answered_is_lost_when_the_server_is_killed(self, tmp_path: Path) -> None:
        directory = tmp_path / "data"
        judge = Judge()
        for seed in range(SEED, SEED + ROUNDS):
            server = KvServer(directory)
            try:
                load = Load(server.target, seed, Random(seed).choice((1, 50, 150, 300)))
                load.enough.wait()
            finally:
                server.kill()
            load.wait()
            assert load.failures == []
            assert check_directory(str(directory)) == [], f"seed {seed}"
            server.start()
            store = GrpcStore(server.target, timeout_s=20.0)
            try:
                assert judge.judge(store, load.told) == [], f"seed {seed}"
            finally:
                store.close()
                server.stop()
