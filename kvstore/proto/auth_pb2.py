"""The package authpb. Made by `make proto` from protos/kvstore/proto/auth.proto; not to be edited."""

from kvstore.proto import _pool

DESCRIPTOR = _pool.define(
    b'\n\x18kvstore/proto/auth.proto\x12\x06authpb"%\n\x0eUserAddOptions\x12\x13\n\x0bno_password'
    b'\x18\x01 \x01(\x08"^\n\x04User\x12\x0c\n\x04name\x18\x01 \x01(\x0c\x12\x10\n\x08password\x18'
    b'\x02 \x01(\x0c\x12\r\n\x05roles\x18\x03 \x03(\t\x12\'\n\x07options\x18\x04 \x01(\x0b2\x16.au'
    b'thpb.UserAddOptions"\x83\x01\n\nPermission\x12)\n\x08permType\x18\x01 \x01(\x0e2\x17.authpb.'
    b'Permission.Type\x12\x0b\n\x03key\x18\x02 \x01(\x0c\x12\x11\n\trange_end\x18\x03 \x01(\x0c"*'
    b'\n\x04Type\x12\x08\n\x04READ\x10\x00\x12\t\n\x05WRITE\x10\x01\x12\r\n\tREADWRITE\x10\x02"?\n'
    b'\x04Role\x12\x0c\n\x04name\x18\x01 \x01(\x0c\x12)\n\rkeyPermission\x18\x02 \x03(\x0b2\x12.au'
    b'thpb.Permissionb\x06proto3',
    globals(),
)
