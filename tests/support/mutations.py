"""Requests that nobody would send: right ones, damaged at random, the same for the same seed."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from google.protobuf.message import Message

from tests.support.extremes import VALUES, as_json, nested_txn, numbers_of, on_the_wire

__all__ = ["ROUNDS", "documents", "messages", "seed"]

ROUNDS: Final = int(os.environ.get("KVSTORE_FUZZ_ROUNDS", "1"))
"""How often the usual number of requests is made."""
_BYTES: Final = (0x00, 0x01, 0x07, 0x0A, 0x0B, 0x0C, 0x12, 0x22, 0x7F, 0x80, 0xFE, 0xFF)
_PIECES: Final = (
    *('"', "{", "}", "[", "]", "{}", "[]", ",", ":", "\\", "\\u00", "e", "E", "-", "+", ".", "0"),
    *("9" * 30, "null", "true", "nul", "NaN", " ", "\n", "\x00", "\ud7ff", "\x85", "=", "_"),
)
_TOKENS: Final = (*(piece.encode() for piece in _PIECES), b"\xff", b"\xc3", b"\xed\xa0\x80")


def seed() -> int:
    return int(os.environ.get("KVSTORE_FUZZ_SEED", "7"))


def messages(kind: type[Message], count: int) -> Iterator[bytes]:
    """Encoded requests of a kind, most of them damaged."""
    rng = random.Random(f"{seed()} {kind.DESCRIPTOR.full_name}")
    right = [b""]
    for number in numbers_of(kind):
        right += [
            on_the_wire(kind, number, value, is_wide=bool(value % 3)) for value in VALUES[2:6]
        ]
    if kind.DESCRIPTOR.name == "TxnRequest":
        right += [nested_txn(depth) for depth in (2, 5, 49, 60, 130)]
    for _ in range(count * ROUNDS):
        yield _damaged(rng, right, lambda: bytes([rng.choice((rng.randrange(256), *_BYTES))]))


def documents(kind: type[Message], count: int) -> Iterator[bytes]:
    """The same as JSON."""
    rng = random.Random(f"{seed()} {kind.DESCRIPTOR.full_name} JSON")
    right = [b"{}"]
    for number in numbers_of(kind):
        right += [json.dumps(as_json(kind, number, value)).encode() for value in (1, "7", -1)]
    for _ in range(count * ROUNDS):
        yield _damaged(rng, right, lambda: rng.choice(_TOKENS))


def _damaged(rng: random.Random, right: Sequence[bytes], piece: Callable[[], bytes]) -> bytes:
    """One of `right` with up to four pieces put in, taken out, replaced, or of another one."""
    raw = rng.choice(right)
    for _ in range(rng.randrange(5)):
        at = rng.randrange(len(raw) + 1)
        end = min(len(raw), at + rng.choice((0, 1, 1, 1, 2, 5, 50)))
        other = rng.choice(right)
        start = rng.randrange(len(other) + 1)
        raw = raw[:at] + rng.choice((b"", piece(), piece(), other[start : start + 20])) + raw[end:]
    return raw
