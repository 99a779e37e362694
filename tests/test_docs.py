"""The examples of the documentation run, each by itself in an empty directory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md",
    "docs/howto/embedded.md",
)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[object]:
    found: list[object] = []
    for page in PAGES:
        text = (ROOT / page).read_text()
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start(1)) + 1
            found.append(pytest.param(page, line, match[1], id=f"{page}:{line}"))
    return found


@pytest.mark.parametrize(("page", "line", "code"), blocks())
def test_an_example_runs(
    page: str, line: int, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # Empty lines in front make a traceback name the line of the page.
    program = compile("\n" * (line - 1) + code, str(ROOT / page), "exec")
    exec(program, {"__name__": "__main__"})
