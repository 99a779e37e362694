"""A configuration learns the ports that were really bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvstore.server.config import parse_config

LISTEN = ["--listen-client-urls=http://127.0.0.1:0", "--advertise-client-urls=http://127.0.0.1:0"]


class TestBound:
    def test_a_chosen_port_is_advertised(self) -> None:
        config = parse_config(LISTEN).bound([4001])
        assert list(map(str, config.client_urls)) == ["http://127.0.0.1:4001"]
        assert config.advertise_client_urls == ("http://127.0.0.1:4001",)

    def test_each_listener_has_its_own(self) -> None:
        urls = "http://127.0.0.1:0,http://[::1]:0,http://localhost:7,unix:///s"
        config = parse_config([f"--listen-client-urls={urls}", f"--advertise-client-urls={urls}"])
        assert [url.port for url in config.client_urls] == [0, 0, 7, 0]
        config = config.bound([41, 42, 7, 99])
        assert config.advertise_client_urls == (
            "http://127.0.0.1:41",
            "http://[::1]:42",
            "http://localhost:7",
            "unix:///s",
        )

    def test_another_host_gets_the_port_of_the_first(self) -> None:
        config = parse_config([LISTEN[0], "--advertise-client-urls=http://outside:0"])
        assert config.bound([41]).advertise_client_urls == ("http://outside:41",)

    def test_a_port_that_was_asked_for_stays(self) -> None:
        config = parse_config([LISTEN[0], "--advertise-client-urls=http://outside:10"])
        assert config.bound([41]).advertise_client_urls == ("http://outside:10",)
        assert parse_config([]).bound([2379]) == parse_config([])

    def test_by_default_what_is_bound_is_advertised(self, tmp_path: Path) -> None:
        path = tmp_path / "c.yaml"
        path.write_text("listen-client-urls: http://127.0.0.1:0", encoding="utf-8")
        config = parse_config([f"--config-file={path}"]).bound([41])
        assert config.advertise_client_urls == ("http://127.0.0.1:41",)

    def test_there_is_one_port_for_each_listener(self) -> None:
        with pytest.raises(ValueError, match="shorter"):
            parse_config(LISTEN).bound([])
