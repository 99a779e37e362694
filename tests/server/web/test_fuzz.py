"""Frames of requests with something wrong in them: the connection says what, and raises nothing."""

from __future__ import annotations

import random

import pytest

from kvstore.server.transports.http2.connection import Connection, Limits
from kvstore.server.transports.web.messages import Answer
from tests.server.http.test_cuts import conversation
from tests.server.web.test_http2 import Case, Kept
from tests.support.fuzz import ROUNDS, SEED

pytestmark = pytest.mark.slow

COUNT = 1500 * ROUNDS


class Fickle:
    """Answers in every way that there is, at any time."""

    def __init__(self, source: random.Random) -> None:
        self._source = source
        self.open: list[Kept] = []

    def begin(self, answer: Answer) -> Kept | None:
        match self._source.randrange(4):
            case 0:
                answer.reply(200, [("Trailer", "X")], b"x" * 5000, trailed=True)
            case 1:
                answer.start(200, ())
                answer.send(b"x" * 100_000)
                answer.finish()
            case kind:
                self.open.append(Kept(answer, keeps_body=kind == 2))
                return self.open[-1]
        return None

    def go_on(self) -> None:
        for handler in self.open:
            match self._source.randrange(4):
                case 0:
                    handler.is_backed_up = not handler.is_backed_up
                    handler.answer.resume()
                case 1:
                    handler.answer.start(200, ())
                    handler.answer.send(b"x" * 1000)
                case 2:
                    handler.answer.finish()


def test_nothing_is_raised_and_nothing_is_left() -> None:
    source = random.Random(SEED)
    case, good = Case(), conversation()
    for _ in range(COUNT):
        case.site = site = Fickle(source)  # type: ignore[assignment]
        case.connection = Connection(case.calls, Limits(), 0.0)
        case.calls.connection = case.connection
        data = good
        for _ in range(source.choice((0, 1, 1, 2, 4))):
            at = source.randrange(24, len(data))
            data = data[:at] + source.randbytes(source.randrange(3)) + data[at + 1 :]
        while data:
            size = source.choice((1, 9, 50, 500))
            case.receive(data[:size])
            data = data[size:]
            site.go_on()
        case.turn()
        case.connection.abandon()
        case.turn()
        assert not case.connection.streams
        assert case.connection.queued_bytes == 0
        assert repr(case.calls.receive_buffer).startswith("ReceiveBuffer(0 requests, 0 bytes)")
    case.loop.close()
