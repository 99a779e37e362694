"""Java's HttpClient at the JSON gateway observes the same of ours as of a real etcd.

To plain URLs it says `Connection: Upgrade` with each request; to secure ones it speaks HTTP/2.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.servers import require
from tests.server.http.places import Farm, Place

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).parent / "JavaClient.java"
RUN_DEADLINE_S = 120.0


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    farm = Farm(tmp_path_factory.mktemp("farm"))
    yield farm
    farm.close()


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The program, compiled once."""
    classes = tmp_path_factory.mktemp("classes")
    command = [require("javac"), "-d", str(classes), str(PROGRAM)]
    subprocess.run(command, check=True, capture_output=True, timeout=RUN_DEADLINE_S)
    return [require("java"), "-cp", str(classes), "JavaClient"]


@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "tls"])
def test_the_answers_are_the_same(farm: Farm, java: list[str], is_secure: bool) -> None:
    said = []
    for server in ("etcd", "ours"):
        place = Place("client", is_secure=is_secure, protocol="h2")
        where = farm.where(server, place)
        scheme = "https" if is_secure else "http"
        done = subprocess.run(
            [*java, f"{scheme}://127.0.0.1:{where.port}"],
            capture_output=True,
            text=True,
            timeout=RUN_DEADLINE_S,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        said.append([shown(line) for line in done.stdout.splitlines()])
    etcds, ours = said
    assert ours == etcds
    assert len(ours) > 60
    assert all(line.startswith("HTTP_2") == is_secure for line in ours if "HTTP_" in line)


def shown(line: str) -> str:
    """Without blanks, ids, and what only one of the two says."""
    text = line.replace(" ", "")
    text = re.sub(r'"(cluster_id|member_id)":"[0-9]+",?', "", text)
    text = re.sub(r'"(etcdserver|etcdcluster|storage|kvstore)":"[^"]*",?', "", text)
    text = re.sub(r',"error":"(\\"|[^"])*"\}', "}", text)
    return re.sub(r"proto:.(\(line1:[0-9]+\):)?", "proto:", text)
