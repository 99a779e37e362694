"""Tells systemd how far a unit of Type=notify is, over the datagram socket that it names.

The protocol of sd_notify(3): `NOTIFY_SOCKET` is a path, or an abstract name that begins with `@`.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import Final

__all__ = ["READY", "STOPPING", "notify"]

_log = logging.getLogger(__name__)

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"


def notify(state: str) -> None:
    """Say `state`; nothing where nobody wants to know. A failure is logged, as etcd does."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.settimeout(1)  # a reader that hangs does not hold up the server
            told.sendto(state.encode(), address)
    except OSError as error:
        _log.error("failed to notify systemd of %s: %s", state, error.strerror or error)
