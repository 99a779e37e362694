"""Sockets that listen at a URL, bound as Go's net.Listen and etcd's listeners bind theirs.

0.0.0.0, [::]        both families on one socket, where the machine has IPv6
[::ffff:10.0.0.1]    the IPv4 address
localhost            each of its addresses, all on one port
unix://FILE          a file of that name; one that was left behind is replaced
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Iterable
from typing import Any, Final

from kvstore.server.config.urls import Url

__all__ = ["SocketFile", "listen_tcp", "make_way"]

_BACKLOG: Final = 1024
"""Connections of one socket that wait to be accepted: a burst of clients that come back at once.
What is more is dropped, and tried again by the system of the client after a second."""
_PORT_TRIES: Final = 16
_NO_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def listen_tcp(url: Url, *, reuse_port: bool = False) -> list[socket.socket]:
    """Sockets on all addresses of the host and one port, which is a free one for port 0.

    Raises OSError when one of them cannot be had; then none is left.
    """
    tries = 1 if url.port else _PORT_TRIES  # a free port has to be free on all addresses
    while True:
        tries -= 1
        try:
            return _listen_once(url, reuse_port)
        except OSError:
            if not tries:
                raise


def _listen_once(url: Url, reuse_port: bool) -> list[socket.socket]:
    listeners: list[socket.socket] = []
    port = url.port
    try:
        for family, address in _addresses(url):
            listener = _bound(family, (address[0], port, *address[2:]), reuse_port)
            if listener is not None:
                listeners.append(listener)
                port = listener.getsockname()[1]
                if _is_any(address[0]):
                    break  # it serves both families
        if not listeners:
            raise OSError(errno.EADDRNOTAVAIL, "no address of the host can be used")
        for listener in listeners:
            _listen(listener)
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _addresses(url: Url) -> Iterable[tuple[int, tuple[Any, ...]]]:
    """Families and addresses of the host; for that of all addresses IPv6 comes first."""
    if _is_any(url.host):
        return (socket.AF_INET6, ("::", url.port, 0, 0)), (socket.AF_INET, ("0.0.0.0", url.port))
    host = url.host
    with contextlib.suppress(ValueError):
        mapped = getattr(ipaddress.ip_address(host), "ipv4_mapped", None)
        host = str(mapped or host)
    found = socket.getaddrinfo(host, url.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return dict.fromkeys((family, address) for family, _, _, _, address in found)


def _is_any(host: str) -> bool:
    """Does the host stand for all addresses of the machine?"""
    if not host:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_unspecified


def _bound(family: int, address: tuple[Any, ...], reuse_port: bool) -> socket.socket | None:
    """A bound socket; None when the machine does not have the family (IPv6 turned off)."""
    try:
        # With its protocol named, asyncio turns Nagle's delay off for what it accepts.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError:
        return None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            is_single = not _is_any(address[0])
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, is_single)
        listener.bind(address)
    except OSError as error:
        listener.close()
        if family == socket.AF_INET6 and error.errno in _NO_FAMILY:
            return None
        raise
    return listener


def _listen(listener: socket.socket) -> None:
    listener.setblocking(False)
    listener.listen(_BACKLOG)


# -- socket files --------------------------------------------------------------------------------


class SocketFile:
    """A listening socket and its file, which is removed at the end if it is still the same one."""

    def __init__(self, path: str) -> None:
        """Raises OSError when the path cannot be had, or a server listens there."""
        make_way(path)
        self._path = path
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            self.socket.bind(path)
            self._made = _identity(path)
            _listen(self.socket)
        except BaseException:
            self.socket.close()
            raise

    def __repr__(self) -> str:
        return f"SocketFile({self._path!r})"

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if _identity(self._path) == self._made:
                os.unlink(self._path)


def make_way(path: str) -> None:
    """Remove a socket file that nobody listens on any more.

    A server that was killed leaves its own; that of a running one is not touched. Raises OSError
    when there is one, or something that is no socket.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "this file is no socket")
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(FileNotFoundError):
        probe.setblocking(False)  # a full queue is somebody's, too
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass
        raise OSError(errno.EADDRINUSE, "another server listens there")


def _identity(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino
