"""The line that shows on a terminal how a run goes."""

from __future__ import annotations

import sys
from typing import TextIO

from kvstore.bench.controller import Progress
from kvstore.bench.options import Options

__all__ = ["ProgressLine"]

_BAR_WIDTH = 24


class ProgressLine(Progress):
    """Rewrites one line of `out`; a terminal, or nothing is written."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = sys.stderr if out is None else out
        self._is_shown = self._out.isatty()
        self._name, self._options = "", Options()
        self._before = (0.0, 0)
        self._rate = 0.0

    def begin(self, result_name: str, options: Options) -> None:
        self._name, self._options, self._before, self._rate = result_name, options, (0.0, 0), 0.0
        self._write(f"{result_name}: connecting")

    def update(self, elapsed_s: float, done: int, failed: int) -> None:
        then_s, before = self._before
        if elapsed_s - then_s >= 0.9:
            self._rate = (done - before) / (elapsed_s - then_s)
            self._before = (elapsed_s, done)
        self._write(self.line(elapsed_s, done, failed))

    def end(self) -> None:
        self._write("")

    def line(self, elapsed_s: float, done: int, failed: int) -> str:
        """`put 127.0.0.1:2379 [#####.....] 51% 12345 done 6172/s 0 failed 2.0 s`"""
        share = self._share(elapsed_s, done + failed)
        bar = ""
        if share is not None:
            filled = int(share * _BAR_WIDTH)
            bar = f" [{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {share:.0%}"
        trouble = f" {failed} failed" if failed else ""
        return f"{self._name}{bar} {done} done {self._rate:.0f}/s{trouble} {elapsed_s:.1f} s"

    def _share(self, elapsed_s: float, calls: int) -> float | None:
        shares = []
        if self._options.total:
            shares.append(calls / self._options.total)
        if self._options.duration_s:
            shares.append(elapsed_s / self._options.duration_s)
        return min(1.0, max(shares)) if shares else None

    def _write(self, text: str) -> None:
        if self._is_shown:
            self._out.write(f"\r\x1b[K{text}")
            self._out.flush()
