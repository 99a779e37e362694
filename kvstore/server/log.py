"""Sets up the log of a server: for people as text, for programs as the JSON lines etcd writes.

    text  2026-01-02T03:04:05.678Z INFO  server/app.py:12 ready to serve client requests port=2379
    json  {"level":"info","ts":"2026-01-02T03:04:05.678901Z","caller":"server/app.py:12","msg":...}

Fields beside the message are given as `log.info("ready", extra={"fields": {"port": 2379}})`.

Much of what is logged was said by clients. A record is one line whatever they say: in both formats
what is not printable is escaped, and the lines of a traceback, in the text, are indented.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, Final, Literal

from kvstore.server.config import Config

__all__ = [
    "LOGGER_NAME",
    "JsonFormatter",
    "TextFormatter",
    "configure_logging",
    "set_up_logging",
]

LOGGER_NAME: Final = "kvstore"
"""Every logger of this package is below this one."""
_LOOP_LOGGER_NAME: Final = "asyncio"
"""Where the loop tells what nobody caught, with the words of clients in it."""
_LOST_WRITES: Final = ("socket.send() raised exception.", "SSL connection is closed")
"""What asyncio says of each write behind the fifth to a connection that is lost, without naming it.
Under TLS nobody above can see that it is: a client that asks much and goes would fill the log."""

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "dpanic": logging.CRITICAL,
    "panic": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}
_ZAP_NAMES: Final = {"WARNING": "warn", "CRITICAL": "fatal"}


class JsonFormatter(logging.Formatter):
    """One JSON object per line with zap's keys; fields follow, an exception is `error`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "level": _level(record),
            "ts": _timestamp(record, "microseconds"),
            "caller": _caller(record),
            "msg": record.getMessage(),
        }
        line.update((key, value) for key, value in _fields(record).items() if key not in line)
        if record.exc_info and record.exc_info[1] is not None:
            line.setdefault("error", str(record.exc_info[1]))
            line["stacktrace"] = self.formatException(record.exc_info)
        return json.dumps(line, separators=(",", ":"), default=str)


class TextFormatter(logging.Formatter):
    """Time, level, place, message and `key=value`; an exception follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        level = _level(record).upper()
        parts = [_timestamp(record, "milliseconds"), f"{level:<5}", _caller(record)]
        parts.append(record.getMessage())
        parts += [f"{key}={value}" for key, value in _fields(record).items()]
        line = _printable(" ".join(parts))
        if record.exc_info:
            for below in self.formatException(record.exc_info).split("\n"):
                line += f"\n    {_printable(below)}"
        return line


def configure_logging(config: Config) -> None:
    """Log as `config` says. Raises OSError when a file cannot be opened."""
    set_up_logging(level=config.log_level, format=config.log_format, outputs=config.log_outputs)


def set_up_logging(
    *, level: str = "info", format: Literal["text", "json"] = "text", outputs: Sequence[str] = ()
) -> logging.Logger:
    """Send what the package logs to `outputs`, replacing an earlier set-up.

    Args:
        level: debug, info, warn, error, dpanic, panic or fatal.
        outputs: default, stderr, systemd/journal (standard error), stdout, or paths of files that
            are appended to. None at all is standard error.

    Returns: the logger above all others of the package.

    Raises OSError when a file cannot be opened; the earlier set-up is then still in place.
    """
    formatter = JsonFormatter() if format == "json" else TextFormatter()
    handlers: dict[str, logging.Handler] = {}
    for output in outputs or ("default",):
        name = "stderr" if output in ("default", "systemd/journal") else output
        if name not in handlers:
            handlers[name] = _open(name)
            handlers[name].setFormatter(formatter)
            handlers[name].addFilter(_is_worth_telling)
    for name in (LOGGER_NAME, _LOOP_LOGGER_NAME):
        logger = logging.getLogger(name)
        for old in logger.handlers[:]:
            logger.removeHandler(old)
            old.close()
        for handler in handlers.values():
            logger.addHandler(handler)
        logger.setLevel(max(_LEVELS[level], logging.WARNING if name != LOGGER_NAME else 0))
        logger.propagate = False
    return logging.getLogger(LOGGER_NAME)


def _is_worth_telling(record: logging.LogRecord) -> bool:
    return record.msg not in _LOST_WRITES


def _open(name: str) -> logging.Handler:
    match name:
        case "stderr":
            return logging.StreamHandler(sys.stderr)
        case "stdout":
            return logging.StreamHandler(sys.stdout)
        case "/dev/null":
            return logging.NullHandler()
        case path:
            return logging.FileHandler(path, encoding="utf-8")


def _printable(text: str) -> str:
    """Escaped as in a string of Python when there is anything that does not print."""
    if text.isprintable():
        return text
    escaped = text.replace("\\", r"\\")
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in escaped
    )


def _level(record: logging.LogRecord) -> str:
    return _ZAP_NAMES.get(record.levelname, record.levelname.lower())


def _timestamp(record: logging.LogRecord, precision: str) -> str:
    text = datetime.fromtimestamp(record.created, UTC).isoformat(timespec=precision)
    return text.replace("+00:00", "Z")


def _caller(record: logging.LogRecord) -> str:
    return f"{'/'.join(PurePath(record.pathname).parts[-2:])}:{record.lineno}"


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    return fields
