"""Reads a configuration file, YAML or JSON, into the texts a command line would have had.

The file has its own way of writing some values, and it is etcd's: durations are whole nanoseconds,
lists of URLs one comma separated string, TLS files nested in a mapping. Facts: etcd
server/embed/config.go (configJSON, securityConfig).
"""

from __future__ import annotations

from typing import Any, Final

from kvstore.server.config.flag import Flag, Type
from kvstore.server.config.flags import flag_named
from kvstore.server.config.values import ConfigError

__all__ = ["read_file"]

_CLIENT_TLS: Final = {
    "cert-file": "cert-file",
    "key-file": "key-file",
    "client-cert-file": "client-cert-file",
    "client-key-file": "client-key-file",
    "client-cert-auth": "client-cert-auth",
    "trusted-ca-file": "trusted-ca-file",
    "auto-tls": "auto-tls",
    "allowed-hostname": "client-cert-allowed-hostname",
}
_PEER_TLS: Final = {
    "cert-file": "peer-cert-file",
    "key-file": "peer-key-file",
    "client-cert-file": "peer-client-cert-file",
    "client-key-file": "peer-client-key-file",
    "client-cert-auth": "peer-client-cert-auth",
    "trusted-ca-file": "peer-trusted-ca-file",
    "auto-tls": "peer-auto-tls",
    "allowed-cn": "peer-cert-allowed-cn",
    "allowed-hostname": "peer-cert-allowed-hostname",
    "skip-client-san-verification": "peer-skip-client-san-verification",
}
_SOCKET: Final = {"reuse-port": "socket-reuse-port", "reuse-address": "socket-reuse-address"}

_SECTIONS: Final = {
    "client-transport-security": _CLIENT_TLS,
    "peer-transport-security": _PEER_TLS,
    "socket-options": _SOCKET,
}
_ELSEWHERE: Final = frozenset({*_CLIENT_TLS.values(), *_PEER_TLS.values()})
"""Options that in a file are only known inside a section."""
_UNMADE: Final = (
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    ArithmeticError,
    RecursionError,
)
"""What PyYAML lets through for a value that is not of the type that it has by its looks or its tag,
such as 2001-13-01; and bytes that are no UTF-8."""
_NOT_IN_FILES: Final = frozenset({"config-file", "version", "help"})


def read_file(path: str) -> tuple[dict[str, str], list[str]]:
    """The options of the file at `path` as texts by name, and warnings about keys of no meaning.

    Raises ConfigError when the file cannot be read, is no mapping, or has a value of a wrong type.
    """
    texts: dict[str, str] = {}
    warnings: list[str] = []
    for key, value in _load(path).items():
        if value is None:
            continue
        if key in _SECTIONS:
            _read_section(path, key, value, texts, warnings)
        elif key == "discovery-config":
            _read_discovery(path, value, warnings)
        elif (flag := _flag_of(key)) is not None:
            texts[flag.name] = _text(path, key, flag, value)
        else:
            warnings.append(f"{path}: the key {key} is unknown and ignored")
    return texts, warnings


def _load(path: str) -> dict[str, Any]:
    import yaml  # only who has a file pays for it at the start

    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except OSError as error:
        raise ConfigError(f"open {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, *_UNMADE) as error:
        raise ConfigError(
            f"{path} is neither YAML nor JSON: {' '.join(str(error).split())}"
        ) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping of options")
    return {str(key): value for key, value in content.items()}


def _flag_of(key: str) -> Flag | None:
    if key in _NOT_IN_FILES or key in _ELSEWHERE:
        return None
    flag = flag_named(key)
    return None if flag is None or flag.type is Type.ANY else flag


def _read_section(
    path: str, section: str, value: object, texts: dict[str, str], warnings: list[str]
) -> None:
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: invalid {section}: it must be a mapping")
    for key, inner in value.items():
        flag = flag_named(_SECTIONS[section].get(str(key), ""))
        if flag is None:
            warnings.append(f"{path}: the key {section}.{key} is unknown and ignored")
        elif inner is not None:
            texts[flag.name] = _text(path, f"{section}.{key}", flag, inner)


def _read_discovery(path: str, value: object, warnings: list[str]) -> None:
    if not isinstance(value, dict) or value.get("endpoints") or value.get("token"):
        raise ConfigError(
            f"{path}: discovery-config is refused: this server is always the only member"
        )
    warnings.append(f"{path}: discovery-config is ignored: there is no discovery")


def _text(path: str, key: str, flag: Flag, value: object) -> str:
    """`value` as it would be written behind `flag` on a command line."""
    match flag.type, value:
        case Type.BOOL, bool():
            return "true" if value else "false"
        case Type.DURATION, int() if not isinstance(value, bool):
            return f"{value}ns"
        case Type.DURATION | Type.BOOL, _:
            pass
        case Type.STRINGS, list():
            return ",".join(map(str, value))
        case Type.INT | Type.UINT | Type.UINT32, int() | str() if not isinstance(value, bool):
            return str(value)
        case Type.STRING, bool():
            return "true" if value else "false"
        case Type.STRING, int() | float() | str():
            return str(value)
        case Type.STRINGS | Type.URLS | Type.ORIGINS | Type.FEATURES, str():
            return value
    raise ConfigError(f"{path}: {key} must be {_WANTED[flag.type]}, not {value!r}")


_WANTED: Final = {
    Type.BOOL: "true or false",
    Type.DURATION: "a whole number of nanoseconds",
    Type.STRINGS: "a list of strings",
    Type.INT: "a whole number",
    Type.UINT: "a whole number",
    Type.UINT32: "a whole number",
    Type.STRING: "a string",
    Type.URLS: "one string of URLs separated by commas",
    Type.ORIGINS: "one string of origins separated by commas",
    Type.FEATURES: "one string of Name=true|false separated by commas",
}
