"""A small raw HTTP/2 client for tests of a server: it says exactly the bytes that it is told to.

    frames      building frames, and what a received one is
    connection  one connection: the preface, reading frames, what the server allows
    grpc        a gRPC call on a stream, and the answer as the wire told it
    peers       hostile habits: sending until the server has enough of it

All of it is synchronous, on one socket with a deadline on everything that waits. Headers are coded
with `hpack`; a test that wants a certain representation writes the bytes itself.
"""
