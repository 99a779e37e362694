"""The programs of a control plane as child processes: started, awaited, stopped, killed, restarted.

Both keep their port over a restart and write to a log beside their files. `start` returns how many
seconds passed until the program said that it is ready.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.kubernetes.build import Binaries
from tests.kubernetes.credentials import Credentials
from tests.support.certificates import client_context
from tests.support.process import ChildProcess, StartFailed, free_ports

__all__ = ["DEFAULT_CONTROLLERS", "ApiServer", "ControllerManager", "Program"]

DEFAULT_CONTROLLERS = (
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
)
"""What objects without pods need: owners, namespaces that end, accounts, aggregated roles."""

_READY_TIMEOUT_S = 180.0
_STOP_TIMEOUT_S = 30.0
_START_ATTEMPTS = 5
# Nothing connects to it: the API server writes it into the endpoints of the service `kubernetes`,
# where an address of the loopback is not allowed. It is one of those set aside for documentation.
_ADVERTISED = "192.0.2.1"
_SERVICES = "10.96.0.0/16"


class Program:
    """A program that answers https on a port of the loopback; a subclass gives its command line.

    `ready_s` is how long its last start took until `ready_path` answered 200.
    """

    ready_path = "/readyz"

    def __init__(self, name: str, directory: Path, context: ssl.SSLContext) -> None:
        self.name, self.directory = name, directory
        self.port = 0
        self.ready_s = 0.0
        self._context = context
        self._child: ChildProcess | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def log_path(self) -> Path:
        return self.directory / f"{self.name}.log"

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self, *, wait: bool = True) -> float:
        """Start, and wait until it is ready unless told not to; other ports when these were taken.

        Raises StartFailed with the end of its log when it ends or is not ready in time.
        """
        first = self.port == 0
        for attempt in range(_START_ATTEMPTS):
            if first:
                (self.port,) = free_ports(1)
            self._child = ChildProcess(self.command(), self.log_path)
            try:
                return self.wait_ready() if wait else 0.0
            except StartFailed as failure:
                if attempt == _START_ATTEMPTS - 1 or "address already in use" not in str(failure):
                    raise
        raise AssertionError("unreachable")

    def wait_ready(self, timeout_s: float = _READY_TIMEOUT_S) -> float:
        """Seconds from now until it answers that it is ready; kept in `ready_s`."""
        assert self._child is not None
        began_monotonic_s = time.monotonic()
        said = ""
        while (passed_s := time.monotonic() - began_monotonic_s) < timeout_s:
            status, said = self._ask()
            if status == 200:
                self.ready_s = passed_s
                return passed_s
            if self._child.process.poll() is not None:
                code = self._child.process.returncode
                raise StartFailed(f"{self.name} ended with {code}: {self._child.log()[-4000:]}")
            time.sleep(0.02)
        log = self._child.log()[-4000:]
        raise StartFailed(f"{self.name} is not ready after {timeout_s} s: {said}\n{log}")

    def stop(self) -> int:
        """SIGTERM and the exit code; SIGKILL when it does not end."""
        assert self._child is not None
        return self._child.stop(_STOP_TIMEOUT_S)

    def kill(self) -> None:
        """SIGKILL; a program that has ended stays so."""
        if self._child is not None:
            self._child.kill()

    def restart(self, *, kill: bool = False) -> float:
        """End it, in an orderly way or not, and start it on the same port."""
        if kill:
            self.kill()
        else:
            self.stop()
        return self.start()

    def _ask(self) -> tuple[int, str]:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=10, context=self._context
        )
        try:
            connection.request("GET", self.ready_path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, http.client.HTTPException) as failure:
            return 0, repr(failure)
        finally:
            connection.close()


class ApiServer(Program):
    """kube-apiserver over the store at `store_url`, with a cluster's authorization and admission.

    `flags` come last, so they win over those given here.
    """

    def __init__(
        self,
        binaries: Binaries,
        directory: Path,
        credentials: Credentials,
        store_url: str,
        flags: Sequence[str] = (),
    ) -> None:
        context = client_context(credentials.authority, credentials.admin)
        super().__init__("kube-apiserver", directory, context)
        self.binaries, self.store_url, self.flags = binaries, store_url, tuple(flags)
        self._credentials = credentials

    def command(self) -> list[str]:
        known, ca = self._credentials, self._credentials.authority.cert_file
        store = {"etcd-servers": self.store_url}
        if self.store_url.startswith("https:"):
            store["etcd-cafile"] = str(ca)
            store["etcd-certfile"] = str(known.store_client.cert_file)
            store["etcd-keyfile"] = str(known.store_client.key_file)
        flags = {
            **store,
            "bind-address": "127.0.0.1",
            "secure-port": str(self.port),
            "advertise-address": _ADVERTISED,
            "service-cluster-ip-range": _SERVICES,
            "cert-dir": str(self.directory),
            "tls-cert-file": str(known.server.cert_file),
            "tls-private-key-file": str(known.server.key_file),
            "client-ca-file": str(ca),
            "authorization-mode": "Node,RBAC",
            "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
            "service-account-key-file": str(known.service_accounts.cert_file),
            "service-account-signing-key-file": str(known.service_accounts.key_file),
        }
        return _command(self.binaries.apiserver, flags, self.flags)


class ControllerManager(Program):
    """kube-controller-manager with the controllers of these names, as a client of `server`.

    It is called ready when it serves; wait for what its controllers do.
    """

    ready_path = "/healthz"

    def __init__(
        self,
        binaries: Binaries,
        directory: Path,
        credentials: Credentials,
        server: str,
        controllers: Sequence[str] = DEFAULT_CONTROLLERS,
        flags: Sequence[str] = (),
    ) -> None:
        super().__init__(
            "kube-controller-manager", directory, client_context(credentials.authority)
        )
        self.binaries, self.flags = binaries, tuple(flags)
        self.controllers = tuple(controllers)
        self._credentials = credentials
        client = credentials.client("system:kube-controller-manager")
        self._kubeconfig = credentials.kubeconfig("controller-manager", server, client)

    def command(self) -> list[str]:
        known = self._credentials
        flags = {
            "kubeconfig": str(self._kubeconfig),
            "bind-address": "127.0.0.1",
            "secure-port": str(self.port),
            "cert-dir": str(self.directory),
            "tls-cert-file": str(known.server.cert_file),
            "tls-private-key-file": str(known.server.key_file),
            "controllers": ",".join(self.controllers),
            "leader-elect": "false",
            "use-service-account-credentials": "true",
            "service-account-private-key-file": str(known.service_accounts.key_file),
            "root-ca-file": str(known.authority.cert_file),
        }
        return _command(self.binaries.controller_manager, flags, self.flags)


def _command(binary: Path, flags: Mapping[str, str], more: Sequence[str]) -> list[str]:
    """A command line of Go's programs; of a flag that is given twice the later one counts."""
    return [str(binary), *(f"--{name}={value}" for name, value in flags.items()), *more]
