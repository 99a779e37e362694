"""Logging as it was, after a test that sets it up."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from kvstore.server.log import LOGGER_NAME

__all__ = ["restored_logging"]


@contextmanager
def restored_logging() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in (LOGGER_NAME, "asyncio")]
    before = [(each, each.handlers[:], each.level, each.propagate) for each in loggers]
    for each in loggers:
        each.handlers = []
    yield
    for logger, handlers, level, propagate in before:
        for handler in logger.handlers:
            handler.close()
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
