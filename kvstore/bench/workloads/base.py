"""What a workload is, and what several of them need."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from kvstore.bench.errors import UsageError
from kvstore.bench.http2 import Method
from kvstore.bench.options import Value
from kvstore.bench.worker import Worker

__all__ = [
    "COMPACT",
    "PUT_METHOD",
    "RANGE_METHOD",
    "TXN_METHOD",
    "Parameter",
    "Workload",
    "key_maker",
    "positive",
    "put_parts",
    "random_value",
]

RANGE_METHOD: Final = Method("/etcdserverpb.KV/Range")
PUT_METHOD: Final = Method("/etcdserverpb.KV/Put")
TXN_METHOD: Final = Method("/etcdserverpb.KV/Txn")
COMPACT: Final = Method("/etcdserverpb.KV/Compact")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A flag of one workload. Its type is that of `default`; `is_duration`: seconds, as `1m30s`."""

    name: str
    default: Value
    help: str
    choices: tuple[Value, ...] = ()
    is_duration: bool = False
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """`run` is what each worker does; `check` raises UsageError for parameters without sense.

    `total` and `duration_s` hold for a run that is given neither of them; both 0: the workload
    ends by itself. `arguments` are parameters that stand in the command line without a
    name. `has_rate` and `has_total`: --rate and --total mean something.
    """

    name: str
    summary: str
    run: Callable[[Worker], Awaitable[None]]
    check: Callable[[Mapping[str, Value]], None] = lambda parameters: None
    parameters: tuple[Parameter, ...] = ()
    arguments: tuple[Parameter, ...] = ()
    total: int = 10_000
    duration_s: float = 0.0
    has_total: bool = True
    has_rate: bool = True
    description: str = field(default="")

    def defaults(self) -> dict[str, Value]:
        return {each.name: each.default for each in (*self.parameters, *self.arguments)}


def positive(parameters: Mapping[str, Value], *names: str) -> None:
    """Raises UsageError for the first that is not above zero."""
    for name in names:
        value = parameters[name]
        if not isinstance(value, int | float) or value <= 0:
            raise UsageError(f"expected positive --{name}, got ({value})")


def random_value(size: int) -> bytes:
    return random.randbytes(size)


def key_maker(size: int, space: int, first: int, *, sequential: bool) -> Iterator[bytes]:
    """Keys of `size` bytes, decimal numbers below `space`: from `first` on, or at random.

    Raises UsageError when the largest does not fit.
    """
    if len(str(space - 1)) > size:
        raise UsageError(f"{space} keys (--key-space-size) do not fit into --key-size {size}")
    layout = b"%%0%dd" % size
    if sequential:
        number = first
        while True:
            yield layout % (number % space)
            number += 1
    choose = random.Random().random
    while True:
        yield layout % int(choose() * space)


def put_parts(key_size: int, value: bytes, lease: int = 0) -> tuple[bytes, bytes]:
    """What stands before and after the key in the bytes of a PutRequest with such a key.

    A message is made a million times in a run, and differs in its key alone.
    """
    before = b"\x0a" + _varint(key_size)
    after = b"\x12" + _varint(len(value)) + value if value else b""
    if lease:
        after += b"\x18" + _varint(lease)
    return before, after


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
