"""The page that shows a product in operation: self-contained HTML, no script, no network."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from ai_assets.lifecycle.operations.challenger import KINDS, Became
from ai_assets.lifecycle.operations.plot import loss_name

COLOURS = {
    "none": "#2e7d32",
    "broken_data": "#b71c1c",
    "changed_code": "#6a1b9a",
    "covariate_drift": "#ef6c00",
    "concept_drift": "#c62828",
}
WORDS = {
    "none": "as learned",
    "broken_data": "broken data",
    "changed_code": "changed code",
    "covariate_drift": "inputs drifted",
    "concept_drift": "concept changed",
}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; color: #1b1b1f;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; }
th, td { text-align: left; padding: .45rem .6rem; border-bottom: 1px solid #ddd;
  vertical-align: top; }
th { background: #f4f4f7; position: sticky; top: 0; }
td:last-child { min-width: 16rem; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.badge { color: #fff; border-radius: .6rem; padding: .1rem .5rem; white-space: nowrap; }
.small { color: #666; font-size: .82rem; } img { max-width: 100%; }
code { font-size: .82rem; } .good { color: #2e7d32; } .bad { color: #c62828; }
.open { color: #ef6c00; }
details summary { cursor: pointer; }
"""

_ABOUT = (
    "What was in production, how it did, what monitoring concluded, what was decided, and what "
    "became of it."
)
_COMPARED = (
    "Realised {loss} on the same rows. Difference: the loop minus the policy, below 0 where the "
    "loop is better; 95 % intervals of whole days."
)


@dataclass(frozen=True)
class Chapter:
    """What happened in one partition.

    Attributes:
        partition: Its key.
        bundle: What was in production.
        performance: Metric to text, such as "0.4321 (0.4200 to 0.4400)".
        cause: The verdict's cause.
        severity: Its severity.
        words: The verdict in a sentence.
        decision: `retrain`, `wait`, `alert`, or empty before there was one.
        why: The decision's reason.
        gate: What the gate said of a challenger; empty without one.
        became: What became of the challenger; None without one.
    """

    partition: str
    bundle: str
    performance: Mapping[str, str] = field(default_factory=dict)
    cause: str = "none"
    severity: float = 0.0
    words: str = ""
    decision: str = ""
    why: str = ""
    gate: str = ""
    became: Became | None = None


def operations_page(
    title: str,
    chapters: Sequence[Chapter],
    policies: pl.DataFrame | None,
    pictures: Mapping[str, str],
    releases: pl.DataFrame,
) -> str:
    """The page as HTML.

    Args:
        title: name of the product.
        chapters: a chapter a partition, oldest first.
        policies: what `compare_policies` gave; None without a backtest.
        pictures: data URI of each picture, by its caption.
        releases: the ledger.
    """
    body = [
        f"<h1>{_e(title)} in operation</h1>",
        f'<p class="small">{_ABOUT}</p>',
        *[f'<p><img alt="{_e(words)}" src="{uri}"></p>' for words, uri in pictures.items()],
        "<h2>Partition by partition</h2>",
        _chapters(chapters),
        "<h2>Releases</h2>",
        _frame(releases),
    ]
    if policies is not None:
        body += [
            "<h2>The loop against other policies</h2>",
            f'<p class="small">{_COMPARED.format(loss=loss_name(policies.columns[2]))}</p>',
            _policies(policies),
        ]
    head = f"<meta charset='utf-8'><title>{_e(title)} in operation</title><style>{_STYLE}</style>"
    return (
        f"<!doctype html>\n<html lang='en'><head>{head}</head><body>{''.join(body)}</body></html>\n"
    )


def _chapters(chapters: Sequence[Chapter]) -> str:
    metrics = list(dict.fromkeys(name for c in chapters for name in c.performance))
    heads = ["partition", "in production", *metrics, "verdict", "decision", "challenger"]
    rows = "".join(_chapter(chapter, metrics) for chapter in chapters)
    return f"<table><tr>{''.join(f'<th>{_e(h)}</th>' for h in heads)}</tr>{rows}</table>"


def _chapter(chapter: Chapter, metrics: Sequence[str]) -> str:
    colour, word = COLOURS.get(chapter.cause, "#555"), WORDS.get(chapter.cause, chapter.cause)
    verdict = (
        f'<span class="badge" style="background:{colour}">{_e(word)} {chapter.severity:.2f}</span>'
        f"<details><summary>why</summary>{_e(chapter.words)}</details>"
    )
    decision = (
        f"<b>{_e(chapter.decision or 'none')}</b><br><span class='small'>{_e(chapter.why)}</span>"
    )
    gate = ""
    if chapter.became is not None:
        said = f"<b class='{KINDS[chapter.became]}'>{_e(chapter.became)}</b>"
        gate = f"{said}<br><span class='small'>{_e(chapter.gate)}</span>"
    cells = [
        f"<td><b>{_e(chapter.partition)}</b></td>",
        f"<td><code>{_e(chapter.bundle)}</code></td>",
        *[f'<td class="number">{_e(chapter.performance.get(m, ""))}</td>' for m in metrics],
        f"<td>{verdict}</td><td>{decision}</td><td>{gate}</td>",
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _policies(frame: pl.DataFrame) -> str:
    rows, metric = [], frame.columns[2]
    for row in frame.iter_rows(named=True):
        difference = row["difference"]
        kind = "" if difference is None else "good" if difference < 0 else "bad"
        gap = "" if difference is None else _interval(row, "difference", "difference_")
        rows.append(
            f"<tr><td>{_e(row['policy'])}</td><td class='number'>{row['rows']:,}</td>"
            f"<td class='number'>{_interval(row, metric, '')}</td>"
            f"<td class='number {kind}'>{gap}</td></tr>"
        )
    head = (
        f"<tr><th>policy</th><th>rows</th><th>{loss_name(metric)}</th>"
        "<th>loop minus policy</th></tr>"
    )
    return f"<table>{head}{''.join(rows)}</table>"


def _interval(row: Mapping[str, float | None], name: str, prefix: str) -> str:
    value, low, high = row[name], row[f"{prefix}low"], row[f"{prefix}high"]
    if value is None:
        return ""
    ends = "" if low is None or high is None else f" ({low:.4f} to {high:.4f})"
    return f"{value:.4f}{ends}"


def _frame(frame: pl.DataFrame) -> str:
    head = "".join(f"<th>{_e(name)}</th>" for name in frame.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{_e(str(v))}</td>" for v in row) + "</tr>"
        for row in frame.iter_rows()
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def _e(text: str) -> str:
    return html.escape(text)
