"""A two-line launcher called `etcd` stands in for the real binary in somebody's harness."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kvstore.client.grpc import GrpcStore
from kvstore.keys import KeyRange
from kvstore.types import PutOp, RangeOp, Txn
from tests.support.process import ChildProcess


@pytest.fixture
def launcher(tmp_path: Path) -> Path:
    path = tmp_path / "etcd"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m kvstore serve "$@"\n')
    path.chmod(0o755)
    return path


def test_a_harness_command_line_starts_serves_and_stops(launcher: Path, tmp_path: Path) -> None:
    command = [
        str(launcher),
        *("--name", "infra0", "--data-dir", str(tmp_path / "data")),
        *("--listen-client-urls", "http://127.0.0.1:0"),
        *("--advertise-client-urls", "http://127.0.0.1:0"),
        *("--listen-peer-urls", "http://127.0.0.1:0"),
        *("--initial-advertise-peer-urls", "http://127.0.0.1:2380"),
        *("--initial-cluster", "infra0=http://127.0.0.1:2380"),
        *("--initial-cluster-token", "tkn", "--initial-cluster-state", "new"),
        *("--log-level", "info", "--logger", "zap", "--log-outputs", "stderr"),
        "--unsafe-no-fsync=true",
        "--enable-v2=true",
    ]
    child = ChildProcess(command, tmp_path / "log")
    try:
        child.wait_for("ready to serve client requests")
        target = child.wait_for(r"http://(127\.0\.0\.1:[1-9]\d*)\n")[1]
        store = GrpcStore(target)
        store.txn(Txn(success=[PutOp(b"k", b"v")]))
        assert store.range(RangeOp(KeyRange(b"k"))).kvs[0].value == b"v"
        store.close()
        child.process.terminate()
        assert child.process.wait(10) == 0
    finally:
        child.kill()


def test_help_names_the_flag_that_harnesses_look_for(launcher: Path) -> None:
    done = subprocess.run([launcher, "--help"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    assert re.search(r"^\s*--unsafe-no-fsync\b", done.stdout, re.MULTILINE)
