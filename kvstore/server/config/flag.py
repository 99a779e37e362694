"""What one command line option is: its name, how its value is read, and what is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from kvstore.server.config.urls import parse_urls
from kvstore.server.config.values import parse_bool, parse_duration_s, parse_int, parse_strings

__all__ = ["Flag", "Kind", "Type"]

_INT_BOUNDS: Final = {
    "int": (-(2**63), 2**63 - 1),
    "uint": (0, 2**64 - 1),
    "uint32": (0, 2**32 - 1),
}


class Kind(Enum):
    """What the server does with an option."""

    HONOURED = "honoured"
    IGNORED = "ignored"
    REFUSED = "refused"


class Type(Enum):
    """How a value is written; the word shows in the reference."""

    STRING = "string"
    BOOL = "bool"
    INT = "int"
    UINT = "uint"
    UINT32 = "uint32"
    DURATION = "duration"
    URLS = "URLs"
    STRINGS = "strings"
    ORIGINS = "origins"
    FEATURES = "features"
    ANY = "any"
    """Anything or nothing: the names etcd forgot long ago."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One option.

    `default` is text, read as a value from the command line would be. `alias_of` names the option
    that an older name stands for. `refuses` are values that stop the start although others are
    ignored; `why` completes the sentence of a warning or a refusal. `is_own` marks what etcd does
    not have.
    """

    name: str
    type: Type
    default: str
    kind: Kind
    group: str
    help: str = ""
    choices: tuple[str, ...] = ()
    alias_of: str = ""
    refuses: tuple[str, ...] = ()
    why: str = ""
    is_own: bool = False

    @property
    def is_bool(self) -> bool:
        """True when the name alone is a value, and a following word is not its."""
        return self.type in (Type.BOOL, Type.ANY)

    @property
    def environment(self) -> str:
        """The environment variable of the same meaning, "" for an own option."""
        return "" if self.is_own else "ETCD_" + self.name.upper().replace("-", "_")

    def parse(self, text: str) -> Any:
        """The value `text` stands for; raises ValueError with the reason."""
        if self.choices and text not in self.choices:
            raise ValueError("invalid value")
        match self.type:
            case Type.BOOL:
                return parse_bool(text)
            case Type.INT | Type.UINT | Type.UINT32:
                return parse_int(text, *_INT_BOUNDS[self.type.value])
            case Type.DURATION:
                return parse_duration_s(text)
            case Type.URLS:
                return parse_urls(text)
            case Type.ORIGINS:
                return _parse_origins(text)
            case Type.STRINGS:
                return parse_strings(text)
            case Type.FEATURES:
                return _parse_features(text)
            case Type.STRING | Type.ANY:
                return text

    def is_refused(self, text: str) -> bool:
        """True when a start with this valid `text` has to fail."""
        if self.kind is Kind.REFUSED:
            return bool(self.parse(text) != self.parse(self.default))
        value = str(self.parse(text)).lower() if self.type is Type.BOOL else text
        return value in self.refuses


FEATURES: Final = frozenset(
    {
        "AllAlpha",
        "AllBeta",
        "CompactHashCheck",
        "FastLeaseKeepAlive",
        "InitialCorruptCheck",
        "LeaseCheckpoint",
        "LeaseCheckpointPersist",
        "PriorityRequest",
        "SetMemberLocalAddr",
        "StopGRPCServiceOnDefrag",
        "TxnModeWriteWithSharedBuffer",
    }
)


def _parse_features(text: str) -> dict[str, bool]:
    gates: dict[str, bool] = {}
    for part in parse_strings(text):
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"missing bool value for {name}")
        if name.strip() not in FEATURES:
            raise ValueError(f"unrecognized feature gate: {name.strip()}")
        try:
            gates[name.strip()] = parse_bool(value.strip())
        except ValueError:
            raise ValueError(f"invalid value of {name}={value}") from None
    return gates


def _parse_origins(text: str) -> tuple[str, ...]:
    if text in ("", "*"):
        return ("*",)
    return tuple(str(url) for url in parse_urls(text))
