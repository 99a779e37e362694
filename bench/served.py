"""One-key Range and Put under h2load; both servers fsync a Put before they answer."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.pair import Load, Pair, compared, counted
from bench.report import Result
from kvstore.client.grpc import GrpcStore
from kvstore.client.messages import put_request, range_request
from kvstore.keys import KeyRange
from kvstore.types import PutOp, RangeOp, Txn

__all__ = ["WORKLOADS"]

KEY, VALUE = b"bench/one", bytes(range(256))
RANGE, PUT = "/etcdserverpb.KV/Range", "/etcdserverpb.KV/Put"


def read(pair: Pair, directory: Path, load: Load) -> Iterator[Result]:
    for port in (pair.kvstore, pair.etcd):
        with GrpcStore(f"127.0.0.1:{port}", timeout_s=10) as client:
            client.txn(Txn(success=(PutOp(KEY, VALUE),)))
    body = range_request(RangeOp(KeyRange(KEY))).SerializeToString()
    yield from _h2load("served-range", "Range of one key", RANGE, body, pair, directory, load)


def write(pair: Pair, directory: Path, load: Load) -> Iterator[Result]:
    body = put_request(PutOp(KEY, VALUE)).SerializeToString()
    yield from _h2load("served-put", "durable Put of 256 B", PUT, body, pair, directory, load)


WORKLOADS: dict[str, Callable[[Pair, Path, Load], Iterator[Result]]] = {
    "served-range": read,
    "served-put": write,
}


def _h2load(
    workload: str, what: str, path: str, body: bytes, pair: Pair, directory: Path, load: Load
) -> Iterator[Result]:
    file = directory / "request.bin"
    file.write_bytes(struct.pack(">BI", 0, len(body)) + body)
    for clients, streams in load.shapes:

        def measure(port: int, clients: int = clients, streams: int = streams) -> list[float]:
            command = ["h2load", "-t1", f"-c{clients}", f"-m{streams}"]
            command += [f"-D{int(load.seconds * 1000)}ms"]
            command += ["-H", "content-type:application/grpc", "-H", "te:trailers", "-d", str(file)]
            command.append(f"http://127.0.0.1:{port}{path}")
            before = _version(port)
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            rate = re.search(r"finished in .*?, ([\d.]+) req/s", done.stdout)
            succeeded = re.search(r"(\d+) succeeded, 0 failed", done.stdout)
            if rate is None or succeeded is None:
                raise RuntimeError(f"h2load failed:\n{done.stdout}{done.stderr}")
            # HTTP calls every answer of gRPC a success; the version of the key tells the truth.
            assert path != PUT or _version(port) - before >= int(succeeded[1])
            return [float(rate[1])]

        (rates,) = pair.by_turns(load.rounds, measure)
        each = "" if streams == 1 else f" with {streams} streams each"
        yield compared(workload, f"{what}, {counted(clients)}{each}", rates, "/s")


def _version(port: int) -> int:
    with GrpcStore(f"127.0.0.1:{port}", timeout_s=10) as client:
        found = client.range(RangeOp(KeyRange(KEY))).kvs
        return found[0].version if found else 0
