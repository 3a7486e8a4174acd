"""Mistakes in products, by file and line, and whether the code location loads."""

from dataclasses import replace
from pathlib import Path

from ai_assets.doctor import products
from ai_assets.doctor.place import Place


def edited(place: Place, before: str, after: str) -> int:
    """Change the product's YAML; returns the line of the change, from 1."""
    file = place.products / "digit_reading" / "defs.yaml"
    text = file.read_text(encoding="utf-8")
    assert text.count(before) == 1, before
    file.write_text(text.replace(before, after), encoding="utf-8")
    return text[: text.index(before)].count("\n") + 1


def test_products_as_shipped_are_declared_without_a_mistake(place: Place) -> None:
    (line,) = products.declarations(place)

    assert (line.mood, line.found) == (
        "ok",
        "1 are declared without a mistake: digit_reading.",
    )


def test_mistakes_are_told_each_by_file_and_line(place: Place) -> None:
    at = edited(place, "  training:", "  trainin:")

    lines = list(products.declarations(place))

    assert {line.mood for line in lines} == {"problem"}
    where = f"ai_assets/products/digit_reading/defs.yaml:{at} "
    (named,) = [line for line in lines if line.found.startswith(where)]
    assert "Did you mean 'training'" in named.found


def test_fields_that_do_not_go_together_are_told_where_one_of_them_is(place: Place) -> None:
    at = edited(place, "  gate:\n", "  gate:\n    champion: {metric: cost}\n")

    (line,) = products.declarations(place)

    assert line.found == (
        f"ai_assets/products/digit_reading/defs.yaml:{at + 1} gate.champion.metric of a "
        "multiclass task can be 'cost' only where training.costs says what answers cost, but none "
        "are declared."
    )


def test_a_parameter_out_of_its_range_is_told_by_its_own_line(place: Place) -> None:
    at = edited(
        place,
        "  training:\n",
        "  training:\n    parameters:\n      cnn:\n        width: 24\n        dropout: 1.5\n",
    )

    (line,) = products.declarations(place)

    assert line.found == (
        f"ai_assets/products/digit_reading/defs.yaml:{at + 4} "
        "training.parameters.cnn.dropout: dropout of cnn must be a number from 0 to below 1, "
        "but got 1.5."
    )


def test_text_that_is_no_yaml_is_told_by_its_line(place: Place) -> None:
    at = edited(place, "  training:", "  training: [")

    (line,) = products.declarations(place)

    assert line.mood == "problem"
    number = int(line.found.split("defs.yaml:")[1].split()[0])
    assert number >= at


def test_a_type_that_is_no_kind_is_told_with_the_nearest(place: Place) -> None:
    at = edited(place, "components.ImageProduct", "components.ImageProdukt")

    (line,) = products.declarations(place)

    assert f"defs.yaml:{at} type must be one of" in line.found
    assert "Did you mean 'ai_assets.components.ImageProduct'?" in line.found


def test_a_query_that_is_missing_is_told_where_it_is_named(place: Place) -> None:
    edited(place, "  training:", "  features: featurs.sql\n  training:")

    (line,) = products.declarations(place)

    assert "features must name a file in the folder of 'digit_reading'" in line.found


def test_a_folder_without_products_is_a_problem(place: Place, tmp_path: Path) -> None:
    (line,) = products.declarations(replace(place, products=tmp_path))

    assert line.mood == "problem" and "ai_assets.scaffold" in line.do


def test_a_code_location_loads_and_one_that_raises_says_why(place: Place, repo_root: Path) -> None:
    own = replace(place, project=repo_root)
    package = place.project / "ai_assets"
    (package / "__init__.py").write_text("", encoding="utf-8")
    text = "raise RuntimeError('no such table: customers')\n"
    (package / "definitions.py").write_text(text, encoding="utf-8")

    (loads,) = products.code_location(own)
    (raises,) = products.code_location(place)

    assert loads.mood == "ok" and " assets, " in loads.found
    assert (raises.mood, raises.found) == (
        "problem",
        "It does not load: RuntimeError: no such table: customers",
    )
