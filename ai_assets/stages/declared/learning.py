"""From the features to a model that is judged."""

from ai_assets.lifecycle.product import ItemDeclaration, Product, TextDeclaration
from ai_assets.stages.binding import Guard, Stage, Upstream
from ai_assets.stages.work import work

SPLIT_ONCE = Guard(
    "each_row_in_one_split",
    "No row is in two splits, and with event times no split begins before the one before it ends.",
    blocking=True,
)


def training_set_stage(product: Product) -> Stage:
    """The stage that gathers what a model as of the partition may learn from."""
    declared = product.declaration
    earlier = declared.training.window - 1
    return Stage(
        stage="training_set",
        asset="training_set",
        description="Features with labels over the training window, split into train, validation "
        "and test.",
        compute=work("training_set:gather"),
        kinds=frozenset({"polars", "deltalake"}),
        upstream=[Upstream("features", earlier), Upstream("labels", earlier)],
        guards=[SPLIT_ONCE],
        code=("training/split.py", "features/encoding.py", *mitigation_code(product)),
        settings=declared.training.split.model_dump_json()
        + str(declared.training.window)
        + ",".join(declared.training.accept)
        + group_settings(product),
    )


def tuning_stage(product: Product) -> Stage:
    """The stage that tunes every family."""
    training = product.declaration.training
    trials = training.tune.trials
    return Stage(
        stage="tuning",
        asset="tuning",
        description=f"Parameters of each family: {trials} {'trial' if trials == 1 else 'trials'} "
        f"each, judged on folds of the train rows{_forward(product, ' that run forward in time')}.",
        compute=work("tuning:tune_families"),
        threads=training.threads,
        kinds=frozenset({"optuna"}),
        upstream=[Upstream("training_set")],
        code=("training", "learners", *mitigation_code(product)),
        settings=search_settings(product),
    )


def _forward(product: Product, timed: str, untimed: str = "") -> str:
    """The words for rows that have a time, or for those that have none."""
    return untimed if product.request_table.time is None else timed


def search_settings(product: Product) -> str:
    """What a search depends on beside its rows."""
    training, fairness = product.declaration.training, product.declaration.fairness
    without = {"refit", "window", "blend"}
    if fairness is None or fairness.mitigation != "reductions":
        # Reductions weigh rows by what calibrated scores are cut at; nothing else in a search asks.
        without.add("calibration")
    return training.model_dump_json(exclude=without) + mitigation_settings(product)


def mitigation_settings(product: Product) -> str:
    """What learning depends on where it does something about groups of people; else empty."""
    fairness = product.declaration.fairness
    if fairness is None or fairness.mitigation == "none":
        return ""
    if fairness.mitigation == "reweighing":
        return fairness.model_dump_json(include={"mitigation", "columns"})
    return fairness.model_dump_json(exclude={"features"})


def group_settings(product: Product) -> str:
    """What the groups of rows depend on, and whether there are enough of them; else empty."""
    fairness = product.declaration.fairness
    if fairness is None or fairness.mitigation == "none":
        return ""
    asked = {"metric", "min_rows"} if fairness.mitigation == "reductions" else set()
    return fairness.model_dump_json(include={"mitigation", "columns"} | asked)


def mitigation_code(product: Product) -> tuple[str, ...]:
    """The package that says what rows teach where groups of people are to be alike; else none."""
    fairness = product.declaration.fairness
    return () if fairness is None or fairness.mitigation == "none" else ("fairness",)


_KINDS = {
    "linear": "scikitlearn",
    "lightgbm": "lightgbm",
    "extra_trees": "lightgbm",
    "mlp": "pytorch",
    "cnn": "pytorch",
    "probe": "scikitlearn",
    "encoder": "pytorch",
}


def family_stage(product: Product, family: str) -> Stage:
    """The stage that fits one family with its tuned parameters."""
    return Stage(
        stage="model",
        asset=f"model/{family}",
        description=f"The {family} model, fitted on train rows; validation rows say when to stop.",
        compute=work("model:fit_family", family=family),
        threads=product.declaration.training.threads,
        kinds=frozenset({_KINDS.get(family, "python"), "mlflow"}),
        upstream=[Upstream("training_set"), Upstream("tuning")],
        code=("learners", "training", *mitigation_code(product)),
        settings=product.declaration.training.model_dump_json(exclude={"tune", "refit"})
        + mitigation_settings(product),
    )


KNOWS_THE_LANGUAGE = Guard(
    "better_than_guessing_words",
    "The language model's perplexity on test texts is below that of tokens' frequencies alone.",
)


def language_model_stage(product: Product) -> Stage:
    """The stage that learns what comes after what in the product's texts."""
    training = product.declaration.training
    return Stage(
        stage="language_model",
        asset="language_model",
        description="A small model of the product's own language: how much new texts surprise it "
        "is watched as drift.",
        compute=work("language_model:learn_language"),
        threads=training.threads,
        kinds=frozenset({"pytorch", "onnx", "mlflow"}),
        upstream=[Upstream("training_set")],
        guards=[KNOWS_THE_LANGUAGE],
        code=("learners",),
        settings=training.model_dump_json(include={"seed", "threads", "device"}),
    )


def model_stage(product: Product) -> Stage:
    """The stage that lets the families compete."""
    training = product.declaration.training
    return Stage(
        stage="model",
        asset="model",
        description="The family, or the blend of families, that does best"
        f"{_forward(product, ' ahead in time', ' on rows held out')}, and why.",
        compute=work("model:choose_model"),
        threads=training.threads,
        kinds=frozenset({"python", "mlflow"}),
        upstream=[
            Upstream("training_set"),
            Upstream("tuning"),
            *(Upstream(f"model/{family}") for family in training.families),
        ],
        code=("learners", "training", *mitigation_code(product)),
        settings=training.model_dump_json(exclude={"tune"}) + mitigation_settings(product),
    )


PARITY = Guard(
    "answers_like_the_model",
    "The exported graph gives the outputs of the model it was made from, to 1e-5.",
    blocking=True,
)
BUDGET = Guard(
    "within_budget",
    "Metric loss against the parent, size and latency stay within the declared budget.",
    blocking=True,
)


def compressed_model_stage(product: Product) -> Stage:
    """The stage that exports, shrinks and measures the winner."""
    return Stage(
        stage="compressed_model",
        asset="compressed_model",
        description="What is served: the smallest ONNX graph that answers like the winner, within "
        "the declared budget.",
        compute=work("compressed_model:compress"),
        threads=product.declaration.training.threads,
        kinds=frozenset({"onnx"}),
        upstream=[Upstream("model"), Upstream("training_set")],
        guards=[PARITY, BUDGET],
        code=("compression", "learners"),
        settings=product.declaration.compression.model_dump_json(),
    )


BETTER_THAN_BASE_RATE = Guard(
    "better_than_the_base_rate",
    "The log loss on test rows is below that of always answering how common the classes are.",
)
BETTER_THAN_THE_MEAN = Guard(
    "better_than_the_mean",
    "The RMSE (MAE) on test rows is below that of always answering their mean (median).",
)


def better_than(product: Product) -> Guard:
    """The check that the model is better than one and the same answer to everything."""
    values = product.declaration.label.task == "regression"
    return BETTER_THAN_THE_MEAN if values else BETTER_THAN_BASE_RATE


HOLDS = Guard(
    "intervals_hold",
    "As many outcomes of test rows lie in their intervals as declared, or chance is why not.",
)
CHEAPER = Guard(
    "cheaper_than_one_answer",
    "The answers to test rows cost less than one and the same answer to all of them.",
)
WITHSTANDS = Guard(
    "withstands_corruption",
    "Accuracy under corruptions and under an adversary is at least as declared; without a limit "
    "it is told.",
)


LANGUAGES = Guard(
    "languages_the_encoder_knows",
    "At least 95 % of the test texts are in languages that the encoder was trained for; the "
    "accuracy in each language is told.",
)


FAIR = Guard(
    "groups_are_treated_alike",
    "No two groups of a protected column differ by more than declared, and all have rows enough to "
    "be judged.",
)


def answers_of_items(product: Product) -> ItemDeclaration | None:
    """The declaration of a product that tells classes of pictures or texts apart; else None."""
    declared = product.declaration
    if isinstance(declared, ItemDeclaration) and declared.label.task != "regression":
        return declared
    return None


def evaluation_stage(product: Product) -> Stage:
    """The stage that judges the compressed model on test rows."""
    of_items = answers_of_items(product)
    guards = [better_than(product)]
    if product.declaration.label.interval is not None:
        guards.append(HOLDS)
    if product.declaration.training.costs is not None:
        guards.append(CHEAPER)
    settings, threads = ",".join(product.declaration.slices), None
    code = ["evaluation"]
    if (fairness := product.declaration.fairness) is not None:
        guards.append(FAIR)
        code.append("fairness")
        settings += fairness.model_dump_json()
        if fairness.mitigation != "none":
            # The twin without it learns here.
            threads = product.declaration.training.threads
    if of_items is not None:
        guards.append(WITHSTANDS)
        code.append("corruptions")
        settings += of_items.robustness.model_dump_json()
    if isinstance(of_items, TextDeclaration):
        guards.append(LANGUAGES)
        settings += ",".join(of_items.languages)
    return Stage(
        stage="evaluation",
        asset="evaluation",
        description="Metrics with bootstrap intervals, slices and plots of what is served, on test "
        "rows.",
        compute=work("evaluation:evaluate_served"),
        threads=threads,
        kinds=frozenset({"python", "mlflow"}),
        upstream=[Upstream("compressed_model"), Upstream("model"), Upstream("training_set")],
        guards=guards,
        code=code,
        settings=settings,
    )


def model_card_stage(product: Product) -> Stage:
    """The stage that writes the card."""
    return Stage(
        stage="model_card",
        asset="model_card",
        description="What a person should know before using the model, on one page.",
        compute=work("model_card:write_card"),
        kinds=frozenset({"markdown"}),
        upstream=[Upstream("evaluation"), Upstream("model"), Upstream("compressed_model")],
        code=("card",),
        settings=product.declaration.model_dump_json(),
    )
