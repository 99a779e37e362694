"""`kvstore serve`: reads the configuration and runs the server."""

from __future__ import annotations

import os
from collections.abc import Sequence

from kvstore.cli.failure import describe, report
from kvstore.cli.output import complain, say
from kvstore.cli.version import version_text
from kvstore.errors import StoreError
from kvstore.server.config import Action, Config, ConfigError, UsageError, make_config, read_source
from kvstore.server.config.help import USAGE, help_text

__all__ = ["serve"]


def serve(argv: Sequence[str]) -> int:
    """Serve until told to stop; returns the exit code.

    0 is a clean end (or help, or versions), 1 a configuration, directory or address that cannot be
    used, 2 a command line that cannot be read.
    """
    try:
        source = read_source(argv, os.environ)
        if source.action is not Action.SERVE:
            say(help_text() if source.action is Action.HELP else version_text())
            return 0
        config = make_config(source)
    except ConfigError as error:
        report(error)
        if isinstance(error, UsageError):
            complain(USAGE)
        return error.exit_code
    return _run(config)


def _run(config: Config) -> int:
    # gRPC's own line about a taken port would come before ours and say the same.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from kvstore.server.app import run

        return run(config)
    except (ConfigError, StoreError, OSError) as error:
        report(describe(error))
        return 1
