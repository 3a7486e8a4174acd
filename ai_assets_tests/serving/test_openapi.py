"""The page that people read before they call."""

import json

from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.serving.request import request_model

TABLE = Table.model_validate(
    {
        "source": {"python": "not.in.the.bundle"},
        "key": ["número"],
        "columns": {
            "número": {"type": "int64", "min": 1, "description": "Which one", "example": 7},
            "distance": {"type": "float64", "unit": "mile", "max": 6000},
        },
    }
)


def test_the_schema_of_a_row_has_the_products_names_units_ranges_and_examples() -> None:
    schema = request_model(TABLE, Encoding(()), "trips").model_json_schema()

    number, distance = schema["properties"]["número"], schema["properties"]["distance"]

    assert number["description"].startswith("Which one")
    assert "7" in json.dumps(number)
    assert "mile" in json.dumps(distance)
    assert "6000" in json.dumps(distance)
    assert schema["required"] == ["número"]


def test_no_part_of_an_operation_points_to_a_schema_that_bentoml_leaves_behind() -> None:
    from ai_assets.serving.openapi import operation

    class Reader:
        table = TABLE
        model = request_model(TABLE, Encoding(()), "trips")

        def example(self) -> dict[str, int]:
            return {"número": 7}

    told = json.dumps(operation(Reader(), {}, 16), ensure_ascii=False)  # type: ignore[arg-type]

    assert "$ref" not in told
    assert told.count('"maxItems": 16') == 2
    assert "número" in told
