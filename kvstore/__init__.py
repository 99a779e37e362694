"""kvstore: a versioned, watchable key-value store with etcd's semantics."""
