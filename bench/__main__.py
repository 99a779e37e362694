"""Runs the benchmarks: `python -m bench [--only NAME]... [--quick] [--write] [--dir DIR]`."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from bench import (
    checkperf,
    crowds,
    inprocess,
    kubernetes,
    leases,
    lists,
    loads,
    served,
    starts,
    watches,
)
from bench.peers import Kind, Load, Workload, ours_and_etcd, started
from bench.report import Result, line, machine, page, rewrite
from bench.servers import etcd37, is_installed
from tests.support.gobuild import go_binary

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
SERVED: dict[str, Workload] = {
    **served.WORKLOADS,
    **kubernetes.WORKLOADS,
    **watches.WORKLOADS,
    **crowds.WORKLOADS,
    **leases.WORKLOADS,
    **lists.WORKLOADS,
    **starts.WORKLOADS,
    **checkperf.WORKLOADS,
    **loads.WORKLOADS,  # with the memory of the servers last
}
_H2LOAD = ("h2load", "nghttp2-client")
NEEDS = {
    **dict.fromkeys(served.WORKLOADS, _H2LOAD),
    **dict.fromkeys(checkperf.WORKLOADS, ("etcdctl", "etcd-client")),
}
"""Programs that a workload cannot do without, and the package of Debian that has each."""


def main(argv: Sequence[str]) -> int:
    """Returns the exit status: 0, or 1 when a target was missed."""
    options = _parser().parse_args(argv)
    if options.write and (options.only or options.quick):
        print("--write keeps the results of a whole run: no --only, no --quick", file=sys.stderr)
        return 2
    # The log would say of each store without fsync that a power loss can take back its writes.
    logging.getLogger("kvstore").setLevel(logging.ERROR)
    begin = time.monotonic()
    results: list[Result] = []
    skipped: list[str] = []
    if options.dir is not None:
        try:
            options.dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            print(f"python -m bench: error: --dir {options.dir}: {error.strerror}", file=sys.stderr)
            return 2
    with tempfile.TemporaryDirectory(prefix="kvstore-bench-", dir=options.dir) as name:
        directory = Path(name)
        facts = machine(directory)
        print("\n".join(facts), end="\n\n")
        for result in _measure(options.only, options.quick, directory, skipped):
            print(line(result), flush=True)
            results.append(result)
    missed = [result for result in results if result.passed is False]
    print(f"\n{len(missed)} targets missed, {time.monotonic() - begin:.0f} s")
    if options.write:
        rewrite(PAGE, page(results, skipped, facts))
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    names = [*inprocess.WORKLOADS, *SERVED]
    parser = argparse.ArgumentParser(prog="python -m bench", description="The benchmarks.")
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--quick", action="store_true", help="less of each, in 40 seconds")
    parser.add_argument("--write", action="store_true", help=f"keep the results in {PAGE.name}")
    parser.add_argument(
        "--dir",
        type=Path,
        help="put the data below this directory, of the disk to measure; made when it is not there",
    )
    return parser


def _measure(
    only: Sequence[str] | None, quick: bool, directory: Path, skipped: list[str]
) -> Iterator[Result]:
    sizes = inprocess.Sizes.quick() if quick else inprocess.Sizes()
    for name, workload in inprocess.WORKLOADS.items():
        if not only or name in only:
            with tempfile.TemporaryDirectory(dir=directory) as place:
                yield from workload(Path(place), sizes)
    wanted = [name for name in SERVED if not only or name in only]
    if wanted and not is_installed("etcd"):
        _skip(skipped, f"{', '.join(wanted)}: no etcd on PATH (Debian: etcd-server).")
    elif wanted:
        yield from _measure_served(wanted, quick, directory, skipped)


def _measure_served(
    wanted: Sequence[str], quick: bool, directory: Path, skipped: list[str]
) -> Iterator[Result]:
    load = Load.quick() if quick else Load()
    with started(_kinds(skipped), directory / "servers") as peers:
        for name in wanted:
            needs = NEEDS.get(name)
            if needs is not None and not is_installed(needs[0]):
                _skip(skipped, f"{name}: no {needs[0]} on PATH (Debian: {needs[1]}).")
                continue
            place = directory / name
            place.mkdir()
            yield from SERVED[name](peers, place, load)


def _kinds(skipped: list[str]) -> list[Kind]:
    """Ours, Debian's etcd, and the 3.7.1 that the tests build, where Go is there."""
    kinds = ours_and_etcd()
    binary = go_binary(ROOT / "tests" / "support" / "etcd371", "etcd-3.7.1")
    if binary is None:
        _skip(skipped, "etcd 3.7.1: no Go to build it with.")
    else:
        kinds.append(Kind("etcd 3.7.1", partial(etcd37, binary=binary)))
    return kinds


def _skip(skipped: list[str], reason: str) -> None:
    print(f"skipped {reason}")
    skipped.append(reason)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
