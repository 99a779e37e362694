"""Each test that takes `db` or `open_db` runs on both faces of the embedded API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.embedded.faces import FACES, Opener


@pytest.fixture(params=FACES)
def open_db(request: pytest.FixtureRequest) -> Iterator[Opener]:
    """Open a store as `kvstore.open` does; closed after the test."""
    opener = Opener(request.param)
    yield opener
    opener.close()


@pytest.fixture
def db(open_db: Opener) -> Any:
    """An empty store in memory, at revision 1."""
    return open_db()
