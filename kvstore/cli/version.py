"""The versions a user can ask for: of the etcd that is stood in for, and of what really runs."""

from __future__ import annotations

import platform
from typing import Final

from kvstore import __version__

__all__ = ["ETCD_VERSION", "version_text"]

ETCD_VERSION: Final = "3.7.1"
"""The version of etcd whose behaviour is served."""


def version_text() -> str:
    """Several lines; the first is the one that etcd prints first, for programs that look for it."""
    return "\n".join(
        (
            f"etcd Version: {ETCD_VERSION}",
            f"kvstore Version: {__version__}",
            f"Python Version: {platform.python_version()}",
            f"Python OS/Arch: {platform.system().lower()}/{platform.machine()}",
        )
    )
