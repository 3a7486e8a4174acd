"""From a model to what is in production and what it answers."""

import dagster as dg
from pydantic import Field

from ai_assets.lifecycle.product import Product
from ai_assets.stages.binding import Guard, Stage, Upstream
from ai_assets.stages.release_config import ReleaseConfig
from ai_assets.stages.work import work

MAX_BYTES = 20_000_000
VERIFIED = Guard(
    "signature_verifies", "The built bundle's signature and every file of it verify.", blocking=True
)
SMALL = Guard("small", f"The bundle is below {MAX_BYTES // 1_000_000} MB without its dependencies.")


def bundle_stage(product: Product) -> Stage:
    """The stage that packs, signs and builds."""
    return Stage(
        stage="bundle",
        asset="bundle",
        description="A signed Bento: model, feature query, lookups, drift reference, card, SBOM.",
        compute=work("bundle:build_bundle"),
        kinds=frozenset({"bentoml", "onnx"}),
        upstream=[
            Upstream("compressed_model"),
            Upstream("evaluation"),
            Upstream("model_card"),
            Upstream("training_set"),
            *([Upstream("language_model")] if product.declaration.kind == "text" else []),
            *(Upstream(f"cleaned/{name}", partitioned=False) for name in product.lookups),
        ],
        guards=[VERIFIED, SMALL],
        code=("features", "schema", "drift", "verdict/sketch.py"),
        settings=product.features_sql
        + product.declaration.model_dump_json(include={"tables", "serving"}),
    )


WITHIN_LIMITS = Guard(
    "within_limits", "The evaluation, size and latency meet every declared limit.", blocking=True
)
BETTER = Guard(
    "better_than_the_champion",
    "On the same test rows the challenger is better than what is in production, by the declared "
    "margin, and clearly worse in no slice.",
)
COMPATIBLE = Guard(
    "callers_can_still_call",
    "Whoever calls the bundle in production can call this one, or a new major version is declared.",
)


def gate_stage(product: Product) -> Stage:
    """The stage that judges a bundle against the declared limits and the champion."""
    return Stage(
        stage="gate",
        asset="gate",
        description="Whether the bundle may be released: declared limits, the champion on the same "
        "rows, compatible schema.",
        compute=work("gate:judge_bundle"),
        kinds=frozenset({"python"}),
        upstream=[
            Upstream("bundle"),
            Upstream("evaluation"),
            Upstream("compressed_model"),
            Upstream("training_set"),
        ],
        guards=[WITHIN_LIMITS, BETTER, COMPATIBLE],
        code=("gate",),
        settings=product.declaration.gate.model_dump_json(),
    )


def release_stage(product: Product) -> Stage:
    """The stage that appends to the ledger."""
    return Stage(
        stage="release",
        asset="release",
        description="What is in production: bundle, since when (event time), decided by whom, why. "
        "In the launchpad, `config` names a bundle or a partition to roll back to, or a candidate "
        "to try.",
        compute=work("release:append_release"),
        kinds=frozenset({"deltalake"}),
        upstream=[Upstream("gate")],
        partitioned=False,
        config=ReleaseConfig,
    )


IN_PRODUCTION = Guard("scored_by_a_release", "A release was in production to score the rows.")


def predictions_stage(product: Product) -> Stage:
    """The stage that scores a partition as production would have."""
    cut = product.partitions is not None
    return Stage(
        stage="predictions",
        asset="predictions",
        description="Each request row scored by what "
        f"{'was in production when its partition began' if cut else 'is in production'}.",
        compute=work("predictions:score_partition"),
        kinds=frozenset({"onnx", "deltalake"}),
        upstream=[Upstream("features"), Upstream("release", partitioned=False)],
        guards=[IN_PRODUCTION],
        ranges=True,
    )


class ScoredFileConfig(dg.Config):
    """Which file to score, and by what."""

    file: str | None = Field(
        default=None, description="Rows of the request table, as .parquet or .csv."
    )
    bundle: str | None = Field(
        default=None, description="Tag of the bundle that answers; default: what is in production."
    )
    as_source: bool = Field(
        default=True,
        description="A CSV is written as those of the request table's source are: its delimiter, "
        "encoding, marks and dates. False: commas, UTF-8, decimal points, ISO dates.",
    )
    rows_at_once: int = Field(default=50_000, ge=1, description="How many rows are read at a time.")


ALL_SCORED = Guard("every_row_scored", "No row of the file was rejected.")


def scored_file_stage(product: Product) -> Stage:
    """The stage that scores a file that somebody names in the launchpad."""
    return Stage(
        stage="scored_file",
        asset="scored_file",
        description="Answers to a file of rows (Parquet or CSV): `file` in the launchpad's "
        "`config`.",
        compute=work("scored_file:score_named_file"),
        kinds=frozenset({"onnx", "parquet"}),
        upstream=[
            Upstream("release", partitioned=False),
            *(Upstream(f"online/{name}", partitioned=False) for name in product.history),
        ],
        guards=[ALL_SCORED],
        partitioned=False,
        config=ScoredFileConfig,
    )
