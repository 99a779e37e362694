"""What a gRPC request must be, and what is answered to one that is not, in etcd's words.

Each answer here is that of etcd 3.7.1 (grpc-go 1.82), against which the same cases run. etcd
3.4.23 resets the stream with PROTOCOL_ERROR where 3.7.1 answers 400 or 415, takes every method, and
calls a malformed path ResourceExhausted.
"""

from __future__ import annotations

import gzip
from typing import NamedTuple

import pytest

from kvstore.proto import rpc_pb2
from tests.server.http2_wire.conftest import Open
from tests.support.h2.calls import assert_serves, range_message
from tests.support.h2.connection import Connection
from tests.support.h2.grpc import KV, LEASE, WATCH, Response, exchange, message, request

RANGE = KV + "Range"
INTERNAL, UNIMPLEMENTED, INVALID, DEADLINE, EXHAUSTED, UNKNOWN = 13, 12, 3, 4, 8, 2


class Answer(NamedTuple):
    """A trailers-only answer, or one with a message when `status` is 0."""

    http_status: int
    status: int
    text: str = ""


OK = Answer(200, 0)


class Case(NamedTuple):
    name: str
    fields: list[tuple[str, str]]
    answer: Answer
    body: bytes = range_message()


def not_grpc(content_type: str) -> Case:
    text = f'invalid gRPC request content-type "{content_type}"'
    fields = request(RANGE, content_type=content_type)
    return Case(f"type {content_type}", fields, Answer(415, INVALID, text))


def is_grpc(content_type: str) -> Case:
    return Case(f"type {content_type}", request(RANGE, content_type=content_type), OK)


def not_post(method: str) -> Case:
    text = f'Received a HEADERS frame with :method "{method}" which should be POST'
    return Case(f"method {method}", request(RANGE, method=method), Answer(405, INTERNAL, text))


def bad_timeout(value: str, why: str) -> Case:
    answer = Answer(400, INTERNAL, f"malformed grpc-timeout: {why}")
    return Case(f"timeout {value!r}", request(RANGE, ("grpc-timeout", value)), answer)


def not_a_number(value: str, digits: str) -> Case:
    return bad_timeout(value, f'strconv.ParseUint: parsing "{digits}": invalid syntax')


def timeout(value: str, answer: Answer) -> Case:
    return Case(f"timeout {value!r}", request(RANGE, ("grpc-timeout", value)), answer)


def path(value: str, text: str) -> Case:
    return Case(f"path {value!r}", request(value), Answer(200, UNIMPLEMENTED, text))


def binary(value: str, answer: Answer = OK) -> Case:
    return Case(f"binary {value!r}", request(RANGE, ("x-a-bin", value)), answer)


def not_binary(value: str, at: int) -> Case:
    text = f'malformed binary metadata "{value}" in header "x-a-bin": '
    text += f"illegal base64 data at input byte {at}"
    return binary(value, Answer(400, INTERNAL, text))


LATE = Answer(200, DEADLINE, "context deadline exceeded")

CASES = [
    is_grpc("application/grpc"),
    is_grpc("application/grpc+proto"),
    is_grpc("application/grpc;charset=utf-8"),
    is_grpc("application/grpc+"),
    is_grpc("application/grpc;"),
    not_grpc("application/grpcx"),
    not_grpc("application/grpc-web"),
    not_grpc("application/json"),
    not_grpc("Application/grpc"),
    not_grpc("text/html; charset=utf-8"),
    not_grpc(""),
    not_post("GET"),
    not_post("PUT"),
    not_post("post"),
    Case("no te", request(RANGE, te=None), OK),
    Case("no authority", request(RANGE, authority=None), OK),
    Case("https on a plain port", request(RANGE, scheme="https"), OK),
    Case("host besides authority", request(RANGE, ("host", "example.org")), OK),
    bad_timeout("", 'transport: timeout string is too short: ""'),
    bad_timeout("1", 'transport: timeout string is too short: "1"'),
    bad_timeout("S", 'transport: timeout string is too short: "S"'),
    bad_timeout("1x", 'transport: timeout unit is not recognized: "1x"'),
    bad_timeout("123456789S", 'transport: timeout string is too long: "123456789S"'),
    not_a_number("-1S", "-1"),
    not_a_number("+5S", "+5"),
    not_a_number("1.5S", "1.5"),
    not_a_number("5 S", "5 "),
    *(timeout(f"0{unit}", LATE) for unit in "HMSmun"),
    timeout("1n", LATE),
    timeout("99999999H", OK),
    timeout("99999999n", OK),
    timeout("30S", OK),
    path("/etcdserverpb.KV/Nope", "unknown method Nope for service etcdserverpb.KV"),
    path("/etcdserverpb.KV/range", "unknown method range for service etcdserverpb.KV"),
    path("/etcdserverpb.KV/", "unknown method  for service etcdserverpb.KV"),
    path("/etcdserverpb.KV/Range/", "unknown service etcdserverpb.KV/Range"),
    path("/foo.Bar/Baz", "unknown service foo.Bar"),
    path("/a/b/c", "unknown service a/b"),
    path("//Range", "unknown service "),
    path("/foo", 'malformed method name: "/foo"'),
    path("/", 'malformed method name: "/"'),
    path("*", 'malformed method name: "*"'),
    path("etcdserverpb.KV/Range", 'malformed method name: "etcdserverpb.KV/Range"'),
    path("/etcdserverpb.KV/R%20e", "unknown method R%20e for service etcdserverpb.KV"),
    path("/é€/b", "unknown service é€"),
    binary("AAEC"),
    binary("AAE"),
    binary("AAE="),
    binary(""),
    not_binary("!!!", 0),
    not_binary("AAEC,AAEC", 4),
    Case("metadata", request(RANGE, ("x-a", "1"), ("x-a", "2"), ("user-agent", "t")), OK),
    Case("reserved metadata", request(RANGE, ("grpc-foo", "x")), OK),
    Case(
        "etcd's metadata", request(RANGE, ("hasleader", "true"), ("client-api-version", "3.7")), OK
    ),
    Case("grpc-accept-encoding", request(RANGE, ("grpc-accept-encoding", "gzip,deflate")), OK),
    Case(
        "host twice",
        request(RANGE, ("host", "a"), ("host", "b")),
        Answer(
            400,
            INTERNAL,
            "num values of :authority: 1, num values of host: 2, "
            "both must only have 1 value as per HTTP/2 spec",
        ),
    ),
]


def encoded(encoding: str | None, body: bytes, answer: Answer, name: str) -> Case:
    more = [] if encoding is None else [("grpc-encoding", encoding)]
    return Case(f"{encoding} {name}", request(RANGE, *more), answer, body)


def too_large(size: int) -> Answer:
    return Answer(200, EXHAUSTED, f"grpc: received message larger than max ({size} vs. 2097152)")


QUERY = range_message()[5:]
NO_DECOMPRESSOR = Answer(
    200, UNIMPLEMENTED, 'grpc: Decompressor is not installed for grpc-encoding "snappy"'
)
NOT_COMPRESSED = Answer(200, INTERNAL, "grpc: compressed flag set with identity or empty encoding")
UNDECODABLE = "proto: cannot parse invalid wire-format data"
PUT, KEEP_ALIVE, WATCHING = KV + "Put", LEASE + "LeaseKeepAlive", WATCH + "Watch"

MESSAGES = [
    encoded("identity", message(QUERY), OK, "plain"),
    encoded("identity", message(QUERY, flag=1), NOT_COMPRESSED, "compressed"),
    encoded(None, message(QUERY, flag=1), NOT_COMPRESSED, "compressed"),
    encoded(
        None,
        message(QUERY, flag=2),
        Answer(200, INTERNAL, "grpc: received unexpected payload format 2"),
        "of flag 2",
    ),
    encoded("snappy", message(QUERY), NO_DECOMPRESSOR, "plain"),
    encoded("snappy", message(QUERY, flag=1), NO_DECOMPRESSOR, "compressed"),
    Case("one byte too large", request(PUT), too_large(2_097_153), message(bytes(2_097_153))),
    Case("said to be too large", request(PUT), too_large(2_097_153), b"\0\0\x20\0\x01"),
    Case("of 4 GiB", request(PUT), too_large(2**32 - 1), b"\0\xff\xff\xff\xff"),
    Case(
        "as large as may be",
        request(PUT),
        Answer(200, INVALID, "etcdserver: request is too large"),
        message(rpc_pb2.PutRequest(key=b"k", value=bytes(2_097_152 - 8)).SerializeToString()),
    ),
    Case("cut short", request(RANGE), Answer(200, UNKNOWN, "unexpected EOF"), b"\0\0\0\0\x10abc"),
    Case("prefix cut short", request(RANGE), Answer(200, UNKNOWN, "EOF"), b"\0\0\0"),
    Case("none at all", request(RANGE), Answer(200, UNKNOWN, "EOF"), b""),
    Case(
        "cut short on a stream",
        request(WATCHING),
        Answer(200, INTERNAL, "unexpected EOF"),
        b"\0\0\0\0\x10abc",
    ),
    Case(
        "of no bytes",
        request(RANGE),
        Answer(200, INVALID, "etcdserver: key is not provided"),
        message(b""),
    ),
    Case(
        "with a known field of another type",
        request(RANGE),
        Answer(200, INVALID, "etcdserver: key is not provided"),
        message(b"\x08\x01"),
    ),
    Case("with an unknown field", request(RANGE), OK, message(QUERY + b"\xfa\x7f\x01x")),
    Case("two of a unary call", request(RANGE), OK, range_message() + range_message()),
    *(
        Case(
            f"undecodable {raw!r}",
            request(RANGE),
            Answer(200, INTERNAL, f"grpc: error unmarshalling request: {UNDECODABLE}"),
            message(raw),
        )
        for raw in (b"\xff\xff\xff", b"\x0a\x05ab", b"\x07")
    ),
    Case(
        "undecodable on a stream",
        request(KEEP_ALIVE),
        Answer(200, INTERNAL, f"grpc: failed to unmarshal the received message: {UNDECODABLE}"),
        message(b"\xff\xff\xff"),
    ),
    Case("too large on a stream", request(KEEP_ALIVE), too_large(2_097_153), b"\0\0\x20\0\x01"),
]


def check(response: Response, answer: Answer) -> None:
    # Go's protobuf puts one of two kinds of space after the colon, so that nobody compares texts.
    text = response.status_message.replace("\xa0", " ")
    assert (response.http_status, response.status, text) == answer
    assert response.headers["content-type"].startswith("application/grpc")
    if answer == OK:
        assert (len(response.blocks), len(response.messages)) == (2, 1)
    else:
        assert response.trailers_only


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_request(target: str, connections: Open, case: Case) -> None:
    connection = connections(target)

    check(exchange(connection, case.fields, case.body), case.answer)

    assert_serves(connection)


@pytest.mark.parametrize("case", MESSAGES, ids=[case.name for case in MESSAGES])
def test_a_message(target: str, connections: Open, case: Case) -> None:
    connection = connections(target)

    check(exchange(connection, case.fields, case.body), case.answer)

    assert_serves(connection)


def test_a_request_that_is_not_grpc_is_answered_before_its_end(wire: Connection) -> None:
    stream_id = wire.send_headers(request(RANGE, content_type="text/plain"))
    wire.expect(1, stream_id=stream_id)

    assert dict(wire.fields[stream_id][0])[":status"] == "415"
    assert_serves(wire)


def test_a_request_without_a_content_type_is_refused(wire: Connection) -> None:
    """415 from etcd's plain port, 404 from its TLS port, where the HTTP server gets these."""
    response = exchange(wire, request(RANGE, content_type=None), range_message())

    assert response.http_status in (404, 405, 415)
    assert response.status != 0
    assert_serves(wire)


def test_a_deadline_ends_a_stream(wire: Connection) -> None:
    """grpc-go resets it with CANCEL; a status before that is allowed, an OK is not."""
    fields = request(WATCHING, ("grpc-timeout", "50m"))

    response = exchange(wire, fields, b"", end_stream=False)

    assert response.status in (None, DEADLINE), response
    assert response.ended or response.reset is not None
    assert_serves(wire)


@pytest.mark.parametrize("path", [WATCHING, KEEP_ALIVE])
def test_a_stream_says_nothing_before_its_first_message(wire: Connection, path: str) -> None:
    stream_id = wire.send_headers(request(path))
    assert_serves(wire)

    assert stream_id not in wire.fields


class TestGzip:
    """etcd's clients may compress: it takes gzip, and answers a compressed call in gzip."""

    @pytest.mark.parametrize("flag", [0, 1], ids=["plain", "compressed"])
    def test_a_call_in_gzip_is_answered_in_gzip(self, wire: Connection, flag: int) -> None:
        body = message(gzip.compress(QUERY) if flag else QUERY, flag=flag)

        response = exchange(wire, request(RANGE, ("grpc-encoding", "gzip")), body)

        assert response.status == 0
        assert response.headers["grpc-encoding"] == "gzip"
        assert response.body[0] == 1
        rpc_pb2.RangeResponse.FromString(gzip.decompress(response.messages[0]))

    def test_only_gzip_in_the_request_makes_gzip_in_the_answer(self, wire: Connection) -> None:
        fields = request(RANGE, ("grpc-accept-encoding", "gzip"))

        response = exchange(wire, fields, range_message())

        assert "grpc-encoding" not in response.headers
        assert response.body[0] == 0

    def test_a_bomb_is_refused(self, wire: Connection) -> None:
        """The limit is that of the message, not of its compressed form."""
        bomb = gzip.compress(bytes(100_000_000))

        response = exchange(wire, request(PUT, ("grpc-encoding", "gzip")), message(bomb, flag=1))

        assert response.status == EXHAUSTED
        assert "larger than max" in response.status_message

    def test_what_is_no_gzip_is_an_error(self, wire: Connection) -> None:
        response = exchange(
            wire, request(RANGE, ("grpc-encoding", "gzip")), message(b"no gzip", flag=1)
        )

        assert (response.http_status, response.status) == (200, INTERNAL)
        assert response.status_message.startswith("grpc: failed to decompress")


class TestStatusTexts:
    """The percent-encoding of grpc-message: of all but the printable ASCII without the percent."""

    @pytest.mark.parametrize(
        ("service", "on_the_wire"),
        [("a%b", "a%25b"), ("a b~!", "a b~!"), ("é", "%C3%A9"), ("日本", "%E6%97%A5%E6%9C%AC")],
    )
    def test_the_text_on_the_wire(self, wire: Connection, service: str, on_the_wire: str) -> None:
        response = exchange(wire, request(f"/{service}/M"), range_message())

        assert response.trailers["grpc-message"] == f"unknown service {on_the_wire}"
