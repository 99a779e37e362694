"""One version, wherever it is asked for."""

from __future__ import annotations

import re
from importlib.metadata import version

import pytest

import kvstore
from kvstore.cli.main import main


def test_it_is_a_release_or_a_candidate_of_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", kvstore.__version__)


def test_the_distribution_has_it() -> None:
    assert version("kvstore-etcd") == kvstore.__version__


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert f"\nkvstore Version: {kvstore.__version__}\n" in capsys.readouterr().out
