"""Contributions within a picture and a text, in words and figures."""

import polars as pl

from ai_assets.automation.why.prediction import shown
from ai_assets.automation.why.words_of_prediction import _contributions
from ai_assets.lifecycle.features.images import canonical
from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.tables import Column, Table

PART = {"value": "-", "importance": None, "made_of": [], "contribution": 0.5}


def test_a_map_is_shown_row_by_row_and_words_in_their_order():
    told = {
        "space": "log odds", "method": "sampled", "base": 0.25, "output": 1.25,
        "contributions": [
            PART | {"feature": "photo", "map": [[0.501, 0.0], [-0.001, 0.0]]},
            PART | {"feature": "remark", "words": [{"word": "leak", "contribution": 0.5}]},
        ],
    }  # fmt: skip
    lines = list(_contributions(told))
    assert lines[-5:] == [
        "    photo, a contribution a patch",
        "       +0.50      .",
        "           .      .",
        "    remark, word by word: leak +0.50",
        "    base +0.250, together +1.250",
    ]


def test_a_picture_is_shown_as_one_could_send_it_and_never_where_it_is_personal():
    column = Column(type="image", size=[2, 2])
    rows = pl.DataFrame({"photo": [bytes([0, 9, 90, 255]), None]})
    table = Table(source=Source(csv="a.csv"), columns={"photo": column})

    sent = shown(rows, table)["photo"].to_list()
    assert sent[0].startswith("data:image/png;base64,") and sent[1] is None
    assert canonical(sent[0], column) == bytes([0, 9, 90, 255])

    personal = table.model_copy(
        update={"columns": {"photo": column.model_copy(update={"personal": True})}}
    )
    assert shown(rows, personal)["photo"].to_list() == ["(personal)"] * 2
