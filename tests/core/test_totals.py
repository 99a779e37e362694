"""Classes of granted TTLs."""

from __future__ import annotations

import pytest

from kvstore.core.totals import LEASE_TTL_BOUNDS_S, Totals


class TestGrant:
    @pytest.mark.parametrize(
        ("ttl_s", "bound_s"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (2**23, 2**23)]
    )
    def test_a_ttl_is_counted_under_the_first_bound_that_is_not_below_it(
        self, ttl_s: int, bound_s: int
    ) -> None:
        totals = Totals()
        totals.grant(ttl_s)
        assert totals.lease_ttls.index(1) == LEASE_TTL_BOUNDS_S.index(bound_s)
        assert (totals.leases_granted, totals.lease_ttl_sum_s) == (1, ttl_s)

    def test_the_longest_ones_have_a_class_of_their_own(self) -> None:
        totals = Totals()
        totals.grant(9_000_000_000)
        assert totals.lease_ttls[-1] == sum(totals.lease_ttls) == 1
