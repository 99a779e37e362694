"""Bytes to events, whatever pieces they come in."""

import pytest

from kvstore.server.transports.http1.parser import (
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    Body,
    End,
    Event,
    Fault,
    Head,
    Parser,
)

TWO = (
    b"POST /a%20b?x=1 HTTP/1.1\r\nHost: h\r\nX-Y:  z \r\nContent-Length: 3\r\n\r\nabc"
    b"GET http://other/c HTTP/1.0\r\n\r\n"
)


def events(*pieces: bytes) -> list[Event]:
    parser = Parser()
    return [event for piece in pieces for event in parser.feed(piece)]


def fault(data: bytes) -> Fault:
    last = events(data)[-1]
    assert isinstance(last, Fault)
    return last


class TestRequests:
    @pytest.mark.parametrize("size", [1, 7, len(TWO)])
    def test_the_size_of_the_pieces_does_not_matter(self, size: int) -> None:
        found = events(*(TWO[at : at + size] for at in range(0, len(TWO), size)))
        heads = [event.request for event in found if isinstance(event, Head)]
        first, second = heads
        assert (first.method, first.path, first.query) == ("POST", "/a b", "x=1")
        assert first.field("x-y") == "z"
        assert first.has_body
        assert first.keeps_alive
        assert b"".join(event.data for event in found if isinstance(event, Body)) == b"abc"
        assert (second.host, second.path, second.is_http_1_0) == ("other", "/c", True)
        assert not second.keeps_alive
        assert not second.has_body
        assert found.count(End()) == 2

    def test_a_request_for_an_upgrade_is_an_ordinary_one(self) -> None:
        upgrade = (
            b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
        )
        found = events(upgrade + upgrade)
        assert [event.request.path for event in found if isinstance(event, Head)] == ["/a", "/a"]
        assert found.count(End()) == 2

    def test_trailers_are_not_fields(self) -> None:
        body = b"1\r\nx\r\n0\r\nHost: evil\r\n\r\n"
        found = events(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        head, *_ = found
        assert isinstance(head, Head)
        assert head.request.host == "h"
        assert [name for name, _ in head.request.fields] == ["host", "transfer-encoding"]

    def test_it_knows_that_a_head_is_not_complete(self) -> None:
        parser = Parser()
        assert not parser.is_in_head
        parser.feed(b"GET / HT")
        assert parser.is_in_head
        parser.feed(b"TP/1.1\r\nHost: h\r\n\r\n")
        assert not parser.is_in_head


class TestFaults:
    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"garbage\r\n\r\n", 400),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nBad Name: b\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
            (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            (b"GET /\r\n\r\n", 400),
        ],
    )
    def test_what_is_not_http_is_a_fault(self, data: bytes, status: int) -> None:
        assert fault(data).status == status

    def test_what_came_before_it_is_kept(self) -> None:
        found = events(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nnonsense\r\n\r\n")
        assert [type(event) for event in found] == [Head, End, Fault]

    def test_a_head_is_bounded_also_when_it_does_not_end(self) -> None:
        parser = Parser()
        piece = b"a" * 8192
        found = parser.feed(b"GET / HTTP/1.1\r\nHost: h\r\nX: ")
        for _ in range(MAX_HEAD_BYTES // len(piece) + 1):
            assert found == []
            found = parser.feed(piece)
        assert found == [Fault(431, "431 Request Header Fields Too Large")]

    def test_a_head_is_bounded_to_the_byte(self) -> None:
        start = b"GET / HTTP/1.1\r\nHost: h\r\nX: "
        fits = start + b"a" * (MAX_HEAD_BYTES - len(start) - 4) + b"\r\n\r\n"
        assert [type(event) for event in events(fits)] == [Head, End]
        assert fault(fits.replace(b"X: ", b"X: a")).status == 431

    def test_the_number_of_fields_is_bounded(self) -> None:
        fields = b"a:\r\n" * (MAX_FIELDS + 1) + b"\r\n"
        assert fault(b"GET / HTTP/1.1\r\nHost: h\r\n" + fields).status == 431

    def test_trailers_that_do_not_end_are_bounded(self) -> None:
        parser = Parser()
        parser.feed(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        trailers = b"a: b\r\n" * 1000
        for _ in range(MAX_HEAD_BYTES // len(trailers) + 2):
            found = parser.feed(trailers)
            if found:
                break
        assert isinstance(found[-1], Fault)
