"""Columns as a table in Markdown, and as a page of HTML with a histogram each."""

import html
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from ai_assets.lifecycle.overview.columns import Overview

_BLOCKS = " ▁▂▃▄▅▆▇█"
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2em;max-width:1200px;color:#222}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{border-bottom:1px solid #ddd;padding:.5em .6em;text-align:left;vertical-align:top}"
    "th{color:#555;font-weight:600}td.n{text-align:right;font-variant-numeric:tabular-nums}"
    "td.q{font-size:85%;font-variant-numeric:tabular-nums}"
    ".small{color:#666;font-size:90%}.bar{fill:#0072B2}.share{fill:#E69F00}"
)
_HEADS = ("column", "type", "missing", "distinct", "least", "median", "most", "shape", "commonest")
_QUANTILES = ("least", "5 %", "25 %", "median", "75 %", "95 %", "most")
_WIDE, _HIGH = 220, 46


def as_markdown(columns: Sequence[Overview]) -> str:
    """A row a column; the shape of its values as a line of small bars."""
    lines = [f"| {' | '.join(_HEADS)} |", "|" + "---|" * len(_HEADS)]
    for one in columns:
        low, middle, high = _ends(one)
        cells = (
            f"`{one.name}`", _kind(one), _missing(one), _distinct(one), low, middle, high,
            _sparkline(one.bars), _commonest(one),
        )  # fmt: skip
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def as_page(title: str, columns: Sequence[Overview]) -> str:
    """A self-contained page: the same with all quantiles, and bars to look at."""
    rows = columns[0].rows if columns else 0
    exact = all(one.exact for one in columns)
    how = "" if exact else " Distinct values and quantiles are estimated."
    heads = "".join(
        f"<th>{head}</th>" for head in ("column", "missing", "distinct", "values", *_QUANTILES)
    )
    body = "".join(_line(one) for one in columns)
    name = html.escape(title)
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{name}</title>"
        f"<style>{_STYLE}</style></head><body><h1>{name}</h1>"
        f"<p class='small'>{rows:,} rows, all of them read.{how} Of personal columns no value is "
        f"shown.</p><table><tr>{heads}</tr>{body}</table></body></html>\n"
    )


def _line(one: Overview) -> str:
    about = (
        f"<b>{html.escape(one.name)}</b><br><span class='small'>{html.escape(_kind(one))}</span>"
    )
    shown = one.quantiles or ("",) * len(_QUANTILES)
    quantiles = "".join(f"<td class='q'>{html.escape(_said(value))}</td>" for value in shown)
    return (
        f"<tr><td>{about}</td><td class='n'>{_missing(one)}</td><td class='n'>{_distinct(one)}"
        f"</td><td>{_picture(one)}</td>{quantiles}</tr>"
    )


def _picture(one: Overview) -> str:
    """The histogram, or the commonest values with a bar each, as SVG."""
    if one.bars:
        top, wide = max(one.bars) or 1, _WIDE / len(one.bars)
        bars = "".join(
            f"<rect class='bar' x='{n * wide:.1f}' y='{_HIGH * (1 - count / top):.1f}' "
            f"width='{wide - 1:.1f}' height='{_HIGH * count / top:.1f}'>"
            f"<title>{count:,}</title></rect>"
            for n, count in enumerate(one.bars)
        )
        return f"<svg width='{_WIDE}' height='{_HIGH}'>{bars}</svg>"
    known = one.rows - one.missing
    return "".join(
        f"<div>{html.escape(value)} <span class='small'>{count / known:.1%}</span><br>"
        f"<svg width='{_WIDE}' height='6'><rect class='share' width='{_WIDE * count / known:.1f}' "
        "height='6'/></svg></div>"
        for value, count in one.common
    )


def _kind(one: Overview) -> str:
    unit = f", {one.unit}" if one.unit else ""
    length = ", length in characters" if one.type == "text" and one.quantiles else ""
    return f"{one.type}{unit}{length}{', personal' if one.personal else ''}"


def _missing(one: Overview) -> str:
    return f"{one.missing:,} ({one.missing_share:.1%})" if one.missing else "0"


def _distinct(one: Overview) -> str:
    if one.distinct is None:
        return ""
    return f"{one.distinct:,}" if one.exact else f"≈ {one.distinct:,}"


def _ends(one: Overview) -> tuple[str, str, str]:
    if not one.quantiles:
        return "", "", ""
    low, *_, high = one.quantiles
    return _said(low), _said(one.quantiles[len(one.quantiles) // 2]), _said(high)


def _commonest(one: Overview) -> str:
    known = one.rows - one.missing
    return ", ".join(f"{value} ({count / known:.0%})" for value, count in one.common)


def _sparkline(bars: Sequence[int]) -> str:
    """Bars as characters; any row at all is seen."""
    top = max(bars, default=0)
    steps = len(_BLOCKS) - 1
    return "".join(_BLOCKS[-(-count * steps // top) if top else 0] for count in bars)


def _said(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if abs(value) >= 10_000 else str(value)
