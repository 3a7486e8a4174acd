"""Thin Dagster bindings, a module a stage: load, call the lifecycle, report metadata and checks."""

from collections.abc import Iterator

from ai_assets.lifecycle.product import Product
from ai_assets.stages.backtest import backtest_stage
from ai_assets.stages.binding import Stage
from ai_assets.stages.bundle import bundle_stage
from ai_assets.stages.cleaned import cleaned_stage, rejected_stage
from ai_assets.stages.compressed_model import compressed_model_stage
from ai_assets.stages.drift import drift_report_stage, drift_stage
from ai_assets.stages.evaluation import evaluation_stage
from ai_assets.stages.features import features_stage
from ai_assets.stages.gate import gate_stage
from ai_assets.stages.labels import labels_stage
from ai_assets.stages.model import family_stage, model_stage
from ai_assets.stages.model_card import model_card_stage
from ai_assets.stages.online import online_stage
from ai_assets.stages.operations import operations_stage
from ai_assets.stages.performance import performance_stage
from ai_assets.stages.predictions import predictions_stage
from ai_assets.stages.raw import raw_stage
from ai_assets.stages.release import release_stage
from ai_assets.stages.scored_file import scored_file_stage
from ai_assets.stages.served import feedback_stage, served_stage
from ai_assets.stages.served_drift import served_drift_stage
from ai_assets.stages.training_set import training_set_stage
from ai_assets.stages.tuning import tuning_stage
from ai_assets.stages.verdict import verdict_stage


def tabular_stages(product: Product) -> Iterator[Stage]:
    """Every stage of a tabular product's life, in its order."""
    for name, table in product.declaration.tables.items():
        yield raw_stage(product, name, table)
        yield cleaned_stage(product, name, table)
        yield rejected_stage(product, name, table)
    for name, table in product.history.items():
        yield online_stage(product, name, table)
    yield labels_stage(product)
    yield features_stage(product)
    yield training_set_stage(product)
    yield tuning_stage(product)
    for family in product.declaration.training.families:
        yield family_stage(product, family)
    yield model_stage(product)
    yield compressed_model_stage(product)
    yield evaluation_stage(product)
    yield model_card_stage(product)
    yield bundle_stage(product)
    yield gate_stage(product)
    yield release_stage(product)
    yield predictions_stage(product)
    yield scored_file_stage(product)
    yield served_stage(product)
    yield feedback_stage(product)
    yield served_drift_stage(product)
    yield drift_stage(product)
    yield drift_report_stage(product)
    yield performance_stage(product)
    yield verdict_stage(product)
    if product.partitions is not None:
        yield backtest_stage(product)
        yield operations_stage(product)
