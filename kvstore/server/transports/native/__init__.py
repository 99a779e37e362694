"""Our own transport: sockets of asyncio, gRPC over HTTP/2 and HTTP/1.1 on the same port."""
