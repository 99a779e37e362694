"""The table of every option of `kvstore serve`, by name and by environment variable.

Three sources of names: what etcd 3.7 has, what older etcd had and people still pass, and our own.
"""

from __future__ import annotations

from typing import Final

from kvstore.server.config.flag import Flag
from kvstore.server.config.flags_accepted import IGNORED, LEGACY, OLDER, REFUSED
from kvstore.server.config.flags_honoured import HONOURED, OWN

__all__ = ["BY_ENVIRONMENT", "FLAGS", "flag_named"]

FLAGS: Final[dict[str, Flag]] = {
    flag.name: flag for flag in (*HONOURED, *OWN, *IGNORED, *LEGACY, *REFUSED, *OLDER)
}
"""Every option by its name, in the order in which help shows them."""

BY_ENVIRONMENT: Final[dict[str, Flag]] = {
    flag.environment: flag
    for flag in FLAGS.values()
    if flag.environment and flag.name not in ("help", "version")
}
"""Options by their environment variable; ETCD_VERSION is not one, packagings set it."""


def flag_named(name: str) -> Flag | None:
    """The option called `name` (without dashes), or None."""
    return FLAGS.get("help" if name == "h" else name)
