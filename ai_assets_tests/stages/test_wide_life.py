"""A table of 2,000 columns and few rows, scaffolded and left as it is, goes the whole way."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from small_product import World, findings

from ai_assets.serving.app import create_app
from ai_assets.serving.settings import Settings
from ai_assets.stages.monitoring import read_watched
from ai_assets_tests.stages.test_scaffolded_life import scaffolded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
ROWS, COLUMNS = 1_500, 1_999
TARGET = "answer"


def wide(folder: Path) -> Path:
    """Noise, in which c0 and c1 say most of the answer, and c7 is the sum of c5 and c6, nearly."""
    luck = np.random.default_rng(3)
    values = luck.normal(size=(ROWS, COLUMNS))
    values[:, 7] = values[:, 5] + values[:, 6] + 0.01 * values[:, 7]
    says_yes = 2 * values[:, 0] + values[:, 1] + luck.normal(size=ROWS) > 0
    frame = pl.DataFrame({f"c{i}": values[:, i].round(4) for i in range(COLUMNS)})
    file = folder / "wide.csv"
    answers = pl.Series(TARGET, ["yes" if one else "no" for one in says_yes])
    frame.with_columns(answers).write_csv(file)
    return file


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("wide")
    return scaffolded(folder, wide(folder), TARGET)


@pytest.fixture(scope="module")
def payload(world: World) -> Path:
    (stable,) = world.tools.ledger.history("churn")["stable"]
    return world.tools.bundles.payload(stable)


def test_every_row_and_column_is_learned_from_and_the_gate_opens(world: World) -> None:
    features = world.rows("features")
    assert (features.height, features.select("^c\\d+$").width) == (ROWS, COLUMNS)
    assert world.rows(f"rejected/{world.product.declaration.request}").height == 0
    (limits,) = findings(world.runs["all"], "within_limits")
    assert limits[1]


def test_what_is_served_tells_a_clear_yes_from_a_clear_no(world: World, payload: Path) -> None:
    plain = {f"c{i}": 0.0 for i in range(COLUMNS)}
    rows = [plain | {"c0": sign * 2.5, "c1": sign * 2.0} for sign in (1, -1)]
    settings = Settings(lake=str(world.home / "lake"), access="open")
    app = create_app(payload, settings)
    with TestClient(app, client=("127.0.0.1", 50000), headers={"Host": "localhost"}) as client:
        answer = client.post("/predict", json=rows)

    assert answer.status_code == 200, answer.text
    likely, unlikely = answer.json()["predictions"]
    assert likely["probability"] > 0.8 and unlikely["probability"] < 0.2


def test_only_numbers_that_hang_together_are_watched_together(payload: Path) -> None:
    watched = read_watched(payload)
    assert watched is not None
    (sketch,) = watched.sketches.values()
    assert sorted(sketch.relations) == ["c5", "c6", "c7"]
    assert len(sketch.profile.columns) == COLUMNS + 1
