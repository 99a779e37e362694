"""Each feature of HTTP in each place that serves it, over each protocol, beside a real etcd."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.server.http.places import PLACES, Farm, Place
from tests.support.h2.connection import Closed
from tests.support.web_client import Said, ask, first_of_stream

pytestmark = pytest.mark.slow


class Feature(NamedTuple):
    method: str
    path: str
    fields: dict[str, str] = {}  # noqa: RUF012  # never changed
    body: bytes | None = None
    is_fickle: bool = False
    """The body has numbers that change."""

    def __str__(self) -> str:
        shown = [f"{name}={value}" for name, value in self.fields.items()]
        return " ".join([self.method, self.path, *shown, (self.body or b"").decode()[:40]])


PATHS = ("/health", "/livez?verbose", "/readyz", "/version", "/debug/vars", "/metrics", "/nope")
FICKLE = ("/debug/vars", "/metrics")
RANGE, PUT = "/v3/kv/range", "/v3/kv/put"
JSON = b'{"key":"YQ=="}'
LARGE, REFUSED_BY_ETCD, REFUSED_BY_GRPC = (
    b'{"key":"Yg==","value":"%b"}' % (b"eHh4" * count) for count in (5_000, 533_000, 733_000)
)

FEATURES = [
    *(
        Feature(method, path, is_fickle=path in FICKLE)
        for path in PATHS
        for method in ("GET", "HEAD", "OPTIONS")
    ),
    Feature("GET", "/health?exclude=NOSPACE&serializable=true"),
    Feature("GET", "/livez/serializable_read"),
    Feature("POST", "/version", body=b"x" * 3000),
    Feature("GET", "//version"),
    Feature("HEAD", "//version"),
    Feature("GET", "/v3"),
    Feature("OPTIONS", "*"),
    Feature("GET", "*"),
    Feature("GET", "/version", {"origin": "http://somewhere"}),
    Feature("GET", "/version", {"host": "elsewhere:99"}),
    Feature("GET", "/version", {"expect": "100-continue"}),
    Feature("GET", "/version", {"content-type": "application/json"}),
    Feature("POST", PUT, body=b'{"key":"YQ==","value":"MQ=="}'),
    Feature("POST", PUT, body=LARGE),
    Feature("POST", PUT, body=REFUSED_BY_ETCD),
    Feature("POST", PUT, body=REFUSED_BY_GRPC),
    Feature("POST", RANGE, body=JSON),
    Feature("POST", RANGE, body=b'{"key":"Yg=="}'),
    Feature("POST", RANGE, {"te": "trailers"}, JSON),
    Feature("POST", RANGE, {"te": "trailers"}, b"{}"),
    Feature("POST", RANGE, {"expect": "100-continue"}, JSON),
    Feature("POST", RANGE, {"content-type": "application/json"}, JSON),
    Feature("POST", RANGE, {"grpc-timeout": "10S"}, JSON),
    Feature("POST", RANGE, {"grpc-timeout": "x"}, JSON),
    Feature("POST", RANGE, {"authorization": "token"}, JSON),
    Feature("POST", RANGE, body=b"x"),
    Feature("POST", RANGE, body=b""),
    Feature("POST", RANGE, body=b'{"key":"YQ==","revision":"1000"}'),
    Feature("POST", "/v3/nope", body=b"{}"),
    Feature("GET", RANGE),
    Feature("HEAD", RANGE),
    Feature("PUT", RANGE, body=JSON),
    Feature("OPTIONS", RANGE),
    Feature("POST", "/v3/lease/keepalive", body=b'{"ID":"5"}{"ID":"6"}'),
    Feature("POST", "/v3/lease/keepalive", body=b""),
]
WATCH = b'{"create_request":{"key":"YQ=="}}'
WITH_GATEWAY = [place for place in PLACES[:-1] if place.url != "metrics"]
ASKED = [
    (place, feature)
    for place in PLACES
    for feature in FEATURES
    if place.url != "metrics" or "/v3" not in feature.path or feature.method == "GET"
]
ALIKE = (
    "allow",
    "content-type",
    "grpc-metadata-content-type",
    "location",
    "trailer",
    "x-content-type-options",
)
"""Fields that are compared; CORS besides. A length is there or not."""


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    farm = Farm(tmp_path_factory.mktemp("farm"))
    yield farm
    for log in farm.close():
        assert "Traceback" not in log
        assert "Warning" not in log


def shown(place: Place, said: Said, *, is_fickle: bool = False) -> dict[str, Any]:
    """What is compared of an answer."""
    if place.protocol == "h2" and not place.is_secure:
        return {"status": said.status}
    fields = {
        name: value
        for name, value in said.fields.items()
        if name in ALIKE or name.startswith("access-control-")
    }
    if is_fickle:
        return {"status": said.status, "has data": said.data_frames > 0}
    trailers = said.trailers
    if place.is_secure and (said.status >= 400 or not said.body):
        # There the gateway of etcd hears of an error in another way, and says less of it.
        for name in ("trailer", "grpc-metadata-content-type"):
            fields.pop(name, None)
        trailers = {}
    return {
        "status": said.status,
        "fields": fields,
        "body": _without_numbers(said.body),
        "trailers": trailers,
        "has length": "content-length" in said.fields,
        "has data": said.data_frames > 0,
    }


def _without_numbers(body: bytes) -> str:
    text = body.decode()
    text = re.sub(r'([,:]) (?=["{])', r"\1", text)
    text = re.sub(
        r'"(cluster_id|member_id|revision|raft_term|version|mod_revision)":"[0-9]+"', "n", text
    )
    text = re.sub(r'"create_revision":"[0-9]+"', "n", text)
    text = re.sub(r',"error":"(\\"|[^"])*"\}', "}", text)
    text = re.sub(r'"(etcdserver|etcdcluster|storage|kvstore)":"[^"]*",?', "v", text)
    return re.sub(r"proto:.(\(line 1:[0-9]+\): )?", "proto: ", text).replace("vv", "v")


def both(farm: Farm, place: Place, feature: Feature, *flags: str) -> list[dict[str, Any]]:
    """Our answer and that of etcd."""
    return [
        shown(place, ask(farm.where(server, place, *flags), *feature[:4]), is_fickle=feature[4])
        for server in ("ours", "etcd")
    ]


class TestEverywhere:
    @pytest.mark.parametrize(("place", "feature"), ASKED, ids=str)
    def test_the_answer_is_etcds(self, farm: Farm, place: Place, feature: Feature) -> None:
        ours, etcds = both(farm, place, feature)
        assert ours == etcds
        if feature.method == "HEAD" and place.is_secure:
            assert not ours["has data"]

    @pytest.mark.parametrize("place", WITH_GATEWAY, ids=str)
    def test_a_watch_tells_and_ends_with_its_client(self, farm: Farm, place: Place) -> None:
        ours, etcds = (
            shown(place, first_of_stream(farm.where(server, place), "/v3/watch", WATCH))
            for server in ("ours", "etcd")
        )
        assert ours == etcds
        assert ours["status"] == 200


class TestWhoMayAsk:
    FLAGS = ("--host-whitelist=good", "--cors=http://good:80")

    @pytest.mark.parametrize("place", PLACES[:-1], ids=str)
    @pytest.mark.parametrize("method", ["GET", "OPTIONS"])
    def test_hosts_and_origins(self, farm: Farm, place: Place, method: str) -> None:
        for host in ("good", "good:99", "bad"):
            for origin in ("http://good:80", "http://bad"):
                asked = Feature(method, "/version", {"host": host, "origin": origin})
                ours, etcds = both(farm, place, asked, *self.FLAGS)
                if ours["status"] == 421:  # said in our own words
                    ours["body"] = etcds["body"]
                assert ours == etcds

    @pytest.mark.parametrize("place", [place for place in PLACES if place.is_secure], ids=str)
    @pytest.mark.parametrize("server", ["ours", "etcd"])
    def test_certificates_of_clients(self, farm: Farm, place: Place, server: str) -> None:
        flags = (f"--trusted-ca-file={farm.authority.cert_file}", "--client-cert-auth")
        known = farm.where(server, place, *flags, client=farm.alice)
        assert ask(known, "GET", "/health").status == 200
        if place.url != "metrics":
            assert ask(known, "POST", RANGE, None, JSON).status == 200
        stranger = farm.where(server, place, *flags)
        with pytest.raises((OSError, Closed, AssertionError)):
            ask(stranger, "GET", "/health")
