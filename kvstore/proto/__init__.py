"""etcd's messages and services, as Python classes and descriptors.

The modules are made by `make proto` from protos/kvstore/proto and checked in:

    kv_pb2          mvccpb          KeyValue, Event
    auth_pb2        authpb          User, Role, Permission
    rpc_pb2         etcdserverpb    the services KV, Watch, Lease, Cluster, Maintenance, Auth
    v3lock_pb2      v3lockpb        the service Lock
    v3election_pb2  v3electionpb    the service Election
    health_pb2      grpc.health.v1  the service Health

Import one by name, `from kvstore.proto import rpc_pb2`, and make its messages: `rpc_pb2.PutRequest(
key=b"k")`. A service is `rpc_pb2.DESCRIPTOR.services_by_name["KV"]`; there are no stubs.

The full names are etcd's, so that paths and bytes on the wire are too. Other Python clients of etcd
register the same names in protobuf's default pool; these classes live in a pool of their own and
share a process with them. A message of another library is therefore a different type: pass it over
as bytes.
"""

__all__: list[str] = []
