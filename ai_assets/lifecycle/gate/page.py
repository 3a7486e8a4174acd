"""A new version beside the one in production, as a page to read."""

import html
from typing import Any

import polars as pl

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2em;max-width:1100px;color:#222}"
    "table{border-collapse:collapse;width:100%;margin-bottom:2em}"
    "th,td{border-bottom:1px solid #ddd;padding:.4em .6em;text-align:left;vertical-align:top}"
    "th{color:#555;font-weight:600}td{font-variant-numeric:tabular-nums}"
    "tr.same td{color:#888}.better{color:#009E73}.worse{color:#D55E00}p{max-width:60em}"
)
_METRICS = ("metric", "in production", "this version", "difference", "95 % of it", "says")


def versions_page(title: str, words: str, versions: pl.DataFrame, metrics: pl.DataFrame) -> str:
    """A self-contained page.

    Args:
        title: whose versions.
        words: what the gate said.
        versions: as `versions_beside` gives them; what is the same in both is grey.
        metrics: as `metrics_beside` gives them; without rows where there was nobody to compare.
    """
    heads = "".join(f"<th>{name}</th>" for name in ("", "in production", "this version"))
    facts = "".join(
        f"<tr{'' if row['changed'] else ' class=same'}><td>{_e(row['what'])}</td>"
        f"<td>{_e(row['in_production'])}</td><td>{_e(row['this'])}</td></tr>"
        for row in versions.iter_rows(named=True)
    )
    judged = "<p>There was nobody to compare its answers with.</p>"
    if metrics.height:
        named = "".join(f"<th>{name}</th>" for name in _METRICS)
        lines = "".join(_metric(row) for row in metrics.iter_rows(named=True))
        judged = (
            "<p>Both answered the same test rows, which neither learned from; the difference is "
            f"this version's value less the other's.</p><table><tr>{named}</tr>{lines}</table>"
        )
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{_e(title)}</title>"
        f"<style>{_STYLE}</style></head><body><h1>{_e(title)}</h1><p>{_e(words)}</p>"
        f"<h2>How good</h2>{judged}<h2>What is different</h2><table><tr>{heads}</tr>{facts}</table>"
        "</body></html>\n"
    )


def _metric(row: dict[str, Any]) -> str:
    interval = "" if row["low"] is None else f"{row['low']:+.4f} to {row['high']:+.4f}"
    cells = (
        row["metric"], _number(row["in_production"]), _number(row["this"]),
        _number(row["difference"], "+"), interval,
    )  # fmt: skip
    return (
        f"<tr>{''.join(f'<td>{_e(cell)}</td>' for cell in cells)}"
        f"<td class='{_e(row['says'])}'>{_e(row['says'])}</td></tr>"
    )


def _number(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.4f}"


def _e(text: object) -> str:
    return html.escape(str(text))
