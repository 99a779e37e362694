"""Conversations in bytes: where bodies end, what a head may be, what ends a connection.

Each is followed by a request of `/tail` that asks to close. The answers are its statuses, in order:
a 404 at the end is the tail's, so the connection had gone on; without it the first part closed it.
"""

from __future__ import annotations

__all__ = ["CONVERSATIONS", "CUT", "OF_ETCD_34", "ON_PURPOSE", "TAIL"]

TAIL = b"GET /tail HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
POST = b"POST /v3/kv/range HTTP/1.1"
SECOND = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
"""Inside bodies: its answer, 200, is one that nobody may get."""
SIZE = b"%d" % len(SECOND)
DOCUMENT = b'{"key":"YQ=="}'
LONG = b"%d" % len(DOCUMENT)
CHUNKS = b"e\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"


def req(line: bytes, *fields: bytes, body: bytes = b"", host: bool = True) -> bytes:
    lines = [line, b"Host: x", *fields] if host else [line, *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def length(text: bytes) -> bytes:
    return b"Content-Length: " + text


def chunked(body: bytes) -> bytes:
    return req(POST, CHUNKED, body=body)


# name -> (field, answers, answers with the length of all chunks beside it)
ENCODINGS: dict[str, tuple[bytes, str, str]] = {
    "te-xchunked": (b"Transfer-Encoding: xchunked", "501", "501"),
    "te-space": (b"Transfer-Encoding : chunked", "400", "400"),
    "te-tab": (b"Transfer-Encoding:\tchunked", "200 404", "200"),
    "te-vt": (b"Transfer-Encoding:\x0bchunked", "400", "400"),
    "te-upper": (b"Transfer-Encoding: CHUNKED", "200 404", "200"),
    "te-comma": (b"Transfer-Encoding: chunked, identity", "501", "501"),
    "te-gzip-chunked": (b"Transfer-Encoding: gzip, chunked", "501", "501"),
    "te-identity": (b"Transfer-Encoding: identity", "501", "501"),
    "te-quote": (b'Transfer-Encoding: "chunked"', "501", "501"),
    "te-fold": (b"Transfer-Encoding:\r\n chunked", "200 404", "200"),
    "te-twice": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "501", "501"),
    "te-twice-diff": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "501", "501"),
    "te-empty": (b"Transfer-Encoding:", "501", "501"),
    "te-trailcomma": (b"Transfer-Encoding: chunked,", "501", "501"),
    "te-semi": (b"Transfer-Encoding: chunked;a=b", "501", "501"),
    "te-leadingspace": (b" Transfer-Encoding: chunked", "400", "400"),
    "te-nul": (b"Transfer-Encoding: chunked\x00", "400", "400"),
    "te-cr": (b"X: y\rTransfer-Encoding: chunked", "400", "400"),
    "te-trailing-space": (b"Transfer-Encoding: chunked  ", "200 404", "200"),
    "te-bare-lf": (b"X: y\nTransfer-Encoding: chunked", "200 404", "200"),
    "te-underscore": (b"Transfer_Encoding: chunked", "400 400", "400 404"),
    "te-ff": (b"Transfer-Encoding: chunked\x0c", "400", "400"),
}

# name -> (field, answers)
LENGTHS: dict[str, tuple[bytes, str]] = {
    "cl-dup-eq": (length(LONG) + b"\r\n" + length(LONG), "200 404"),
    "cl-dup-diff": (length(LONG) + b"\r\n" + length(b"3"), "400"),
    "cl-dup-lead0": (length(LONG) + b"\r\n" + length(b"0" + LONG), "400"),
    "cl-plus": (length(b"+" + LONG), "400"),
    "cl-minus": (length(b"-1"), "400"),
    "cl-hex": (length(b"0xe"), "400"),
    "cl-lead0": (length(b"00" + LONG), "200 404"),
    "cl-space": (length(b"1 4"), "400"),
    "cl-list-eq": (length(LONG + b", " + LONG), "400"),
    "cl-list-diff": (length(LONG + b", 3"), "400"),
    "cl-empty": (length(b""), "400"),
    "cl-huge": (length(b"9223372036854775807"), "200"),
    "cl-2^63": (length(b"9223372036854775808"), "400"),
    "cl-2^64+14": (length(b"18446744073709551630"), "400"),
    "cl-long0": (length(b"0" * 300 + LONG), "200 404"),
    "cl-trailing-sp": (length(LONG + b"  "), "200 404"),
    "cl-tab": (b"Content-Length:\t" + LONG, "200 404"),
    "cl-space-colon": (b"Content-Length : " + LONG, "400"),
    "cl-fold": (b"Content-Length:\r\n " + LONG, "200 404"),
    "cl-float": (length(b"14.0"), "400"),
    "cl-underscore": (length(b"1_4"), "400"),
    "cl-unicode": (b"Content-Length: \xd9\xa1\xd9\xa4", "400"),
    "cl-vt": (b"Content-Length: \x0b" + LONG, "400"),
    "cl-nul": (length(LONG + b"\x00"), "400"),
    "cl-exp": (length(b"1e1"), "400"),
    "cl-minus0": (length(b"-0"), "400"),
}

# name -> (bytes, answers)
OTHERS: dict[str, tuple[bytes, str]] = {
    "plain": (req(POST, length(LONG), body=DOCUMENT), "200 404"),
    "up-h2c-post": (
        req(
            POST,
            b"Connection: Upgrade, HTTP2-Settings",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
            length(LONG),
            body=DOCUMENT,
        ),
        "200 404",
    ),
    "up-ws-post": (
        req(
            POST,
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            b"Sec-WebSocket-Version: 13",
            length(LONG),
            body=DOCUMENT,
        ),
        "200 404",
    ),
    "up-foo-post-body-is-request": (
        req(
            b"POST /version HTTP/1.1",
            b"Connection: Upgrade",
            b"Upgrade: foo",
            length(SIZE),
            body=SECOND,
        ),
        "405 404",
    ),
    "up-chunked": (
        req(POST, b"Connection: Upgrade", b"Upgrade: h2c", CHUNKED, body=CHUNKS),
        "200 404",
    ),
    "up-get": (
        req(
            b"GET /version HTTP/1.1", b"Connection: Upgrade", b"Upgrade: h2c", b"HTTP2-Settings: x"
        ),
        "200 404",
    ),
    "up-close": (
        req(POST, b"Connection: Upgrade, close", b"Upgrade: h2c", length(LONG), body=DOCUMENT),
        "200",
    ),
    "up-1.0": (
        req(
            b"POST /v3/kv/range HTTP/1.0",
            b"Connection: Upgrade",
            b"Upgrade: h2c",
            length(LONG),
            body=DOCUMENT,
        ),
        "200",
    ),
    "connect-auth": (req(b"CONNECT x:80 HTTP/1.1"), "404 404"),
    "connect-auth-body": (req(b"CONNECT x:80 HTTP/1.1", length(SIZE), body=SECOND), "404 404"),
    "connect-path-body": (req(b"CONNECT /version HTTP/1.1", length(SIZE), body=SECOND), "405 404"),
    "connect-path-chunked": (req(b"CONNECT /version HTTP/1.1", CHUNKED, body=CHUNKS), "405 404"),
    "connect-noport": (req(b"CONNECT x HTTP/1.1"), "404 404"),
    "cl-te": (req(POST, length(b"6"), CHUNKED, body=CHUNKS), "200"),
    "te-cl": (req(POST, CHUNKED, length(b"4"), body=CHUNKS), "200"),
    "cl-te-smuggle": (
        req(POST, length(b"%d" % (5 + len(SECOND))), CHUNKED, body=b"0\r\n\r\n" + SECOND),
        "400",
    ),
    "cl-none": (req(POST, body=DOCUMENT), "400 400"),
    "cl-get-body": (req(b"GET /version HTTP/1.1", length(SIZE), body=SECOND), "200 404"),
    "head-body": (req(b"HEAD /version HTTP/1.1", length(SIZE), body=SECOND), "405 404"),
    "obs-fold": (req(POST, b"X: a\r\n b", length(LONG), body=DOCUMENT), "200 404"),
    "obs-fold-tab": (req(POST, b"X: a\r\n\tb", length(LONG), body=DOCUMENT), "200 404"),
    "obs-fold-first": (
        b"POST /v3/kv/range HTTP/1.1\r\n Host: x\r\nHost: x\r\nContent-Length: 14\r\n\r\n"
        + DOCUMENT,
        "400",
    ),
    "bare-cr-value": (req(POST, b"X: a\rb", length(LONG), body=DOCUMENT), "400"),
    "bare-cr-eol": (b"GET /version HTTP/1.1\rHost: x\r\r", ""),
    "bare-lf-all": (
        b"POST /v3/kv/range HTTP/1.1\nHost: x\nContent-Length: 14\n\n" + DOCUMENT,
        "200 404",
    ),
    "bare-lf-end": (
        b"POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\n" + DOCUMENT,
        "200 404",
    ),
    "lf-crlf": (b"GET /version HTTP/1.1\nHost: x\n\r\n", "200 404"),
    "crcrlf": (b"GET /version HTTP/1.1\r\r\nHost: x\r\n\r\n", ""),
    "crcrlf-field": (b"GET /version HTTP/1.1\r\nHost: x\r\r\n\r\n", "400"),
    "nul-value": (req(POST, b"X: a\0b", length(LONG), body=DOCUMENT), "400"),
    "nul-name": (req(POST, b"X\0Y: a", length(LONG), body=DOCUMENT), "400"),
    "nul-target": (req(b"GET /ver\0sion HTTP/1.1"), "400"),
    "space-name": (req(POST, b"X Y: a", length(LONG), body=DOCUMENT), "400"),
    "space-before-colon": (req(POST, b"X : a", length(LONG), body=DOCUMENT), "400"),
    "empty-name": (req(POST, b": a", length(LONG), body=DOCUMENT), "400"),
    "no-colon": (req(POST, b"Xa", length(LONG), body=DOCUMENT), "400"),
    "ctl-value": (req(POST, b"X: a\x01b", length(LONG), body=DOCUMENT), "400"),
    "del-value": (req(POST, b"X: a\x7fb", length(LONG), body=DOCUMENT), "400"),
    "high-value": (req(POST, b"X: \xff\xfe", length(LONG), body=DOCUMENT), "200 404"),
    "high-name": (req(POST, b"X\xff: a", length(LONG), body=DOCUMENT), "400"),
    "paren-name": (req(POST, b"X(: a", length(LONG), body=DOCUMENT), "400"),
    "1.0-chunked": (req(b"POST /v3/kv/range HTTP/1.0", CHUNKED, body=CHUNKS), "400"),
    "1.0-chunked-ka": (
        req(b"POST /v3/kv/range HTTP/1.0", b"Connection: keep-alive", CHUNKED, body=CHUNKS),
        "400",
    ),
    "1.0-chunked-cl-ka": (
        req(
            b"POST /v3/kv/range HTTP/1.0",
            b"Connection: keep-alive",
            CHUNKED,
            length(b"%d" % len(CHUNKS)),
            body=CHUNKS,
        ),
        "400",
    ),
    "1.0-ka": (
        req(b"POST /v3/kv/range HTTP/1.0", b"Connection: keep-alive", length(LONG), body=DOCUMENT),
        "200 404",
    ),
    "1.0-nohost": (req(b"GET /version HTTP/1.0", host=False), "200"),
    "0.9": (b"GET /version\r\n\r\n", ""),
    "0.9v": (req(b"GET /version HTTP/0.9"), ""),
    "1.2": (req(b"GET /version HTTP/1.2"), "200 404"),
    "2.0": (req(b"GET /version HTTP/2.0"), ""),
    "1.10": (req(b"GET /version HTTP/1.10"), ""),
    "01.1": (req(b"GET /version HTTP/01.1"), ""),
    "http-lower": (req(b"GET /version http/1.1"), ""),
    "version-none": (req(b"GET /version HTTP/"), ""),
    "nohost": (req(b"GET /version HTTP/1.1", host=False), "400"),
    "host-twice": (req(b"GET /version HTTP/1.1", b"Host: x"), "400"),
    "host-twice-diff": (req(b"GET /version HTTP/1.1", b"Host: y"), "400"),
    "host-empty": (req(b"GET /version HTTP/1.1", b"Host:", host=False), "200 404"),
    "host-bad": (req(b"GET /version HTTP/1.1", b"Host: a b", host=False), "400"),
    "host-slash": (req(b"GET /version HTTP/1.1", b"Host: a/b", host=False), "400"),
    "host-at": (req(b"GET /version HTTP/1.1", b"Host: a@b", host=False), "400"),
    "host-nul": (req(b"GET /version HTTP/1.1", b"Host: a\0", host=False), "400"),
    "host-high": (req(b"GET /version HTTP/1.1", b"Host: \xff", host=False), "400"),
    "host-quote": (req(b"GET /version HTTP/1.1", b'Host: a"b<', host=False), "400"),
    "1.0-host-twice": (req(b"GET /version HTTP/1.0", b"Host: y"), "400"),
    "absolute": (req(b"GET http://other/version HTTP/1.1"), "200 404"),
    "absolute-nohost": (req(b"GET http://other/version HTTP/1.1", host=False), "400"),
    "absolute-ftp": (req(b"GET ftp://other/version HTTP/1.1"), "200 404"),
    "absolute-upper": (req(b"GET HTTP://other/version HTTP/1.1"), "200 404"),
    "absolute-opaque": (req(b"GET foo:bar HTTP/1.1"), "307 404"),
    "absolute-nopath": (req(b"GET http://other HTTP/1.1"), "307 404"),
    "absolute-query": (req(b"GET http://other?a=b HTTP/1.1"), "307 404"),
    "absolute-user": (req(b"GET http://u:p@other/version HTTP/1.1"), "200 404"),
    "absolute-badport": (req(b"GET http://other:a/version HTTP/1.1"), "400"),
    "target-rel": (req(b"GET version HTTP/1.1"), "400"),
    "target-star": (req(b"GET * HTTP/1.1"), "400"),
    "target-empty": (b"GET  HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
    "target-space": (req(b"GET /ver sion HTTP/1.1"), ""),
    "target-tab": (req(b"GET\t/version\tHTTP/1.1"), ""),
    "target-2sp": (req(b"GET  /version HTTP/1.1"), ""),
    "target-trailing-sp": (req(b"GET /version HTTP/1.1 "), ""),
    "target-high": (req(b"GET /\xff HTTP/1.1"), "404 404"),
    "target-ctl": (req(b"GET /\x01 HTTP/1.1"), "400"),
    "target-del": (req(b"GET /\x7f HTTP/1.1"), "400"),
    "target-badpct": (req(b"GET /%zz HTTP/1.1"), "400"),
    "target-pct-cut": (req(b"GET /% HTTP/1.1"), "400"),
    "target-pct-query": (req(b"GET /version?%zz HTTP/1.1"), "200 404"),
    "target-frag": (req(b"GET /version#x HTTP/1.1"), "404 404"),
    "target-slashslash": (req(b"GET //version HTTP/1.1"), "307 404"),
    "target-colon": (req(b"GET :x HTTP/1.1"), "400"),
    "target-question": (req(b"GET ?x HTTP/1.1"), "400"),
    "target-quote": (req(b'GET /"<> HTTP/1.1'), "404 404"),
    "target-pct00": (req(b"GET /%00 HTTP/1.1"), "404 404"),
    "options-star": (req(b"OPTIONS * HTTP/1.1"), "200 404"),
    "options-star-body": (req(b"OPTIONS * HTTP/1.1", length(SIZE), body=SECOND), "200 404"),
    "options-body": (req(b"OPTIONS /version HTTP/1.1", length(SIZE), body=SECOND), "200 404"),
    "method-unknown": (req(b"FOO /version HTTP/1.1"), "405 404"),
    "method-lower": (req(b"get /version HTTP/1.1"), "405 404"),
    "method-bad": (req(b"GE(T /version HTTP/1.1"), "400"),
    "method-long": (req(b"GETT /version HTTP/1.1"), "405 404"),
    "method-empty": (req(b" /version HTTP/1.1"), "400"),
    "method-patch": (req(b"PATCH /version HTTP/1.1"), "405 404"),
    "method-trace": (req(b"TRACE /version HTTP/1.1"), "405 404"),
    "method-propfind": (req(b"PROPFIND /version HTTP/1.1"), "405 404"),
    "method-M-SEARCH": (req(b"M-SEARCH /version HTTP/1.1"), "405 404"),
    "method-SOURCE": (req(b"SOURCE /version HTTP/1.1"), "405 404"),
    "lead-crlf": (b"\r\n" + req(b"GET /version HTTP/1.1"), ""),
    "lead-crlf-2": (b"\r\n\r\n" + req(b"GET /version HTTP/1.1"), ""),
    "second-lead-crlf": (SECOND + b"\r\n" + SECOND, "200 400"),
    "second-lead-lf": (SECOND + b"\n" + SECOND, "200 400"),
    "post-then-crlf": (req(POST, length(LONG), body=DOCUMENT + b"\r\n"), "200 404"),
    "expect-100": (req(POST, b"Expect: 100-continue", length(LONG), body=DOCUMENT), "100 200 404"),
    "expect-100-chunked": (req(POST, b"Expect: 100-continue", CHUNKED, body=CHUNKS), "100 200 404"),
    "expect-100-page": (
        req(b"POST /version HTTP/1.1", b"Expect: 100-continue", length(LONG), body=DOCUMENT),
        "405",
    ),
    "expect-100-nobody": (req(b"GET /version HTTP/1.1", b"Expect: 100-continue"), "200 404"),
    "expect-100-1.0": (
        req(b"POST /v3/kv/range HTTP/1.0", b"Expect: 100-continue", length(LONG), body=DOCUMENT),
        "200",
    ),
    "expect-other": (req(POST, b"Expect: x", length(LONG), body=DOCUMENT), "417"),
    "expect-caps": (req(POST, b"Expect: 100-Continue", length(LONG), body=DOCUMENT), "100 200 404"),
    "expect-list": (
        req(POST, b"Expect: a, 100-continue", length(LONG), body=DOCUMENT),
        "100 200 404",
    ),
    "expect-twice": (
        req(POST, b"Expect: x", b"Expect: 100-continue", length(LONG), body=DOCUMENT),
        "417",
    ),
    "chunk-ext": (chunked(b"e;a=b\r\n" + DOCUMENT + b"\r\n0;x\r\n\r\n"), "200 404"),
    "chunk-ext-quoted": (chunked(b'e;a="b\r\n' + DOCUMENT + b"\r\n0\r\n\r\n"), "200 404"),
    "chunk-ext-lf": (chunked(b"e;a=\nb\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "400"),
    "chunk-ext-cr": (chunked(b"e;a=\rb\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "400"),
    "chunk-space": (chunked(b"e \r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "200 404"),
    "chunk-lspace": (chunked(b" e\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "400"),
    "chunk-tab-ext": (chunked(b"e\t;a\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "400"),
    "chunk-upper": (chunked(b"E\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "200 404"),
    "chunk-0x": (chunked(b"0xe\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "400"),
    "chunk-plus": (chunked(b"+e\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "400"),
    "chunk-minus": (chunked(b"-e\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "400"),
    "chunk-empty": (chunked(b"\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "400"),
    "chunk-semi-only": (chunked(b";a\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "400"),
    "chunk-lead0": (chunked(b"000000000000e\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "200 404"),
    "chunk-lead0-17": (chunked(b"0000000000000000e\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "400"),
    "chunk-overflow": (chunked(b"1000000000000000e\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "400"),
    "chunk-2^63": (chunked(b"8000000000000000\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "200"),
    "chunk-max": (chunked(b"ffffffffffffffff\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "200"),
    "chunk-short": (chunked(b"d\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "400"),
    "chunk-long": (chunked(b"f\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "200"),
    "chunk-lf": (chunked(b"e\n" + DOCUMENT + b"\n0\n\n"), "400"),
    "chunk-lf-size": (chunked(b"e\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "400"),
    "chunk-lf-data": (chunked(b"e\r\n" + DOCUMENT + b"\n0\r\n\r\n"), "200"),
    "chunk-cr": (chunked(b"e\r" + DOCUMENT + b"\r\n0\r\n\r\n"), "400"),
    "chunk-crcrlf": (chunked(b"e\r\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "400"),
    "chunk-data-xx": (chunked(b"e\r\n" + DOCUMENT + b"xx0\r\n\r\n"), "200"),
    "chunk-00": (chunked(b"e\r\n" + DOCUMENT + b"\r\n00\r\n\r\n"), "200 404"),
    "chunk-trailer": (chunked(b"e\r\n" + DOCUMENT + b"\r\n0\r\nX: y\r\n\r\n"), "200 404"),
    "chunk-trailer-cl": (
        chunked(b"e\r\n" + DOCUMENT + b"\r\n0\r\nContent-Length: 3\r\n\r\n"),
        "200 404",
    ),
    "chunk-trailer-te": (
        chunked(b"e\r\n" + DOCUMENT + b"\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "200 404",
    ),
    "chunk-trailer-host": (
        chunked(b"e\r\n" + DOCUMENT + b"\r\n0\r\nHost: evil\r\n\r\n"),
        "200 404",
    ),
    "chunk-trailer-bad": (chunked(b"e\r\n" + DOCUMENT + b"\r\n0\r\nbad bad\r\n\r\n"), "200"),
    "chunk-trailer-lf": (chunked(b"e\r\n" + DOCUMENT + b"\r\n0\nX: y\n\n"), "200"),
    "chunk-trailer-declared": (
        req(POST, CHUNKED, b"Trailer: X", body=b"e\r\n" + DOCUMENT + b"\r\n0\r\nX: y\r\n\r\n"),
        "200 404",
    ),
    "chunk-trailer-forbidden": (
        req(POST, CHUNKED, b"Trailer: Content-Length", body=b"e\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"),
        "400",
    ),
    "chunk-many": (
        chunked(b"".join(b"1\r\n%c\r\n" % c for c in DOCUMENT) + b"0\r\n\r\n"),
        "200 404",
    ),
    "chunk-big-ext": (chunked(b"e;" + b"a" * 5000 + b"\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"), "400"),
    "chunk-page": (
        req(
            b"POST /version HTTP/1.1",
            CHUNKED,
            body=b"%x\r\n" % len(SECOND) + SECOND + b"\r\n0\r\n\r\n",
        ),
        "405 404",
    ),
    "chunk-page-bad": (req(b"POST /version HTTP/1.1", CHUNKED, body=b"zz\r\n" + SECOND), "405"),
    "pipeline-3": (SECOND * 3, "200 200 200 404"),
    "pipeline-close": (req(b"GET /version HTTP/1.1", b"Connection: close") + SECOND, "200"),
    "pipeline-error": (SECOND + b"GET / HTTP/1.1\r\nBad Name: x\r\n\r\n" + SECOND, "200 400"),
    "pipeline-badjson": (req(POST, length(b"1"), body=b"x") + SECOND, "400 200 404"),
    "conn-close-caps": (req(b"GET /version HTTP/1.1", b"Connection: CLOSE") + SECOND, "200"),
    "conn-close-list": (
        req(b"GET /version HTTP/1.1", b"Connection: keep-alive, close") + SECOND,
        "200",
    ),
    "conn-close-twice": (
        req(b"GET /version HTTP/1.1", b"Connection: keep-alive", b"Connection: close") + SECOND,
        "200",
    ),
    "conn-cl": (req(POST, b"Connection: content-length", length(LONG), body=DOCUMENT), "200 404"),
    "conn-te": (req(POST, b"Connection: transfer-encoding", CHUNKED, body=CHUNKS), "200 404"),
    "pri-1.1": (b"PRI /version HTTP/1.1\r\nHost: x\r\n\r\n", "405 404"),
    "garbage": (b"hello\r\n\r\n", ""),
    "tls-hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50), "400"),
    "nuls": (bytes(100), "400"),
    "get-te-gzip": (req(b"GET /version HTTP/1.1", b"Transfer-Encoding: gzip"), "501"),
    "get-chunked": (req(b"GET /version HTTP/1.1", CHUNKED, body=b"0\r\n\r\n"), "200 404"),
    "override": (req(POST, b"X-HTTP-Method-Override: GET", length(LONG), body=DOCUMENT), "200 404"),
    "x-forwarded": (req(b"GET /version HTTP/1.1", b"X-Forwarded-Host: evil"), "200 404"),
    "head-metrics": (req(b"HEAD /metrics HTTP/1.1"), "200 404"),
    "head-gateway": (req(b"HEAD /v3/kv/range HTTP/1.1", length(LONG), body=DOCUMENT), "501 404"),
    "head-404": (req(b"HEAD /nope HTTP/1.1"), "404 404"),
    "trace-body": (req(b"TRACE /version HTTP/1.1", length(LONG), body=DOCUMENT), "405 404"),
}

CONVERSATIONS: dict[str, tuple[bytes, str]] = {
    **{
        name: (req(POST, field, body=CHUNKS), answers)
        for name, (field, answers, _) in ENCODINGS.items()
    },
    **{
        f"{name}+cl": (req(POST, field, length(b"%d" % len(CHUNKS)), body=CHUNKS), answers)
        for name, (field, _, answers) in ENCODINGS.items()
    },
    **{
        name: (req(POST, field, body=DOCUMENT), answers)
        for name, (field, answers) in LENGTHS.items()
    },
    **OTHERS,
}

CUT = frozenset(("cl-huge", "chunk-2^63", "chunk-max"))
"""Bodies that would take for ever to come: the client says no more."""

_BOTH = "with chunks and a length two readers may see two ends: closed (RFC 9112, section 6.1)"
_OLD_CHUNKS = "chunks of HTTP/1.0 are no body, and what is none may not be taken for a request"
_CUT = "etcd notices in either order that it has all of a document and that no more comes"
_WEBSOCKET = "there are no websockets, so this is a POST"

ON_PURPOSE: dict[str, tuple[str, str]] = {
    "up-ws-post": ("405 404", _WEBSOCKET),
    "cl-te": ("200 404", _BOTH),
    "te-cl": ("200 404", _BOTH),
    "cl-te-smuggle": ("400 200 404", _BOTH),
    "te-tab+cl": ("200 404", _BOTH),
    "te-upper+cl": ("200 404", _BOTH),
    "te-fold+cl": ("200 404", _BOTH),
    "te-trailing-space+cl": ("200 404", _BOTH),
    "te-bare-lf+cl": ("200 404", _BOTH),
    "1.0-chunked-ka": ("400 400", _OLD_CHUNKS),
    "1.0-chunked-cl-ka": ("400 404", _OLD_CHUNKS),
    "cl-huge": ("200|499|408", _CUT),
    "chunk-2^63": ("200|499|408", _CUT),
    "chunk-max": ("200|499|408", _CUT),
}
"""name -> (what etcd answers, why we do not)."""

OF_ETCD_34: dict[str, str] = {
    "te-vt": "501",
    "te-vt+cl": "501",
    "te-nul": "501",
    "te-nul+cl": "501",
    "te-ff": "501",
    "te-ff+cl": "501",
    "cl-empty": "400 400",
    "empty-name": "200 404",
    "1.0-chunked-ka": "400",
    "absolute-opaque": "301 404",
    "absolute-nopath": "301 404",
    "absolute-query": "301 404",
    "target-slashslash": "301 404",
    "chunk-ext-cr": "200 404",
    "chunk-lf": "200",
    "chunk-lf-size": "200 404",
    "chunk-crcrlf": "200 404",
    "chunk-trailer-lf": "200 404",
    "head-gateway": "405 404",
}
"""What the Go of etcd 3.4.23 did otherwise, more lenient or with another status."""
