"""One module a gRPC service; they know no transport."""

from kvstore.server.header import Headers
from kvstore.server.method import Method
from kvstore.server.services.auth import AuthService
from kvstore.server.services.cluster import ClusterService
from kvstore.server.services.health import HealthService
from kvstore.server.services.kv import KVService
from kvstore.server.services.lease import LeaseService
from kvstore.server.services.maintenance import MaintenanceService
from kvstore.server.services.served import ServedStore, Settings
from kvstore.server.services.watch import WatchService

__all__ = ["ServedStore", "Settings", "build_methods"]


def build_methods(store: ServedStore, headers: Headers, settings: Settings) -> dict[str, Method]:
    """Everything that is served, by path."""
    services = (
        KVService(store, headers, settings),
        WatchService(store, headers, settings),
        LeaseService(store, headers),
        MaintenanceService(store, headers, settings),
        ClusterService(headers, settings),
        AuthService(store, headers),
        HealthService(),
    )
    return {method.path: method for service in services for method in service.methods()}
