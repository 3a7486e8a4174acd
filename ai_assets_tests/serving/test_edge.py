"""A bundle as one folder that onnxruntime and numpy answer from, as the server would."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import classes_payload as classes
import numpy as np
import polars as pl
import pytest
import small_payload as small

from ai_assets.lifecycle.errors import BundleError
from ai_assets.lifecycle.features.encoding import EncodedColumn, Encoding
from ai_assets.lifecycle.features.images import canonical
from ai_assets.lifecycle.features.tokens import shipped_tokenizer, token_ids
from ai_assets.lifecycle.schema.calibration import Calibration
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.tables import Column, Table
from ai_assets.serving.bundle import Bundle, RequestSchema, load_bundle
from ai_assets.serving.edge import read_text
from ai_assets.serving.edge.__main__ import export, main
from ai_assets.serving.edge.run import calibrated
from ai_assets.serving.scoring import Scorer

PICTURES = [[[0, 16], [4, 9]], [[16, 16], [0, 1]]]
TEXTS = [
    "What does a building permit cost?",
    "",
    "Vad kostar ett bygglov, egentligen?",
    "naïve café — “quotes” 100 %!",
    "日本語 text",
    "İstanbul ÅÄÖ ß",
    "unbelievably" * 12,
    "tab\there\u200bzero 😀 x\u0301y",
]


def _run(folder: Path, given: Path) -> list[dict[str, Any]]:
    """What the folder answers in a process that has no path but its own."""
    done = subprocess.run(
        [sys.executable, "-P", folder / "run.py", given],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(folder), "PATH": ""},
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def _of_pictures(bundle: Bundle) -> Bundle:
    """The bundle as if its four numbers were the pixels of a picture."""
    column = Column(type="image", size=(2, 2), max=16)
    table = Table(source=bundle.request.table.source, columns={"scan": column})
    encoding = Encoding((EncodedColumn("scan", "image", (), (2, 2, 1)),))
    return replace(bundle, encoding=encoding, request=RequestSchema(table, "scans"))


def test_rows_of_features_are_answered_as_by_the_server(tmp_path: Path) -> None:
    bundle = load_bundle(small.signed_payload(tmp_path / "payload", tmp_path))
    names = [column.name for column in bundle.encoding.columns]
    rows = [
        {
            name: column.categories[0] if column.kind == "categorical" else 1.5
            for name, column in zip(names, bundle.encoding.columns, strict=True)
        },
        {
            name: "never seen" if column.kind == "categorical" else 0.25
            for name, column in zip(names, bundle.encoding.columns, strict=True)
        },
    ]
    given = tmp_path / "rows.json"
    given.write_text(json.dumps(rows), encoding="utf-8")

    export(bundle, tmp_path / "edge")

    expected = Scorer(bundle).score_features(pl.DataFrame(rows))
    found = _run(tmp_path / "edge", given)
    assert [answer["label"] for answer in found] == expected.label
    assert [a["probability"] for a in found] == pytest.approx(expected.probability, abs=1e-6)


def test_pictures_are_answered_as_by_the_server(tmp_path: Path) -> None:
    payload = classes.signed_payload(tmp_path / "payload", tmp_path)
    bundle = _of_pictures(load_bundle(payload))
    np.save(tmp_path / "scans.npy", np.array(PICTURES))

    export(bundle, tmp_path / "edge")

    column = bundle.request.table.columns["scan"]
    cleaned = pl.DataFrame({"scan": [canonical(picture, column) for picture in PICTURES]})
    expected = Scorer(bundle).score_features(cleaned)
    found = _run(tmp_path / "edge", tmp_path / "scans.npy")
    assert [answer["label"] for answer in found] == expected.label
    assert [a["probability"] for a in found] == pytest.approx(expected.probability, abs=1e-6)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((1, 3, 3)), "Pictures must be 2 x 2 x 1, but are (1, 3, 3)"),
        (np.zeros((5, 1, 4)), "Pictures must be 2 x 2 x 1, but are (5, 1, 4)"),
        (np.zeros(4), "Pictures must be 2 x 2 x 1, but are (4,)"),
        (np.array([[0, 17], [0, 0]]), "Numbers of pictures must be from 0 (black) to 16 (white)."),
        (np.array([[0, -1], [0, 0]]), "Numbers of pictures must be from 0 (black) to 16 (white)."),
        (np.full((2, 2), np.nan), "Numbers of pictures must be from 0 (black) to 16 (white)."),
    ],
)
def test_what_is_no_such_picture_is_refused(tmp_path: Path, given: np.ndarray, words: str) -> None:
    payload = classes.signed_payload(tmp_path / "payload", tmp_path)
    export(_of_pictures(load_bundle(payload)), tmp_path / "edge")
    np.save(tmp_path / "scans.npy", given)

    with pytest.raises(subprocess.CalledProcessError) as error:
        _run(tmp_path / "edge", tmp_path / "scans.npy")

    assert words in error.value.stderr


def test_a_regression_tells_values_and_many_rows_are_answered_in_their_order(
    tmp_path: Path,
) -> None:
    bundle = load_bundle(small.signed_payload(tmp_path / "payload", tmp_path))
    bundle = replace(bundle, decision=Decision("regression", classes=()), calibration=Calibration())
    numbers = [c.name for c in bundle.encoding.columns if c.kind == "numeric"]
    rows = [dict.fromkeys(numbers, place / 10) for place in range(70)]
    given = tmp_path / "rows.json"
    given.write_text(json.dumps(rows), encoding="utf-8")

    export(bundle, tmp_path / "edge")

    whole = pl.DataFrame(rows).with_columns(
        pl.lit(None, pl.String).alias(c.name)
        for c in bundle.encoding.columns
        if c.kind == "categorical"
    )
    expected = Scorer(bundle).score_features(whole)
    found = _run(tmp_path / "edge", given)
    assert [a["value"] for a in found] == pytest.approx(expected.label, abs=1e-6)
    assert len(set(expected.label)) == 70


@pytest.mark.parametrize("length", [8, 64])
def test_texts_are_cut_as_the_tokenizer_cuts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    vocabulary = json.loads(shipped_tokenizer())["model"]["vocab"]
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(TEXTS), encoding="utf-8")
    about = {"columns": [{"shape": [length]}]}
    (tmp_path / "vocabulary.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    # Exported, the reader lies beside its vocabulary.
    monkeypatch.setattr(read_text, "__file__", str(tmp_path / "reader.py"))

    found = read_text.read(str(file), about)

    assert found.tolist() == token_ids(shipped_tokenizer(), TEXTS, length).tolist()


@pytest.mark.parametrize(
    "calibration",
    [
        Calibration(),
        Calibration("sigmoid", 1.7, -0.4),
        Calibration("isotonic", points=((0.1, 0.05), (0.6, 0.7), (0.9, 0.95))),
    ],
)
@pytest.mark.parametrize("scores", [[[0.2], [0.99]], [[0.2, 0.5, 0.3], [0.9, 0.05, 0.05]]])
def test_scores_are_corrected_as_by_the_server(
    calibration: Calibration, scores: list[list[float]]
) -> None:
    told = json.loads(calibration.to_json())

    found = calibrated(np.array(scores), told)

    assert found.ravel() == pytest.approx(calibration.apply(np.array(scores)).ravel(), abs=1e-12)


def test_a_model_that_was_changed_is_not_run(tmp_path: Path) -> None:
    bundle = load_bundle(small.signed_payload(tmp_path / "payload", tmp_path))
    export(bundle, tmp_path / "edge")
    model = tmp_path / "edge" / "model.onnx"
    model.write_bytes(model.read_bytes() + b"\0")

    with pytest.raises(subprocess.CalledProcessError) as error:
        _run(tmp_path / "edge", tmp_path / "rows.json")

    assert error.value.stderr == "model.onnx is not the file that was exported.\n"


def test_a_folder_with_something_in_it_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    payload = small.signed_payload(tmp_path / "payload", tmp_path)
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "mine.txt").write_text("kept")

    assert main(["--bundle", str(payload), str(tmp_path / "edge")]) == 1

    assert "must be empty or absent" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "edge").iterdir()] == ["mine.txt"]


def test_a_model_that_reads_a_picture_and_more_is_not_exported(tmp_path: Path) -> None:
    bundle = _of_pictures(load_bundle(small.signed_payload(tmp_path / "payload", tmp_path)))
    both = Encoding((*bundle.encoding.columns, EncodedColumn("age", "numeric")))

    with pytest.raises(BundleError, match="alone, but got scan, age"):
        export(replace(bundle, encoding=both), tmp_path / "edge")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_folder_runs_where_onnxruntime_and_numpy_are_all_there_is(tmp_path: Path) -> None:
    payload = classes.signed_payload(tmp_path / "payload", tmp_path)
    export(_of_pictures(load_bundle(payload)), tmp_path / "edge")
    np.save(tmp_path / "scans.npy", np.array(PICTURES))
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "onnxruntime", "numpy"],
        check=True,
        capture_output=True,
        timeout=500,
    )

    done = subprocess.run(
        [python, tmp_path / "edge" / "run.py", tmp_path / "scans.npy"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    absent = subprocess.run([python, "-c", "import polars"], capture_output=True, check=False)

    assert [json.loads(line) for line in done.stdout.splitlines()] == _run(
        tmp_path / "edge", tmp_path / "scans.npy"
    )
    assert absent.returncode == 1
