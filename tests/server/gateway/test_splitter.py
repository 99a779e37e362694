"""Documents come out when their last byte is there."""

import pytest

from kvstore.server.gateway.splitter import Splitter

DOCUMENTS = [b"{}", b'{"a":"}\\"{","b":[{"c":[]}]}', b'["\\\\"]', b'{"\\\\\\"":1}']
TEXT = b" \n".join(DOCUMENTS) + b"\t" + b"".join(DOCUMENTS)


class TestSplitter:
    @pytest.mark.parametrize("size", [1, 2, 3, 5, len(TEXT)])
    def test_the_size_of_the_pieces_does_not_matter(self, size: int) -> None:
        splitter = Splitter(1000)
        found = [
            document
            for at in range(0, len(TEXT), size)
            for document in splitter.feed(TEXT[at : at + size])
        ]
        assert found == DOCUMENTS * 2
        assert not splitter.is_broken

    def test_anything_but_an_object_or_an_array_breaks_it(self) -> None:
        splitter = Splitter(1000)
        assert splitter.feed(b'{"a":1}x{"b":2}') == [b'{"a":1}']
        assert splitter.is_broken
        assert splitter.feed(b"{}") == []

    def test_a_document_is_bounded(self) -> None:
        splitter = Splitter(10)
        assert splitter.feed(b'{"a":"' + b"x" * 3) == []
        assert not splitter.is_too_large
        assert splitter.feed(b"x" * 10) == []
        assert splitter.is_too_large
        assert splitter.is_broken

    def test_the_bound_is_of_one_document_and_not_of_all(self) -> None:
        splitter = Splitter(10)
        assert len(splitter.feed(b'{"a":1}' * 1000)) == 1000
