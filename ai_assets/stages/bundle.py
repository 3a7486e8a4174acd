"""bundle: everything that serving needs, signed and built into a Bento."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.drift.profile import Profile, profile
from ai_assets.lifecycle.errors import BundleError
from ai_assets.lifecycle.features.images import pixels
from ai_assets.lifecycle.features.items import described, items_of
from ai_assets.lifecycle.schema.scores import SCORED
from ai_assets.lifecycle.schema.tables import Column
from ai_assets.resources.bundles import BundleStore, project_root
from ai_assets.serving.bundle import manifest_facts, plan_file, schema_files
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Outcome, StageRun, digest
from ai_assets.stages.declared.releasing import MAX_BYTES, SMALL, VERIFIED
from ai_assets.stages.embedding import FILE as EMBEDDING
from ai_assets.stages.embedding import embedding_file
from ai_assets.stages.evaluation import decision_of, scores_of_test_rows
from ai_assets.stages.features import features_given
from ai_assets.stages.language_model import FILE as LANGUAGE
from ai_assets.stages.learnable import WINDOW, learned_partitions
from ai_assets.stages.monitoring import FILE, watched
from ai_assets.stages.surprise import surprise
from ai_assets.stages.training_data import (
    TrainingData,
    artifact,
    load_training_data,
    read_json,
    save_folder,
    write_json,
)

_GROUND_OF = 1000
"""Images whose outermost pixels are looked at."""


def build_bundle(run: StageRun) -> Outcome:
    """Stage the product's files in a folder of their own, sign it and build it."""
    data = load_training_data(run)
    check_query(run, data)
    with tempfile.TemporaryDirectory() as temporary:
        payload = Path(temporary, "product")
        payload.mkdir()
        versions = data_versions(run)
        write_payload(run, data, versions, payload)
        run.tools.signer.sign(payload, facts(run, versions))
        run.say("building the Bento")
        tag = run.tools.bundles.build(payload)
    folder = run.tools.bundles.payload(tag)
    sizes = {p.relative_to(folder).as_posix(): p.stat().st_size for p in _files(folder)}
    total = sum(p.stat().st_size for p in _files(run.tools.bundles.path(tag)))
    save_folder(run, "bundle", lambda out: write_json(out, "bundle.json", {"tag": tag}))
    return Outcome(
        digest(tag),
        {
            "tag": tag,
            "serve": shown.markdown(
                f"```\nAI_ASSETS_ACCESS=open BENTOML_HOME={run.tools.bundles.root} "
                f"bentoml serve {tag} --host 127.0.0.1\n```"
            ),
            "files": shown.table(
                pl.DataFrame({"file": list(sizes), "bytes": list(sizes.values())})
            ),
            "bytes": total,
            "data_versions": shown.table(
                pl.DataFrame({"table": list(versions), "version": list(versions.values())})
            ),
            "folder": shown.path(run.tools.bundles.path(tag)),
        },
        {
            VERIFIED.name: verified(run.tools.bundles, tag),
            SMALL.name: small(total),
        },
    )


def check_query(run: StageRun, data: TrainingData) -> None:
    """Raise unless the query, which the server runs, gives every feature that was learned from.

    Raises:
        BundleError: it was changed since; names what it lacks and what to do.
    """
    given = features_given(run)
    if lacks := [f"'{c.name}'" for c in data.encoding.columns if c.name not in given]:
        model = f"the model of {run.partition}" if run.partition else "the model"
        raise BundleError(
            f"{run.product.declaration.features or 'the feature query'} must give every feature "
            f"that {model} learned from, but gives no {', '.join(lacks)}. Materialize features, "
            "training_set and what follows once more, or put it back."
        )


def write_payload(
    run: StageRun, data: TrainingData, versions: dict[str, int], folder: Path
) -> None:
    """Write every file of the bundle but manifest and signature."""
    from ai_assets.resources.sbom import sbom

    product = run.product
    served = artifact(run, "compressed_model")
    for name in ("model.onnx", "calibration.json", "decision.json", "trees.txt"):
        if (served / name).is_file():
            shutil.copy(served / name, folder / name)
    if product.declaration.kind == "text":
        shutil.copy(artifact(run, "language_model") / LANGUAGE, folder)
    shutil.copy(artifact(run, "model_card") / "model_card.md", folder)
    shutil.copy(project_root() / "LICENSE", folder)
    importances = read_json(artifact(run, "model"), "importances.json")
    types = (column.type for column in product.request_table.columns.values())
    needed = run.tools.bundles.requirements(types)
    texts = {
        "encoding.json": data.encoding.to_json(),
        "features.sql": product.features_sql,
        "plan.json": plan_file(product.features_sql),
        "reference.json": drift_reference(run, data).to_json(),
        FILE: watched(run, importances, *scores_of_test_rows(run, data)).to_json(),
        "sbom.cdx.json": sbom(needed, product.name, run.partition or "1"),
        **schema_files(product.declaration.tables, product.declaration.request),
    }
    learned_from = data.features("train", "validation", "test")
    model = (folder / "model.onnx").read_bytes()
    seed = product.declaration.training.seed
    if text := embedding_file(model, data.encoding, learned_from, seed):
        texts[EMBEDDING] = text
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    online = {name: {"path": run.name(f"online/{name}").path} for name in product.history}
    write_json(folder, "online.json", online)
    items = items_of(product.request_table.columns)
    write_json(folder, "background.json", typical_row(data.features("train"), items))
    write_json(folder, "data_versions.json", versions)
    write_json(folder, WINDOW, {"keys": learned_partitions(run)})
    (folder / "lookups").mkdir()
    for name in product.lookups:
        rows = run.lake.scan(run.name(f"cleaned/{name}")).sort("_row_id").collect()
        rows.write_parquet(folder / "lookups" / f"{name}.parquet")


def facts(run: StageRun, versions: dict[str, int]) -> dict[str, Any]:
    """What the manifest says beside the files."""
    declared = run.product.declaration
    return manifest_facts(
        product=run.product.name,
        partition=run.partition,
        description=declared.description,
        task=declared.label.task,
        horizon=declared.horizon,
        created_from=versions,
        features_digest=digest(run.product.features_sql),
        code_version=digest(declared.model_dump_json()),
        major=declared.gate.major,
        serving=declared.serving.model_dump(mode="json"),
    )


def data_versions(run: StageRun) -> dict[str, int]:
    """The lake's version of every table that the model was made from."""
    tables = [f"cleaned/{name}" for name in run.product.declaration.tables]
    return {
        name: run.lake.version(run.name(name))
        for name in (*tables, "labels", "features", "training_set")
    }


def drift_reference(run: StageRun, data: TrainingData) -> Profile:
    """Profile of the features learned from, and of the scores that test rows got."""
    features = profile(
        described(data.features("train", "validation", "test"), run.product.request_table.columns)
    )
    _, scores = scores_of_test_rows(run, data)
    decision = decision_of(run)
    watched: dict[str, Any] = {SCORED[0]: decision.confidence(scores)}
    if scores.ndim == 2:
        watched[SCORED[1]] = decision.answers(scores)
    told = profile(pl.DataFrame(watched))
    if run.product.declaration.kind != "text":
        return features.with_columns(told)
    # Texts that were learned from surprise less than others do: test texts alone tell.
    surprised = surprise(
        (artifact(run, "language_model") / LANGUAGE).read_bytes(),
        data.encoding,
        data.features("test"),
    )
    return features.with_columns(told).with_columns(profile(surprised.to_frame()))


def typical_row(
    features: pl.DataFrame, items: Mapping[str, Column] | None = None
) -> dict[str, Any]:
    """What explanations measure against: the median of each number and the commonest text.

    Of what is an image it is the ground, a number a channel from 0 to 255: the median of the
    outermost pixels. Of language nothing stands in the middle: None, which is no word at all.
    """
    row: dict[str, Any] = {}
    for name in features.columns:
        values = features[name].drop_nulls()
        if items and name in items:
            row[name] = _ground(values, items[name])
        elif values.dtype.is_numeric():
            row[name] = values.median()
        else:
            row[name] = values.mode().sort()[0] if values.len() else None
    return json.loads(json.dumps(row))


def _ground(values: pl.Series, column: Column) -> list[float] | None:
    if column.type != "image" or not values.len():
        return None
    shown = pixels(values.head(_GROUND_OF).to_list(), column.shape)
    edges = [shown[:, 0], shown[:, -1], shown[:, :, 0], shown[:, :, -1]]
    found: list[float] = np.median(np.concatenate(edges, axis=1), axis=(0, 1)).tolist()
    return found


def verified(bundles: BundleStore, tag: str) -> Finding:
    """Whether the built bundle is, file by file, what was signed."""
    try:
        bundle = bundles.load(tag)
    except BundleError as error:
        return Finding(False, str(error))
    files = len(_files(bundles.payload(tag)))
    return Finding(bundle.tag == tag, f"{files} files verify as {bundle.tag}.")


def small(size: int) -> Finding:
    """Whether the bundle is quick to move."""
    return Finding(
        size < MAX_BYTES, f"The bundle has {size / 1e6:.1f} MB.", {"bytes": size}, warn=True
    )


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())
