"""gRPC over HTTP/2, without I/O: the method table served on the streams of one connection."""
