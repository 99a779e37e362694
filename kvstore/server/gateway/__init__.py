"""The JSON gateway: the methods of the table as POST /v3/..., as grpc-gateway translates them."""
