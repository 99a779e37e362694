from __future__ import annotations

import pytest

from kvstore.embedded.conditions import lease, mod, value, version
from kvstore.errors import InvalidRequest, KeyNotProvided
from kvstore.keys import KeyRange
from kvstore.types import Compare, CompareResult, CompareTarget, Lease


class TestTerms:
    def test_an_operator_makes_a_compare(self) -> None:
        expected = Compare(KeyRange(b"k"), CompareTarget.MOD, CompareResult.EQUAL, 3)
        assert (mod("k") == 3) == expected

    def test_a_prefix_is_an_interval(self) -> None:
        compare = version("a/", prefix=True) > 0
        assert compare.range == KeyRange(b"a/", b"a0")

    def test_a_lease_compares_with_its_id(self) -> None:
        assert (lease("k") == Lease(7, 60)).operand == 7

    def test_text_is_utf_8(self) -> None:
        assert (value("k") != "é").operand == "é".encode()

    @pytest.mark.parametrize("term", [mod("k"), value("k")])
    def test_the_wrong_kind_of_operand_is_refused(self, term: object) -> None:
        with pytest.raises(InvalidRequest):
            _ = term == 1.5

    def test_an_empty_key_is_refused(self) -> None:
        with pytest.raises(KeyNotProvided):
            mod("")

    def test_a_term_has_no_hash(self) -> None:
        with pytest.raises(TypeError):
            hash(mod("k"))

    def test_a_term_shows_what_it_looks_at(self) -> None:
        assert repr(mod("k")) == "<mod of KeyRange(key=b'k', range_end=b'')>"
