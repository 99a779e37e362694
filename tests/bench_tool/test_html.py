"""The page: it asks for nothing, and shows what was measured."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from kvstore.bench.html import page
from kvstore.bench.result import Comparison, Result
from tests.bench_tool.test_text import operation, result

PAGES = {
    "one": page(result(operation(broken=2)), "kvstore bench put"),
    "several": page(result(operation("a"), operation("b")), "kvstore bench kubernetes"),
    "compared": page(
        Comparison(result(), result(operation(), endpoint="other:1")), "kvstore bench put"
    ),
}


class Tags(HTMLParser):
    """Fails on a tag that is closed without having been opened, and collects attributes."""

    EMPTY = frozenset({"meta", "line", "path", "rect", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        if tag not in {"meta"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.EMPTY

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", PAGES)
class TestPage:
    def test_it_refers_to_nothing_outside(self, name: str) -> None:
        tags = Tags()
        tags.feed(PAGES[name])
        assert tags.open == []
        assert tags.links == []
        assert not re.search(r"https?://|@import|url\(|<script|<link|<img", PAGES[name])

    def test_every_chart_is_sound_xml(self, name: str) -> None:
        charts = re.findall(r"<svg.*?</svg>", PAGES[name], re.DOTALL)
        assert len(charts) % 3 == 0
        assert charts
        for chart in charts:
            assert ElementTree.fromstring(chart).get("viewBox")
            assert "nan" not in chart

    def test_it_has_a_dark_side(self, name: str) -> None:
        assert "prefers-color-scheme: dark" in PAGES[name]


def test_a_page_shows_the_numbers_errors_and_the_command() -> None:
    assert "<b>50</b>" in PAGES["one"].replace("50.0", "50")
    assert "Unavailable: broken" in PAGES["one"]
    assert "<code>kvstore bench put</code>" in PAGES["one"]


def test_text_of_a_server_cannot_become_markup() -> None:
    text = page(result(operation(**{"<script>x</script>": 1})), "a <b>")
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_a_run_without_any_answer_has_a_page_too() -> None:
    empty = result(operation(broken=1))
    empty.operations[0].histogram.__init__()  # type: ignore[misc]
    empty.operations[0].seconds.clear()
    assert isinstance(empty, Result)
    assert "Unavailable: broken" in page(empty, "kvstore bench put")
