"""What the programs of a cluster need to trust each other: certificates, keys, kubeconfig files.

One authority signs everything. The API server takes a client's name from its certificate: the
common name is the user, the organization the group. `system:masters` may do anything.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

from tests.support.certificates import Authority, Issued

__all__ = ["Credentials"]


class Credentials:
    """Files in `directory`, made when they are first asked for."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.authority = Authority(directory, "ca")

    @cached_property
    def server(self) -> Issued:
        """For every program that listens on 127.0.0.1."""
        names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        return self.authority.issue("server", names=names, addresses=["127.0.0.1"])

    @cached_property
    def store_client(self) -> Issued:
        """How the API server shows itself to a store that asks for a certificate."""
        return self.authority.issue("store-client", common_name="kube-apiserver-etcd-client")

    @cached_property
    def service_accounts(self) -> Issued:
        """The key that signs the tokens of service accounts."""
        return self.authority.issue("service-accounts", common_name="service-accounts")

    @cached_property
    def admin(self) -> Issued:
        return self.client("admin", organization="system:masters")

    def client(self, user: str, *, organization: str = "kvstore tests") -> Issued:
        """A certificate with which the API server knows the caller as `user`."""
        name = user.replace(":", "-")
        return self.authority.issue(name, common_name=user, organization=organization)

    def kubeconfig(self, name: str, server: str, client: Issued) -> Path:
        """The file `name.kubeconfig`, which leads a client program to the URL `server`."""
        user = {
            "client-certificate": str(client.cert_file),
            "client-key": str(client.key_file),
        }
        cluster = {"server": server, "certificate-authority": str(self.authority.cert_file)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
            "current-context": "test",
        }
        # JSON is YAML, too.
        path = self.directory / f"{name}.kubeconfig"
        path.write_text(json.dumps(config))
        return path
