from collections.abc import Iterator

import pytest

from kvstore.server.config import parse_config
from tests.support.http_site import HttpSite


@pytest.fixture
def site() -> Iterator[HttpSite]:
    site = HttpSite(parse_config([]))
    yield site
    site.close()
