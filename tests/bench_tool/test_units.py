"""Numbers as people read them."""

from __future__ import annotations

import pytest

from kvstore.bench.units import counted, duration, has_enough


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0"),
        (4.56e-7, "0.46 µs"),
        (1.2e-5, "12.0 µs"),
        (9.994e-4, "999 µs"),
        (9.996e-4, "1.00 ms"),
        (0.01234, "12.3 ms"),
        (0.0999, "99.9 ms"),
        (0.09996, "100 ms"),
        (0.9999, "1.00 s"),
        (61.25, "61.2 s"),
        (3600, "3600 s"),
    ],
)
def test_a_time_has_three_digits_and_its_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_things_are_counted_in_english() -> None:
    assert counted(1, "client") == "1 client"
    assert counted(0, "client") == "0 clients"
    assert counted(2000, "process", "processes") == "2,000 processes"


@pytest.mark.parametrize(
    ("share", "needed"), [(0.5, 0), (0.75, 0), (0.9, 10), (0.95, 20), (0.99, 100), (0.999, 1000)]
)
def test_a_quantile_needs_a_sample_above_it(share: float, needed: int) -> None:
    assert has_enough(needed, share)
    assert needed == 0 or not has_enough(needed - 1, share)
