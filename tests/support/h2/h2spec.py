"""h2spec, the conformance tests of HTTP/2, built from its Go module into `.cache/` once.

for failure in run_h2spec("127.0.0.1:2379", tmp_path):
    print(failure)
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from tests.support.gobuild import go_binary

__all__ = ["Result", "run_h2spec"]

_SOURCE = Path(__file__).parents[1] / "h2spec"


class Result(NamedTuple):
    """One test: its section, what it sends, and what was wrong (empty when nothing was)."""

    section: str
    name: str
    failure: str
    skipped: bool

    def __str__(self) -> str:
        return f"{self.section}: {self.name}: {self.failure}"


def run_h2spec(
    target: str, directory: Path, *flags: str, timeout_ms: int = 2000
) -> list[Result] | None:
    """All results; None when h2spec cannot be had on this machine.

    `flags` are those of `h2spec/main.go`. Tests that expect silence take `timeout_ms` each.
    """
    binary = go_binary(_SOURCE, "h2spec")
    if binary is None:
        return None
    report = directory / "h2spec.xml"
    command = [str(binary), "--port", target.rsplit(":", 1)[1], "--junit-report", str(report)]
    subprocess.run(
        [*command, "--timeout", f"{timeout_ms}ms", *flags],
        stdout=subprocess.DEVNULL,
        check=False,
        timeout=300,
    )
    return [
        Result(
            case.get("package", ""),
            case.get("classname", ""),
            "\n".join(
                part.text or "" for part in (*case.findall("failure"), *case.findall("error"))
            ),
            case.find("skipped") is not None,
        )
        for suite in ElementTree.parse(report).getroot().iter("testsuite")
        for case in suite.iter("testcase")
    ]
