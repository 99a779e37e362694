"""The package v3lockpb. Made by `make proto` from protos/kvstore/proto/v3lock.proto; not to be edited."""

from kvstore.proto import _pool, rpc_pb2

DESCRIPTOR = _pool.define(
    b'\n\x1akvstore/proto/v3lock.proto\x12\x08v3lockpb\x1a\x17kvstore/proto/rpc.proto"*\n\x0bLockR'
    b'equest\x12\x0c\n\x04name\x18\x01 \x01(\x0c\x12\r\n\x05lease\x18\x02 \x01(\x03"I\n\x0cLockRes'
    b'ponse\x12,\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeader\x12\x0b\n\x03key'
    b'\x18\x02 \x01(\x0c"\x1c\n\rUnlockRequest\x12\x0b\n\x03key\x18\x01 \x01(\x0c">\n\x0eUnlockRes'
    b'ponse\x12,\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeader2z\n\x04Lock\x125\n'
    b'\x04Lock\x12\x15.v3lockpb.LockRequest\x1a\x16.v3lockpb.LockResponse\x12;\n\x06Unlock\x12\x17'
    b'.v3lockpb.UnlockRequest\x1a\x18.v3lockpb.UnlockResponseb\x06proto3',
    globals(),
)
