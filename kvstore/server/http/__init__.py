"""What is served besides gRPC: health, version, metrics, debug variables, the JSON gateway."""
