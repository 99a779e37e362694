"""Durable ordered bytes. Knows nothing of etcd."""
