"""The initial cluster: it has to be this one member, under the URLs it advertises.

Facts: etcd client/pkg/types/urlsmap.go, server/config/config.go (advertiseMatchesCluster).
"""

from __future__ import annotations

from typing import Final

from kvstore.server.config.source import Source
from kvstore.server.config.urls import Url, parse_urls
from kvstore.server.config.values import ConfigError

__all__ = ["check_initial_cluster"]

_DEFAULT_NAME: Final = "default"
_DEFAULT_PEER_URL: Final = "http://localhost:2380"


def check_initial_cluster(source: Source) -> tuple[str, ...]:
    """The peer URLs of this member as the initial cluster writes them, sorted.

    Raises ConfigError when there are other members, or when the cluster and the advertised peer
    URLs disagree; localhost and 127.0.0.1 agree.
    """
    name = source.values["name"]
    advertised: tuple[Url, ...] = source.values["initial-advertise-peer-urls"]
    text: str = source.values["initial-cluster"] or _default_cluster(name, advertised)
    members = _parse_members(text)
    if name not in members:
        raise ConfigError(
            f'couldn\'t find local name "{name}" in the initial cluster configuration'
        )
    if len(members) > 1:
        others = ", ".join(sorted(set(members) - {name}))
        raise ConfigError(
            f"--initial-cluster names other members ({others}): this server is always the only one"
        )
    given = members[name]
    if {_canonical(url) for url in given} != {_canonical(url) for url in advertised}:
        raise ConfigError(
            f"--initial-cluster has {name}={','.join(sorted(map(str, given)))} "
            f"but --initial-advertise-peer-urls is {','.join(map(str, advertised))}"
        )
    return tuple(sorted(map(str, given)))


def _default_cluster(name: str, advertised: tuple[Url, ...]) -> str:
    if name == _DEFAULT_NAME:
        return f"{_DEFAULT_NAME}={_DEFAULT_PEER_URL}"
    return ",".join(f"{name or _DEFAULT_NAME}={url}" for url in advertised)


def _parse_members(text: str) -> dict[str, set[Url]]:
    members: dict[str, set[Url]] = {}
    for part in text.split(","):
        name, _, url = part.strip().partition("=")
        if not url:
            raise ConfigError(f'--initial-cluster: empty URL given for "{name}"')
        try:
            members.setdefault(name, set()).update(parse_urls(url))
        except ValueError as error:
            raise ConfigError(f"--initial-cluster: {error}") from None
    return members


def _canonical(url: Url) -> Url:
    return url._replace(host="localhost") if url.host == "127.0.0.1" else url
