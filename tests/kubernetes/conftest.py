"""Fixtures of the proofs with Kubernetes; `make test-kubernetes` runs them, `make test` does not.

    binaries        the programs of each version that there are, one run of every test with each
    make_cluster    a function that makes clusters with the arguments of Cluster, for one test
    cluster         one cluster for the tests of a module, over kvstore; tests share it and use
                    names (namespaces, custom resources) of their own

`KVSTORE_KUBERNETES_VERSIONS=1.37` takes only that version. `KVSTORE_CLIENTS_UNDER_TEST=etcd` puts a
real etcd in our place, which shows that a proof is sound.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.build import VERSIONS, Binaries, built
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.results import RESULTS, recorded
from tests.support.etcd import unavailable

MakeCluster = Callable[..., Cluster]

_running: list[Cluster] = []


def _versions() -> list[str]:
    asked = os.environ.get("KVSTORE_KUBERNETES_VERSIONS", "")
    return asked.split() or list(VERSIONS)


def _default_store() -> str:
    return "etcd37" if os.environ.get("KVSTORE_CLIENTS_UNDER_TEST") == "etcd" else "kvstore"


@pytest.fixture(scope="session", params=_versions())
def binaries(request: pytest.FixtureRequest) -> Binaries:
    found = built(request.param)
    if found is None:
        unavailable(f"Kubernetes {request.param} is not built: `make kubernetes` builds it")
    assert found is not None
    return found


@pytest.fixture
def make_cluster(binaries: Binaries, tmp_path: Path) -> Iterator[MakeCluster]:
    made: list[Cluster] = []

    def make(**options: Any) -> Cluster:
        options.setdefault("store", _default_store())
        cluster = Cluster(binaries, tmp_path / f"cluster-{len(made)}", **options)
        made.append(cluster)
        _running.append(cluster)
        return cluster

    yield make
    for cluster in made:
        _end(cluster)


@pytest.fixture(scope="module")
def cluster(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(binaries, tmp_path_factory.mktemp("cluster"), store=_default_store())
    _running.append(made)
    yield made
    _end(made)


def _end(cluster: Cluster) -> None:
    cluster.close()
    _running.remove(cluster)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails is shown with the ends of the logs of the clusters that run."""
    report = yield
    if report.failed:
        for cluster in _running:
            report.sections += [
                (f"end of the log of {name} of {cluster!r}", text)
                for name, text in cluster.log_ends().items()
            ]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if made := recorded():
        terminalreporter.section(f"measured, also in {RESULTS.name}")
        terminalreporter.write_line(json.dumps(made, indent=2, sort_keys=True))
