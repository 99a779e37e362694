"""Between etcd's messages and the types of the field; stored bytes are spliced, not encoded."""

from kvstore.server.convert.requests import (
    delete_range_op,
    put_op,
    range_op,
    txn,
    watch_create,
    writes,
)
from kvstore.server.convert.responses import (
    delete_range_response,
    one_key_response,
    put_response,
    range_part,
    range_response,
    range_response_of,
    range_stream_response,
    txn_response,
)
from kvstore.server.convert.watch import watch_responses, whole_response
from kvstore.server.convert.wire import number

__all__ = [
    "delete_range_op",
    "delete_range_response",
    "number",
    "one_key_response",
    "put_op",
    "put_response",
    "range_op",
    "range_part",
    "range_response",
    "range_response_of",
    "range_stream_response",
    "txn",
    "txn_response",
    "watch_create",
    "watch_responses",
    "whole_response",
    "writes",
]
