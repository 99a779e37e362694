"""The package v3electionpb. Made by `make proto` from protos/kvstore/proto/v3election.proto; not to be edited."""

from kvstore.proto import _pool, kv_pb2, rpc_pb2

DESCRIPTOR = _pool.define(
    b'\n\x1ekvstore/proto/v3election.proto\x12\x0cv3electionpb\x1a\x16kvstore/proto/kv.proto\x1a'
    b'\x17kvstore/proto/rpc.proto"=\n\x0fCampaignRequest\x12\x0c\n\x04name\x18\x01 \x01(\x0c\x12\r'
    b'\n\x05lease\x18\x02 \x01(\x03\x12\r\n\x05value\x18\x03 \x01(\x0c"i\n\x10CampaignResponse\x12'
    b',\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeader\x12\'\n\x06leader\x18\x02 '
    b'\x01(\x0b2\x17.v3electionpb.LeaderKey"B\n\tLeaderKey\x12\x0c\n\x04name\x18\x01 \x01(\x0c\x12'
    b'\x0b\n\x03key\x18\x02 \x01(\x0c\x12\x0b\n\x03rev\x18\x03 \x01(\x03\x12\r\n\x05lease\x18\x04 '
    b'\x01(\x03"\x1d\n\rLeaderRequest\x12\x0c\n\x04name\x18\x01 \x01(\x0c"\\\n\x0eLeaderResponse'
    b'\x12,\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeader\x12\x1c\n\x02kv\x18\x02'
    b' \x01(\x0b2\x10.mvccpb.KeyValue"8\n\rResignRequest\x12\'\n\x06leader\x18\x01 \x01(\x0b2\x17.'
    b'v3electionpb.LeaderKey">\n\x0eResignResponse\x12,\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdser'
    b'verpb.ResponseHeader"I\n\x0fProclaimRequest\x12\'\n\x06leader\x18\x01 \x01(\x0b2\x17.v3elect'
    b'ionpb.LeaderKey\x12\r\n\x05value\x18\x02 \x01(\x0c"@\n\x10ProclaimResponse\x12,\n\x06header'
    b'\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeader2\xf2\x02\n\x08Election\x12I\n\x08Campaig'
    b'n\x12\x1d.v3electionpb.CampaignRequest\x1a\x1e.v3electionpb.CampaignResponse\x12I\n\x08Procl'
    b'aim\x12\x1d.v3electionpb.ProclaimRequest\x1a\x1e.v3electionpb.ProclaimResponse\x12C\n\x06Lea'
    b'der\x12\x1b.v3electionpb.LeaderRequest\x1a\x1c.v3electionpb.LeaderResponse\x12F\n\x07Observe'
    b'\x12\x1b.v3electionpb.LeaderRequest\x1a\x1c.v3electionpb.LeaderResponse0\x01\x12C\n\x06Resig'
    b'n\x12\x1b.v3electionpb.ResignRequest\x1a\x1c.v3electionpb.ResignResponseb\x06proto3',
    globals(),
)
