"""The core without a socket: what it makes of bytes does not depend on how they are cut."""

from __future__ import annotations

import gc
import itertools
import struct
import weakref

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore.server.transports.http2.connection import Connection
from kvstore.server.transports.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    unpack_head,
)
from kvstore.server.transports.http2.header_block import Fields, encode_fields
from kvstore.server.transports.http2.limits import Limits
from kvstore.server.transports.http2.stream import Stream

ANSWER = encode_fields([(b":status", b"200")])
FIELDS = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/s/m")]


class Head:
    is_whole, content_length, kept_bytes = True, None, 0

    def __init__(self, fields: Fields) -> None:
        self.fields = fields


class Echo:
    """Answers each request with its body, and says what it was told."""

    varying = b"x-varying"

    def __init__(self) -> None:
        self.told: list[object] = []
        self.bodies: dict[int, bytes] = {}
        self.connection: Connection[Head]

    def understand(self, fields: Fields) -> Head:
        return Head(fields)

    def vary(self, meaning: Head, value: bytes) -> Head:
        return Head([*meaning.fields, (self.varying, value)])

    def whole(self, stream_id: int, head: Head, body: bytes) -> None:
        stream = self.connection.open(stream_id, head)
        self.begin(stream, head)
        self.data(stream, body, is_end=True)

    def begin(self, stream: Stream, head: Head) -> None:
        self.told.append((stream.id, head.fields))
        self.bodies[stream.id] = b""

    def data(self, stream: Stream, data: bytes, *, is_end: bool) -> None:
        self.bodies[stream.id] += data
        if is_end:
            self.told.append((stream.id, self.bodies[stream.id]))
            self.connection.send_headers(stream, ANSWER)
            self.connection.send_data(stream, self.bodies[stream.id])
            self.connection.send_end(stream, ANSWER)

    def reset(self, stream: Stream) -> None:
        self.told.append((stream.id, "reset"))

    def writable(self, stream: Stream) -> None:
        pass

    def ping(self, now: float) -> None:
        pass


def connect(limits: Limits | None = None) -> tuple[Connection[Head], Echo]:
    sink = Echo()
    connection: Connection[Head] = Connection(sink, limits or Limits(), 0.0)
    sink.connection = connection
    connection.out.clear()
    return connection, sink


def frames(connection: Connection[Head]) -> list[tuple[int, int, int, bytes]]:
    """(type, flags, stream, payload) of all that was sent since the last time."""
    data = b"".join(connection.out)
    connection.out.clear()
    found = []
    while data:
        size_kind, flags, stream_id = unpack_head(data)
        end = 9 + (size_kind >> 8)
        found.append((size_kind & 0xFF, flags, stream_id, data[9:end]))
        data = data[end:]
    return found


def told_by(pieces: list[bytes], most: int | None = None) -> tuple[list[object], list[bytes]]:
    connection, sink = connect()
    for piece in pieces:
        if most is None:
            connection.receive(piece, 0.0)
        else:
            connection.receive_some(piece, 0.0, most)
            while connection.is_behind:
                connection.receive_some(b"", 0.0, most)
    sent: dict[int, bytes] = {}
    for kind, _, stream_id, payload in frames(connection):
        if kind == DATA:
            sent[stream_id] = sent.get(stream_id, b"") + payload
    return sink.told, [sent[key] for key in sorted(sent)]


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """Requests on streams whose frames are mixed, with other frames in between."""
    encoder = hpack.Encoder()
    window = draw(st.sampled_from([0, 3, 65_535]))
    out = [PREFACE, frame(SETTINGS, 0, 0, struct.pack(">HI", 4, window))]
    open_ids: list[int] = []
    next_id = 1
    steps = st.sampled_from(["open", "data", "end", "reset", "ping", "widen"])
    for step in draw(st.lists(steps, max_size=20)):
        if step == "open":
            fields = [*FIELDS, (b"x-varying", b"%d" % draw(st.integers(0, 3)))]
            out.append(frame(HEADERS, END_HEADERS, next_id, encoder.encode(fields)))
            open_ids.append(next_id)
            next_id += 2
        elif step == "ping":
            out.append(frame(PING, 0, 0, bytes(8)))
        elif open_ids:
            stream_id = draw(st.sampled_from(open_ids))
            if step == "widen":
                by = draw(st.sampled_from([1, 5, 2**31 - 1, 0]))
                out.append(frame(WINDOW_UPDATE, 0, stream_id, struct.pack(">I", by)))
            elif step == "reset":
                out.append(frame(RST_STREAM, 0, stream_id, bytes(4)))
            else:
                flags = END_STREAM if step == "end" else 0
                out.append(frame(DATA, flags, stream_id, draw(st.binary(max_size=9))))
            if step in ("reset", "end"):
                open_ids.remove(stream_id)
    return b"".join(out)


@given(conversations(), st.data())
def test_how_bytes_are_cut_does_not_matter(conversation: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(conversation)), max_size=6)))
    pieces = [
        conversation[a:b] for a, b in zip([0, *cuts], [*cuts, len(conversation)], strict=True)
    ]
    told, bodies = told_by([conversation])
    assert told_by(pieces)[1] == bodies
    assert sorted(map(repr, told)) == sorted(map(repr, told_by(pieces)[0]))
    one_by_one = told_by([conversation[at : at + 1] for at in range(len(conversation))])
    assert one_by_one[1] == bodies


@given(conversations(), st.integers(0, 50), st.integers(1, 5))
def test_how_many_frames_are_taken_at_once_does_not_matter(
    conversation: bytes, cut: int, most: int
) -> None:
    told, bodies = told_by([conversation])
    in_pieces = told_by([conversation[:cut], conversation[cut:]], most)
    assert bodies == in_pieces[1]
    assert sorted(map(repr, told)) == sorted(map(repr, in_pieces[0]))


class TestWiderBeforeItsData:
    """What grpcio sends: HEADERS, WINDOW_UPDATE, DATA. The request is whole all the same."""

    @pytest.mark.parametrize("updates", [[5], [1, 2, 2], [2**31 - 1]])
    def test_the_request_is_whole_and_its_window_wider(self, updates: list[int]) -> None:
        connection, sink = connect()
        whole: list[int] = []
        taken = sink.whole

        def counted(stream_id: int, head: Head, body: bytes) -> None:
            whole.append(stream_id)
            taken(stream_id, head, body)

        sink.whole = counted  # type: ignore[method-assign]
        connection.receive(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)), 0.0)
        connection.out.clear()
        for stream_id in (1, 3):
            parts = [frame(HEADERS, END_HEADERS, stream_id, encode_fields(FIELDS))]
            parts += [frame(WINDOW_UPDATE, 0, stream_id, struct.pack(">I", by)) for by in updates]
            parts.append(frame(DATA, END_STREAM, stream_id, b"0123456789"))
            connection.receive(b"".join(parts), 0.0)
        sent = [payload for kind, _, _, payload in frames(connection) if kind == DATA]
        assert whole == [1, 3]
        assert sent == [b"0123456789"[: sum(updates)]] * 2

    @pytest.mark.parametrize("updates", [[0], [2**31 - 1, 1]])
    def test_a_faulty_one_resets_the_stream(self, updates: list[int]) -> None:
        connection, sink = connect()
        connection.receive(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)), 0.0)
        connection.out.clear()
        parts = [frame(HEADERS, END_HEADERS, 1, encode_fields(FIELDS))]
        parts += [frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", by)) for by in updates]
        connection.receive(b"".join([*parts, frame(DATA, END_STREAM, 1, b"x")]), 0.0)
        assert [kind for kind, _, _, _ in frames(connection)] == [RST_STREAM]
        assert sink.told[-1] == (1, "reset")
        assert not connection.is_closed

    def test_they_are_counted(self) -> None:
        connection, _ = connect()
        connection.receive(PREFACE + frame(SETTINGS, 0, 0), 0.0)
        update = frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 1))
        connection.receive(
            frame(HEADERS, END_HEADERS, 1, encode_fields(FIELDS)) + update * 30_000, 0.0
        )
        assert connection.is_closed


@pytest.mark.parametrize("kinds", ["h" * 1000, "d" * 1000, "he" * 500, "dhe" * 300])
def test_no_more_frames_are_taken_at_once_than_asked_for(kinds: str) -> None:
    connection, _ = connect()
    block = encode_fields(FIELDS)
    connection.receive(PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, block), 0.0)
    begun, ended = itertools.count(3, 2), itertools.count(3, 2)
    make = {
        "h": lambda: frame(HEADERS, END_HEADERS, next(begun), block),
        "d": lambda: frame(DATA, 0, 1, b"x"),
        "e": lambda: frame(DATA, END_STREAM, next(ended), b"x"),
    }
    sent = [make[kind]() for kind in kinds]
    connection.receive_some(b"".join(sent), 0.0, 10)
    assert connection.is_behind
    assert connection._buffer + connection._unread == b"".join(sent[10:])


@given(st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_no_bytes_make_it_raise(pieces: list[bytes], is_greeted: bool) -> None:
    connection, _ = connect()
    if is_greeted:
        connection.receive(PREFACE + frame(SETTINGS, 0, 0), 0.0)
    for piece in pieces:
        connection.receive(piece, 0.0)
    kinds = [kind for kind, _, _, _ in frames(connection)]
    assert connection.is_closed == (GOAWAY in kinds)


class TestFlowControl:
    def request(self, connection: Connection[Head], size: int, window: int) -> None:
        initial = struct.pack(">HI", 4, window)
        connection.receive(PREFACE + frame(SETTINGS, 0, 0, initial), 0.0)
        block = hpack.Encoder().encode(FIELDS)
        body = bytes(range(256)) * (size // 256)
        out = [frame(HEADERS, END_HEADERS, 1, block)]
        out += [frame(DATA, 0, 1, body[at : at + 16384]) for at in range(0, size, 16384)]
        connection.receive(b"".join([*out, frame(DATA, END_STREAM, 1)]), 0.0)

    def data(self, connection: Connection[Head]) -> bytes:
        return b"".join(payload for kind, _, _, payload in frames(connection) if kind == DATA)

    @pytest.mark.parametrize("window", [0, 1, 1000, 65535])
    def test_no_more_than_the_window_leaves(self, window: int) -> None:
        connection, sink = connect()
        self.request(connection, 131072, window)
        assert len(self.data(connection)) == window
        assert connection.queued_bytes == 131072 - window
        connection.receive(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 500)), 0.0)
        assert len(self.data(connection)) == (500 if window < 65535 else 0)
        assert sink.bodies[1] == bytes(range(256)) * 512

    def test_the_rest_follows_in_turns_and_ends_with_trailers(self) -> None:
        limits = Limits()
        limits.turn_bytes = 16384
        connection, _sink = connect(limits)
        self.request(connection, 65536, 2**31 - 1)
        got = frames(connection)
        body = b"".join(payload for kind, _, _, payload in got if kind == DATA)
        assert len(body) == 16384
        while connection.next_turn():
            connection.resume()
            got = frames(connection)
            body += b"".join(payload for kind, _, _, payload in got if kind == DATA)
        assert len(body) == 65535  # the window of the connection
        connection.receive(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)), 0.0)
        *_, (kind, flags, _, _) = frames(connection)
        assert (kind, flags) == (HEADERS, END_HEADERS | END_STREAM)
        assert not connection.streams

    def test_what_waits_is_dropped_with_its_stream(self) -> None:
        connection, sink = connect()
        self.request(connection, 131072, 10)
        connection.receive(frame(RST_STREAM, 0, 1, bytes(4)), 0.0)
        assert connection.queued_bytes == 0
        assert sink.told[-1] == (1, "reset")


class TestGoingAway:
    def test_streams_above_the_last_are_ignored_and_those_below_end(self) -> None:
        connection, sink = connect()
        encoder = hpack.Encoder()
        connection.receive(PREFACE + frame(SETTINGS, 0, 0), 0.0)
        connection.receive(frame(HEADERS, END_HEADERS, 1, encoder.encode(FIELDS)), 0.0)
        connection.go_away(last=True)
        late = frame(HEADERS, END_HEADERS, 3, encoder.encode(FIELDS)) + frame(DATA, 1, 3, b"x")
        connection.receive(late + frame(RST_STREAM, 0, 3, bytes(4)), 0.0)
        connection.receive(frame(DATA, END_STREAM, 1, b"y"), 0.0)
        assert not connection.is_closed
        assert [told for told in sink.told if told[0] == 1][-1] == (1, b"y")  # type: ignore[index]
        assert all(told[0] == 1 for told in sink.told)  # type: ignore[index]


class Held:
    """A call that has its stream, as the stream has it."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        stream.call = self


class Holder(Echo):
    def __init__(self) -> None:
        super().__init__()
        self.held: list[weakref.ref[Held]] = []

    def begin(self, stream: Stream, head: Head) -> None:
        super().begin(stream, head)
        self.held.append(weakref.ref(Held(stream)))


@pytest.mark.parametrize(
    "end",
    [
        frame(DATA, END_STREAM, 1, b"answered"),
        frame(RST_STREAM, 0, 1, bytes(4)),
        frame(WINDOW_UPDATE, 0, 1, bytes(4)),
        frame(WINDOW_UPDATE, 0, 0, bytes(4)),
    ],
    ids=["answered", "reset", "stream error", "connection error"],
)
def test_a_call_is_freed_with_its_stream_and_not_by_the_collector(end: bytes) -> None:
    sink = Holder()
    connection: Connection[Head] = Connection(sink, Limits(), 0.0)
    sink.connection = connection
    request = frame(HEADERS, END_HEADERS, 1, hpack.Encoder().encode(FIELDS))
    gc.disable()
    try:
        connection.receive(PREFACE + frame(SETTINGS, 0, 0) + request, 0.0)
        (held,) = sink.held
        assert held() is not None
        connection.receive(end, 0.0)
        assert held() is None
    finally:
        gc.enable()
