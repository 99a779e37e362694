"""Random command lines, environments and files: a configuration, or one line that says why not.

`KVSTORE_FUZZ_ROUNDS` makes more of them, `KVSTORE_FUZZ_SEED` others.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from kvstore.server.config import Config, ConfigError, parse_config
from kvstore.server.config.flags import BY_ENVIRONMENT, FLAGS
from tests.support.mutations import ROUNDS, seed

LINES: Final = 3000
FILES: Final = 1500
VALUES: Final = (
    *(
        "",
        "0",
        "1",
        "-1",
        "true",
        "x",
        "10m",
        "1h30m",
        "1.5s",
        "9" * 30,
        "0x10",
        "1_0",
        "-0",
        "1e3",
    ),
    *("http://127.0.0.1:0", "https://[::1]:2379", "unix:///tmp/s", "http://[::", "http://a:b"),
    *("default=http://localhost:2380", "a=b,c=d", "AllAlpha=true", "revision", "json", "\u00fc"),
    *("2001-13-01", "2001-01-01 00:00:00", "0o17", "0b1", "1:30", "~", ".nan", "!!int x", "<<"),
)
PIECES: Final = (
    *("=", "-", "--", ",", ":", "/", "[", "]", "{", "}", "'", '"', "\n", "\n  ", " ", "\t", "#"),
    *("&a", "*a", "!", "|", ">", "%", "@", "\x00", "\x85", "\ufeff", "\udc80", "9", "e", ".", "?"),
)


def damaged(rng: random.Random, text: str) -> str:
    for _ in range(rng.choice((0, 0, 1, 1, 2, 5))):
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(PIECES) + text[at + rng.randrange(3) :]
    return text


def value(rng: random.Random) -> str:
    name = rng.choice(list(FLAGS))
    return damaged(rng, rng.choice((*VALUES, FLAGS[name].default)))


def refusal(argv: list[str], environ: dict[str, str]) -> str:
    """ "" for a configuration."""
    try:
        assert isinstance(parse_config(argv, environ), Config)
    except ConfigError as error:
        return str(error)
    return ""


def lines() -> Iterator[tuple[list[str], dict[str, str]]]:
    rng = random.Random(f"{seed()} lines")
    names, variables = list(FLAGS), [*BY_ENVIRONMENT, "ETCD_NONSENSE", "ETCD_VERSION"]
    for _ in range(LINES * ROUNDS):
        argv = []
        for _ in range(rng.randrange(4)):
            flag = damaged(rng, "--" + rng.choice(names)) if rng.random() < 0.1 else None
            flag = flag or "--" + rng.choice(names)
            argv += rng.choice(([f"{flag}={value(rng)}"], [flag, value(rng)], [flag]))
        environ = {rng.choice(variables): value(rng) for _ in range(rng.choice((0, 0, 1, 2)))}
        environ.pop("ETCD_CONFIG_FILE", None)
        yield [word for word in argv if "config-file" not in word], environ


@pytest.mark.slow
def test_lines() -> None:
    refused = [refusal(argv, environ) for argv, environ in lines()]
    assert 0.1 * len(refused) < sum(map(bool, refused)) < 0.99 * len(refused)


@pytest.mark.slow
def test_files(tmp_path: Path) -> None:
    rng = random.Random(f"{seed()} files")
    path = tmp_path / "c"
    names = [*FLAGS, "client-transport-security", "socket-options", "discovery-config"]
    refused = []
    for _ in range(FILES * ROUNDS):
        text = "".join(f"{rng.choice(names)}: {value(rng)}\n" for _ in range(rng.randrange(4)))
        path.write_bytes(damaged(rng, text).encode("utf-8", "surrogateescape"))
        refused.append(refusal([f"--config-file={path}"], {}))
    assert 0.1 * len(refused) < sum(map(bool, refused)) < 0.99 * len(refused)
