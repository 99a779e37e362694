"""What is remembered of header blocks: the same meaning for the same bytes, bounded in bytes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest

from kvstore.server.stats import CallStats
from kvstore.server.transports.http2.header_block import REMEMBERED_BYTES, Fields, HeaderBlocks
from kvstore.server.transports.rpc.head import CallHead, understand
from tests.support.h2 import hpack_bytes

HEAD = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/etcdserverpb.KV/Range"),
    (b":authority", b"127.0.0.1:2379"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]
MIB = 1 << 20


class Meanings:
    """As the calls of a connection give them."""

    varying = b"grpc-timeout"

    def __init__(self) -> None:
        self.made = 0

    def understand(self, fields: Fields) -> CallHead:
        self.made += 1
        return understand(fields, {}, CallStats({}), "peer")

    def vary(self, meaning: CallHead, value: bytes) -> CallHead:
        return meaning.with_timeout(value.decode())


@pytest.fixture
def meanings() -> Meanings:
    return Meanings()


@pytest.fixture
def blocks(meanings: Meanings) -> HeaderBlocks[CallHead]:
    return HeaderBlocks(meanings, MIB)


def plain(*fields: tuple[bytes, bytes]) -> bytes:
    """A block that leaves the table as it is."""
    return b"".join(
        b"\x00" + hpack_bytes.string(name) + hpack_bytes.string(value)
        for name, value in (*HEAD, *fields)
    )


def test_a_block_is_understood_once(meanings: Meanings, blocks: HeaderBlocks[CallHead]) -> None:
    block = plain((b"grpc-timeout", b"1S"))

    head = blocks.request(block)

    assert head is blocks.known[block]
    assert head.timeout_s == 1.0
    blocks.request(plain((b"grpc-timeout", b"2S")))
    assert meanings.made == 1


def _large() -> Iterator[bytes]:
    for at in range(60):
        yield plain((b"x-large", b"%d" % at + b"v" * (MIB - 1000)))


def _many_fields() -> Iterator[bytes]:
    for at in range(10):
        yield plain(*((b"x-%d-%d" % (at, field), b"") for field in range(2000)))


def _many_blocks() -> Iterator[bytes]:
    for at in range(2_000):
        yield plain((b"x-many", b"%d" % at))


def _many_timeouts() -> Iterator[bytes]:
    for at in range(2_000):
        yield plain((b"grpc-timeout", b"%dm" % at))


@pytest.mark.parametrize(
    "sent",
    [_large, _many_fields, _many_blocks, _many_timeouts],
    ids=["large", "many-fields", "many-blocks", "many-timeouts"],
)
def test_what_is_remembered_is_bounded_in_bytes(
    sent: object, blocks: HeaderBlocks[CallHead]
) -> None:
    assert callable(sent)
    blocks.request(plain())
    tracemalloc.start()
    try:
        for block in sent():
            blocks.request(block)
        del block
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept_bytes < REMEMBERED_BYTES
