"""The charts of the report, as SVG that takes its colors from the page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from kvstore.bench.result import OperationResult

__all__ = ["Series", "histogram_chart", "percentile_chart", "throughput_chart"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 10, 30
_BARS: Final = 36

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """One operation of one endpoint; `kind` is its color in the page: one or other."""

    kind: str
    label: str
    operation: OperationResult


class _Plot:
    """An area with axes; x and y are mapped by functions to 0 .. 1."""

    def __init__(
        self,
        width: int,
        height: int,
        x: Callable[[float], float],
        y: Callable[[float], float],
        label: str,
    ) -> None:
        self._width, self._height, self._x, self._y = width, height, x, y
        self._parts = [
            f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
        ]

    def at_x(self, value: float) -> float:
        return _LEFT + self._x(value) * (self._width - _LEFT - _RIGHT)

    def at_y(self, value: float) -> float:
        return self._height - _BOTTOM - self._y(value) * (self._height - _TOP - _BOTTOM)

    def grid(self, ticks: Sequence[tuple[float, str]]) -> None:
        """Horizontal lines with their texts."""
        right = self._width - _RIGHT
        for value, text in ticks:
            y = self.at_y(value)
            self.add(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            self.add(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')

    def bottom(self, ticks: Sequence[tuple[float, str]]) -> None:
        """The axis below with its texts."""
        y = self._height - _BOTTOM
        self.add(f'<line class="axis" x1="{_LEFT}" x2="{self._width - _RIGHT}" y1="{y}" y2="{y}"/>')
        for value, text in ticks:
            x = self.at_x(value)
            self.add(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 4}"/>')
            anchor = "end" if x > self._width - _RIGHT - 12 else "middle"
            self.add(f'<text x="{x:.1f}" y="{y + 18}" text-anchor="{anchor}">{text}</text>')

    def line(self, kind: str, points: Sequence[Point], *, area: bool) -> None:
        path = " L".join(f"{self.at_x(x):.1f} {self.at_y(y):.1f}" for x, y in points)
        floor = self._height - _BOTTOM
        if area and len(points) > 1:
            begin, end = self.at_x(points[0][0]), self.at_x(points[-1][0])
            self.add(
                f'<path class="area {kind}" d="M{begin:.1f} {floor} L{path} L{end:.1f} {floor} Z"/>'
            )
        if len(points) > 1:
            self.add(f'<path class="line {kind}" d="M{path}"/>')

    def dot(self, kind: str, point: Point, text: str) -> None:
        x, y = self.at_x(point[0]), self.at_y(point[1])
        self.add(
            f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="4">'
            f"<title>{escape(text)}</title></circle>"
        )

    def bar(self, kind: str, left: float, right: float, value: float, text: str) -> None:
        x0, x1, y = self.at_x(left), self.at_x(right), self.at_y(value)
        height = self._height - _BOTTOM - y
        self.add(
            f'<rect class="bar {kind}" x="{x0 + 0.75:.1f}" y="{y:.1f}" rx="1.5" '
            f'width="{max(0.5, x1 - x0 - 1.5):.1f}" height="{height:.1f}">'
            f"<title>{escape(text)}</title></rect>"
        )

    def add(self, part: str) -> None:
        self._parts.append(part)

    def svg(self) -> str:
        return "\n".join([*self._parts, "</svg>\n"])


def throughput_chart(series: Sequence[Series]) -> str:
    """Operations of each second; the last one is left out unless it is a whole one."""
    lines = [(each.kind, _rates(each.operation)) for each in series]
    most = max(y for _, points in lines for _, y in points)
    last = max(x for _, points in lines for x, _ in points)
    top = _nice_above(most)
    plot = _Plot(1000, 240, _linear(0, max(1.0, last)), _linear(0, top), "Throughput over time")
    plot.grid([(top * part / 4, _short(top * part / 4)) for part in range(5)])
    plot.bottom([(value, f"{value:g} s") for value in _whole_ticks(last)])
    for kind, points in lines:
        plot.line(kind, points, area=True)
        if len(points) <= 60:
            for point in points:
                plot.dot(kind, point, f"{point[0]:g} s: {point[1]:,.0f} per second")
    return plot.svg()


def _rates(operation: OperationResult) -> list[Point]:
    """(second, operations per second) of the whole seconds; of none, the mean of the run."""
    counts = {second: count for second, count, *_ in operation.whole_seconds()}
    if len(counts) < 2:
        return [(0.0, operation.per_second), (1.0, operation.per_second)]
    first, last = min(counts), max(counts)
    return [(float(each), float(counts.get(each, 0))) for each in range(first, last + 1)]


def percentile_chart(series: Sequence[Series]) -> str:
    """Latency by share; each step to the right is a tenth of what is slower (50, 90, 99 %)."""
    least = min(each.operation.count for each in series)
    nines = min(5, max(1, math.floor(math.log10(least))))
    shares = [1 - 10 ** -(step / 20) for step in range(nines * 20 + 1)]
    lines = []
    for each in series:
        values = each.operation.histogram.quantiles(shares)
        lines.append(
            (each.kind, [(share, value * 1e3) for share, value in zip(shares, values, strict=True)])
        )
    low = min(y for _, points in lines for _, y in points)
    high = max(y for _, points in lines for _, y in points)
    plot = _Plot(500, 260, _nine(nines), _logarithmic(low * 0.9, high * 1.1), "Latency by share")
    plot.grid([(value, _ms(value)) for value in _log_ticks(low * 0.9, high * 1.1)])
    ticks = [(0.5, "50 %")]
    ticks += [(1 - 10**-step, f"{100 - 10 ** (2 - step):g} %") for step in range(1, nines + 1)]
    plot.bottom(ticks)
    for kind, points in lines:
        plot.line(kind, points, area=False)
        for share, _ in ticks:
            nearest = min(points, key=lambda point: abs(point[0] - share))
            plot.dot(kind, nearest, f"{share * 100:g} %: {nearest[1]:.3f} ms")
    return plot.svg()


def histogram_chart(series: Sequence[Series]) -> str:
    """Shares in bars of equal width on a logarithmic scale; of several series, side by side."""
    low = min(each.operation.histogram.min_s for each in series) * 1e3
    high = max(each.operation.histogram.max_s for each in series) * 1e3
    low, high = low * 0.98, max(high * 1.02, low * 1.5)
    scale = _logarithmic(low, high)
    counts = []
    for each in series:
        bars: Counter[int] = Counter()
        for middle, count in each.operation.histogram.middles():
            bars[min(_BARS - 1, int(scale(middle * 1e3) * _BARS))] += count
        counts.append((each, bars))
    top = _nice_above(max(max(bars.values()) / bars.total() for _, bars in counts) * 100)
    plot = _Plot(500, 260, lambda x: x, _linear(0, top), "Histogram of latencies")
    plot.grid([(top * part / 4, f"{top * part / 4:g} %") for part in range(5)])
    plot.bottom([(scale(value), _ms(value)) for value in _log_ticks(low, high)])
    for number, (each, bars) in enumerate(counts):
        part = 1 / len(counts)
        for bar, count in sorted(bars.items()):
            left = (bar + number * part) / _BARS
            begin = low * (high / low) ** (bar / _BARS)
            end = low * (high / low) ** ((bar + 1) / _BARS)
            text = f"{begin:.3g} to {end:.3g} ms: {count:,}"
            share = count / bars.total() * 100
            plot.bar(each.kind, left, left + part / _BARS, share, text)
    return plot.svg()


# --- scales and ticks


def _linear(low: float, high: float) -> Callable[[float], float]:
    width = high - low or 1.0
    return lambda value: (value - low) / width


def _logarithmic(low: float, high: float) -> Callable[[float], float]:
    begin = math.log(low)
    width = math.log(high) - begin or 1.0
    return lambda value: (math.log(max(value, low)) - begin) / width


def _nine(nines: int) -> Callable[[float], float]:
    return lambda share: min(1.0, -math.log10(max(1 - share, 10**-nines)) / nines)


def _nice_above(value: float) -> float:
    """The next of 1, 2, 2.5, 4, 5, 8 times a power of ten that is not below."""
    if value <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(value))
    for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10):
        if value <= step * power:
            return float(step * power)
    return float(10 * power)


def _whole_ticks(last: float) -> list[float]:
    step = max(1.0, _nice_above(last / 8))
    step = float(math.ceil(step))
    return [number * step for number in range(int(last / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Round values between, about six at the most."""
    for steps in ((1, 1.5, 2, 2.5, 3, 4, 5, 6, 8), (1, 2, 5), (1, 3), (1,)):
        ticks = [
            step * 10.0**power
            for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            for step in steps
            if low <= step * 10.0**power <= high
        ]
        if len(ticks) <= 7:
            break
    return ticks or [math.sqrt(low * high)]


def _ms(value: float) -> str:
    if value >= 1000:
        return f"{value / 1000:.3g} s"
    return f"{value * 1000:.3g} µs" if value < 1 else f"{value:.3g} ms"


def _short(value: float) -> str:
    if value >= 1_000_000:
        return f"{value / 1_000_000:g}M"
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
