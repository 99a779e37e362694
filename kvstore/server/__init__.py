"""The etcd endpoint: services, transports, configuration."""
