"""Rows changed in named ways: by the seed, as said, and nothing else."""

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.errors import DataError, DeclarationError
from ai_assets.lifecycle.injection import INJECTIONS, code_after, inject
from ai_assets.lifecycle.product import TabularDeclaration
from ai_assets_tests.lifecycle import cause_worlds as world

FRAMES = world.raw(1)


def changed(name: str, seed: int = 0, **rest: float) -> tuple[str, list[str]]:
    """The one table that differs, and the columns in it that do."""
    after = inject(name, FRAMES, world.DECLARED, seed, **rest)
    tables = [t for t in FRAMES if not FRAMES[t].equals(after[t])]
    assert len(tables) == 1
    one, other = FRAMES[tables[0]], after[tables[0]]
    if one.height != other.height:
        return tables[0], ["rows"]
    names = [c for c in one.columns if c not in other.columns or not one[c].equals(other[c])]
    return tables[0], names


def test_there_are_thirteen_of_four_causes() -> None:
    causes = [injection.cause for injection in INJECTIONS.values()]

    assert {cause: causes.count(cause) for cause in dict.fromkeys(causes)} == {
        "broken_data": 5,
        "changed_code": 1,
        "covariate_drift": 4,
        "concept_drift": 3,
    }
    assert all(injection.words for injection in INJECTIONS.values())


@pytest.mark.parametrize("name", INJECTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_one_table_changes_and_the_seed_says_how(name: str, seed: int) -> None:
    before = {table: frame.clone() for table, frame in FRAMES.items()}

    one = inject(name, FRAMES, world.DECLARED, seed)
    other = inject(name, FRAMES, world.DECLARED, seed)

    assert len([t for t in FRAMES if not FRAMES[t].equals(one[t])]) == 1
    assert all(one[t].equals(other[t]) for t in FRAMES)
    assert all(FRAMES[t].equals(before[t]) for t in FRAMES)


@pytest.mark.parametrize("name", [n for n, i in INJECTIONS.items() if i.changes_outcome])
def test_concept_shifts_leave_every_input_alone(name: str) -> None:
    assert changed(name) == ("orders", ["delay"])


def test_outcomes_come_from_real_rows() -> None:
    after = inject("label_flipped_in_segment", FRAMES, world.DECLARED, 0)["orders"]

    assert set(after["delay"]) <= set(FRAMES["orders"]["delay"])
    turned = (after["delay"] >= 15) != (FRAMES["orders"]["delay"] >= 15)
    assert 0.15 <= turned.mean() <= 0.55
    inside = FRAMES["orders"].filter(turned)["shop"].unique()
    assert turned.sum() == FRAMES["orders"]["shop"].is_in(inside.implode()).sum()


def test_a_shifted_base_rate_is_fifteen_rows_of_a_hundred() -> None:
    after = inject("base_rate_shifted", FRAMES, world.DECLARED, 0)["orders"]

    rise = (after["delay"] >= 15).mean() - (FRAMES["orders"]["delay"] >= 15).mean()
    assert rise == pytest.approx(0.15, abs=0.02)


def test_a_weakened_relation_keeps_the_outcomes_and_a_shuffled_number_its_values() -> None:
    weak = inject("relation_weakened", FRAMES, world.DECLARED, 0)["orders"]
    assert weak["delay"].sort().equals(FRAMES["orders"]["delay"].sort())

    table, (column,) = changed("joint_shifted")
    joint = inject("joint_shifted", FRAMES, world.DECLARED, 0)[table]
    assert joint[column].sort().equals(FRAMES[table][column].sort())


def test_a_unit_is_converted_within_its_family() -> None:
    table, (column,) = changed("unit_changed")
    old, new = (
        FRAMES[table][column],
        inject("unit_changed", FRAMES, world.DECLARED, 0)[table][column],
    )

    slope, offset = np.polyfit(old.to_numpy(), new.to_numpy(), 1)
    assert np.allclose(new, slope * old + offset, atol=0.6)
    assert abs(slope - 1) > 0.05 or abs(offset) > 1


def test_a_stuck_number_repeats_in_the_later_half() -> None:
    table, (column,) = changed("value_stuck")
    time = world.DECLARED.tables[table].time
    rows = inject("value_stuck", FRAMES, world.DECLARED, 0)[table].sort(time, maintain_order=True)

    assert rows[column].tail(rows.height // 2 - 1).n_unique() == 1
    assert rows[column].head(rows.height // 2 - 1).n_unique() > 20


def test_a_new_category_is_one_that_the_contract_allows() -> None:
    after = inject("new_category", FRAMES, world.DECLARED, 0)["orders"]["shop"]

    made = set(after) - set(world.SHOPS)
    assert len(made) == 1
    assert made.pop().isalpha()
    assert (~after.is_in(world.SHOPS)).mean() == pytest.approx(0.33, abs=0.03)


def test_strength_scales_the_change() -> None:
    def missing(strength: float) -> int:
        after = inject("nulls_spread", FRAMES, world.DECLARED, 0, strength=strength)
        return sum(frame.null_count().sum_horizontal()[0] for frame in after.values())

    assert missing(0.2) < 0.3 * missing(1.0)


def test_texts_of_a_source_are_read_by_the_contract() -> None:
    texts = {name: frame.cast(pl.String) for name, frame in FRAMES.items()}

    for name in INJECTIONS:
        assert set(inject(name, texts, world.DECLARED, 0)) == {"orders", "rooms"}


def test_only_a_change_of_code_comes_with_another_version() -> None:
    versions = {"cleaned/orders": "a", "features": "b"}

    assert code_after("upstream_code_changed", versions)["cleaned/orders"] != "a"
    assert code_after("upstream_code_changed", versions)["features"] == "b"
    assert code_after("unit_changed", versions) == versions


def test_an_unknown_name_offers_the_nearest_and_a_strength_is_checked() -> None:
    with pytest.raises(DeclarationError, match=r"Did you mean 'unit_changed'\?"):
        inject("unit_change", FRAMES, world.DECLARED, 0)
    with pytest.raises(DeclarationError, match="above 0 and at most 2"):
        inject("unit_changed", FRAMES, world.DECLARED, 0, strength=0)


def test_a_product_without_such_a_column_is_told_what_is_needed() -> None:
    plain = TabularDeclaration.model_validate(
        {
            "description": "?",
            "request": "rows",
            "tables": {
                "rows": {
                    "source": {"csv": "rows.csv"},
                    "key": ["id"],
                    "columns": {"id": {"type": "int64"}, "yes": {"type": "bool"}},
                }
            },
            "label": {"sql": "yes"},
        }
    )
    rows = pl.DataFrame({"id": range(40), "yes": [True, False] * 20})

    with pytest.raises(DataError, match="needs a free text column"):
        inject("new_category", {"rows": rows}, plain, 0)
    with pytest.raises(DataError, match="needs a column of numbers"):
        inject("unit_changed", {"rows": rows}, plain, 0)
    with pytest.raises(DataError, match="needs a table with a time"):
        inject("clock_shifted", {"rows": rows}, plain, 0)
    assert inject("relation_weakened", {"rows": rows}, plain, 0)["rows"]["yes"].sum() == 20
