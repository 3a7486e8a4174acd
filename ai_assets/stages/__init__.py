"""Thin Dagster bindings: what a stage is in `declared`, what it does in a module of its own.

A stage's work is to load, call the lifecycle, and report metadata and checks.
"""

from collections.abc import Iterator

from ai_assets.lifecycle.product import Product
from ai_assets.stages.binding import Stage
from ai_assets.stages.declared.data import (
    cleaned_stage,
    features_stage,
    labels_stage,
    online_stage,
    raw_stage,
    rejected_stage,
)
from ai_assets.stages.declared.learning import (
    compressed_model_stage,
    evaluation_stage,
    family_stage,
    language_model_stage,
    model_card_stage,
    model_stage,
    training_set_stage,
    tuning_stage,
)
from ai_assets.stages.declared.releasing import (
    bundle_stage,
    gate_stage,
    predictions_stage,
    release_stage,
    scored_file_stage,
)
from ai_assets.stages.declared.watching import (
    backtest_stage,
    drift_report_stage,
    drift_stage,
    feedback_stage,
    operations_stage,
    performance_stage,
    served_drift_stage,
    served_stage,
    verdict_stage,
)


def stages_of(product: Product) -> Iterator[Stage]:
    """Every stage of a product's life, in its order."""
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
    if product.declaration.kind == "text":
        yield language_model_stage(product)
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
