"""A small product, unlike the shipped one, in which tests of causes break things."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from ai_assets.lifecycle.cleaning import check_columns, clean
from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.product import TabularDeclaration
from ai_assets.lifecycle.verdict.broken import Observed
from ai_assets.lifecycle.verdict.sketch import TableSketch, table_sketch

START, END = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 31, tzinfo=UTC)
SHOPS = ["east", "north", "south", "west", "mid"]
ORDERS = 6_000

DECLARED = TabularDeclaration.model_validate(
    {
        "description": "Will this order be late?",
        "request": "orders",
        "tables": {
            "orders": {
                "source": {"csv": "orders.csv"},
                "key": ["number"],
                "time": "placed",
                "columns": {
                    "number": {"type": "int64"},
                    "placed": {"type": "datetime"},
                    "shop": {"type": "string", "pattern": "[a-z]+"},
                    "weight": {"type": "float64", "unit": "kg", "min": 0},
                    "price": {"type": "float64"},
                    "delay": {"type": "int64", "unit": "minute", "known_at": "placed"},
                },
            },
            "rooms": {
                "source": {"csv": "rooms.csv"},
                "key": ["shop", "hour"],
                "time": "hour",
                "columns": {
                    "shop": {"type": "string"},
                    "hour": {"type": "datetime"},
                    "temp": {"type": "float64", "unit": "celsius"},
                    "load": {"type": "float64", "unit": "percent"},
                },
            },
        },
        "label": {"sql": "delay >= 15", "arrives_after": "1 day"},
    }
)


def raw(seed: int) -> dict[str, pl.DataFrame]:
    """March's orders, by day more than by night, and hourly rooms that warm up by noon."""
    return {"orders": _orders(np.random.default_rng([seed, 1])), "rooms": _rooms(seed)}


def _orders(random: np.random.Generator) -> pl.DataFrame:
    hours = random.choice(24, ORDERS, p=_busy())
    days = random.integers(0, 30, ORDERS)
    seconds = random.integers(0, 3600, ORDERS)
    shop = random.choice(SHOPS, ORDERS, p=[0.3, 0.25, 0.2, 0.15, 0.1])
    weight = random.gamma(4, 2, ORDERS)
    price = 3 * weight + random.normal(0, 1, ORDERS) + 5
    odds = -1.5 + 0.25 * (weight - 8) + 0.8 * (shop == "west")
    late = random.random(ORDERS) < 1 / (1 + np.exp(-odds))
    delay = np.where(late, 15 + random.integers(0, 60, ORDERS), random.integers(-10, 15, ORDERS))
    placed = [
        START + timedelta(days=int(d), hours=int(h), seconds=int(s))
        for d, h, s in zip(days, hours, seconds, strict=True)
    ]
    columns = {"number": np.arange(ORDERS), "placed": placed, "shop": shop}
    return pl.DataFrame(columns | {"weight": weight, "price": price, "delay": delay})


def _busy() -> np.ndarray:
    share = np.exp(-((np.arange(24) - 13.0) ** 2) / 18)
    return share / share.sum()


def _rooms(seed: int) -> pl.DataFrame:
    random = np.random.default_rng([seed, 2])
    rows = []
    weather = np.cumsum(random.normal(0, 0.3, 30))
    for shop in SHOPS:
        for hour in range(30 * 24):
            course = 4 * np.cos((hour % 24 - 15) / 24 * 2 * np.pi)
            temp = 18 + weather[hour // 24] + course + random.normal(0, 0.5)
            load = 40 + 3 * course + random.normal(0, 4)
            rows.append((shop, START + timedelta(hours=hour), temp, load))
    return pl.DataFrame(rows, schema=["shop", "hour", "temp", "load"], orient="row")


def sketches(frames: dict[str, pl.DataFrame]) -> dict[str, TableSketch]:
    """The reference of cleaned rows."""
    return {
        name: table_sketch(clean(frames[name].lazy(), table).good.collect(), table)
        for name, table in DECLARED.tables.items()
    }


def observed(
    frames: dict[str, pl.DataFrame], reference: dict[str, TableSketch], *, spans: bool = True
) -> dict[str, Observed]:
    """The tables as a partition's judge sees them."""
    seen = {}
    for name, table in DECLARED.tables.items():
        span = (START, END) if spans else None
        try:
            check_columns(frames[name].lazy(), table, name)
        except DataError as error:
            problem = str(error).splitlines()[:1]
            seen[name] = Observed(table, reference[name], None, None, problem, span)
            continue
        cleaned = clean(frames[name].lazy(), table)
        good = cleaned.good.collect()
        seen[name] = Observed(table, reference[name], good, cleaned.counts, [], span)
    return seen


def scores(rows: pl.DataFrame) -> np.ndarray:
    """The probability by which `_orders` made a row late: perfectly calibrated."""
    west = (rows["shop"] == "west").fill_null(False).to_numpy()
    odds = -1.5 + 0.25 * (rows["weight"].fill_null(8).to_numpy() - 8) + 0.8 * west
    return 1 / (1 + np.exp(-odds))
