"""Run every check of a client script against one server, and print one line for each.

A script of this kind is a program of its own: a client library may need another protobuf
runtime than the tests have, and may warn, which the tests do not allow.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

__all__ = ["raises", "run_checks", "tell_server"]

CHECK_DEADLINE_S = 30.0


def run_checks(
    checks: Iterable[Callable[..., Any]],
    connect: Callable[[str, int], Any],
    empty: Callable[[Any], Any] | None = None,
) -> None:
    """Call each check with a client of its own; the address is the argument of the program.

    `empty` has a client that is not asynchronous delete every key. Prints `ok NAME` or
    `failed NAME: ERROR`, and the traceback of a failure on stderr.
    """
    host, _, port = sys.argv[1].rpartition(":")
    for check in checks:
        try:
            if inspect.iscoroutinefunction(check):
                asyncio.run(_run_async(check, connect, host, int(port)))
            else:
                with connect(host, int(port)) as client:
                    assert empty is not None
                    empty(client)
                    check(client)
        except Exception as error:
            traceback.print_exc()
            print(f"failed {check.__name__}: {error!r}".replace("\n", " "), flush=True)
        else:
            print(f"ok {check.__name__}", flush=True)


async def _run_async(
    check: Callable[[Any], Awaitable[None]],
    connect: Callable[[str, int], Any],
    host: str,
    port: int,
) -> None:
    async with connect(host, port) as client:
        await client.delete_range(b"\0", b"\0")
        await asyncio.wait_for(check(client), CHECK_DEADLINE_S)


def raises(kind: type[BaseException], call: Callable[[], Any]) -> Any:
    """Call and return the exception of the kind that must come."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def tell_server(what: str) -> None:
    """Have whoever runs the script `restart`, `kill` or `start` the server; waits until it has."""
    print(f"server {what}", flush=True)
    assert sys.stdin.readline() == f"{what}\n"
