"""HTTP/2 as a server speaks it, without I/O: bytes in, calls of a sink and bytes out (RFC 9113)."""
