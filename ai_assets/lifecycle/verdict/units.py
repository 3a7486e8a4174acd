"""A column in another unit: its values are a known conversion of what they were.

Two signs. The distribution lies far from the reference's and a conversion brings it near. Or, where
the table's other columns tell the value, many rows break that relation and a conversion mends them:
this holds under a season's drift and when only some rows changed.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from ai_assets.lifecycle.schema.tables import NO_UNIT, Column, Table
from ai_assets.lifecycle.verdict.evidence import Evidence, beyond
from ai_assets.lifecycle.verdict.relations import BROKEN, KEPT, Relation, residuals
from ai_assets.lifecycle.verdict.sketch import (
    FEWEST,
    OFTEN_ZERO,
    ON_GRID,
    NumberSketch,
    TableSketch,
    on_grid,
)
from ai_assets.lifecycle.verdict.spec import Causes

SHARES = (1.0, 0.75, 0.5, 0.25)
# A factor this far from 1 is not how columns grow; smaller ones need the declared unit.
DRASTIC = 5.0
# Quantiles that make a shape; of fewer than half of them only what is this far off is believed.
FEWEST_POINTS, FAR_OF_FEW = 10, 8.0
# However far the identity is, a conversion explains nothing beyond so many times `unit_near`.
MOST_NEAR = 3.0

# How much of the first unit of its family one of each is, and what is added: base = a * x + b.
FAMILIES: tuple[dict[str, tuple[float, float]], ...] = (
    {"celsius": (1, 0), "fahrenheit": (5 / 9, -160 / 9), "kelvin": (1, -273.15)},
    {"metre": (1, 0), "kilometre": (1e3, 0), "mile": (1609.344, 0), "foot": (0.3048, 0),
     "nautical mile": (1852, 0), "yard": (0.9144, 0)},
    {"millimetre": (1, 0), "centimetre": (10, 0), "inch": (25.4, 0), "metre": (1e3, 0)},
    {"pascal": (1, 0), "hectopascal": (100, 0), "kilopascal": (1e3, 0), "bar": (1e5, 0),
     "inch of mercury": (3386.389, 0), "millimetre of mercury": (133.322, 0),
     "pound per square inch": (6894.757, 0)},
    {"metre per second": (1, 0), "kilometre per hour": (1 / 3.6, 0), "mile per hour": (0.44704, 0),
     "knot": (0.514444, 0), "foot per second": (0.3048, 0)},
    {"second": (1, 0), "millisecond": (1e-3, 0), "minute": (60, 0), "hour": (3600, 0),
     "day": (86400, 0)},
    {"kilogram": (1, 0), "gram": (1e-3, 0), "pound": (0.453592, 0), "ounce": (0.0283495, 0),
     "tonne": (1e3, 0)},
    {"litre": (1, 0), "millilitre": (1e-3, 0), "gallon": (3.785412, 0)},
    {"share": (1, 0), "percent": (0.01, 0)},
    {"degree": (1, 0), "radian": (180 / np.pi, 0)},
    {"joule": (1, 0), "kilowatt hour": (3.6e6, 0), "calorie": (4.184, 0), "kilojoule": (1e3, 0)},
)  # fmt: skip
ALIASES = {
    "°c": "celsius", "c": "celsius", "degc": "celsius", "°f": "fahrenheit", "f": "fahrenheit",
    "degf": "fahrenheit", "k": "kelvin", "m": "metre", "meter": "metre", "km": "kilometre",
    "kilometer": "kilometre", "mi": "mile", "ft": "foot", "feet": "foot", "nmi": "nautical mile",
    "yd": "yard", "mm": "millimetre", "millimeter": "millimetre", "cm": "centimetre",
    "centimeter": "centimetre", "in": "inch", "inches": "inch", "pa": "pascal",
    "hpa": "hectopascal", "millibar": "hectopascal", "mbar": "hectopascal", "mb": "hectopascal",
    "kpa": "kilopascal", "inhg": "inch of mercury", "mmhg": "millimetre of mercury",
    "psi": "pound per square inch", "m/s": "metre per second", "km/h": "kilometre per hour",
    "kmh": "kilometre per hour", "kph": "kilometre per hour", "mph": "mile per hour",
    "kt": "knot", "kn": "knot", "s": "second", "sec": "second", "ms": "millisecond",
    "min": "minute", "h": "hour", "hr": "hour", "d": "day", "kg": "kilogram", "g": "gram",
    "lb": "pound", "lbs": "pound", "oz": "ounce", "t": "tonne", "ton": "tonne", "l": "litre",
    "liter": "litre", "ml": "millilitre", "gal": "gallon", "fraction": "share", "ratio": "share",
    "%": "percent", "percentage": "percent", "deg": "degree", "°": "degree", "rad": "radian",
    "kwh": "kilowatt hour", "j": "joule", "cal": "calorie", "kj": "kilojoule",
}  # fmt: skip


@dataclass(frozen=True)
class Conversion:
    """new = factor * old + offset, and what that is in words."""

    factor: float
    offset: float
    words: str

    @property
    def drastic(self) -> bool:
        """Whether columns do not grow so by themselves: by a large factor, or from another zero."""
        return max(abs(self.factor), 1 / abs(self.factor)) >= DRASTIC or self.offset != 0


@dataclass(frozen=True)
class Fit:
    """How well a conversion of some share of the rows explains a distribution.

    `far` and `near`: mean distance of quantiles, in standard deviations, before and after.
    """

    conversion: Conversion
    share: float
    far: float
    near: float


def canonical(unit: str | None) -> str | None:
    """The unit's name in the families; None if it is in none."""
    name = (unit or "").strip().casefold()
    name = ALIASES.get(name, name)
    for form in (name, name.removesuffix("s")):
        form = ALIASES.get(form, form)
        if any(form in family for family in FAMILIES):
            return form
    return None


def conversions(unit: str | None) -> list[Conversion]:
    """What a column of that declared unit may have become, the likeliest first.

    Without a known unit: any drastic conversion between units of a family. That bars become pounds
    per square inch so, says nothing of what the column holds, so its words name numbers, no units.
    """
    known = canonical(unit)
    found: dict[tuple[float, float], str] = {}
    for family in FAMILIES:
        for old, (a, b) in family.items():
            if known is not None and old != known:
                continue
            for new, (c, d) in family.items():
                factor, offset = a / c, (b - d) / c
                words = f"{old} to {new}" if known else _in_numbers(factor, offset)
                made = Conversion(round(factor, 9), round(offset, 6), words)
                if new != old and (known is not None or made.drastic):
                    found.setdefault((made.factor, made.offset), made.words)
    for power in (1, 2, 3, 4, 6, 9):
        found.setdefault((float(10**power), 0.0), f"multiplied by {10**power:,}")
        found.setdefault((10.0**-power, 0.0), f"divided by {10**power:,}")
    found.setdefault((-1.0, 0.0), "with the sign turned")
    return [Conversion(factor, offset, words) for (factor, offset), words in found.items()]


def _in_numbers(factor: float, offset: float) -> str:
    by = f"multiplied by {_number(factor)}" if factor >= 1 else f"divided by {_number(1 / factor)}"
    if offset == 0:
        return by
    added = f"{_number(abs(offset))} {'added' if offset > 0 else 'subtracted'}"
    return added if factor == 1 else f"{by}, then {added}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.5g}"


def unit_evidence(
    frame: pl.DataFrame, table: Table, reference: TableSketch, spec: Causes
) -> list[Evidence]:
    """Columns that look converted; of a relation's columns only the one that mends it best."""
    if frame.height < spec.min_rows:
        return []
    found = []
    for name, sketch in reference.numbers.items():
        if name not in frame.columns or not frame[name].dtype.is_numeric():
            continue
        if table.columns[name].unit == NO_UNIT:
            continue
        fit = best_fit(frame[name], sketch, table.columns[name], spec)
        if fit is not None:
            found.append(_by_distribution(name, fit, spec))
    named = {e.subject for e in found}
    mended = _mended(frame, table, reference, spec)
    return found + [e for e in mended if e.subject not in named]


def best_fit(
    column: pl.Series, reference: NumberSketch, declared: Column, spec: Causes
) -> Fit | None:
    """The conversion that explains the column, where the identity does not."""
    known = column.cast(pl.Float64)
    values = known.filter(known.is_finite()).to_numpy()
    if reference.zeros >= OFTEN_ZERO:
        values = values[values != 0]
    before = np.array(reference.quantiles)
    if len(values) < 2 * FEWEST or len(before) < 3 or reference.spread <= 0:
        return None
    at = (np.arange(len(before)) + 0.5) / len(before)
    now = np.quantile(values, at)
    spread = float(now.std())
    # A column that hardly varies has no shape by which to know it again.
    if spread <= 0:
        return None
    far = float(np.abs(now - before).mean() / min(spread, reference.spread))
    if far < spec.unit_far:
        return None
    fits = []
    for conversion in conversions(declared.unit):
        whole = np.sort(conversion.factor * before + conversion.offset)
        for share in SHARES:
            expected = _mixture(before, whole, share, at)
            if column.dtype.is_integer():
                expected = np.round(expected)
            scale = float(expected.std())
            near = float(np.abs(now - expected).mean() / scale) if scale > 0 else np.inf
            fits.append(Fit(conversion, share, far, near))
    points = min(len(before), len(values) // FEWEST)
    full = min((f for f in fits if f.share == 1), key=lambda f: f.near)
    mixed = min((f for f in fits if f.share != 1), key=lambda f: f.near)
    best = mixed if mixed.near < full.near / 2 else full
    if best.near > MOST_NEAR * spec.unit_near or not _believed(best, points, spec):
        return None
    return best if best.conversion.drastic or left_grid(values, reference.grid) else None


def left_grid(values: np.ndarray, grid: float | None) -> bool:
    """Whether values are no longer recorded in the reference's steps.

    Rain in hundredths of an inch stays so however much falls; in centimetres it does not. So a
    small factor, which a season may bring as well, is believed only where the steps went with it.
    """
    return grid is None or on_grid(values, grid) < ON_GRID / 2


def _believed(fit: Fit, points: int, spec: Causes) -> bool:
    """Whether a fit to that many quantiles tells a conversion from drift.

    A factor such as 2.5 is also how what is skewed grows, so it must fit by many values, and the
    closer the nearer it is to 1. A drastic one may fit less closely, as when the column drifted.
    """
    if fit.share != 1:
        # A mixture bends to more shapes, and of small factors to any: it must lie nearer.
        enough = points >= FEWEST_POINTS and fit.near <= spec.unit_near / 2
        enough = enough and fit.conversion.drastic
        return enough and fit.near * spec.unit_gain <= fit.far
    if not fit.conversion.drastic:
        near = spec.unit_near
        if fit.conversion.factor > 0:
            plain = 0.4 if fit.near * 2 * spec.unit_gain <= fit.far else 0.0
            near *= max(plain, abs(np.log(fit.conversion.factor)) / np.log(DRASTIC))
        enough = points >= FEWEST_POINTS and fit.near <= near
        return enough and fit.near * spec.unit_gain <= fit.far
    if points < FEWEST_POINTS / 2 and fit.far < FAR_OF_FEW:
        return False
    needed = fit.near * spec.unit_gain * max(1.0, fit.near / spec.unit_near)
    return needed <= fit.far


def _mixture(before: np.ndarray, after: np.ndarray, share: float, at: np.ndarray) -> np.ndarray:
    """Quantiles [n] where a share of the rows is converted."""
    if share == 1:
        return after
    values = np.concatenate([before, after])
    weight = np.repeat([1 - share, share], len(before)) / len(before)
    order = np.argsort(values)
    place = np.cumsum(weight[order]) - weight[order] / 2
    return np.interp(at, place, values[order])


def _by_distribution(name: str, fit: Fit, spec: Causes) -> Evidence:
    part = "" if fit.share == 1 else f" in about {fit.share:.0%} of the rows"
    return Evidence(
        "broken_data", "unit", name, fit.far, spec.unit_far,
        f"{name} looks converted{part}: {fit.conversion.words} "
        f"({fit.far:.1f} standard deviations off, {fit.near:.2f} once converted back)",
        beyond(fit.far, spec.unit_far),
    )  # fmt: skip


def _mended(
    frame: pl.DataFrame, table: Table, reference: TableSketch, spec: Causes
) -> list[Evidence]:
    """The column whose conversion mends the broken relations best."""
    best: tuple[float, Evidence] | None = None
    for name, relation in reference.relations.items():
        rows = residuals(frame, name, relation)
        if rows.height < spec.min_rows or table.columns[name].unit == NO_UNIT:
            continue
        share, mended, conversion = _mend(rows, relation, table.columns[name])
        excess = share - relation.broken
        if conversion is None or excess < spec.relation_share or mended < spec.relation_mended:
            continue
        if best is not None and mended <= best[0]:
            continue
        words = (
            f"{name} no longer agrees with the table's other columns in {share:.0%} of the rows, "
            f"and does once converted back: {conversion.words}"
        )
        severity = beyond(excess, spec.relation_share)
        limit = relation.broken + spec.relation_share
        best = mended, Evidence("broken_data", "unit", name, share, limit, words, severity)
    return [best[1]] if best else []


def _mend(
    rows: pl.DataFrame, relation: Relation, declared: Column
) -> tuple[float, float, Conversion | None]:
    """Share of rows that break the relation, share of those a conversion mends, and which."""
    value, expected = rows["value"].to_numpy(), rows["expected"].to_numpy()
    off = np.abs(value - expected) > BROKEN * relation.scale
    if not off.any():
        return 0.0, 0.0, None
    best: tuple[float, Conversion | None] = (0.0, None)
    spread = float(expected[off].std())
    for conversion in conversions(declared.unit):
        back = (value[off] - conversion.offset) / conversion.factor
        # Any large divisor makes small numbers of what it is given: those must vary as expected.
        if not spread / 2 <= float(back.std()) <= spread * 2:
            continue
        mended = float((np.abs(back - expected[off]) <= KEPT * relation.scale).mean())
        if mended > best[0]:
            best = mended, conversion
    return float(off.mean()), *best
