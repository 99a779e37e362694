"""Load through a real kube-apiserver: `python -m bench.apiserver [--write]`.

Simulated nodes renew their leases and report their status, pods live and die, events are written,
objects are read and listed, each at a constant rate, over ours and then over a real etcd. A call is
timed from when it was meant to begin. It needs `make kubernetes` and its packages.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple

import aiohttp

from bench.__main__ import PAGE
from bench.peers import Kind, ours_and_etcd
from bench.report import Markers, machine, rewrite
from bench.sampling import Samples, sampled
from bench.servers import is_installed
from tests.kubernetes.api import MERGE_PATCH
from tests.kubernetes.build import VERSIONS, Binaries, built
from tests.kubernetes.credentials import Credentials
from tests.kubernetes.programs import ApiServer
from tests.support.certificates import client_context

__all__ = ["main"]

MARKERS = Markers("apiserver", "python -m bench.apiserver --write")
NAMESPACE = "load"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
PODS, EVENTS = f"/api/v1/namespaces/{NAMESPACE}/pods", f"/api/v1/namespaces/{NAMESPACE}/events"
_SENT = "kvstore.bench/sent"
_LATE_S = 30.0


class Outcome(NamedTuple):
    latencies_s: Mapping[str, list[float]]
    """By the kind of call."""
    errors: Counter[str]
    samples: Samples
    store_ms: Mapping[str, tuple[float, float]]
    """What the API server saw of its store: by operation, calls and their mean in milliseconds."""


def main(argv: Sequence[str]) -> int:
    """Returns the exit status: 0, or 1 when calls failed."""
    options = _parser().parse_args(argv)
    binaries = built(options.kubernetes)
    if binaries is None or not is_installed("etcd"):
        print("needs `make kubernetes`, and etcd on PATH (Debian: etcd-server)", file=sys.stderr)
        return 2
    outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="kvstore-bench-", dir=options.dir) as name:
        facts = [*machine(Path(name)), f"kube-apiserver {binaries.release}."]
        for kind in ours_and_etcd():
            outcomes[kind.name] = _measure(kind, kind.place(Path(name)), binaries, options)
            print(f"{kind.name}: errors {dict(outcomes[kind.name].errors)}", flush=True)
    text = _page(outcomes, facts, options.nodes, options.minutes)
    print(text)
    if options.write:
        rewrite(PAGE, text, MARKERS)
    return 1 if any(outcome.errors for outcome in outcomes.values()) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.apiserver", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="for each store")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--kubernetes", choices=VERSIONS, default=VERSIONS[-1])
    parser.add_argument("--write", action="store_true", help=f"keep the results in {PAGE.name}")
    parser.add_argument("--dir", help="put the data below this directory, of the disk to measure")
    return parser


def _measure(kind: Kind, place: Path, binaries: Binaries, options: argparse.Namespace) -> Outcome:
    seconds = options.minutes * 60
    credentials = Credentials(place / "credentials")
    with kind.start(place) as store:
        server = ApiServer(binaries, place, credentials, f"http://{store.target}")
        server.start()
        try:
            with sampled(store, seconds) as samples:
                cluster = Cluster(server, credentials, options.nodes)
                asyncio.run(cluster.run(seconds))
            return Outcome(cluster.latencies_s, cluster.errors, samples, cluster.store_ms)
        finally:
            server.stop()


class Cluster:
    """The simulated nodes and pods, and what their calls met with."""

    def __init__(self, server: ApiServer, credentials: Credentials, nodes: int) -> None:
        self._url, self.nodes = server.url, nodes
        self._context = client_context(credentials.authority, credentials.admin)
        self.latencies_s: dict[str, list[float]] = defaultdict(list)
        self.errors: Counter[str] = Counter()
        self.store_ms: dict[str, tuple[float, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pods: dict[str, None] = {}
        self._names = itertools.count()

    async def run(self, seconds: float) -> None:
        connector = aiohttp.TCPConnector(ssl=self._context, limit=100)
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        async with aiohttp.ClientSession(self._url, connector=connector, headers=headers) as http:
            self._http = http
            leases = await self._make_nodes()
            before = await self._store_calls()
            watching = asyncio.create_task(self._watch())
            until = time.monotonic() + seconds
            rates: list[tuple[float, Callable[[float], Awaitable[None]]]] = [
                (self.nodes / 10, self._renewal(leases)),
                (self.nodes / 300, self._node_status),
                (self.nodes / 50, self._pod_life),
                (self.nodes / 20, self._event),
                (self.nodes / 5, self._read),
                (0.1, self._list),
            ]
            await asyncio.gather(*(self._at_rate(*each, until) for each in rates))
            async with asyncio.timeout(_LATE_S):
                while self._tasks:
                    await asyncio.wait(self._tasks)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            for name, (calls, total_ms) in (await self._store_calls()).items():
                made, took_ms = (
                    a - b for a, b in zip((calls, total_ms), before[name], strict=True)
                )
                if made:
                    self.store_ms[name] = (made, took_ms / made)

    async def _make_nodes(self) -> dict[str, dict[str, Any]]:
        """The leases of the nodes; its calls are not timed."""
        await self._plain("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        account = {"metadata": {"name": "default"}}
        await self._plain("POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", account)
        spec = {"leaseDurationSeconds": 40}
        leases = {}
        for number in range(self.nodes):
            name = f"node-{number}"
            await self._plain("POST", "/api/v1/nodes", {"metadata": {"name": name}})
            body = {"metadata": {"name": name}, "spec": {**spec, "holderIdentity": name}}
            leases[name] = await self._plain("POST", LEASES, body)
        return leases

    async def _at_rate(
        self, per_second: float, act: Callable[[float], Awaitable[None]], until: float
    ) -> None:
        """Begin an act at even times, whether or not the ones before have ended."""
        begin = time.monotonic()
        for number in itertools.count():
            due = begin + number / per_second
            if due >= until:
                return
            await asyncio.sleep(due - time.monotonic())
            task = asyncio.ensure_future(act(due))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    # -- acts ------------------------------------------------------------------------------------

    def _renewal(self, leases: dict[str, dict[str, Any]]) -> Callable[[float], Awaitable[None]]:
        names = itertools.cycle(leases)

        async def renew(due: float) -> None:
            name = next(names)
            leases[name]["spec"]["renewTime"] = _now()
            found = await self._call("lease PUT", due, "PUT", f"{LEASES}/{name}", leases[name])
            leases[name] = found or leases[name]

        return renew

    async def _node_status(self, due: float) -> None:
        name = f"node-{next(self._names) % self.nodes}"
        # About what a kubelet reports: its images make most of it.
        images = [{"names": [f"registry/{n}@{_now()}"], "sizeBytes": n} for n in range(50)]
        path = f"/api/v1/nodes/{name}/status"
        await self._call("node status PATCH", due, "PATCH", path, {"status": {"images": images}})

    async def _pod_life(self, due: float) -> None:
        number = next(self._names)
        name = f"pod-{number}"
        sent = {_SENT: repr(due)}
        container = {"name": "c", "image": "i", "env": [{"name": "E", "value": "v" * 1000}]}
        pod = {"metadata": {"name": name, "annotations": sent}, "spec": {"containers": [container]}}
        if await self._call("pod POST", due, "POST", PODS, pod) is None:
            return
        target = {"kind": "Node", "name": f"node-{number % self.nodes}"}
        binding = {"metadata": {"name": name}, "target": target}
        path = f"{PODS}/{name}"
        await self._call("pod binding POST", 0, "POST", f"{path}/binding", binding)
        for phase in ("Pending", "Running", "Running"):
            status = {"status": {"phase": phase, "message": _now()}}
            await self._call("pod status PATCH", 0, "PATCH", f"{path}/status", status)
        self._pods[name] = None
        if len(self._pods) > 10 * self.nodes:
            oldest = next(iter(self._pods))
            del self._pods[oldest]
            grace = {"gracePeriodSeconds": 0}
            await self._call("pod DELETE", 0, "DELETE", f"{PODS}/{oldest}", grace)

    async def _event(self, due: float) -> None:
        event = {
            "metadata": {"name": f"event-{next(self._names)}"},
            "involvedObject": {"kind": "Pod", "namespace": NAMESPACE, "name": "any"},
            "message": "m" * 500,
            "reason": "Load",
        }
        await self._call("event POST", due, "POST", EVENTS, event)

    async def _read(self, due: float) -> None:
        """From the store: a get without a resourceVersion is not answered from the cache."""
        name = next(reversed(self._pods), None)
        path = "/api/v1/nodes/node-0" if name is None else f"{PODS}/{name}"
        await self._call("GET", due, "GET", path)

    async def _list(self, due: float) -> None:
        await self._call("list of pods, 500", due, "GET", f"{PODS}?limit=500")

    async def _watch(self) -> None:
        """Times each pod from when it was meant to be created to its event."""
        async with self._http.get(f"{PODS}?watch=1&timeoutSeconds=3600", timeout=None) as response:
            while line := await response.content.readline():
                event = json.loads(line)
                if event["type"] == "ADDED":
                    sent = float(event["object"]["metadata"]["annotations"][_SENT])
                    self.latencies_s["pod watch event"].append(time.monotonic() - sent)

    # -- calls -----------------------------------------------------------------------------------

    async def _call(
        self, kind: str, due: float, method: str, path: str, body: object = None
    ) -> dict[str, Any] | None:
        """The object that came back, None when it was refused; `due` 0 is now."""
        begin = due or time.monotonic()
        headers = {"Content-Type": MERGE_PATCH} if method == "PATCH" else {}
        try:
            async with self._http.request(method, path, json=body, headers=headers) as response:
                text = await response.read()
        except aiohttp.ClientError as error:
            self.errors[f"{kind}: {error!r}"] += 1
            return None
        self.latencies_s[kind].append(time.monotonic() - begin)
        if response.status >= 400:
            self.errors[f"{kind}: {response.status}"] += 1
            return None
        found: dict[str, Any] = json.loads(text)
        return found

    async def _plain(self, method: str, path: str, body: object) -> dict[str, Any]:
        async with self._http.request(method, path, json=body) as response:
            found: dict[str, Any] = await response.json()
            assert response.status in (200, 201, 409), found
            return found

    async def _store_calls(self) -> dict[str, tuple[float, float]]:
        """Calls and their milliseconds in all, from the API server's own metrics."""
        async with self._http.get("/metrics") as response:
            text = await response.text()
        sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        pattern = r'etcd_request_duration_seconds_(count|sum)\{.*?operation="(\w+)".*?\} (\S+)'
        for what, operation, value in re.findall(pattern, text):
            sums[operation][what == "sum"] += float(value) * (1e3 if what == "sum" else 1)
        return defaultdict(lambda: (0.0, 0.0), {name: (a, b) for name, (a, b) in sums.items()})


def _page(outcomes: Mapping[str, Outcome], facts: Sequence[str], nodes: int, minutes: float) -> str:
    lines = [f"- {fact}" for fact in facts]
    for name, outcome in outcomes.items():
        total = sum(outcome.errors.values())
        lines.append(f"- {name}: {total} errors; {outcome.samples}.")
    head = f"{nodes} nodes, {minutes:g} min"
    columns = [f"{name} p50 / p99 / max" for name in outcomes]
    lines += [
        "",
        f"| {head} | calls/s | {' | '.join(columns)} |",
        f"|{'---|' * (len(columns) + 2)}",
    ]
    first = next(iter(outcomes.values()))
    for kind, found in first.latencies_s.items():
        cells = [_latencies(outcome.latencies_s[kind]) for outcome in outcomes.values()]
        lines.append(f"| {kind} | {len(found) / minutes / 60:.1f} | {' | '.join(cells)} |")
    columns = [f"{name} mean" for name in outcomes]
    lines += ["", f"| the API server's calls of the store | calls/s | {' | '.join(columns)} |"]
    lines.append(f"|{'---|' * (len(columns) + 2)}")
    for operation, (calls, _) in sorted(first.store_ms.items()):
        cells = [f"{each.store_ms.get(operation, (0, 0))[1]:.2f} ms" for each in outcomes.values()]
        lines.append(f"| {operation} | {calls / minutes / 60:.1f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _latencies(values: Sequence[float]) -> str:
    if len(values) < 2:
        return ""
    cuts = quantiles(values, n=100, method="inclusive")
    return f"{cuts[49] * 1e3:.1f} / {cuts[98] * 1e3:.1f} / {max(values) * 1e3:.0f} ms"


def _now() -> str:
    """As Kubernetes' MicroTime is written."""
    now = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1e6):06d}Z"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
