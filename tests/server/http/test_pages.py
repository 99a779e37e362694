"""Health, version, metrics, debug variables, redirects, and who may ask."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from kvstore.errors import StoreFailed
from kvstore.server.config import parse_config
from kvstore.server.http.access import host_name
from kvstore.server.services.maintenance import API_VERSION
from tests.support.http_site import HttpSite, get


@pytest.fixture
def metrics_site() -> Iterator[HttpSite]:
    site = HttpSite(parse_config([]), only_metrics=True)
    yield site
    site.close()


def status(head: bytes) -> int:
    return int(head.split()[1])


class TestHealth:
    def test_a_server_that_answers_is_healthy(self, site: HttpSite) -> None:
        head, body = site.ask(get("/health"))
        assert body == b'{"health":"true","reason":""}'
        assert b"Content-Type: text/plain; charset=utf-8\r\n" in head
        assert (site.health.success, site.health.failures) == (1, 0)

    @pytest.mark.parametrize(
        ("alarm", "reason"), [("NOSPACE", "NOSPACE"), ("CORRUPT", "CORRUPT"), ("X", "UNKNOWN")]
    )
    def test_an_alarm_makes_it_unhealthy(self, site: HttpSite, alarm: str, reason: str) -> None:
        site.alarms.append(alarm)
        head, body = site.ask(get("/health"))
        assert status(head) == 503
        assert body == b'{"health":"false","reason":"ALARM %b"}\n' % reason.encode()
        assert status(site.ask(get(f"/health?exclude=A&exclude={alarm}"))[0]) == 200
        assert site.health.failures == 1

    def test_a_store_that_takes_no_writes_fails_all_but_serializable_reads(
        self, site: HttpSite
    ) -> None:
        site.call(lambda: site.store._fail(StoreFailed("the disk, in detail")))
        head, body = site.ask(get("/health"))
        assert status(head) == 503
        assert json.loads(body)["reason"] == f"RANGE ERROR:{StoreFailed.message}"
        assert status(site.ask(get("/health?serializable=true"))[0]) == 200
        assert status(site.ask(get("/livez"))[0]) == 200
        head, body = site.ask(get("/readyz"))
        assert status(head) == 503
        assert f"[-]linearizable_read failed: {StoreFailed.message}\n" in body.decode()
        assert site.ask(get("/readyz?exclude=linearizable_read"))[1] == b"ok\n"

    def test_corruption_is_not_ready_but_alive(self, site: HttpSite) -> None:
        site.alarms.append("CORRUPT")
        head, body = site.ask(get("/readyz"))
        assert status(head) == 503
        assert body == (
            b"[-]data_corruption failed: alarm activated: CORRUPT\n[+]serializable_read ok\n"
            b"[+]linearizable_read ok\n[+]non_learner ok\n\n"
        )
        assert site.ask(get("/livez"))[1] == b"ok\n"
        assert site.health.counts["readyz", "data_corruption", False] == 1
        assert site.health.checks["readyz", "data_corruption"] is False

    def test_space_does_not_make_it_unready(self, site: HttpSite) -> None:
        site.alarms.append("NOSPACE")
        assert site.ask(get("/readyz"))[1] == b"ok\n"

    def test_each_check_has_its_path(self, site: HttpSite) -> None:
        for path in ("/livez/serializable_read", "/readyz/data_corruption", "/readyz/non_learner"):
            assert site.ask(get(path))[1] == b"ok\n"
        assert site.ask(get("/livez/serializable_read?verbose"))[1] == (
            b"[+]serializable_read ok\nok\n"
        )
        assert status(site.ask(get("/livez/non_learner"))[0]) == 404

    def test_an_unknown_exclusion_is_only_a_warning(
        self, site: HttpSite, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert site.ask(get("/livez?exclude=nope"))[1] == b"ok\n"
        assert "no such checks of /livez: nope" in caplog.text


class TestPages:
    def test_the_versions_of_etcd_are_bare_numbers(self, site: HttpSite) -> None:
        versions = json.loads(site.ask(get("/version"))[1])
        assert versions.pop("kvstore") == "0.0.0"
        assert list(versions) == ["etcdserver", "etcdcluster", "storage"]
        assert versions["etcdserver"] == API_VERSION
        for version in versions.values():
            assert [int(part) for part in version.split(".")]

    def test_debug_variables_are_json(self, site: HttpSite) -> None:
        head, body = site.ask(get("/debug/vars"))
        assert b"Content-Type: application/json; charset=utf-8\r\n" in head
        variables = json.loads(body)
        assert variables.keys() == {"cmdline", "file_descriptor_limit", "memstats", "raft.status"}
        assert variables["raft.status"]["raftState"] == "StateLeader"
        assert variables["memstats"]["Alloc"] > 1_000_000

    def test_the_rest_is_not_found(self, site: HttpSite) -> None:
        for path in ("/", "/v2/keys", "/debug/pprof/", "/debug/requests", "/health/"):
            head, body = site.ask(get(path))
            assert (status(head), body) == (404, b"404 page not found\n")

    def test_a_redirect_keeps_the_query(self, site: HttpSite) -> None:
        head, body = site.ask(get("//livez?a=%22b&verbose"))
        assert b"Location: /livez?a=%22b&verbose\r\n" in head
        assert body == b'<a href="/livez?a=%22b&amp;verbose">Temporary Redirect</a>.\n\n'

    def test_a_redirect_cannot_break_out_of_its_field(self, site: HttpSite) -> None:
        head, _ = site.ask(get("//a%0d%0aSet-Cookie:x"))
        assert b"Location: /a%0D%0ASet-Cookie%3Ax\r\n" in head


class TestMetricsSite:
    def test_it_has_metrics_and_health_and_nothing_else(self, metrics_site: HttpSite) -> None:
        for path in ("/metrics", "/health", "/livez", "/readyz", "/readyz/linearizable_read"):
            head, _ = metrics_site.ask(get(path))
            assert status(head) == 200
            assert b"Access-Control" not in head
        for path in ("/version", "/v3/kv/range", "/v3beta/kv/range", "/debug/vars"):
            assert status(metrics_site.ask(get(path, method="POST"))[0]) == 404


class TestAccess:
    def origin(self, site: HttpSite, origin: str) -> bytes:
        head, _ = site.ask(get("/version", f"Origin: {origin}"))
        for line in head.split(b"\r\n"):
            if line.startswith(b"Access-Control-Allow-Origin: "):
                return line.partition(b": ")[2]
        return b""

    def test_origins_that_are_listed_may_read(self) -> None:
        site = HttpSite(parse_config(["--cors=http://a:1,http://b:2"]))
        try:
            assert self.origin(site, "http://b:2") == b"http://b:2"
            assert self.origin(site, "http://b") == b""
            head, _ = site.ask(get("/version", method="OPTIONS"))
            assert status(head) == 200
            assert b"Access-Control" not in head
        finally:
            site.close()

    def test_hosts_that_are_not_listed_are_misdirected(self) -> None:
        site = HttpSite(parse_config(["--host-whitelist=localhost,::1"]))
        try:
            head, body = site.ask(get("/version"))
            assert head.startswith(b"HTTP/1.1 421 Misdirected Request\r\n")
            assert b"Access-Control" not in head
            assert b"CVE-2018-5702" in body
            for host in ("localhost", "localhost:1", "[::1]:5"):
                request = get("/version").replace(b"Host: x", f"Host: {host}".encode())
                assert status(site.ask(request)[0]) == 200
        finally:
            site.close()

    @pytest.mark.parametrize(
        ("authority", "name"),
        [
            ("a", "a"),
            ("a:1", "a"),
            ("[::1]:1", "::1"),
            ("[::1]", "[::1]"),
            ("::1", "::1"),
            ("", ""),
        ],
    )
    def test_a_host_is_known_without_its_port(self, authority: str, name: str) -> None:
        assert host_name(authority) == name


class TestLongTargets:
    def test_a_path_that_no_page_has_is_not_looked_at(self, site: HttpSite) -> None:
        assert site.ask(get(f"/{'%61/' * 100_000}"))[0].startswith(b"HTTP/1.1 404")

    @pytest.mark.parametrize(("count", "shown"), [(9_999, b"serializable_read"), (10_000, b"ok\n")])
    def test_too_many_parameters_are_none(self, site: HttpSite, count: int, shown: bytes) -> None:
        _, body = site.ask(get(f"/livez?verbose{'&a' * count}"))
        assert (shown in body, b"serializable_read" in body) == (True, count < 10_000)
