"""Values are read as Go reads them."""

from __future__ import annotations

import pytest

from kvstore.server.config.urls import Url, check_bindable, parse_urls
from kvstore.server.config.values import (
    ConfigError,
    format_duration,
    parse_bool,
    parse_duration_s,
    parse_int,
    parse_strings,
)


class TestBool:
    @pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
    def test_true(self, text: str) -> None:
        assert parse_bool(text) is True

    @pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
    def test_false(self, text: str) -> None:
        assert parse_bool(text) is False

    @pytest.mark.parametrize("text", ["", "yes", "on", "tRUE", " true"])
    def test_anything_else_is_an_error(self, text: str) -> None:
        with pytest.raises(ValueError, match="parse error"):
            parse_bool(text)


class TestInt:
    @pytest.mark.parametrize(
        ("text", "number"),
        [
            ("0", 0),
            ("42", 42),
            ("-7", -7),
            ("+7", 7),
            ("0x10", 16),
            ("010", 8),
            ("0b11", 3),
            ("0o17", 15),
            ("1_000", 1000),
            ("-0X1f", -31),
        ],
    )
    def test_reads(self, text: str, number: int) -> None:
        assert parse_int(text, -(2**63), 2**63 - 1) == number

    @pytest.mark.parametrize(
        "text", ["", "x", "1.5", "1e3", "09", "1__0", " 1", "0x", "+", "1\u0661"]
    )
    def test_refuses(self, text: str) -> None:
        with pytest.raises(ValueError, match="parse error"):
            parse_int(text, -(2**63), 2**63 - 1)

    def test_a_number_too_large_is_out_of_range(self) -> None:
        with pytest.raises(ValueError, match="value out of range"):
            parse_int(str(2**63), -(2**63), 2**63 - 1)

    def test_an_unsigned_number_has_no_sign(self) -> None:
        with pytest.raises(ValueError, match="parse error"):
            parse_int("-1", 0, 10)


class TestDuration:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("10m", 600),
            ("1h30m", 5400),
            ("500ms", 0.5),
            ("1.5s", 1.5),
            ("0", 0),
            ("2h", 7200),
            ("100us", 1e-4),
            ("3µs", 3e-6),
            ("-1h", -3600),
            ("+.5s", 0.5),
            ("1.s", 1),
            ("7ns", 7e-9),
        ],
    )
    def test_reads(self, text: str, seconds: float) -> None:
        assert parse_duration_s(text) == seconds

    @pytest.mark.parametrize("text", ["", "5", "1d", "h", "1h 30m", "1h30", ".s", "-", "1e3s"])
    def test_refuses(self, text: str) -> None:
        with pytest.raises(ValueError, match="parse error"):
            parse_duration_s(text)

    def test_three_hundred_years_are_too_long(self) -> None:
        with pytest.raises(ValueError, match="value out of range"):
            parse_duration_s("2628000h")

    @pytest.mark.parametrize("text", ["0s", "10m", "1h30m", "500ms", "1s500ms", "-2h", "1us"])
    def test_a_written_duration_reads_the_same(self, text: str) -> None:
        assert format_duration(parse_duration_s(text)) == text


class TestUrls:
    @pytest.mark.parametrize(
        ("text", "url"),
        [
            ("http://127.0.0.1:0", Url("http", "127.0.0.1", 0)),
            ("https://localhost:2379", Url("https", "localhost", 2379)),
            ("http://[::1]:1", Url("http", "::1", 1)),
            ("unix:///run/x.sock", Url("unix", "/run/x.sock", 0)),
            ("unix:/run/x.sock", Url("unix", "/run/x.sock", 0)),
            ("unix://localhost:1", Url("unix", "localhost:1", 0)),
            ("unixs://x", Url("unixs", "x", 0)),
            ("http://:2379", Url("http", "", 2379)),
        ],
    )
    def test_reads(self, text: str, url: Url) -> None:
        assert parse_urls(text) == (url,)

    def test_a_list_is_sorted_and_has_each_once(self) -> None:
        urls = parse_urls("http://b:2, http://a:1,http://b:2")
        assert list(map(str, urls)) == ["http://a:1", "http://b:2"]

    def test_nothing_is_no_url(self) -> None:
        assert parse_urls("") == ()

    @pytest.mark.parametrize(
        "text", ["foo://a:1", "127.0.0.1:1", "localhost", "a:1", "http://a:1,"]
    )
    def test_an_unknown_scheme_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="URL scheme must be http, https, unix, or unixs"):
            parse_urls(text)

    @pytest.mark.parametrize(
        "text", ["http://", "http://a", "http://a:b", "http://a:65536", "http://::1:2"]
    )
    def test_host_and_port_are_needed(self, text: str) -> None:
        with pytest.raises(ValueError, match='does not have the form "host:port"'):
            parse_urls(text)

    @pytest.mark.parametrize("text", ["http://a:1/", "http://a:1/x"])
    def test_a_path_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="URL must not contain a path"):
            parse_urls(text)

    def test_addresses_are_as_grpc_spells_them(self) -> None:
        urls = [parse_urls(text)[0] for text in ("http://[::1]:1", "http://a:2", "unix:///s")]
        assert [url.address for url in urls] == ["[::1]:1", "a:2", "unix:/s"]
        assert [str(url) for url in urls] == ["http://[::1]:1", "http://a:2", "unix:///s"]

    def test_schemes_may_be_in_capitals(self) -> None:
        urls = [parse_urls(text)[0] for text in ("HTTP://A:1", "Https://a:1", "UNIX:///S")]
        assert list(map(str, urls)) == ["http://A:1", "https://a:1", "unix:///S"]

    @pytest.mark.parametrize("text", ["http://\udcff:1", "unix:///\udcff"])
    def test_bytes_that_are_no_text_are_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="URL must be UTF-8"):
            parse_urls(text)

    def test_no_port_behind_the_colon_is_a_free_one(self) -> None:
        assert parse_urls("http://127.0.0.1:") == (Url("http", "127.0.0.1", 0),)

    def test_the_path_of_a_socket_fits_into_an_address(self) -> None:
        check_bindable(parse_urls("unix:///" + "x" * 106))
        with pytest.raises(ConfigError, match="the path of a unix socket has at most 107 bytes: u"):
            check_bindable(parse_urls("unixs:///" + "\u00fc" * 54))

    def test_a_domain_name_cannot_be_listened_on(self) -> None:
        check_bindable(parse_urls("http://0.0.0.0:0,http://localhost:1,http://[::]:1,unix://x"))
        with pytest.raises(ConfigError, match=r"expected IP in URL for binding \(http://a\.b:1\)"):
            check_bindable(parse_urls("http://a.b:1"))


def test_a_list_of_strings_has_no_empty_part() -> None:
    assert parse_strings(" a,,b ,") == ("a", "b")
