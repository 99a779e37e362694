"""Paths as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvstore.backend.directory import make_directory, parent, plain


@pytest.mark.parametrize(
    ("path", "text", "above"),
    [
        ("a/b", "a/b", "a"),
        ("a/b//", "a/b", "a"),
        ("/a", "/a", "/"),
        ("/", "/", "/"),
        ("//", "/", "/"),
        ("a", "a", "."),
        (".", ".", "."),
        ("", ".", "."),
        (Path("a/b"), "a/b", "a"),
    ],
)
def test_a_path_and_what_holds_it(path: str | Path, text: str, above: str) -> None:
    assert plain(path) == text
    assert parent(path) == above


@pytest.mark.parametrize("end", ["", "/"])
def test_ancestors_are_made_too(tmp_path: Path, end: str) -> None:
    make_directory(f"{tmp_path}/a/b/c{end}")
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_a_relative_one_is_made_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_directory("here")
    make_directory(".")
    assert (tmp_path / "here").is_dir()
