"""A control plane of real Kubernetes programs over one store, on free ports of the loopback.

    with Cluster(binaries, directory) as cluster:
        cluster.kubectl("create", "namespace", "a")
        cluster.api.get("/api/v1/namespaces/a")
        cluster.start_controllers()
        cluster.store.kill(); cluster.store.start()
        cluster.api_server.restart(kill=True)

What it is made of:

    store                 `kvstore serve` (KvServer) or a real etcd (EtcdServer): kill, start, stop
    etcd                  a client of the store's own etcd API: range, compact, ...
    api_server            kube-apiserver (ApiServer): start, stop, kill, restart, ready_s, log_path
    controller_manager    kube-controller-manager, None until `start_controllers`
    api                   ApiClient as a member of system:masters, with every status and page to see
    kubectl               Kubectl with the same rights
    credentials           certificates and kubeconfig files, also for other users and programs

All of them keep their ports when they are restarted, so clients find them again. Everything lies in
one directory: `store/` with `store.log`, the logs of the programs, `credentials/`, `home/`.

The fixtures that make clusters are in conftest.py; they show the ends of the logs of a cluster when
a test that uses it fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import grpc

from kvstore.client.grpc import GrpcStore
from tests.kubernetes.api import ApiClient
from tests.kubernetes.build import Binaries
from tests.kubernetes.credentials import Credentials
from tests.kubernetes.kubectl import Kubectl
from tests.kubernetes.programs import DEFAULT_CONTROLLERS, ApiServer, ControllerManager
from tests.support.certificates import client_context
from tests.support.etcd import EtcdServer, EtcdVersion
from tests.support.kvserver import KvServer

__all__ = ["STORES", "Cluster"]

STORES = ("kvstore", "kvstore-tls", "etcd37")
"""What a cluster can keep its objects in; `kvstore-tls` asks the API server for a certificate."""

_LOG_END_CHARS = 6000
_STORE_TIMEOUT_S = 30.0


class Cluster:
    """A store and an API server that is ready.

    Args:
        directory: where everything is written; made when it is not there.
        store: one of STORES.
        store_flags: further flags of the store, in etcd's words.
        api_flags: further flags of kube-apiserver, such as `--watch-cache=false`.
        verify: whether kvstore checks its costly invariants; off to measure.
    """

    def __init__(
        self,
        binaries: Binaries,
        directory: Path,
        *,
        store: str = "kvstore",
        store_flags: Sequence[str] = (),
        api_flags: Sequence[str] = (),
        verify: bool = True,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.binaries, self.directory = binaries, directory
        self.credentials = Credentials(directory / "credentials")
        self.controller_manager: ControllerManager | None = None
        self._etcd: GrpcStore | None = None
        self.store = self._open_store(store, store_flags, verify=verify)
        self._secure = store.endswith("-tls")
        scheme = "https" if self._secure else "http"
        self.api_server = ApiServer(
            binaries, directory, self.credentials, f"{scheme}://{self.store.target}", api_flags
        )
        try:
            self.api_server.start()
        except BaseException:
            self.close()
            raise
        admin = self.credentials.admin
        self.api = ApiClient(
            self.api_server.port, client_context(self.credentials.authority, admin)
        )
        home = directory / "home"
        home.mkdir(exist_ok=True)
        kubeconfig = self.credentials.kubeconfig("admin", self.api_server.url, admin)
        self.kubectl = Kubectl(binaries.kubectl, kubeconfig, home)

    def __repr__(self) -> str:
        return f"<Cluster {self.binaries.release} {self.api_server} over {self.store}>"

    @property
    def etcd(self) -> GrpcStore:
        """A client of the store, connected again after the store was restarted."""
        if self._etcd is None:
            secrets = self._store_secrets() if self._secure else None
            self._etcd = GrpcStore(
                self.store.target, timeout_s=_STORE_TIMEOUT_S, credentials=secrets
            )
        return self._etcd

    def start_controllers(
        self, controllers: Sequence[str] = DEFAULT_CONTROLLERS, flags: Sequence[str] = ()
    ) -> ControllerManager:
        """Start kube-controller-manager; what its controllers do shows a little later."""
        assert self.controller_manager is None, "the controllers run already"
        self.controller_manager = ControllerManager(
            self.binaries,
            self.directory,
            self.credentials,
            self.api_server.url,
            controllers,
            flags,
        )
        self.controller_manager.start()
        return self.controller_manager

    def log_ends(self) -> dict[str, str]:
        """The end of each log, by the name of its program."""
        return {
            path.stem: path.read_text(errors="replace")[-_LOG_END_CHARS:]
            for path in sorted(self.directory.glob("*.log"))
        }

    def close(self) -> None:
        """End every program at once; the files stay."""
        if self._etcd is not None:
            self._etcd.close()
        if self.controller_manager is not None:
            self.controller_manager.kill()
        self.api_server.kill()
        self.store.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _open_store(
        self, store: str, flags: Sequence[str], *, verify: bool
    ) -> KvServer | EtcdServer:
        data_dir = self.directory / "store"
        match store:
            case "kvstore":
                return KvServer(data_dir, flags, verify=verify)
            case "kvstore-tls":
                server, ca = self.credentials.server, self.credentials.authority.cert_file
                tls = [f"--cert-file={server.cert_file}", f"--key-file={server.key_file}"]
                tls += [f"--trusted-ca-file={ca}", "--client-cert-auth"]
                return KvServer(data_dir, [*tls, *flags], verify=verify, scheme="https")
            case "etcd37":
                return EtcdServer(EtcdVersion.ETCD_37, data_dir, flags)
            case _:
                raise ValueError(f"no store {store!r}; there are {STORES}")

    def _store_secrets(self) -> grpc.ChannelCredentials:
        client, ca = self.credentials.store_client, self.credentials.authority.cert_file
        return grpc.ssl_channel_credentials(
            ca.read_bytes(), client.key_file.read_bytes(), client.cert_file.read_bytes()
        )
