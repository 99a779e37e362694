"""Both faces of the embedded API seen as one: the asynchronous one as if it were blocking."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import kvstore
from kvstore.embedded.aio import AsyncStore, AsyncView
from kvstore.embedded.leases import AsyncHeldLease
from kvstore.embedded.plans import TxnBuilder
from kvstore.embedded.ranges import AsyncRange
from kvstore.embedded.watch import AsyncWatch

FACES = ("threads", "loop")

_ASYNC = (AsyncHeldLease, AsyncRange, AsyncStore, AsyncView, AsyncWatch, TxnBuilder)


class Blocking:
    """An object of the asynchronous face whose awaitables are waited for on the spot."""

    def __init__(self, target: Any, runner: asyncio.Runner) -> None:
        self._target, self._runner = target, runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not inspect.ismethod(found):
            return found
        return lambda *args, **kwargs: self._settle(lambda: found(*args, **kwargs))

    def __repr__(self) -> str:
        return repr(self._target)

    def __iter__(self) -> Iterator[Any]:
        items = aiter(self._target)
        while True:
            try:
                yield self._settle(lambda: anext(items))
            except StopAsyncIteration:
                return

    def __enter__(self) -> Any:
        entered = self._settle(self._target.__aenter__)
        return self if entered is self._target else entered

    def __exit__(self, *error: Any) -> None:
        self._settle(lambda: self._target.__aexit__(*error))

    def _settle(self, call: Callable[[], Any]) -> Any:
        async def settled() -> Any:
            answer = call()
            return await answer if isinstance(answer, Awaitable) else answer

        answer = self._runner.run(settled())
        if isinstance(answer, _ASYNC) or inspect.isasyncgen(answer):
            return Blocking(answer, self._runner)
        return answer


class Opener:
    """Opens stores of one face and closes what a test left open."""

    def __init__(self, face: str) -> None:
        self.face = face
        self._runner = asyncio.Runner()
        self._opened: list[Any] = []

    def __call__(self, path: Any = ":memory:", **options: Any) -> Any:
        if self.face == "threads":
            db: Any = kvstore.open(path, **options)
        else:

            async def opened() -> AsyncStore:
                return await kvstore.aopen(path, **options)

            db = Blocking(self._runner.run(opened()), self._runner)
        self._opened.append(db)
        return db

    def close(self) -> None:
        for db in self._opened:
            db.close()
        self._runner.close()
