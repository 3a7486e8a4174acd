"""What is asked, what has changed, and how well the release does."""

from ai_assets.lifecycle.product import Product
from ai_assets.stages.binding import Guard, Stage, Upstream
from ai_assets.stages.declared.learning import mitigation_code, mitigation_settings
from ai_assets.stages.work import work

OF_A_RELEASE = Guard(
    "answered_by_a_release", "Each bundle that answered stands in the ledger of releases."
)
WHOLE = Guard(
    "all_of_the_log", "Each answer of the server's log is in the lake, once.", blocking=True
)
ONE_OUTCOME = Guard("one_outcome_a_row", "No row was told to have come out in two ways.")


def served_stage(product: Product) -> Stage:
    """The stage that brings the record of answers into the lake."""
    return Stage(
        stage="served",
        asset="served",
        description="Each answer that a server gave: who asked, the row, the features, bundle, "
        "score and latency.",
        compute=work("served:bring_answers"),
        kinds=frozenset({"sqlite", "deltalake"}),
        guards=[WHOLE, OF_A_RELEASE],
        ranges=True,
    )


def feedback_stage(product: Product) -> Stage:
    """The stage that brings the outcomes that callers sent back into the lake."""
    return Stage(
        stage="feedback",
        asset="feedback",
        description="Each outcome that callers told the server, in the order they were sent. "
        "The last of a row counts.",
        compute=work("served:bring_feedback"),
        kinds=frozenset({"sqlite", "deltalake"}),
        guards=[ONE_OUTCOME],
        ranges=True,
    )


ASKED_AS_LEARNED = Guard(
    "asked_as_learned", "No feature that callers asked of, and not the score, has drifted."
)


def served_drift_stage(product: Product) -> Stage:
    """The stage that measures drift over what a server was asked."""
    return Stage(
        stage="served_drift",
        asset="served_drift",
        description="How far features and scores of what callers asked lie from what the bundle "
        "that answered most of it learned from. To look at; no verdict stands on it.",
        compute=work("served_drift:measure_served"),
        kinds=frozenset({"polars", "deltalake"}),
        upstream=[Upstream("served")],
        guards=[ASKED_AS_LEARNED],
        ranges=True,
        code=("drift",),
        settings=product.declaration.drift.model_dump_json(),
    )


NO_DRIFT = Guard(
    "inputs_as_learned",
    "No feature, not the score and not the features together have drifted from the reference.",
)


def drift_stage(product: Product) -> Stage:
    """The stage that measures drift over all rows."""
    return Stage(
        stage="drift",
        asset="drift",
        description="How far features and scores lie from what the release learned from, over all "
        "rows.",
        compute=work("drift:measure_drift"),
        kinds=frozenset({"polars", "deltalake"}),
        upstream=[Upstream("predictions"), Upstream("features")],
        guards=[NO_DRIFT],
        ranges=True,
        code=("drift",),
        settings=product.declaration.drift.model_dump_json(),
    )


def drift_report_stage(product: Product) -> Stage:
    """The stage that draws Evidently's report."""
    return Stage(
        stage="drift_report",
        asset="drift_report",
        description="Evidently's page on drift, on a bounded sample. For people; nothing waits for "
        "it.",
        compute=work("drift:draw_report"),
        kinds=frozenset({"evidently"}),
        upstream=[Upstream("drift")],
        code=("drift",),
        settings=product.declaration.drift.model_dump_json(include={"sample", "seed"}),
    )


AS_ESTIMATED = Guard(
    "as_estimated",
    "Once labels have arrived, the log loss lies where the scores alone said it would.",
)
AS_PROMISED = Guard(
    "as_promised",
    "Once labels have arrived, the error is not larger than on the bundle's test rows, and "
    "intervals hold as many outcomes as declared.",
)


def performance_guard(product: Product) -> Guard:
    """The check of performance that suits the product's task."""
    return AS_PROMISED if product.declaration.label.task == "regression" else AS_ESTIMATED


def performance_stage(product: Product) -> Stage:
    """The stage that estimates and judges the release."""
    declared = product.declaration
    return Stage(
        stage="performance",
        asset="performance",
        description="How well the release does: estimated from its scores, and by the labels that "
        "have arrived.",
        compute=work("performance:judge_release"),
        kinds=frozenset({"python", "deltalake"}),
        # Earlier partitions are read where they are there; to depend on them would make the first
        # partitions after a release wait for scores from before it.
        upstream=[
            Upstream("predictions"),
            Upstream("labels"),
            Upstream("served"),
            Upstream("feedback"),
        ],
        guards=[performance_guard(product)],
        code=("estimation",),
        settings=declared.label.model_dump_json()
        + declared.causes.model_dump_json()
        + declared.training.model_dump_json(include={"costs", "seed"}),
    )


SOUND = Guard(
    "data_is_sound",
    "The data is whole: no lost columns, missing values, other units, shifted clock or stuck "
    "values. Nothing learns from what is broken.",
    blocking=True,
)
AS_LEARNED = Guard(
    "as_the_release_learned",
    "Inputs, code and the relation of outcome to inputs are as the release learned them.",
)


def verdict_stage(product: Product) -> Stage:
    """The stage that names the cause of change."""
    declared = product.declaration
    return Stage(
        stage="verdict",
        asset="verdict",
        description="What has changed since the release learned, and why: broken data, code, "
        "inputs or the concept. Retraining is decided on this.",
        compute=work("verdict:conclude"),
        kinds=frozenset({"python"}),
        upstream=[
            Upstream("drift"),
            Upstream("performance"),
            # The tables too: what is broken in one may reach no feature, and no label yet.
            *(
                Upstream(f"{kept}/{name}", partitioned=product.is_partitioned(name))
                for name in declared.tables
                for kept in ("raw", "cleaned", "rejected")
            ),
        ],
        guards=[SOUND, AS_LEARNED],
        code=("verdict", "drift"),
        settings=declared.causes.model_dump_json() + declared.drift.model_dump_json(),
    )


COMPARED = Guard(
    "policies_compared",
    "A release was in production when the partition began, a model was there of the partition "
    "before, and labels arrived.",
)


def backtest_stage(product: Product) -> Stage:
    """The stage that replays the other policies on one partition."""
    rolling = rolling_window(product)
    return Stage(
        stage="backtest",
        asset="backtest",
        description="What other policies would have answered: the first release for ever, the "
        f"model of the {rolling} partitions before, one of all partitions before.",
        compute=work("backtest:replay_policies"),
        kinds=frozenset({"python", "deltalake"}),
        upstream=[
            Upstream("features"),
            Upstream("labels"),
            Upstream("compressed_model", 1, until=1),
        ],
        guards=[COMPARED],
        code=("training", "learners", *mitigation_code(product)),
        settings=product.declaration.training.model_dump_json()
        + str(rolling)
        + mitigation_settings(product),
    )


def rolling_window(product: Product) -> int:
    """Partitions that the policy `rolling` learns from."""
    declared = product.declaration
    return declared.backtest.rolling or declared.training.window


def operations_stage(product: Product) -> Stage:
    """The stage that draws the page."""
    return Stage(
        stage="operations",
        asset="operations",
        description="The product in operation: what was in production, how it did, what was "
        "decided and why, and what other policies would have given.",
        compute=work("operations:draw_page"),
        kinds=frozenset({"html"}),
        upstream=[
            Upstream(name, partitioned=False)
            for name in ("verdict", "performance", "release", "backtest")
        ],
        partitioned=False,
    )
