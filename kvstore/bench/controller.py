"""Runs a workload in worker processes and puts together what they measured.

The workers are children with their own sessions, so that Ctrl-C at a terminal reaches the
controller alone: it tells them to stop, and they report what they have. What they tell each other
goes through it (see `kvstore.bench.worker`).
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from kvstore.bench.errors import BenchError, EndpointError, Interrupted, UsageError, WorkerFailed
from kvstore.bench.options import Options
from kvstore.bench.result import Comparison, Result, gathered, merged
from kvstore.bench.workloads import WORKLOADS, Workload

__all__ = ["Progress", "compare", "run"]

_LINE_BYTES: Final = 1 << 28
_GRACE_S: Final = 15.0
"""How long a worker may take to report after it was told to stop."""

_ERRORS: Final = {each.__name__: each for each in (EndpointError, UsageError, WorkerFailed)}


class Progress:
    """Is told how a run goes; the base class ignores it."""

    def begin(self, result_name: str, options: Options) -> None:
        """A run begins."""

    def update(self, elapsed_s: float, done: int, failed: int) -> None:
        """So many calls ended well, and so many did not."""

    def end(self) -> None:
        """The run is over."""


def run(
    workload: str,
    endpoint: str,
    options: Options | None = None,
    *,
    progress: Progress | None = None,
) -> Result:
    """Load `endpoint` (`host:port` or a URL; several with commas between) with a workload.

    Blocks until the run is over. An interrupt (SIGINT) ends it early and the result says so; call
    it from the main thread for that. Calls that fail are counted in the result.

    Raises UsageError for options without sense, EndpointError when the endpoint cannot be reached
    or refuses what the workload needs before it begins, WorkerFailed, OSError for files of TLS.
    """
    made, options = _prepared(workload, endpoint, options)
    return asyncio.run(_Run(made, endpoint, options, progress or Progress()).result())


def compare(
    workload: str,
    endpoint: str,
    other: str,
    options: Options | None = None,
    *,
    rounds: int = 2,
    progress: Progress | None = None,
) -> Comparison:
    """Load two endpoints by turns: A B, B A, A B, ... for `rounds` pairs.

    Each gets the total and the duration of `options` altogether, in equal parts. Raises as `run`.
    """
    if rounds < 1:
        raise UsageError(f"expected positive --rounds, got ({rounds})")
    made, options = _prepared(workload, endpoint, options)
    options.endpoints(other)
    part = replace(
        options,
        total=math.ceil(options.total / rounds),
        duration_s=options.duration_s / rounds,
    )
    if "put-total" in part.parameters:
        each = math.ceil(int(part.parameters["put-total"]) / rounds)
        part = replace(part, parameters={**part.parameters, "put-total": each})
    results: dict[str, list[Result]] = {"one": [], "other": []}
    for turn in range(rounds):
        order = [("one", endpoint), ("other", other)]
        for name, where in order if turn % 2 == 0 else reversed(order):
            one = asyncio.run(_Run(made, where, part, progress or Progress()).result())
            results[name].append(one)
            if one.interrupted and all(results.values()):
                return Comparison(merged(results["one"]), merged(results["other"]))
            if one.interrupted:
                raise Interrupted("interrupted before both endpoints were measured")
    return Comparison(merged(results["one"]), merged(results["other"]))


def _prepared(workload: str, endpoint: str, options: Options | None) -> tuple[Workload, Options]:
    made = WORKLOADS.get(workload)
    if made is None:
        raise UsageError(f'"{workload}" is not a workload: {", ".join(WORKLOADS)} are')
    options = (options or Options()).checked()
    unknown = set(options.parameters) - set(made.defaults())
    if unknown:
        raise UsageError(f"{workload} has no parameter {', '.join(sorted(unknown))}")
    total, duration_s = options.total, options.duration_s
    if not total and not duration_s:
        total, duration_s = made.total, made.duration_s
    parameters = {**made.defaults(), **options.parameters}
    made.check(parameters)
    options.endpoints(endpoint)
    if total and made.has_total:
        # A worker without a request would have nothing to do.
        options = replace(options, processes=min(options.processes, total))
    return made, replace(options, total=total, duration_s=duration_s, parameters=parameters)


class _Worker:
    """The child process of one worker."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.exchange: asyncio.Future[object] | None = None
        self.progress = (0, 0)
        self.result: dict[str, Any] | None = None

    def tell(self, message: dict[str, object]) -> None:
        assert self.process.stdin is not None
        if not self.process.stdin.is_closing():
            self.process.stdin.write(json.dumps(message).encode() + b"\n")


class _Run:
    """One run of one endpoint."""

    def __init__(
        self, workload: Workload, endpoint: str, options: Options, progress: Progress
    ) -> None:
        self.workload, self.endpoint, self.options = workload, endpoint, options
        self.progress = progress
        self.workers: list[_Worker] = []
        self.interrupted = False
        self._given: dict[int, object] = {}

    async def result(self) -> Result:
        loop = asyncio.get_running_loop()
        handled = self._handle_interrupts(loop)
        started_unix_s, began_s = time.time(), time.monotonic()
        self.progress.begin(f"{self.workload.name} {self.endpoint}", self.options)
        try:
            for index in range(self.options.processes):
                self.workers.append(await self._start(index))
            watching = asyncio.create_task(self._watch(began_s))
            tasks = [
                asyncio.create_task(self._follow(i, each)) for i, each in enumerate(self.workers)
            ]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in (watching, *tasks):
                    task.cancel()
        finally:
            if handled:
                loop.remove_signal_handler(signal.SIGINT)
            await self._end()
            self.progress.end()
        return self._put_together(started_unix_s)

    def _handle_interrupts(self, loop: asyncio.AbstractEventLoop) -> bool:
        try:
            loop.add_signal_handler(signal.SIGINT, self._interrupt)
        except (RuntimeError, ValueError):  # not the main thread: then its owner has to end us
            return False
        return True

    def _interrupt(self) -> None:
        if self.interrupted:
            # A second one means now.
            for each in self.workers:
                _kill(each.process)
            return
        self.interrupted = True
        for each in self.workers:
            each.tell({"stop": True})
        asyncio.get_running_loop().call_later(_GRACE_S, self._interrupt)

    async def _start(self, index: int) -> _Worker:
        root = str(Path(__file__).parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "kvstore.bench.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=_LINE_BYTES,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        worker = _Worker(process)
        worker.tell(
            {
                "run": {
                    "workload": self.workload.name,
                    "endpoint": self.endpoint,
                    "options": self.options.to_json(),
                    "index": index,
                    "count": self.options.processes,
                }
            }
        )
        return worker

    async def _follow(self, index: int, worker: _Worker) -> None:
        """Hear a worker out. Raises the error that it tells, WorkerFailed when it tells nothing."""
        assert worker.process.stdout is not None
        assert worker.process.stderr is not None
        complaints = asyncio.create_task(worker.process.stderr.read())
        while line := await worker.process.stdout.readline():
            message = json.loads(line)
            if "exchange" in message:
                self._exchange(index, message["exchange"])
            elif "progress" in message:
                worker.progress = message["progress"]
            elif "result" in message:
                worker.result = message["result"]
            else:
                kind, text = message["error"]
                raise _ERRORS.get(kind, BenchError)(text)
        if worker.result is None:
            if self.interrupted:
                raise Interrupted("interrupted before anything was measured")
            said = (await complaints).decode(errors="replace").strip().splitlines()
            raise WorkerFailed(
                f"a process of the load generator ended: {said[-1] if said else 'it said nothing'}"
            )
        await complaints

    def _exchange(self, index: int, value: object) -> None:
        self._given[index] = value
        if len(self._given) == len(self.workers):
            values = [self._given[each] for each in range(len(self.workers))]
            self._given.clear()
            for each in self.workers:
                each.tell({"exchanged": values})

    async def _watch(self, began_s: float) -> None:
        while True:
            await asyncio.sleep(0.2)
            done = sum(each.progress[0] for each in self.workers)
            failed = sum(each.progress[1] for each in self.workers)
            self.progress.update(time.monotonic() - began_s, done, failed)

    async def _end(self) -> None:
        for each in self.workers:
            assert each.process.stdin is not None
            each.process.stdin.close()
        for each in self.workers:
            try:
                async with asyncio.timeout(2.0):
                    await each.process.wait()
            except TimeoutError:
                _kill(each.process)
                await each.process.wait()

    def _put_together(self, started_unix_s: float) -> Result:
        parts = [each.result for each in self.workers if each.result is not None]
        operations, elapsed_s = gathered(parts)
        return Result(
            workload=self.workload.name,
            endpoint=self.endpoint,
            parameters=self.options.parameters,
            clients=sum(part["clients"] for part in parts),
            conns=sum(part["connections"] for part in parts),
            rate=self.options.rate,
            operations=operations,
            cpu=[part["cpu"] for part in parts],
            cpu_peak=[part["cpu_peak"] for part in parts],
            started_unix_s=started_unix_s,
            elapsed_s=elapsed_s,
            sent=sum(part["sent"] for part in parts),
            skipped=sum(part["skipped"] for part in parts),
            interrupted=self.interrupted,
            notes=[note for part in parts for note in part["notes"]],
        )


def _kill(process: asyncio.subprocess.Process) -> None:
    try:
        process.kill()
    except ProcessLookupError:
        return  # it ended by itself
