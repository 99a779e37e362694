"""One process of the load generator: `python -m kvstore.bench.worker`, started by the controller.

The two talk in lines of JSON, the worker's on its standard output:

    controller -> worker   {"run": {...}}                 first: what to do
                           {"exchanged": [value, ...]}    what every worker gave to its `exchange`
                           {"stop": true}                 make no more requests and report
    worker -> controller   {"exchange": value}            wait until every worker came here
                           {"progress": [done, failed]}   some times a second
                           {"result": {...}}              last
                           {"error": [kind, text]}        last, instead: nothing could be measured

The end of its standard input ends the worker.
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import os
import resource
import selectors
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from kvstore.bench.awaited import CallFailed, unary
from kvstore.bench.blocks import unavailable
from kvstore.bench.endpoint import Endpoint
from kvstore.bench.errors import BenchError, EndpointError
from kvstore.bench.http2 import Connection, Method
from kvstore.bench.loop import CallLoop
from kvstore.bench.options import Options, Value
from kvstore.bench.pace import Pace
from kvstore.bench.recorder import Operation, Recorder
from kvstore.proto import rpc_pb2

__all__ = ["Worker", "describe_os_error", "main"]

_TICK_S = 0.1
_STOP_S = 5.0
"""How long a call may take that was on its way when the user ended the run."""

_FINE_TIMERS_CONNECTIONS = 256
"""Up to so many connections the loop waits with select, to the microsecond; epoll rounds up to a
millisecond, which would be added to every latency that is counted from an intended start."""

_AUTHENTICATE = Method("/etcdserverpb.Auth/Authenticate")


class Worker:
    """What a workload sees of its process: connections, the recorder, and the other workers.

    `index` of `count` is this worker. `clients` are the numbers of its clients among all.
    """

    def __init__(
        self,
        options: Options,
        endpoints: Sequence[Endpoint],
        index: int,
        count: int,
        send: Callable[[dict[str, object]], None],
    ) -> None:
        self.options, self.index, self.count = options, index, count
        self.recorder = Recorder()
        self.connections: list[Connection] = []
        self.clients = range(index, options.clients, count)
        self.client_count = len(self.clients)
        """How many really make calls; a workload that has others than `clients` says so."""
        self.is_stopping = False
        self.sent = self.skipped = 0
        """Requests of a rate: those that were sent, and those that were due and not sent."""
        self.notes: list[str] = []
        self.begin_s = math.nan
        self._cpu_begin_s = 0.0
        self._cpu_share = 0.0
        self._cpu_noted = (0.0, 0.0)
        self._endpoints = endpoints
        self._metadata: list[tuple[str, str]] = []
        self._send = send
        self._exchanged: asyncio.Queue[list[object]] = asyncio.Queue()
        self._loops: list[CallLoop] = []
        self._stops: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._opened = 0

    def __repr__(self) -> str:
        return f"<Worker {self.index} of {self.count}, {len(self.connections)} connections>"

    # --- for workloads

    def parameter(self, name: str) -> Value:
        return self.options.parameters[name]

    def number(self, name: str) -> int:
        value = self.options.parameters[name]
        assert isinstance(value, int)
        return value

    def seconds(self, name: str) -> float:
        value = self.options.parameters[name]
        assert isinstance(value, int | float)
        return float(value)

    def text(self, name: str) -> str:
        return str(self.options.parameters[name])

    def share(self, total: int) -> range:
        """This worker's part of the numbers below `total`."""
        return range(self.index * total // self.count, (self.index + 1) * total // self.count)

    async def connect(self) -> Connection:
        """Another connection. Raises EndpointError."""
        number = self.index + self._opened * self.count
        self._opened += 1
        endpoint = self._endpoints[number % len(self._endpoints)]
        connection = Connection(endpoint, self._metadata)
        await self._connect(connection)
        connection.lost = lambda why: self._reconnect(connection)
        self.connections.append(connection)
        return connection

    async def unary(self, connection: Connection, method: Method, message: bytes) -> bytes:
        """One call outside of what is measured. Raises CallFailed."""
        return await unary(connection, method, message, self.options.timeout_s)

    async def exchange(self, value: object) -> list[object]:
        """Wait until every worker came here; returns what each of them gave."""
        self._send({"exchange": value})
        return await self._exchanged.get()

    async def begin(self, **titles: str) -> float:
        """Begin to measure, all workers at once: operations by name. Returns the time."""
        await self.exchange(None)
        now_s = time.monotonic()
        if math.isnan(self.begin_s):
            self.begin_s = self.recorder.origin_s = now_s
            self._cpu_begin_s = _cpu_s()
            self._cpu_noted = (now_s, self._cpu_begin_s)
        for name, title in titles.items():
            self.recorder.operation(name.replace("_", "-"), now_s, title)
        return now_s

    def operation(self, name: str) -> Operation:
        return self.recorder.operation(name, time.monotonic())

    def pace(self, total: int, rate: float | None = None) -> Pace:
        """A pace from now on for this worker's part of `total` requests (0: the run's own end).

        `rate` is that of all workers together, the run's own when it is not given.
        """
        options = self.options
        return Pace(
            time.monotonic(),
            total=len(self.share(total)) if total else math.inf,
            duration_s=options.duration_s or math.inf,
            rate=(options.rate if rate is None else rate) / self.count,
            phase=self.index / self.count,
        )

    async def run_loop(self, loop: CallLoop) -> None:
        """Run it to its end, bounded by the timeout of its calls."""
        self._loops.append(loop)
        if self.is_stopping:
            loop.pace.stop(time.monotonic())
        await loop.run()
        self.sent += loop.pace.given
        self.skipped += loop.pace.overdue()
        self._loops.remove(loop)
        self.recorder.fold(time.monotonic())

    def end_operations(self) -> None:
        """All operations went on until now, also those that were not done lately."""
        now_s = time.monotonic()
        self.recorder.fold(now_s)
        for operation in self.recorder.operations.values():
            operation.end_s = now_s

    def on_stop(self, stop: Callable[[], None]) -> None:
        """Call `stop` when the user ends the run before its time."""
        self._stops.append(stop)
        if self.is_stopping:
            stop()

    def stop(self) -> None:
        self.is_stopping = True
        for loop in list(self._loops):
            loop.stop()
        for stop in self._stops:
            stop()

    # --- the process

    async def prepare(self) -> None:
        """Make the connections, with a token when there is a user. Raises EndpointError."""
        if self.options.user:
            await self._authenticate()
        wanted = range(self.index, self.options.conns, self.count)
        await asyncio.gather(*(self.connect() for _ in wanted))

    async def _authenticate(self) -> None:
        name, _, password = self.options.user.partition(":")
        connection = Connection(self._endpoints[0])
        await self._connect(connection)
        request = rpc_pb2.AuthenticateRequest(name=name, password=password)
        try:
            answer = await self.unary(connection, _AUTHENTICATE, request.SerializeToString())
        except CallFailed as failed:
            raise EndpointError(f"user {name} is refused: {failed}") from None
        finally:
            connection.close()
        self._metadata = [("token", rpc_pb2.AuthenticateResponse.FromString(answer).token)]

    async def _connect(self, connection: Connection) -> None:
        where = connection.endpoint
        try:
            async with asyncio.timeout(self.options.dial_timeout_s):
                await connection.connect()
        except TimeoutError:
            connection.close()
            limit = f"{self.options.dial_timeout_s:g} s"
            raise EndpointError(f"{where}: no answer as an HTTP/2 server in {limit}") from None
        except OSError as error:
            raise EndpointError(f"{where}: {describe_os_error(error)}") from None

    def _reconnect(self, connection: Connection) -> None:
        task = asyncio.get_running_loop().create_task(self._connect_again(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect_again(self, connection: Connection) -> None:
        """Try until it works, as long as the first connection may have taken."""
        deadline_s = time.monotonic() + self.options.dial_timeout_s
        pause_s = 0.02
        while True:
            try:
                await self._connect(connection)
                connection.lost = lambda why: self._reconnect(connection)
                return
            except EndpointError as error:
                if time.monotonic() + pause_s > deadline_s:
                    connection.abandon(unavailable(f"cannot connect again: {error}"))
                    return
            await asyncio.sleep(pause_s)
            pause_s = min(1.0, pause_s * 2)

    async def tick(self) -> None:
        """Count, tell how far we are, give up what takes too long; until it is cancelled."""
        turn = 0
        while True:
            await asyncio.sleep(_TICK_S)
            now_s = time.monotonic()
            self.recorder.fold(now_s)
            turn += 1
            if turn % 2 == 0:
                self._send({"progress": list(self.recorder.totals())})
            if turn % 10 == 0:
                self._note_cpu(now_s)
                limit_s = self.options.timeout_s
                if self.is_stopping:
                    limit_s = min(limit_s, _STOP_S)
                for loop in list(self._loops):
                    loop.expire(now_s, limit_s)

    def _note_cpu(self, now_s: float) -> None:
        """Keep the busiest second: a short peak limits what is measured as well."""
        then_s, cpu_s = self._cpu_noted
        if now_s - then_s > 0.5 and not math.isnan(self.begin_s):
            self._cpu_share = max(self._cpu_share, (_cpu_s() - cpu_s) / (now_s - then_s))
            self._cpu_noted = (now_s, _cpu_s())

    def result(self) -> dict[str, object]:
        """As the controller gets it."""
        now_s = time.monotonic()
        self.recorder.fold(now_s)
        wall_s = max(now_s - self.begin_s, 1e-9)
        return {
            "operations": [each.to_json() for each in self.recorder.operations.values()],
            "begin_s": self.begin_s,
            "end_s": now_s,
            "cpu": (_cpu_s() - self._cpu_begin_s) / wall_s,
            "cpu_peak": max(self._cpu_share, (_cpu_s() - self._cpu_begin_s) / wall_s),
            "clients": self.client_count,
            "connections": len(self.connections),
            "sent": self.sent,
            "skipped": self.skipped,
            "notes": self.notes,
        }

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for connection in self.connections:
            connection.close()

    def heard(self, message: dict[str, object]) -> None:
        """What the controller said after the first line."""
        if "exchanged" in message:
            self._exchanged.put_nowait(cast("list[object]", message["exchanged"]))
        else:
            self.stop()


def describe_os_error(error: OSError) -> str:
    """In one line, without Python's own way of saying it."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    text = str(error)
    marker = "Connect call failed"
    if isinstance(error, ConnectionRefusedError) or (marker in text and "refused" in text):
        return "connection refused"
    if isinstance(error, ConnectionResetError):
        return "the connection was reset"
    return error.strerror or text or type(error).__name__


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _serve(
    run: Callable[[Worker], Awaitable[None]], worker: Worker, reader: asyncio.StreamReader
) -> None:
    listening = asyncio.create_task(_listen(worker, reader))
    ticking = asyncio.create_task(worker.tick())
    working = asyncio.ensure_future(run(worker))
    try:
        await asyncio.wait({working, listening}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, ticking, listening):
            task.cancel()
        worker.close()


async def _listen(worker: Worker, reader: asyncio.StreamReader) -> None:
    while line := await reader.readline():
        worker.heard(json.loads(line))


async def _main(first: dict[str, object], send: Callable[[dict[str, object]], None]) -> None:
    from kvstore.bench.workloads import WORKLOADS

    options = Options.from_json(cast("dict[str, object]", first["options"]))
    endpoints = options.endpoints(str(first["endpoint"]))
    index, count = cast("int", first["index"]), cast("int", first["count"])
    worker = Worker(options, endpoints, index, count, send)
    workload = WORKLOADS[str(first["workload"])]
    reader = asyncio.StreamReader(limit=1 << 26)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def work(worker: Worker) -> None:
        await worker.prepare()
        gc.collect()
        gc.freeze()
        try:
            await workload.run(worker)
        except CallFailed as failed:
            raise EndpointError(f"{first['endpoint']}: {failed}") from None
        send({"result": worker.result()})

    await _serve(work, worker, reader)


def _first_line(descriptor: int) -> bytes:
    line = bytearray()
    while (byte := os.read(descriptor, 1)) and byte != b"\n":
        line += byte
    return bytes(line)


def _selector(options: dict[str, Any], workload: str) -> selectors.BaseSelector:
    """With fine timers where they matter, else the one that costs least."""
    is_paced = options["rate"] or options["parameters"].get("put-rate") or workload == "kubernetes"
    if is_paced and options["conns"] <= _FINE_TIMERS_CONNECTIONS:
        return selectors.SelectSelector()
    return selectors.DefaultSelector()


def main() -> int:
    """Read what to do from standard input; returns the exit code, which says nothing."""
    out = sys.stdout.buffer

    def send(message: dict[str, object]) -> None:
        out.write(json.dumps(message).encode() + b"\n")
        out.flush()

    # Read from the descriptor: a buffer would take more than the line from the loop.
    line = _first_line(sys.stdin.fileno())
    if not line:
        return 1
    first = json.loads(line)["run"]
    selector = _selector(first["options"], first["workload"])
    try:
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
            runner.run(_main(first, send))
    except BenchError as error:
        send({"error": [type(error).__name__, str(error)]})
        return 1
    except BrokenPipeError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
