"""Where options come from: the command line and the environment, or one file instead of both.

    --config-file or ETCD_CONFIG_FILE given  ->  the file alone counts
    otherwise                                ->  command line + environment; both for one option
                                                 is a fatal conflict, as in etcd

Every source is brought to texts by option name first; the texts are then parsed in one place.
Facts: etcd server/etcdmain/config.go, pkg/flags/flag.go; Go's package flag for the syntax.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from kvstore.server.config.file import read_file
from kvstore.server.config.flag import Flag, Kind
from kvstore.server.config.flags import BY_ENVIRONMENT, FLAGS, flag_named
from kvstore.server.config.values import ConfigError, UsageError

__all__ = ["Action", "Source", "read_source"]

_PREFIX: Final = "ETCD_"
_SILENT_ENVIRONMENT: Final = frozenset({"ETCD_UNSUPPORTED_ARCH"})
_SUBCOMMANDS: Final = frozenset({"gateway", "grpc-proxy"})


class Action(Enum):
    """What a command line asks for."""

    SERVE = "serve"
    HELP = "help"
    VERSION = "version"


@dataclass(frozen=True)
class Source:
    """Every option with its parsed value, the given ones by name, and what to warn about."""

    action: Action
    values: Mapping[str, Any] = field(default_factory=dict)
    given: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()
    file: str = ""


def read_source(argv: Sequence[str], environ: Mapping[str, str]) -> Source:
    """What `argv` (without the program's name) and `environ` say.

    Raises UsageError for a command line that cannot be read, ConfigError for anything else.
    """
    texts, action = _read_arguments(argv)
    if action is not Action.SERVE:
        return Source(action)
    file = texts.get("config-file") or environ.get("ETCD_CONFIG_FILE", "")
    if file:
        others = sorted(set(texts) - {"config-file"})
        texts, warnings = read_file(file)
        if others:
            warnings.insert(0, f"only {file} counts, ignored: --{' --'.join(others)}")
    else:
        warnings = _read_environment(environ, texts)
    prefix = f"{file}: " if file else "--"
    values = {name: _parse(FLAGS[name], text, prefix) for name, text in texts.items()}
    given = frozenset(texts)
    warnings += _settle(texts, values, prefix)
    for flag in FLAGS.values():
        values.setdefault(flag.name, flag.parse(flag.default) if not flag.alias_of else None)
    return Source(action, values, given, tuple(warnings), file)


def _read_arguments(argv: Sequence[str]) -> tuple[dict[str, str], Action]:
    """Texts by name as Go's package flag reads them: the last of a repeated option wins."""
    texts: dict[str, str] = {}
    words = iter(argv)
    stray = ""
    for word in words:
        if word == "--" or not word.startswith("-") or word == "-":
            stray = next(words, "") if word == "--" else word
            break
        flag, text = _read_flag(word, words)
        if flag.name == "help":
            return texts, Action.HELP
        texts[flag.name] = text
    if stray in _SUBCOMMANDS:
        raise ConfigError(f"etcd's {stray} is not part of this program")
    if stray:
        raise ConfigError(f'"{stray}" is not a valid flag')
    wants_version = FLAGS["version"].parse(texts.pop("version", "false"))
    return texts, Action.VERSION if wants_version else Action.SERVE


def _read_flag(word: str, words: Iterator[str]) -> tuple[Flag, str]:
    body = word[2:] if word.startswith("--") else word[1:]
    if body[:1] in ("-", "="):
        raise UsageError(f"bad flag syntax: {word}")
    name, equals, text = body.partition("=")
    flag = flag_named(name)
    if flag is None:
        raise UsageError(f"flag provided but not defined: -{name}")
    if not equals:
        if flag.is_bool:
            text = "true"
        else:
            following = next(words, None)
            if following is None:
                raise UsageError(f"flag needs an argument: -{name}")
            text = following
    try:
        flag.parse(text)
    except ValueError as error:
        shown = f'boolean value "{text}" for' if flag.is_bool else f'value "{text}" for flag'
        raise UsageError(f"invalid {shown} -{name}: {error}") from None
    return flag, text


def _read_environment(environ: Mapping[str, str], texts: dict[str, str]) -> list[str]:
    """Add the options of `environ` to `texts`; returns warnings about variables of no meaning."""
    warnings = []
    for variable, text in environ.items():
        if not variable.startswith(_PREFIX) or not text or variable in _SILENT_ENVIRONMENT:
            continue
        flag = BY_ENVIRONMENT.get(variable)
        if variable == "ETCD_VERSION":
            warnings.append(f"cannot set special environment variable {variable}={text}")
        elif flag is None:
            warnings.append(f"unrecognized environment variable {variable}={text}")
        elif flag.name in texts:
            raise ConfigError(
                f'conflicting environment variable "{variable}" is shadowed by corresponding '
                "command-line flag (either unset environment variable or disable flag)"
            )
        else:
            try:
                flag.parse(text)
            except ValueError as error:
                raise ConfigError(f'invalid value "{text}" for {variable}: {error}') from None
            texts[flag.name] = text
    return warnings


def _parse(flag: Flag, text: str, prefix: str) -> Any:
    try:
        return flag.parse(text)
    except ValueError as error:
        raise ConfigError(f'{prefix}{flag.name}: invalid value "{text}": {error}') from None


def _settle(texts: Mapping[str, str], values: dict[str, Any], prefix: str) -> list[str]:
    """Refuse, warn, and give the values of older names to the options they stand for."""
    warnings = []
    for name, text in texts.items():
        flag = FLAGS[name]
        if flag.is_refused(text):
            raise ConfigError(f"{prefix}{name}={text} is refused: {flag.why}")
        if flag.kind is not Kind.HONOURED:
            warnings.append(f"{prefix}{name} is ignored: {flag.why}")
        elif flag.alias_of:
            _adopt(flag, values, prefix)
            warnings.append(f"{prefix}{name} is an older name: use {prefix}{flag.alias_of}")
    return warnings


def _adopt(flag: Flag, values: dict[str, Any], prefix: str) -> None:
    target = flag.alias_of
    if target in values:
        raise ConfigError(
            f"both {prefix}{flag.name} and {prefix}{target} are set: use {prefix}{target} alone"
        )
    values[target] = values[flag.name]
