"""A file is scored as the server scores rows; what cannot be scored is kept with its reason."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import small_payload as small
from fastapi.testclient import TestClient

from ai_assets.lifecycle.schema.tables import Column
from ai_assets.serving.batch import main, names_beside

ROWS = [
    {**small.ROW, "distance": 100 + 10 * at, "place": ["EWR", "JFK", "LGA"][at % 3], "weight": None}
    for at in range(20)
]


@pytest.fixture
def lake(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_ASSETS_LAKE", str(shared / "lake"))


def run(shared: Path, source: Path, target: Path, *more: str) -> int:
    return main([str(source), str(target), "--bundle", str(shared / "payload"), *more])


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema_overrides={"weight": pl.Float64}).with_columns(
        pl.col("due").str.to_datetime(time_zone="UTC")
    )


@pytest.mark.usefixtures("lake")
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_file_gets_the_answers_that_predict_gives(
    shared: Path, tmp_path: Path, client: TestClient, kind: str
):
    source, target = tmp_path / f"in.{kind}", tmp_path / "out.parquet"
    if kind == "csv":
        pl.DataFrame(ROWS, schema_overrides={"weight": pl.String}).write_csv(source)
    else:
        frame(ROWS).write_parquet(source)

    assert run(shared, source, target, "--chunk-rows", "7") == 0

    found = pl.read_parquet(target)
    offline = client.post("/predict", json=ROWS).json()["predictions"]
    assert found["_row"].to_list() == list(range(20))
    assert found["probability"].to_list() == pytest.approx(
        [answer["probability"] for answer in offline], abs=1e-12
    )
    assert found["label"].to_list() == [answer["label"] for answer in offline]
    assert found["threshold"].unique().to_list() == [0.6]
    assert found["prediction_id"].n_unique() == 20
    assert found.columns[:3] == ["_row", "due", "carrier"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, "out.parquet"])


GERMAN = ("--delimiter", ";", "--encoding", "latin-1", "--decimal", ",", "--thousands", ".")
OFFSET = "%d.%m.%Y %H:%M%z"
DATED = ("--dates", "%d.%m.%Y %H:%M", "%d.%m.%Y", "--utc")


def german(rows: list[dict[str, Any]]) -> bytes:
    """The rows as a German spreadsheet writes them, with a column of its own."""
    lines = ["due;place;carrier;distance;weight;booked;straße"]
    for row in rows:
        due = f"{row['due'][8:10]}.{row['due'][5:7]}.{row['due'][:4]} {row['due'][11:16]}"
        miles = f"{row['distance']:,}".replace(",", ".")
        lines.append(f"{due};{row['place']};{row['carrier']};{miles};1.000,5;05.04.2013;Süd")
    return "\n".join(lines).encode("latin-1")


@pytest.mark.usefixtures("lake")
def test_a_csv_is_read_as_its_country_writes_it(shared: Path, tmp_path: Path, client: TestClient):
    rows = [{**row, "weight": 1000.5, "booked": "2013-04-05"} for row in ROWS]
    rows[2]["distance"] = 1_234
    wrong = [{**ROWS[0], "distance": 9_000}]
    (tmp_path / "in.csv").write_bytes(german(rows + wrong))

    assert run(shared, tmp_path / "in.csv", tmp_path / "out.parquet", *GERMAN, *DATED) == 0

    found = pl.read_parquet(tmp_path / "out.parquet")
    answers = client.post("/predict", json=rows).json()["predictions"]
    assert found["probability"].to_list() == pytest.approx(
        [answer["probability"] for answer in answers], abs=1e-12
    )
    bad = pl.read_parquet(tmp_path / "out.rejected.parquet")
    assert bad["_reason"].to_list() == ["distance must be between 1 and 6000 mile, but got 9000."]
    assert bad["distance"].to_list() == ["9.000"]
    assert bad["straße"].to_list() == ["Süd"]


@pytest.mark.usefixtures("lake")
def test_without_being_told_so_a_country_is_not_guessed(shared: Path, tmp_path: Path):
    (tmp_path / "in.csv").write_bytes(german(ROWS[:2]))
    told = ("--delimiter", ";", "--encoding", "latin-1")

    assert run(shared, tmp_path / "in.csv", tmp_path / "out.parquet", *told) == 0

    reasons = pl.read_parquet(tmp_path / "out.rejected.parquet")["_reason"].to_list()
    assert len(reasons) == 2
    for reason in reasons:
        assert "weight must be a number, but got '1.000,5'" in reason
        assert "but got '10.04.2013 15:30'" in reason


@pytest.mark.usefixtures("lake")
def test_an_instant_without_an_offset_is_in_utc_only_where_that_is_said(
    shared: Path, tmp_path: Path, client: TestClient
):
    dues = [
        "2013-04-10 15:30",
        "2013-04-10T15:30:00.000",
        "2013-04-10",
        "2013-04-10T17:30:00+02:00",
    ]
    instants = ["2013-04-10T15:30:00Z"] * 2 + ["2013-04-10T00:00:00Z", "2013-04-10T15:30:00Z"]
    rows = [{**small.ROW, "due": due} for due in dues]
    pl.DataFrame(rows).write_csv(tmp_path / "in.csv")

    assert run(shared, tmp_path / "in.csv", tmp_path / "utc.parquet", "--utc") == 0
    assert run(shared, tmp_path / "in.csv", tmp_path / "strict.parquet") == 0

    asked = [{**row, "due": instant} for row, instant in zip(rows, instants, strict=True)]
    answers = client.post("/predict", json=asked).json()["predictions"]
    found = pl.read_parquet(tmp_path / "utc.parquet")
    assert found["probability"].to_list() == pytest.approx([a["probability"] for a in answers])
    assert found["due"].dt.strftime("%Y-%m-%dT%H:%M:%SZ").to_list() == instants
    assert pl.read_parquet(tmp_path / "strict.parquet")["_row"].to_list() == [3]


@pytest.mark.usefixtures("lake")
@pytest.mark.parametrize("due", ["10.04.2013 17:30+0200", "2013-04-10 15:30:00 UTC"])
def test_an_instant_with_an_offset_needs_no_word_of_utc_however_it_is_written(
    shared: Path, tmp_path: Path, due: str
):
    rows = [{**small.ROW, "due": due}]
    pl.DataFrame(rows).write_csv(tmp_path / "in.csv")

    assert run(shared, tmp_path / "in.csv", tmp_path / "out.parquet", "--dates", OFFSET) == 0

    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found["due"].to_list() == [datetime(2013, 4, 10, 15, 30, tzinfo=UTC)]


@pytest.mark.usefixtures("lake")
def test_what_is_no_text_is_read_as_where_a_source_is_read(shared: Path, tmp_path: Path):
    told = {"distance": " 1400", "first": ["yes", "0 ", "perhaps"], "booked": "2013-04-05 07:30"}
    pl.DataFrame({**small.ROW, **told}, strict=False).write_csv(tmp_path / "in.csv")

    assert run(shared, tmp_path / "in.csv", tmp_path / "out.parquet", "--utc") == 0

    assert pl.read_parquet(tmp_path / "out.parquet")["_row"].to_list() == [0, 1]
    bad = pl.read_parquet(tmp_path / "out.rejected.parquet")
    assert bad["_reason"].to_list() == ["first must be true or false, but got 'perhaps'."]
    assert bad["distance"].to_list() == [" 1400"]


@pytest.mark.usefixtures("lake")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16"])
def test_a_mark_of_the_byte_order_is_no_part_of_the_first_name(
    shared: Path, tmp_path: Path, encoding: str
):
    mark = "" if encoding == "utf-16" else "\ufeff"
    text = pl.DataFrame([small.ROW]).write_csv(quote_style="always")
    (tmp_path / "in.csv").write_bytes(f"{mark}{text}".encode(encoding))

    told = ("--encoding", encoding)
    assert run(shared, tmp_path / "in.csv", tmp_path / "out.parquet", *told) == 0

    assert pl.read_parquet(tmp_path / "out.parquet")["_row"].to_list() == [0]


@pytest.mark.usefixtures("lake")
@pytest.mark.parametrize(
    ("told", "words"),
    [
        (("--decimal", ",", "--thousands", ","), "--thousands must differ from --decimal"),
        (("--delimiter", ";;"), "--delimiter must be one ASCII character, but got ';;'"),
        (("--encoding", "klingon"), "in.csv cannot be read: unknown encoding: klingon"),
        (("--dates", "%H:%M"), "--dates must be formats of strptime with a day"),
    ],
)
def test_a_notation_that_cannot_be_is_refused(
    shared: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    told: tuple[str, ...],
    words: str,
):
    (tmp_path / "in.csv").write_bytes(german(ROWS))

    assert run(shared, tmp_path / "in.csv", tmp_path / "out.parquet", *told) == 1

    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


@pytest.mark.usefixtures("lake")
def test_bad_rows_go_to_a_file_of_their_own_with_the_reason(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rows = [dict(row) for row in ROWS]
    rows[3]["distance"] = 9000
    rows[11] |= {"distance": None, "carrier": "UAX"}
    frame(rows).with_columns(gate=pl.lit("A")).write_parquet(tmp_path / "in.parquet")

    assert run(shared, tmp_path / "in.parquet", tmp_path / "out.parquet", "--chunk-rows", "6") == 0

    good = pl.read_parquet(tmp_path / "out.parquet")
    bad = pl.read_parquet(tmp_path / "out.rejected.parquet")
    assert good.height == 18
    assert bad["_row"].to_list() == [3, 11]
    assert bad["_reason"].to_list() == [
        "distance must be between 1 and 6000 mile, but got 9000.",
        (
            "carrier must be a text that matches [A-Z0-9]{2}, but got 'UAX'. "
            "distance must be a whole number, but got null."
        ),
    ]
    assert bad["distance"].to_list() == [9000, None]
    assert bad["gate"].to_list() == ["A", "A"]
    told = capsys.readouterr().err
    assert "Not read: gate" in told
    assert "20 of 20 rows: 18 scored, 2 rejected" in told
    assert "out.rejected.parquet" in told


@pytest.mark.usefixtures("lake")
def test_lines_of_a_csv_that_are_no_rows_are_kept_too(shared: Path, tmp_path: Path):
    lines = [
        "due,place,carrier,distance,first",
        "2013-04-10T15:30:00Z,EWR,UA,1400,true",
        "2013-04-10T15:30:00Z,EWR",
        "2013-04-10T15:30:00Z,JFK,UA,14x,NA",
        "2013-04-10T15:30:00Z,JFK,UA,200,maybe",
        "2013-04-10T15:30:00Z,LGA,UA,200.5,",
        '"2013-04-10T15:30:00Z","LGA","UA","200",FALSE',
        "2013-04-10T15:30:00Z,LGA,UA,200.0,false",
    ]
    (tmp_path / "in.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    assert run(shared, tmp_path / "in.csv", tmp_path / "out.parquet", "--chunk-rows", "2") == 0

    good = pl.read_parquet(tmp_path / "out.parquet")
    assert good["_row"].to_list() == [0, 5, 6]
    assert good["probability"][1] == good["probability"][2]  # 200.0 is 200
    bad = pl.read_parquet(tmp_path / "out.rejected.parquet").sort("_row")
    assert dict(bad.select("_row", "_reason").iter_rows()) == {
        1: "The line has 2 values, not 5.",
        2: "distance must be a whole number, but got '14x'.",
        3: "first must be true or false, but got 'maybe'.",
        4: "distance must be a whole number, but got '200.5'.",
    }
    assert bad["_line"].to_list() == ["2013-04-10T15:30:00Z,EWR", None, None, None]


@pytest.mark.usefixtures("lake")
def test_a_row_on_which_the_query_fails_does_not_take_others_along(tmp_path: Path, shared: Path):
    sql = small.SQL.replace(
        "r.distance,", "CAST('1' || r.name AS INTEGER) * 0 + r.distance AS distance,"
    )
    bundle = small.signed_payload(tmp_path / "payload", tmp_path, sql=sql)
    rows = [{**row, "name": None} for row in ROWS]
    rows[7]["name"] = "x"
    frame(rows).write_parquet(tmp_path / "in.parquet")

    done = main(
        [str(tmp_path / "in.parquet"), str(tmp_path / "out.parquet"), "--bundle", str(bundle)]
    )

    assert done == 0
    bad = pl.read_parquet(tmp_path / "out.rejected.parquet")
    assert bad["_row"].to_list() == [7]
    assert "The features of these rows cannot be computed" in bad["_reason"][0]
    assert pl.read_parquet(tmp_path / "out.parquet").height == 19


def bad_file(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    if isinstance(content, pl.DataFrame):
        content.write_parquet(path)
    elif content is not None:
        path.write_bytes(content)
    return path


BAD: dict[str, tuple[str, Any, str]] = {
    "not there": ("in.parquet", None, "There is no file"),
    "another kind": ("in.txt", b"x", "must be a .parquet or .csv file"),
    "no parquet": ("in.parquet", b"PAR0", "in.parquet cannot be read"),
    "empty csv": ("in.csv", b"", "The field 'due' is required, but missing"),
    "column missing": (
        "in.parquet", frame(ROWS).rename({"place": "places"}), "Was it given as 'places'?"
    ),
    "column twice": ("in.csv", b"due,due\n1,2\n", "has the column 'due' twice"),
    "no rows": ("in.parquet", frame(ROWS).clear(), "in.parquet has no rows"),
    "our own column": (
        "in.parquet", frame(ROWS).with_columns(_row=1), "must not have a column '_row'"
    ),
}  # fmt: skip


@pytest.mark.usefixtures("lake")
@pytest.mark.parametrize("case", BAD)
def test_a_file_that_cannot_be_scored_is_explained_and_nothing_is_left(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
):
    name, content, words = BAD[case]
    source = bad_file(tmp_path, name, content)

    assert run(shared, source, tmp_path / "out" / "out.parquet") == 1

    assert words in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.usefixtures("lake")
def test_outputs_must_be_parquet_and_not_the_input(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    source = tmp_path / "in.parquet"
    frame(ROWS).write_parquet(source)

    assert run(shared, source, source) == 1
    assert "different files" in capsys.readouterr().err
    assert run(shared, source, tmp_path / "out.csv") == 1
    assert "must be a .parquet file, but got 'out.csv'" in capsys.readouterr().err


def test_a_missing_table_ends_the_command_with_its_name(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AI_ASSETS_LAKE", str(tmp_path / "nowhere"))
    frame(ROWS).write_parquet(tmp_path / "in.parquet")
    command = ["-m", "ai_assets.serving.batch", "--bundle", str(shared / "payload")]

    done = subprocess.run(
        [sys.executable, *command, str(tmp_path / "in.parquet"), str(tmp_path / "out.parquet")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert f"Not ready: There is no table at {tmp_path / 'nowhere'}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["key", "label_given"], ["key", "label_given"]),
        (["key", "label"], ["key", "label_given"]),
        (["label", "label_given"], ["label_given_given", "label_given"]),
        (["label_given", "label"], ["label_given", "label_given_given"]),
        (["odd", "odd_given"], ["odd_given_given", "odd_given_given_given"]),
        (["odd"], ["odd_given_given"]),
        ([], []),
    ],
)
def test_a_column_that_is_called_as_an_answer_gets_a_name_that_is_free(
    given: list[str], told: list[str]
):
    assert names_beside({"label", "odd", "odd_given"}, given) == told


@pytest.mark.usefixtures("lake")
def test_what_is_called_as_an_answer_stands_beside_it_by_another_name(tmp_path: Path):
    declared = small.tables()
    trips = declared["trips"]
    mine = {"label": Column(type="string"), "label_given": Column(type="string")}
    declared["trips"] = trips.model_copy(
        update={"columns": trips.columns | mine, "key": ["carrier", *mine]}
    )
    small.signed_payload(tmp_path / "payload", tmp_path / "keys", declared=declared)
    rows = [{**ROWS[0], "label": "urgent", "label_given": "no"}]
    frame(rows).write_parquet(tmp_path / "in.parquet")

    assert run(tmp_path, tmp_path / "in.parquet", tmp_path / "out.parquet") == 0

    (found,) = pl.read_parquet(tmp_path / "out.parquet").rows(named=True)
    assert list(found)[:4] == ["_row", "carrier", "label_given_given", "label_given"]
    assert (found["label_given_given"], found["label_given"]) == ("urgent", "no")
    assert found["label"] == "late" if found["probability"] >= 0.6 else "not late"
