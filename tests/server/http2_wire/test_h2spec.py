"""h2spec, a conformance suite of others, finds nothing in our server.

Against grpc-go 28 of its 145 tests fail: that ignores frames on idle and closed streams, answers
malformed requests, and answers what is no gRPC without the body that some tests wait for.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server.http2_wire.conftest import Serve
from tests.support.etcd import unavailable
from tests.support.h2.h2spec import Result, run_h2spec
from tests.support.h2.servers import Kind

pytestmark = pytest.mark.slow


def results(target: str, directory: Path, *flags: str) -> list[Result]:
    found = run_h2spec(target, directory, *flags)
    if found is None:
        unavailable("no h2spec without Go")
    assert found
    return found


def test_our_server_passes_all_of_it(ours: str, tmp_path: Path) -> None:
    found = results(ours, tmp_path, "--strict")

    assert [str(each) for each in found if each.failure] == []
    assert len(found) > 140


@pytest.mark.parametrize("kind", [Kind.OURS], ids=["ours"])
def test_it_passes_with_a_limit_of_streams_too(serve: Serve, tmp_path: Path) -> None:
    """That limit is what one of its tests needs, which is skipped without."""
    found = results(serve("--max-concurrent-streams=10").target, tmp_path, "http2/5.1.2")

    assert [(each.failure, each.skipped) for each in found] == [("", False)]
