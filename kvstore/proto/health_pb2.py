"""The package grpc.health.v1. Made by `make proto` from protos/kvstore/proto/health.proto; not to be edited."""

from kvstore.proto import _pool

DESCRIPTOR = _pool.define(
    b'\n\x1akvstore/proto/health.proto\x12\x0egrpc.health.v1"%\n\x12HealthCheckRequest\x12\x0f\n'
    b'\x07service\x18\x01 \x01(\t"\xa9\x01\n\x13HealthCheckResponse\x12A\n\x06status\x18\x01 \x01('
    b'\x0e21.grpc.health.v1.HealthCheckResponse.ServingStatus"O\n\rServingStatus\x12\x0b\n\x07UNKN'
    b'OWN\x10\x00\x12\x0b\n\x07SERVING\x10\x01\x12\x0f\n\x0bNOT_SERVING\x10\x02\x12\x13\n\x0fSERVI'
    b'CE_UNKNOWN\x10\x03"\x13\n\x11HealthListRequest"\xae\x01\n\x12HealthListResponse\x12B\n\x08st'
    b'atuses\x18\x01 \x03(\x0b20.grpc.health.v1.HealthListResponse.StatusesEntry\x1aT\n\rStatusesE'
    b'ntry\x12\x0b\n\x03key\x18\x01 \x01(\t\x122\n\x05value\x18\x02 \x01(\x0b2#.grpc.health.v1.Hea'
    b'lthCheckResponse:\x028\x012\xfd\x01\n\x06Health\x12P\n\x05Check\x12".grpc.health.v1.HealthCh'
    b'eckRequest\x1a#.grpc.health.v1.HealthCheckResponse\x12M\n\x04List\x12!.grpc.health.v1.Health'
    b'ListRequest\x1a".grpc.health.v1.HealthListResponse\x12R\n\x05Watch\x12".grpc.health.v1.Healt'
    b'hCheckRequest\x1a#.grpc.health.v1.HealthCheckResponse0\x01b\x06proto3',
    globals(),
)
