"""The text of a declaration, in the order and style of those that people write."""

from dataclasses import dataclass
from typing import Any

from ai_assets.lifecycle.profile.guess import MOST_GROUPS, Guess, Known
from ai_assets.lifecycle.profile.plain_yaml import block, comment, flow, scalar
from ai_assets.lifecycle.profile.plans import Plan
from ai_assets.lifecycle.profile.sample import Sample
from ai_assets.lifecycle.profile.target import Target

_TYPES = {"tabular": "TabularProduct", "image": "ImageProduct", "text": "TextProduct"}
_ROWS = {"tabular": "row", "image": "picture", "text": "text"}
_GUESSED = "# Comments say why. Yours to add: descriptions, units, and what you know better."
_KNOWN_MISSING = ["", "NA"]


@dataclass(frozen=True)
class Page:
    """All that a declaration says."""

    sample: Sample
    table: str
    guesses: list[Guess]
    known: Known
    target: Target
    balance: str
    missing: list[str]
    plan: Plan
    kind: str = "tabular"


def write_yaml(page: Page) -> str:
    """The text of `defs.yaml`."""
    lines = [*_head(page), f"type: ai_assets.components.{_TYPES[page.kind]}", "attributes:"]
    inside = [*_about(page), *_table(page), *_learning(page)]
    return "\n".join([*lines, *(f"  {line}" if line else "" for line in inside)]) + "\n"


def _head(page: Page) -> list[str]:
    seen, rows = page.sample.frame.height, page.sample.rows
    looked = f"all {rows:,} rows" if seen == rows else f"a sample of {seen:,} of {rows:,} rows"
    notes = [f"# Read with care: {comment('; '.join(page.sample.notes))}."]
    return [
        f"# Written from {comment(page.sample.name)}: {looked}, {len(page.guesses)} columns.",
        *(notes if page.sample.notes else []),
        _GUESSED,
    ]


def _about(page: Page) -> list[str]:
    target = comment(page.known.target)
    asks = "How much is" if page.target.task == "regression" else "What is"
    row = _ROWS[page.kind]
    lines = [
        f"description: {block(f'{asks} {target} of a {row} of {page.table}?')}",
        "owners: []   # e-mail addresses, or team:<name>",
    ]
    if page.plan.partitions is not None:
        lines.append(
            _said(f"partitions: {flow(page.plan.partitions)}", page.plan.partitions_reason)
        )
    return [*lines, f"request: {page.table}"]


def _table(page: Page) -> list[str]:
    lines = [
        "tables:",
        f"  {page.table}:",
        f"    description: {block(f'A {_ROWS[page.kind]} of {comment(page.sample.name)}.')}",
        *_source(page),
    ]
    if page.known.key:
        lines.append(_said(f"    key: {flow(page.known.key)}", page.known.key_reason))
    elif page.kind == "tabular":
        lines.append(
            "    # no key: no column tells the rows apart, so a row is known by its content"
        )
    if page.sample.rejected is not None:
        lines.append(_said(f"    max_rejected: {page.sample.rejected:.2f}", "see the first lines"))
    if page.known.time is not None:
        lines.append(_said(f"    time: {scalar(page.known.time)}", "when a row happened"))
    lines.append("    columns:")
    lines += [_column(one) for one in page.guesses if one.use != "left out"]
    left_out = [one for one in page.guesses if one.use == "left out"]
    if left_out:
        lines.append("    ignore:")
        lines += [_said(f"      - {scalar(one.name)}", one.reason) for one in left_out]
    return lines


def _source(page: Page) -> list[str]:
    source: dict[str, Any] = dict(page.sample.source)
    if not page.missing:
        return [f"    source: {flow(source)}"]
    source["null_values"] = [*_KNOWN_MISSING, *page.missing]
    return [_said(f"    source: {flow(source)}", "words that stand for missing among numbers")]


def _column(one: Guess) -> str:
    reason = one.reason
    if one.use == "target":
        reason = "what is predicted: not known when somebody asks"
    if one.sensitive:
        reason = "; ".join(filter(None, (reason, "a group of people")))
    return _said(f"      {scalar(one.name)}: {flow(one.declared)}", reason)


def _learning(page: Page) -> list[str]:
    lines = [_said(f"label: {flow(page.target.label)}", page.target.reason)]
    if page.target.task == "multiclass":
        lines.append(f"# {comment(page.balance)}")
    lines.append("training:")
    for name, (value, reason) in page.plan.training.items():
        lines.append(_said(f"  {name}: {flow(value)}", reason))
    groups = [one.name for one in page.guesses if _is_slice(one)]
    if groups:
        lines.append(_said(f"slices: {flow(groups)}", "judged group by group"))
    if page.plan.calendar.apart:
        ignored = {"ignore": list(page.plan.calendar.apart)}
        every = page.plan.partitions["every"] if page.plan.partitions else ""
        lines.append(_said(f"drift: {flow(ignored)}", f"a {every} differs by the calendar alone"))
    if page.plan.gate:
        lines.append(_said(f"gate: {flow(page.plan.gate)}", page.plan.gate_reason))
    return lines


def _is_slice(one: Guess) -> bool:
    """Whether figures by the groups of a column tell something: of people, or of a collection."""
    few = one.use == "beside" and 2 <= len(one.declared.get("allowed", [])) <= MOST_GROUPS
    return one.sensitive or few


def _said(line: str, reason: str) -> str:
    """A line with its reason behind it."""
    return f"{line}   # {comment(reason)}" if reason else line
