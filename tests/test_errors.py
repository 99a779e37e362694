"""Every exception of the package can be sent to another process and copied."""

from __future__ import annotations

import copy
import pickle
import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest

import kvstore
from kvstore.bench.awaited import CallFailed
from kvstore.bench.http2 import Status
from kvstore.cli.output import OutputFailed
from kvstore.client.status import RemoteError
from kvstore.errors import Compacted, Conflict, StoreFailed, WatchCanceled
from kvstore.server.status import Code, StatusError
from kvstore.server.transports.http2.errors import ConnectionFault, StreamFault
from kvstore.server.transports.http2.frames import ErrorCode

WITH_ARGUMENTS: list[BaseException] = [
    CallFailed(Status(14, "gone")),
    Compacted(7),
    Conflict(b"k", 3, 5),
    ConnectionFault(ErrorCode.PROTOCOL_ERROR, "why"),
    OutputFailed(OSError(28, "No space left on device")),
    RemoteError("UNAVAILABLE", "why"),
    StatusError(Code.INTERNAL, "why"),
    StoreFailed("why"),
    StreamFault(ErrorCode.PROTOCOL_ERROR, "why"),
    WatchCanceled("why", 4),
    WatchCanceled("", 4),
]
TAKES_ARGUMENTS = {type(error) for error in WITH_ARGUMENTS}


def all_errors() -> list[type[BaseException]]:
    for module in pkgutil.walk_packages(kvstore.__path__, "kvstore."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    return sorted(set(below(BaseException)), key=lambda kind: f"{kind.__module__}.{kind.__name__}")


def below(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    for child in kind.__subclasses__():
        if child.__module__.startswith("kvstore."):
            yield child
        yield from below(child)


ERRORS = WITH_ARGUMENTS + [kind() for kind in all_errors() if kind not in TAKES_ARGUMENTS]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_after_a_journey(error: BaseException) -> None:
    for other in (
        copy.copy(error),
        copy.deepcopy(error),
        *(pickle.loads(pickle.dumps(error, one)) for one in range(pickle.HIGHEST_PROTOCOL + 1)),
    ):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert repr(other.args) == repr(error.args)
        assert vars(other) == vars(error)
