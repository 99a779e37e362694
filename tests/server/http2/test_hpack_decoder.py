"""Our decoder beside that of the hpack package, which has been tried by many."""

import hpack
import pytest
from hpack.exceptions import HPACKError
from hypothesis import given
from hypothesis import strategies as st

from kvstore.server.transports.http2.errors import ConnectionFault
from kvstore.server.transports.http2.frames import ErrorCode
from kvstore.server.transports.http2.hpack_decoder import HpackDecoder

NAMES = st.sampled_from([b":path", b"te", b"grpc-timeout", b"x-a", b"content-type", b"n" * 200])
VALUES = st.one_of(
    st.binary(max_size=40), st.sampled_from([b"", b"trailers", b"POST", b"v" * 300, b"w" * 4000])
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=8)
LIST_BYTES = 1 << 20


@given(st.lists(st.tuples(FIELDS, st.booleans(), st.sampled_from([None, 0, 100, 4096]))))
def test_what_an_encoder_sends_is_decoded(
    blocks: list[tuple[list[tuple[bytes, bytes]], bool, int | None]],
) -> None:
    encoder, decoder = hpack.Encoder(), HpackDecoder(LIST_BYTES)
    for fields, is_huffman, table_bytes in blocks:
        if table_bytes is not None:
            encoder.header_table_size = table_bytes
        assert fields == decoder.decode(encoder.encode(fields, huffman=is_huffman))


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_bytes_mean_the_same_to_both(blocks: list[bytes]) -> None:
    ours, theirs = HpackDecoder(LIST_BYTES), hpack.Decoder(LIST_BYTES)
    for block in blocks:
        try:
            expected = [tuple(field) for field in theirs.decode(block, raw=True)]
        except (HPACKError, IndexError, ValueError):
            # hpack lets sizes of the table pass that are larger than allowed until the end.
            with pytest.raises(ConnectionFault):
                ours.decode(block)
            return
        assert expected == ours.decode(block)


def test_never_indexed_and_multi_byte_integers() -> None:
    decoder = HpackDecoder(LIST_BYTES)
    assert decoder.decode(b"\x10\x01a\x01b") == [(b"a", b"b")]
    assert decoder.decode(b"\x0f\x20\x01v") == [(decoder.decode(b"\xaf")[0][0], b"v")]
    long = b"y" * 1000
    assert decoder.decode(b"\x00\x01x\x7f" + b"\xe9\x06" + long) == [(b"x", long)]


@pytest.mark.parametrize(
    ("block", "code"),
    [
        (b"\x80", ErrorCode.COMPRESSION_ERROR),  # index 0
        (b"\xbe", ErrorCode.COMPRESSION_ERROR),  # above the table
        (b"\x40\x01", ErrorCode.COMPRESSION_ERROR),  # cut off
        (b"\x00\x05ab", ErrorCode.COMPRESSION_ERROR),
        (b"\x82\x20", ErrorCode.COMPRESSION_ERROR),  # a size after a field
        (b"\x3f\xe2\x1f", ErrorCode.COMPRESSION_ERROR),  # 4097
        (b"\x00\x01a\x81\x00", ErrorCode.COMPRESSION_ERROR),  # padding of zeros
        (b"\xff" + b"\xff" * 9 + b"\x01", ErrorCode.COMPRESSION_ERROR),
    ],
)
def test_what_is_wrong_ends_the_connection(block: bytes, code: ErrorCode) -> None:
    with pytest.raises(ConnectionFault) as caught:
        HpackDecoder(LIST_BYTES).decode(block)
    assert caught.value.code is code


def test_a_bomb_is_stopped_at_the_limit_of_the_list() -> None:
    decoder = HpackDecoder(100_000)
    decoder.decode(b"\x40\x01a\x7f\x81\x1e" + b"x" * 3968)
    with pytest.raises(ConnectionFault) as caught:
        decoder.decode(b"\xbe" * 16_000)
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_changes_are_counted() -> None:
    decoder = HpackDecoder(LIST_BYTES)
    decoder.decode(b"\x82\x00\x01a\x01b")
    assert decoder.changes == 0
    decoder.decode(b"\x40\x01a\x01b")
    assert decoder.changes == 1
    assert decoder.decode(b"\xbe") == [(b"a", b"b")]
