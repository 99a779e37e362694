"""One-key Range and Put under h2load; every server syncs a Put to the disk before it answers."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.peers import Load, Peers, Workload, compared, counted
from bench.report import Result
from bench.servers import Running
from kvstore.client.grpc import GrpcStore
from kvstore.client.messages import put_request, range_request
from kvstore.keys import KeyRange
from kvstore.types import PutOp, RangeOp, Txn

__all__ = ["WORKLOADS"]

KEY, VALUE = b"bench/one", bytes(range(256))
RANGE, PUT = "/etcdserverpb.KV/Range", "/etcdserverpb.KV/Put"
Shape = tuple[int, int]
RANGE_TARGETS: Mapping[Shape, float] = {(1, 1): 1.3, (16, 1): 3, (64, 1): 3, (16, 16): 6}
PUT_TARGETS: Mapping[Shape, float] = {(1, 1): 1, (16, 1): 1, (64, 1): 1.5, (16, 16): 2}


def read(peers: Peers, directory: Path, load: Load) -> Iterator[Result]:
    for server in peers.running.values():
        with GrpcStore(server.target, timeout_s=10) as client:
            client.txn(Txn(success=(PutOp(KEY, VALUE),)))
    body = range_request(RangeOp(KeyRange(KEY))).SerializeToString()
    for shape, rates in _h2load(RANGE, body, peers, directory, load):
        what = f"Range of one key, {_shape_text(shape)}"
        yield compared("served-range", what, rates, "/s", RANGE_TARGETS.get(shape))


def write(peers: Peers, directory: Path, load: Load) -> Iterator[Result]:
    body = put_request(PutOp(KEY, VALUE)).SerializeToString()
    for shape, rates in _h2load(PUT, body, peers, directory, load):
        what = f"durable Put of 256 B, {_shape_text(shape)}"
        yield compared("served-put", what, rates, "/s", PUT_TARGETS.get(shape))


WORKLOADS: dict[str, Workload] = {"served-range": read, "served-put": write}


def _h2load(
    path: str, body: bytes, peers: Peers, directory: Path, load: Load
) -> Iterator[tuple[Shape, dict[str, float]]]:
    file = directory / "request.bin"
    file.write_bytes(struct.pack(">BI", 0, len(body)) + body)
    for clients, streams in load.shapes:

        def measure(server: Running, clients: int = clients, streams: int = streams) -> list[float]:
            command = ["h2load", "-t1", f"-c{clients}", f"-m{streams}"]
            command += [f"-D{int(load.seconds * 1000)}ms"]
            command += ["-H", "content-type:application/grpc", "-H", "te:trailers", "-d", str(file)]
            command.append(f"http://{server.target}{path}")
            before = _version(server)
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            rate = re.search(r"finished in .*?, ([\d.]+) req/s", done.stdout)
            succeeded = re.search(r"(\d+) succeeded, 0 failed", done.stdout)
            if rate is None or succeeded is None:
                raise RuntimeError(f"h2load failed:\n{done.stdout}{done.stderr}")
            # HTTP calls every answer of gRPC a success; the version of the key tells the truth.
            assert path != PUT or _version(server) - before >= int(succeeded[1])
            return [float(rate[1])]

        (rates,) = peers.by_turns(load.rounds, measure)
        yield (clients, streams), rates


def _shape_text(shape: Shape) -> str:
    clients, streams = shape
    return counted(clients) + ("" if streams == 1 else f" with {streams} streams each")


def _version(server: Running) -> int:
    with GrpcStore(server.target, timeout_s=10) as client:
        found = client.range(RangeOp(KeyRange(KEY))).kvs
        return found[0].version if found else 0
