"""Random requests: each is answered or refused, and what is refused changes nothing.

`KVSTORE_FUZZ_ROUNDS` makes more of them, `KVSTORE_FUZZ_SEED` others.
"""

from __future__ import annotations

import asyncio
from inspect import isawaitable
from typing import Any, Final

import pytest
from google.protobuf.message import DecodeError, Message

from kvstore.backend.memory import MemoryBackend
from kvstore.keys import ALL_KEYS
from kvstore.server.gateway.json_in import first_document
from kvstore.server.gateway.json_out import message_body
from kvstore.server.gateway.routes import ROUTES
from kvstore.server.header import Headers
from kvstore.server.method import Call, Kind, Method, serialized
from kvstore.server.nesting import parser
from kvstore.server.services import Settings, build_methods
from kvstore.server.status import Code, StatusError, status_of
from kvstore.store.aio import LoopStore
from kvstore.store.options import StoreOptions
from kvstore.types import PutOp, RangeOp, Txn
from tests.support.mutations import documents, messages

PATHS: Final = sorted(build_methods(None, None, Settings()))  # type: ignore[arg-type]
MESSAGES: Final = 300
DOCUMENTS: Final = 200


class Served:
    """The services over a store in memory that has a little of everything."""

    def __init__(self, store: LoopStore) -> None:
        self.store = store
        self.methods = build_methods(store, Headers(11, 22, 3), Settings())

    @classmethod
    async def open(cls) -> Served:
        options = StoreOptions(min_lease_ttl_s=3600)  # none ends meanwhile
        served = cls(await LoopStore.open(MemoryBackend(), options=options))
        await served.store.lease_grant(5000, 7)
        for key in (b"a", b"k", b"k", b"m", b"z"):
            await served.store.txn(Txn(success=(PutOp(key, b"v", lease=7),)))
        return served

    async def state(self) -> object:
        everything = await self.store.range(RangeOp(ALL_KEYS))
        leases = await self.store.lease_leases()
        return list(everything.kvs), sorted(leases), self.store.status().compact_revision

    async def ask(self, method: Method, request: Message) -> Code:
        """How it is answered; whatever is raised has to have a status of its own."""
        before = await self.state()
        try:
            await asyncio.wait_for(self._answered(method, request), 20)
        except Exception as error:
            code = status_of(error).code
            assert code is not Code.INTERNAL, f"{method.path} {request!r}"
            assert await self.state() == before
            return code
        return Code.OK

    async def _answered(self, method: Method, request: Message) -> None:
        match method.kind:
            case Kind.UNARY:
                answer: Any = method.handler(request, Call())
                response = await answer if isawaitable(answer) else answer
                message_body(method.response, response)
            case Kind.SERVER_STREAM if "Health" not in method.path:
                async for response in method.handler(request, Call()):
                    method.response.FromString(serialized(response))
            case Kind.BIDI:
                await self._talk(method, request)

    async def _talk(self, method: Method, request: Message) -> None:
        assert method.session is not None
        session = method.session(Call(), lambda: None, lambda size: True)
        try:
            session.receive(request)
            for _ in range(5):
                while (response := session.pull()) is not None:
                    method.response.FromString(serialized(response))
                await asyncio.sleep(0)
        finally:
            session.close()


def run(test: Any) -> None:
    async def main() -> None:
        served = await Served.open()
        await test(served)
        await served.store.close()  # which checks all that the engine holds

    asyncio.run(main())


@pytest.mark.parametrize("path", PATHS)
def test_messages(path: str) -> None:
    async def test(served: Served) -> None:
        method = served.methods[path]
        parse, read, refused = parser(method.request), 0, {Code.INTERNAL}
        for raw in messages(method.request, MESSAGES):
            if method.shortcut is not None:
                quick: Any = method.shortcut(raw)
                if isawaitable(quick):
                    await quick
            try:
                request = parse(raw)
            except DecodeError:
                continue
            except StatusError as error:
                refused.add(error.code)
                continue
            read += 1
            await served.ask(method, request)
        assert read > MESSAGES / 20
        assert refused == {Code.INTERNAL}  # with the text for what is too deep

    run(test)


@pytest.mark.parametrize("path", sorted(set(ROUTES.values()) & set(PATHS)))
def test_documents(path: str) -> None:
    async def test(served: Served) -> None:
        method = served.methods[path]
        read, refused = 0, {Code.INVALID_ARGUMENT}
        for body in documents(method.request, DOCUMENTS):
            try:
                request = first_document(method.request, body)
            except StatusError as error:
                refused.add(error.code)
                continue
            read += 1
            await served.ask(method, request)
        assert read > DOCUMENTS / 20
        assert refused == {Code.INVALID_ARGUMENT}

    run(test)
