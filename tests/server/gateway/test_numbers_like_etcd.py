"""Numbers in JSON, in every notation and at the ends of their range, beside a real etcd 3.7.1.

A few fields of different types get each notation; each number of each request gets a few. (3.4 has
another JSON library, whose texts are not ours.)
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from kvstore.server.gateway.routes import ROUTES
from kvstore.server.method import Kind
from kvstore.server.services import Settings, build_methods
from tests.support.etcd import EtcdServer, EtcdVersion
from tests.support.extremes import Number, as_json, numbers_of
from tests.support.kvserver import KvServer

pytestmark = pytest.mark.slow

METHODS: Final = build_methods(None, None, Settings())  # type: ignore[arg-type]
LEFT_OUT: Final = {"status", "member/list", "user/authenticate"}
WORDS: Final = r"""
    1 0 -0 -1 1e3 1E3 1.0 1.5 0.1e1 10e-1 1e-1 1e+2 "1" "1e3" "1.0" "1.5" "" "+1" "-1" "-0" "0x10"
    "01" "1_000" "1,000" "1}" "NaN" "x" "0e5" 0e400 1e400 1e-400 1e19 1e18 "1e18" -1e18
    1e99999999999999999999 1e-99999999999999999999 9223372036854775807 9223372036854775808
    -9223372036854775808 -9223372036854775809 "9223372036854775807" "9223372036854775808"
    9.223372036854775807e18 9223372036854775807.0 18446744073709551615 18446744073709551616
    2147483647 2147483648 -2147483648 -2147483649 4294967296 100000000000000000000000000000000e-32
    true false null [] [1] {} "KEY" "NONE" "nope"
    01 00 - -x -- 1- . .5 1. 1.x 1e 1e} 1e+ 1e-x NaN Infinity -Infinity tru fals3 nul t x "a "\q"
    "\u12g" "\uz" undefined 1,, }
"""
LONG: Final = (f"1{'0' * 400}e-400", f"0.{'0' * 5000}1", "1" * 5000, f"1.{'0' * 5000}")
NOTATIONS: Final = (*WORDS.split(), '" 1"', '"1 "', *LONG)
EVERYWHERE: Final = ("-1", "9223372036854775807", '"-9223372036854775808"', "1e3", "1.5", "true")
TYPICAL: Final = {
    "/v3/kv/range": ("limit", "sort_order", "keys_only"),
    "/v3/kv/txn": ("compare.version", "compare.result", "success.request_put.lease"),
    "/v3/maintenance/alarm": ("memberID",),
}


class Side:
    """One connection to one of the two servers."""

    def __init__(self, server: KvServer | EtcdServer) -> None:
        self.server = server
        self.http = http.client.HTTPConnection(server.target, timeout=30)

    def post(self, path: str, body: str) -> tuple[int, dict[str, Any]]:
        self.http.request("POST", path, body)
        response = self.http.getresponse()
        # Go writes either of two spaces behind "proto:", so that nobody depends on the text.
        answer = json.loads(response.read().decode().replace("\u00a0", " "))
        if "header" in answer:
            answer["header"] = answer["header"].get("revision")
        answer.pop("error", None)
        if "message" in answer:
            answer["message"] = re.sub(r" \(line \d+:\d+\):", "", answer["message"])
        return response.status, answer

    def close(self) -> None:
        self.http.close()
        self.server.kill()


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    directory: Path = tmp_path_factory.mktemp("sides")
    ticks = ["--election-timeout", "100", "--heartbeat-interval", "10"]  # those of the other one
    ours = Side(KvServer(directory / "ours", ticks))
    try:
        etcd = Side(EtcdServer(EtcdVersion.ETCD_37, directory / "etcd"))
        yield ours, etcd
        etcd.close()
    finally:
        ours.close()


def paths() -> list[str]:
    return [
        path
        for path, route in ROUTES.items()
        if path.startswith("/v3/")
        and path.removeprefix("/v3/").partition("/")[2] not in LEFT_OUT
        and path.removeprefix("/v3/cluster/") not in LEFT_OUT
        and route in METHODS
        and METHODS[route].kind is Kind.UNARY
    ]


def cases(path: str) -> Iterator[tuple[Number, str]]:
    for number in numbers_of(METHODS[ROUTES[path]].request):
        if str(number) == "action":  # of alarms: etcd itself does not survive unknown ones
            continue
        typical = str(number) in TYPICAL.get(path, ())
        for notation in NOTATIONS if typical else EVERYWHERE:
            yield number, notation


@pytest.mark.parametrize("path", paths())
def test_a_number_is_what_it_is_for_etcd(sides: tuple[Side, Side], path: str) -> None:
    kind = METHODS[ROUTES[path]].request
    differences = []
    for number, notation in cases(path):
        body = json.dumps(as_json(kind, number, "@")).replace('"@"', notation)
        (status, ours), (other_status, etcd) = (side.post(path, body) for side in sides)
        if path == "/v3/lease/grant" and number.field.name != "ID":
            ours.pop("ID", None)
            etcd.pop("ID", None)
        if (status, ours) != (other_status, etcd):
            differences.append((str(number), notation, status, ours, other_status, etcd))
    assert differences == []
