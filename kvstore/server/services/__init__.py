"""One module a gRPC service; they know no transport."""
