"""The report as one HTML page: it holds its styles and its charts, and asks for nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from kvstore.bench.charts import Series, histogram_chart, percentile_chart, throughput_chart
from kvstore.bench.result import Comparison, OperationResult, Result, machine
from kvstore.bench.units import duration

__all__ = ["page"]

_STYLE: Final = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --ink: #1b1f27;
  --quiet: #5c6573; --line: #e2e5ea; --grid: #eceef2; --one: #2667d9; --other: #c2590c;
  --bad: #b42318; --good: #17703a; }
@media (prefers-color-scheme: dark) { :root { --page: #12151b; --card: #1a1e26; --ink: #e7eaf0;
  --quiet: #99a3b3; --line: #2b313c; --grid: #262c36; --one: #6ea3ff; --other: #f29a52;
  --bad: #ff8a7d; --good: #6fd596; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 18px; margin: 36px 0 12px; }
h3 { font-size: 13px; font-weight: 600; margin: 0 0 8px; color: var(--quiet); }
p { margin: 4px 0; }
.quiet { color: var(--quiet); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 16px; }
.tiles { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); }
.tile b { display: block; font-size: 22px; font-weight: 650; line-height: 1.25;
  font-variant-numeric: tabular-nums; }
.tile span { font-size: 13px; color: var(--quiet); }
.charts { display: grid; gap: 12px; margin-top: 12px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); }
.wide { grid-column: 1 / -1; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 6px 10px; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { font-size: 13px; font-weight: 600; color: var(--quiet); }
th:first-child, td:first-child { text-align: left; }
tr:last-child td { border-bottom: 0; }
td.text { white-space: normal; overflow-wrap: anywhere; text-align: left; }
.bad { color: var(--bad); } .good { color: var(--good); }
.warning { border-left: 4px solid var(--other); margin-top: 12px; }
code { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  overflow-wrap: anywhere; }
.key { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 10px 0 0; font-size: 14px; }
.key i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px;
  vertical-align: -1px; }
i.one { background: var(--one); } i.other { background: var(--other); }
svg { display: block; width: 100%; height: auto; }
svg text { font: 11px system-ui, sans-serif; fill: var(--quiet); }
svg .grid { stroke: var(--grid); } svg .axis { stroke: var(--line); }
svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg .one { stroke: var(--one); } svg .other { stroke: var(--other); }
svg .area { stroke: none; opacity: 0.12; } svg .area.one { fill: var(--one); }
svg .area.other { fill: var(--other); }
svg .bar { stroke: none; } svg .bar.one { fill: var(--one); } svg .bar.other { fill: var(--other); }
svg .dot { stroke: var(--card); stroke-width: 1.5; } svg .dot.one { fill: var(--one); }
svg .dot.other { fill: var(--other); }
"""

_SHARES: Final = (0.5, 0.9, 0.95, 0.99, 0.999)


def page(outcome: Result | Comparison, command: str) -> str:
    """The whole page; `command` is shown as what made it."""
    results = [outcome.one, outcome.other] if isinstance(outcome, Comparison) else [outcome]
    first = results[0]
    title = f"{first.workload}: {' and '.join(each.endpoint for each in results)}"
    body = [_header(results, title)]
    if isinstance(outcome, Comparison):
        body.append(_compared(outcome))
    if len(first.operations) > 1:
        body.append(_operations(results))
    names = dict.fromkeys(each.name for result in results for each in result.operations)
    body += [_section(results, name) for name in names]
    body.append(_footer(results, command))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{''.join(body)}</main>\n</body>\n</html>\n"
    )


def _header(results: Sequence[Result], title: str) -> str:
    first = results[0]
    head = f"<h1>{escape(title)}</h1>\n"
    head += f'<p class="quiet">{first.load()}; {first.elapsed_s:.1f} s, {_started(first)}</p>\n'
    if len(results) > 1:
        keys = zip(("one", "other"), results, strict=True)
        shown = (
            f'<span><i class="{kind}"></i>{escape(each.endpoint)}</span>' for kind, each in keys
        )
        head += f'<p class="key">{"".join(shown)}</p>\n'
    for result in results:
        for warning in result.warnings():
            where = f"{escape(result.endpoint)}: " if len(results) > 1 else ""
            head += f'<p class="card warning">{where}{escape(warning)}</p>\n'
    return head


def _started(result: Result) -> str:
    return str(result.to_json()["started"]).replace("T", " ").replace("Z", " UTC")


def _section(results: Sequence[Result], name: str) -> str:
    """Tiles, charts and errors of one operation."""
    series = []
    for kind, result in zip(("one", "other"), results, strict=False):
        found = [each for each in result.operations if each.name == name]
        series += [Series(kind, result.endpoint, each) for each in found]
    out = f"<h2>{escape(name)}</h2>\n"
    for each in series:
        if len(results) > 1:
            out += (
                f'<p class="key"><span><i class="{each.kind}"></i>{escape(each.label)}</span></p>\n'
            )
        out += _tiles(each.operation)
    done = [each for each in series if each.operation.count]
    if done:
        out += '<div class="charts">\n'
        out += _card("Throughput, operations per second", throughput_chart(done), wide=True)
        out += _card("Latency that this share of operations stayed below", percentile_chart(done))
        out += _card("How many operations took how long, in percent", histogram_chart(done))
        out += "</div>\n"
    return out + "".join(_errors(each.operation) for each in series)


def _card(title: str, chart: str, *, wide: bool = False) -> str:
    kind = "card wide" if wide else "card"
    return f'<div class="{kind}"><h3>{escape(title)}</h3>\n{chart}</div>\n'


def _tiles(operation: OperationResult) -> str:
    shares = zip(("median", "99 %", "99.9 %"), operation.quantiles((0.5, 0.99, 0.999)), strict=True)
    tiles = [
        ("per second", _rate(operation.per_second)),
        *((label, duration(value)) for label, value in shares if value is not None),
        ("slowest", duration(operation.histogram.max_s)),
        ("errors", f"{operation.error_count:,}"),
    ]
    out = '<div class="tiles" style="margin-top: 8px">\n'
    for label, value in tiles:
        kind = ' class="bad"' if label == "errors" and operation.error_count else ""
        out += f'<div class="card tile"><b{kind}>{value}</b><span>{label}</span></div>\n'
    return out + "</div>\n"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _errors(operation: OperationResult) -> str:
    if not operation.errors:
        return ""
    rows = "".join(
        f'<tr><td class="bad">{count:,}</td><td class="text">{escape(str(status))}</td></tr>\n'
        for status, count in operation.errors.most_common()
    )
    return f'<div class="card scroll" style="margin-top: 12px"><table>{rows}</table></div>\n'


def _operations(results: Sequence[Result]) -> str:
    """All operations in one table."""
    head = ("operation", "count", "per second", "mean", *(f"{each * 100:g} %" for each in _SHARES))
    rows = ["".join(f"<th>{each}</th>" for each in (*head, "slowest", "errors"))]
    for result in results:
        for each in result.operations:
            latencies = (each.histogram.mean_s, *each.quantiles(_SHARES), each.histogram.max_s)
            name = escape(each.name)
            if len(results) > 1:
                name += f' <span class="quiet">{escape(result.endpoint)}</span>'
            cells = [name, f"{each.count:,}", f"{each.per_second:,.1f}"]
            cells += ["" if value is None else duration(value) for value in latencies]
            row = "".join(f"<td>{cell}</td>" for cell in cells)
            kind = ' class="bad"' if each.error_count else ""
            rows.append(f"{row}<td{kind}>{each.error_count:,}</td>")
    table = "".join(f"<tr>{row}</tr>\n" for row in rows)
    return f'<h2>All operations</h2>\n<div class="card scroll"><table>\n{table}</table></div>\n'


def _ratio_cell(value: float | None) -> str:
    if value is None:
        return "<td></td>"
    return f'<td class="{"good" if value >= 1 else "bad"}">{value:.2f}</td>'


def _compared(comparison: Comparison) -> str:
    rows = "<tr><th>ratio, above 1: the first is better</th><th>throughput</th>"
    rows += "<th>median latency</th><th>99 % latency</th></tr>\n"
    for name, ratios in comparison.ratios():
        cells = "".join(_ratio_cell(ratios.get(each)) for each in ("per_second", "p50", "p99"))
        rows += f"<tr><td>{escape(name)}</td>{cells}</tr>\n"
    for result in (comparison.one, comparison.other):
        rounds = ", ".join(f"{each:,.0f}" for each in result.rounds)
        rows += f'<tr><td class="quiet">rounds of {escape(result.endpoint)}, per second</td>'
        rows += f'<td class="quiet" colspan="3">{rounds}</td></tr>\n'
    return f'<div class="card scroll" style="margin-top: 16px"><table>\n{rows}</table></div>\n'


def _footer(results: Sequence[Result], command: str) -> str:
    first = results[0]
    facts = machine()
    used = "; ".join(", ".join(f"{share:.0%}" for share in each.cpu) for each in results)
    parameters = ", ".join(f"{name} {value}" for name, value in first.parameters.items())
    notes = "".join(f"<p>{escape(note)}</p>\n" for each in results for note in each.notes)
    return (
        '<h2>How it was measured</h2>\n<div class="card">\n'
        f"<p><code>{escape(command)}</code></p>\n"
        f'<p class="quiet">{escape(parameters)}</p>\n{notes}'
        f'<p class="quiet">Load from {facts["cores"]} cores, {escape(str(facts["cpu"]))}, '
        f"{escape(str(facts['system']))}, Python {facts['python']}. CPU of its processes: {used}. "
        "Latencies are exact to 0.4 %; those with a rate count from when a request was meant to "
        "begin.</p>\n</div>\n"
    )
