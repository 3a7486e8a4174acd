"""`dg scaffold defs`: the component's options, and what it writes or says."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import polars as pl
import pytest
from dagster.components.component_scaffolding import parse_params_model
from dagster.components.scaffold.scaffold import get_scaffolder

from ai_assets.components import ImageProduct, TabularProduct, TextProduct
from ai_assets.components.scaffolding import (
    ImageScaffolder,
    TabularOptions,
    TabularScaffolder,
    TextOptions,
    TextScaffolder,
)
from ai_assets.lifecycle.product import read_product


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small table of two classes."""
    file = tmp_path / "rows.csv"
    frame = pl.DataFrame({"a": [i % 9 for i in range(90)], "b": [i % 9 > i % 4 for i in range(90)]})
    frame.write_csv(file)
    return file


def request(folder: Path, **options: Any) -> Any:
    folder.mkdir()
    return SimpleNamespace(
        target_path=folder,
        scaffold_format=options.pop("scaffold_format", "yaml"),
        params=TabularOptions(**options),
    )


def test_dagster_finds_the_scaffolder_and_its_options() -> None:
    assert isinstance(get_scaffolder(TabularProduct), TabularScaffolder)
    given = '{"data": "a.csv", "target": "b", "key": "c, d"}'
    assert parse_params_model(TabularProduct, given).model_dump() == {
        "data": "a.csv",
        "target": "b",
        "key": "c, d",
        "time": None,
        "table": None,
        "query": None,
    }


def test_a_product_is_written_into_the_folder(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "late"

    TabularScaffolder().scaffold(request(folder, data=str(data), target="b", key="a"))

    product = read_product(folder)
    assert (product.declaration.label.sql, product.request_table.key) == ("b", ["a"])


def test_pictures_and_texts_have_scaffolders_of_their_own(tmp_path: Path) -> None:
    texts = pl.DataFrame({"mail": [f"how late is my order {i}" for i in range(90)]})
    texts.with_columns(late=pl.int_range(90) % 4 == 0).write_csv(tmp_path / "mails.csv")
    options = TextOptions(data=str(tmp_path / "mails.csv"), target="late")
    folder = tmp_path / "mails"
    folder.mkdir()
    scaffolder = get_scaffolder(TextProduct)
    assert isinstance(scaffolder, TextScaffolder)
    scaffolder.scaffold(
        SimpleNamespace(target_path=folder, scaffold_format="yaml", params=options)  # type: ignore[arg-type]
    )
    assert read_product(folder).request_table.columns["mail"].type == "text"

    assert isinstance(get_scaffolder(ImageProduct), ImageScaffolder)
    given = parse_params_model(ImageProduct, '{"data": "scans", "table": "told.csv"}')
    assert given.model_dump() == {"data": "scans", "target": None, "table": "told.csv"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"target": "bb"}, "Did you mean 'b'?"),
        ({"target": "b", "scaffold_format": "python"}, "leave out --format python"),
    ],
)
def test_a_mistake_is_told_without_a_traceback_and_leaves_no_folder(
    tmp_path: Path, data: Path, options: dict[str, Any], says: str
) -> None:
    folder = tmp_path / "late"

    with pytest.raises(click.ClickException) as raised:
        TabularScaffolder().scaffold(request(folder, data=str(data), **options))

    assert says in raised.value.message
    assert not folder.exists()
