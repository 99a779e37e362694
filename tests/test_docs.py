"""The examples of the documentation run, and the glossary names what is there."""

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


def test_the_glossary_names_what_is_there() -> None:
    text = (ROOT / "docs/internals/glossary.md").read_text()
    places = re.findall(r"`([\w/]+(?:\.py|/))(?:: (\w+))?`", text)
    assert len(places) > 30
    for file, name in places:
        path = ROOT / "kvstore" / file
        assert path.exists(), file
        if name:
            assert re.search(rf"^\s*class {name}\b", path.read_text(), re.MULTILINE), (file, name)
    for owner, name in re.findall(r"`([A-Z]\w+)\.(\w+)`", text):
        found = [
            each for each in ROOT.glob("kvstore/**/*.py") if f"class {owner}" in each.read_text()
        ]
        assert any(re.search(rf"\b{name}\b", each.read_text()) for each in found), (owner, name)
