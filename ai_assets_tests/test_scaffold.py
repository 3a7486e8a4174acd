"""`python -m ai_assets.scaffold`: what it writes, proposes and refuses."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.product import read_product
from ai_assets.scaffold import main


def written(folder: Path, rows: int = 300, **more: list[object]) -> Path:
    """A CSV file of customers."""
    luck = np.random.default_rng(3)
    frame = pl.DataFrame(
        {
            "number": [f"C{i * 3}" for i in range(rows)],
            "tenure": [i * 7 % 60 for i in range(rows)],
            "churned": ["Yes" if yes else "No" for yes in luck.random(rows) < 0.3],
            **more,
        }
    )
    file = folder / "customers.csv"
    frame.write_csv(file)
    return file


def called(products: Path, data: Path, *more: str, name: str = "churn") -> int:
    asked = ["--data", str(data), "--target", "churned", "--products", str(products)]
    return main([name, *asked, *more])


def test_a_product_is_written_and_read_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    products = tmp_path / "products"

    assert called(products, written(tmp_path)) == 0

    product = read_product(products / "churn")
    assert (product.name, product.request_table.key) == ("churn", ["number"])
    assert "r.tenure" in product.features_sql
    assert f"Wrote defs.yaml, features.sql to {products / 'churn'}." in capsys.readouterr().out


def test_a_second_run_on_the_same_data_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = written(tmp_path)
    called(tmp_path, data)

    assert called(tmp_path, data) == 0

    assert "is as the data says; nothing to change." in capsys.readouterr().out


def test_changed_data_is_proposed_as_a_diff_and_written_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = written(tmp_path)
    called(tmp_path, data)
    before = (tmp_path / "churn" / "defs.yaml").read_text(encoding="utf-8")
    written(tmp_path, plan=["basic", "plus", "pro"] * 100)
    capsys.readouterr()

    assert called(tmp_path, data) == 1

    said = capsys.readouterr()
    assert (tmp_path / "churn" / "defs.yaml").read_text(encoding="utf-8") == before
    plan = "+        plan: {type: string, allowed: [basic, plus, pro], nullable: false, example: "
    assert plan in said.out
    assert "--- churn/features.sql (as it is)\n+++ churn/features.sql (from the data)" in said.out
    assert said.err.strip().endswith("was left as it is. To write this: --write")

    assert called(tmp_path, data, "--write") == 0
    assert "plan" in read_product(tmp_path / "churn").request_table.columns


def test_mistakes_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = written(tmp_path)

    assert called(tmp_path, data, name="My churn") == 2
    assert "a product's folder name must be lower case letters" in capsys.readouterr().err
    assert called(tmp_path, tmp_path / "customer.csv") == 2
    assert "Did you mean 'customers.csv'?" in capsys.readouterr().err
    assert called(data, data) == 2
    assert "must be a folder to write to, but: Not a directory." in capsys.readouterr().err
    assert not (tmp_path / "churn").exists()


def test_a_key_that_is_given_is_taken(tmp_path: Path) -> None:
    assert called(tmp_path, written(tmp_path), "--key", "number", "tenure") == 0

    assert read_product(tmp_path / "churn").request_table.key == ["number", "tenure"]


def edited(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_what_a_person_changed_stays_and_only_what_the_data_changed_is_proposed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = written(tmp_path)
    called(tmp_path, data)
    declared = tmp_path / "churn" / "defs.yaml"
    edited(declared, "description: What is churned of", "description: Who leaves us, of")
    edited(declared, "tenure: {type: int64,", "tenure: {type: int64, unit: month,")
    edited(declared, "owners: []", "owners: [team:sales]")
    edited(tmp_path / "churn" / "features.sql", "r.tenure", "r.tenure / 12 AS years")
    written(tmp_path, plan=["basic", "plus", "pro"] * 100)
    capsys.readouterr()

    assert called(tmp_path, data) == 1

    said = capsys.readouterr()
    lines = said.out.splitlines()
    changed = [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]
    assert [line.split(":")[0].strip() for line in changed] == [
        "-# Written from customers.csv",
        "+# Written from customers.csv",
        "+        plan",
    ]
    kept = "Kept as you have it: r.tenure / 12 AS years\n  the data says: r.tenure,\n    r.plan\n"
    assert kept in said.err

    assert called(tmp_path, data, "--write") == 0
    product = read_product(tmp_path / "churn")
    assert product.declaration.owners == ["team:sales"]
    assert product.request_table.columns["tenure"].unit == "month"
    assert "plan" in product.request_table.columns
    assert "r.tenure / 12 AS years" in product.features_sql
    capsys.readouterr()
    assert called(tmp_path, data) == 0
    assert "nothing to change" in capsys.readouterr().out


def test_a_line_that_both_changed_stays_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = written(tmp_path, size=[i % 9 for i in range(300)], plan=["basic", "plus"] * 150)
    called(tmp_path, data)
    declared = tmp_path / "churn" / "defs.yaml"
    edited(declared, "size: {type: int64, min: 0, max: 12,", "size: {type: int64, min: 1, max: 99,")
    written(tmp_path, size=[i * 7 % 600 for i in range(300)], plan=["basic", "plus", "pro"] * 100)
    capsys.readouterr()

    assert called(tmp_path, data) == 1

    said = capsys.readouterr()
    assert "Kept as you have it: size: {type: int64, min: 1, max: 99," in said.err
    assert "the data says: size: {type: int64, min: 0, max: 900" in said.err
    assert "+        plan: {type: string, allowed: [basic, plus, pro]" in said.out
    assert "size: {type" not in "".join(line for line in said.out.splitlines() if line[0] in "+-")


def test_a_product_that_was_not_scaffolded_is_compared_as_a_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = written(tmp_path)
    called(tmp_path, data)
    (tmp_path / "churn" / ".scaffolded.json").unlink()
    edited(tmp_path / "churn" / "defs.yaml", "owners: []", "owners: [team:sales]")
    capsys.readouterr()

    assert called(tmp_path, data) == 1
    assert "-  owners: [team:sales]" in capsys.readouterr().out
