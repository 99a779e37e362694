"""Header blocks: every representation of RFC 7541, the dynamic table, and blocks in many frames."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.h2 import frames, hpack_bytes
from tests.support.h2.calls import assert_serves, put, range_message
from tests.support.h2.connection import Connection, Fields
from tests.support.h2.frames import FrameType, Setting
from tests.support.h2.grpc import KV, Response, request, response_of

RANGE = request(KV + "Range")
UNKNOWN = "/unknown.Service/"


def answer(connection: Connection, block: bytes) -> Response:
    """The answer to a call with this header block."""
    stream_id = connection.new_stream()
    connection.send(frames.headers(stream_id, block))
    connection.send_data(stream_id, range_message(), end_stream=True)
    return response_of(connection, stream_id)


def coded(fields: Fields, code: Callable[[str, str], bytes]) -> bytes:
    return b"".join(code(name, value) for name, value in fields)


class TestRepresentations:
    """RFC 7541, 6. The path in the status text shows that the value was understood."""

    @pytest.mark.parametrize("huffman", [False, True], ids=["raw", "huffman"])
    @pytest.mark.parametrize(
        "code",
        [hpack_bytes.incremental, hpack_bytes.literal, hpack_bytes.never_indexed],
        ids=lambda code: code.__name__,
    )
    def test_a_literal_with_a_literal_name(
        self, wire: Connection, code: Callable[..., bytes], huffman: bool
    ) -> None:
        fields = request(UNKNOWN + "Method", ("x-a", ""), ("x-b", "v" * 300), ("x-c", "~ %+ü"))

        response = answer(wire, coded(fields, lambda n, v: code(n, v, huffman=huffman)))

        assert response.status_message == "unknown service unknown.Service"
        assert_serves(wire)

    @pytest.mark.parametrize("huffman", [False, True], ids=["raw", "huffman"])
    @pytest.mark.parametrize(
        "code",
        [hpack_bytes.incremental, hpack_bytes.literal, hpack_bytes.never_indexed],
        ids=lambda code: code.__name__,
    )
    def test_a_literal_with_an_indexed_name(
        self, wire: Connection, code: Callable[..., bytes], huffman: bool
    ) -> None:
        """Names of the static table: 4 is :path, 1 :authority, 31 content-type, 58 user-agent."""
        block = (
            hpack_bytes.indexed(3)
            + hpack_bytes.indexed(6)
            + code(4, UNKNOWN + "M", huffman=huffman)
            + code(1, "127.0.0.1", huffman=huffman)
            + code(31, "application/grpc", huffman=huffman)
            + code("te", "trailers", huffman=huffman)
            + code(58, "tests", huffman=huffman)
        )

        response = answer(wire, block)

        assert response.status_message == "unknown service unknown.Service"

    def test_every_octet_in_a_huffman_string(self, wire: Connection) -> None:
        """The longest codes have 30 bits; the text is UTF-8, a path is not changed on its way."""
        text = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "/%")
        path = f"/{text}é€/Method"

        response = answer(wire, coded(request(path), hpack_bytes.literal))
        again = answer(
            wire, coded(request(path), lambda n, v: hpack_bytes.literal(n, v, huffman=True))
        )

        assert response.status_message == f"unknown service {text}é€"
        assert again.status_message == response.status_message

    def test_every_field_of_the_static_table_that_a_request_may_have(
        self, wire: Connection
    ) -> None:
        """15 to 61, without host, content-length, content-type and transfer-encoding."""
        left_out = {28, 31, 38, 57}
        block = coded(RANGE, hpack_bytes.literal)
        block += b"".join(hpack_bytes.indexed(i) for i in range(15, 62) if i not in left_out)

        assert answer(wire, block).status == 0

    def test_the_name_of_the_static_table_with_a_long_index(self, wire: Connection) -> None:
        """An index of 4 bits goes on in a second octet from 15 on."""
        block = coded(RANGE, hpack_bytes.literal) + hpack_bytes.literal(61, "Basic")

        assert answer(wire, block).status == 0

    def test_an_integer_with_more_octets_than_it_needs(self, wire: Connection) -> None:
        """5.1: zeros at the end of an integer add nothing to it."""
        padded_length = bytes([0x7F, 0x80, 0x00])  # 127 in one octet more than it needs
        block = coded(RANGE, hpack_bytes.literal) + b"\x00\x03x-a" + padded_length + b"v" * 127

        assert answer(wire, block).status == 0


class TestDynamicTable:
    """RFC 7541, 2.3.2 and 4."""

    def test_fields_of_one_request_serve_the_next(self, wire: Connection) -> None:
        first = coded(request(UNKNOWN + "M"), hpack_bytes.incremental)
        count = len(request(""))
        again = b"".join(hpack_bytes.indexed(62 + count - 1 - at) for at in range(count))

        assert answer(wire, first).status_message == "unknown service unknown.Service"
        assert answer(wire, again).status_message == "unknown service unknown.Service"

    def test_a_name_of_the_dynamic_table_serves_another_value(self, wire: Connection) -> None:
        others = [field for field in RANGE if field[0] != ":path"]
        first = coded(others[:2], hpack_bytes.literal)
        first += hpack_bytes.incremental(":path", UNKNOWN + "M")
        first += coded(others[2:], hpack_bytes.literal)
        second = coded(others[:2], hpack_bytes.literal)
        second += hpack_bytes.literal(62, "/another.Service/M")
        second += coded(others[2:], hpack_bytes.literal)

        assert answer(wire, first).status_message == "unknown service unknown.Service"
        assert answer(wire, second).status_message == "unknown service another.Service"

    def test_the_oldest_fields_are_evicted(self, wire: Connection) -> None:
        """4.4: 40 fields of 32 + 5 + 200 bytes in a table of 4096 leave the newest 17."""
        block = coded(RANGE, hpack_bytes.literal)
        block += b"".join(hpack_bytes.incremental(f"x-{at:03}", f"{at:0200}") for at in range(40))
        assert answer(wire, block).status == 0

        block = coded(RANGE, hpack_bytes.literal)
        block += hpack_bytes.indexed(62) + hpack_bytes.indexed(62 + 16)
        assert answer(wire, block).status == 0

        block = coded(RANGE, hpack_bytes.literal) + hpack_bytes.indexed(62 + 17)
        wire.send(frames.headers(wire.new_stream(), block))
        wire.read_until_closed()

    def test_a_field_larger_than_the_table_empties_it(self, wire: Connection) -> None:
        """4.4: that is no error; the next field is the first one of the table."""
        block = coded(RANGE, hpack_bytes.literal)
        block += hpack_bytes.incremental("x-before", "a")
        block += hpack_bytes.incremental("x-larger", "b" * 4096)
        block += hpack_bytes.incremental("x-after", "c") + hpack_bytes.indexed(62)

        assert answer(wire, block).status == 0
        assert_serves_fresh(wire)

    @pytest.mark.parametrize("sizes", [(0,), (0, 4096), (100,), (4096,), (0, 64)])
    def test_the_table_may_be_resized_at_the_start_of_a_block(
        self, wire: Connection, sizes: tuple[int, ...]
    ) -> None:
        """4.2, 6.3: two updates in one block when it went down and up between."""
        assert answer(wire, coded(RANGE, hpack_bytes.incremental)).status == 0
        block = b"".join(hpack_bytes.table_size(size) for size in sizes)
        block += coded(RANGE, hpack_bytes.literal)
        if sizes[-1] >= 64:
            block += hpack_bytes.incremental("x-a", "b") + hpack_bytes.indexed(62)

        assert answer(wire, block).status == 0

    def test_refused_requests_fill_the_table_too(self, wire: Connection) -> None:
        """RFC 9113, 4.3: the state belongs to the connection, whatever becomes of the stream."""
        refused = request(KV + "Range", content_type="text/plain")
        answer(wire, coded(refused, hpack_bytes.literal) + hpack_bytes.incremental("x-a", "1"))
        stream_id = wire.new_stream()
        block = coded(RANGE, hpack_bytes.literal) + hpack_bytes.incremental("x-b", "2")
        wire.send(frames.headers(stream_id, block) + frames.rst_stream(stream_id))

        block = coded(RANGE, hpack_bytes.literal)
        assert answer(wire, block + hpack_bytes.indexed(62) + hpack_bytes.indexed(63)).status == 0

    @pytest.mark.parametrize("size", [0, 64, 4096, 65_536])
    def test_answers_respect_the_table_that_the_client_has(
        self, wire: Connection, size: int
    ) -> None:
        """4.2: below the former size the next block begins with an update, which `hpack` checks."""
        assert_serves(wire)
        wire.change_settings({Setting.HEADER_TABLE_SIZE: size})
        wire.decoder.max_allowed_table_size = size

        for _ in range(3):
            assert_serves(wire)


class TestManyFrames:
    """RFC 9113, 6.2 and 6.10."""

    @pytest.mark.parametrize("length", [1, 7, 1000])
    def test_a_block_in_pieces(self, wire: Connection, length: int) -> None:
        block = wire.encode(RANGE)
        pieces = [block[at : at + length] for at in range(0, len(block), length)]
        wire.send(frames.headers(1, pieces[0], end_headers=len(pieces) == 1))
        for at, piece in enumerate(pieces[1:], 2):
            wire.send(frames.continuation(1, piece, end_headers=at == len(pieces)))
        wire.send(frames.data(1, range_message(), end_stream=True))

        assert response_of(wire, 1).status == 0

    def test_empty_pieces(self, wire: Connection) -> None:
        wire.send(
            frames.headers(1, b"", end_headers=False)
            + frames.continuation(1, b"")
            + frames.continuation(1, wire.encode(RANGE))
            + frames.continuation(1, b"", end_headers=True)
            + frames.data(1, range_message(), end_stream=True)
        )

        assert response_of(wire, 1).status == 0

    def test_the_end_of_the_stream_on_headers_that_go_on(self, wire: Connection) -> None:
        """END_STREAM stands on HEADERS; it counts when the block has ended."""
        block = wire.encode(request(UNKNOWN + "M"))
        wire.send(
            frames.headers(1, block[:5], end_stream=True, end_headers=False)
            + frames.continuation(1, block[5:], end_headers=True)
        )

        assert response_of(wire, 1).status_message == "unknown service unknown.Service"

    def test_many_kilobytes_of_fields(self, wire: Connection) -> None:
        """Tokens and tracing make large headers; 7 kB are below every limit in use."""
        more = [(f"x-field-{at}", "v" * 100) for at in range(50)]
        stream_id = wire.send_headers(request(KV + "Range", *more))
        wire.send_data(stream_id, range_message(), end_stream=True)

        assert response_of(wire, stream_id).status == 0

    def test_a_field_may_come_many_times(self, wire: Connection) -> None:
        """8.2.3: cookie crumbs, and metadata with several values."""
        more = [("cookie", f"a{at}=b") for at in range(20)] + [("x-a", "1"), ("x-a", "2")]
        stream_id = wire.send_headers(request(KV + "Range", *more))
        wire.send_data(stream_id, range_message(), end_stream=True)

        assert response_of(wire, stream_id).status == 0


class TestTrailersOfARequest:
    def test_trailers_end_the_stream(self, our_wire: Connection) -> None:
        """RFC 9113, 8.1 allows them. grpc-go ends the connection."""
        stream_id = our_wire.send_headers(RANGE)
        our_wire.send_data(stream_id, range_message())
        our_wire.send_headers([("x-trailer", "a")], end_stream=True, stream_id=stream_id)

        assert response_of(our_wire, stream_id).status == 0
        assert_serves(our_wire)


class TestAnswers:
    def test_names_are_lower_case_and_pseudo_headers_first(self, wire: Connection) -> None:
        """8.2.1, 8.3: also that of trailers there is no pseudo-header."""
        put(wire, b"answers", b"1")
        blocks = [block for blocks in wire.fields.values() for block in blocks]

        assert blocks[0][0] == (":status", "200")
        assert [name for name, _ in blocks[1] if name.startswith(":")] == []
        assert all(name == name.lower() for block in blocks for name, _ in block)

    def test_no_field_of_a_connection(self, wire: Connection) -> None:
        """8.2.2."""
        assert_serves(wire)
        names = {name for blocks in wire.fields.values() for block in blocks for name, _ in block}

        assert names.isdisjoint({"connection", "keep-alive", "transfer-encoding", "upgrade"})

    def test_no_header_block_is_interrupted(self, wire: Connection) -> None:
        """4.3, while many answers are on their way."""
        ids = [wire.send_headers(RANGE) for _ in range(50)]
        for stream_id in ids:
            wire.send_data(stream_id, range_message(), end_stream=True)
        for stream_id in ids:
            assert response_of(wire, stream_id).status == 0

        for before, after in zip(wire.received, wire.received[1:], strict=False):
            if before.type in (FrameType.HEADERS, FrameType.CONTINUATION) and not before.has(
                frames.Flag.END_HEADERS
            ):
                assert (after.type, after.stream_id) == (FrameType.CONTINUATION, before.stream_id)


def assert_serves_fresh(connection: Connection) -> None:
    """As `assert_serves`, with a header block that relies on no table."""
    assert answer(connection, coded(RANGE, hpack_bytes.literal)).status == 0
