"""From the source to the features."""

from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.schema.durations import format_duration
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.stages.binding import Guard, Stage, Upstream
from ai_assets.stages.work import work

HAS_ROWS = Guard("has_rows", "The source gave at least one row.")
NOT_EMPTIED = Guard(
    "not_emptied",
    "The source still has rows where it had some: an empty delivery takes nothing away.",
    blocking=True,
)
NOT_SHRUNK = Guard(
    "not_shrunk",
    "What is delivered again has about as many rows as before: a file that was cut off on its way "
    "would take the others away.",
)
NO_STRAYS = Guard(
    "no_row_of_another_partition",
    "The partition's own file holds no row of another one: nobody would read it from there.",
)
_KINDS = {"delta": "deltalake", "landing": "file"}
# What a value becomes is said beside the sources, which ask it too.
_CLEANING = ("cleaning", "sources/casts")


def raw_stage(product: Product, name: str, table: Table) -> Stage:
    """The stage that copies one table from its source into the lake."""
    guards = [HAS_ROWS, NOT_EMPTIED, NOT_SHRUNK]
    return Stage(
        stage="raw",
        asset=f"raw/{name}",
        description=f"{table.description or name} As the source has it.",
        together=work("raw:copy_sources", name=name, table=table),
        kinds=frozenset({_KINDS.get(table.source.kind, table.source.kind), "polars"}),
        guards=[*guards, NO_STRAYS] if has_own_files(product, name, table) else guards,
        partitioned=product.is_partitioned(name),
        ranges=True,
        code=("sources", "schema/usual_form", *(["cleaning/personal"] if table.plain else [])),
        settings=table.source.model_dump_json() + ",".join(table.ignore) + _treatments(table),
    )


def has_own_files(product: Product, name: str, table: Table) -> bool:
    """Whether each partition of a table has a place of its own at the source."""
    return product.is_partitioned(name) and table.source.is_template


def _treatments(table: Table) -> str:
    """How personal columns are treated; empty where none is."""
    return "".join(name + column.model_dump_json() for name, column in table.plain.items())


ACCOUNTED = Guard(
    "every_row_accounted_for",
    "Nothing is dropped silently: raw rows = cleaned + rejected + duplicates.",
    blocking=True,
)
WITHIN_LIMIT = Guard(
    "few_rows_rejected",
    "The share of rows that break the contract stays within the declared `max_rejected`.",
    blocking=True,
)

AGREE = Guard(
    "duplicates_agree",
    "Rows with the same key hold the same values, where `duplicates` does not say which are meant.",
)
ONCE = Guard(
    "not_doubled",
    "Not every row is there again: without a key all of them count.",
)


def cleaned_stage(product: Product, name: str, table: Table) -> Stage:
    """The stage that holds one table to its contract."""
    return Stage(
        stage="cleaned",
        asset=f"cleaned/{name}",
        description=f"{table.description or name} Rows that meet the contract, typed.",
        together=work("cleaned:apply_contract", name=name, table=table),
        kinds=frozenset({"polars", "deltalake"}),
        upstream=[Upstream(f"raw/{name}", partitioned=product.is_partitioned(name))],
        guards=[
            ACCOUNTED,
            WITHIN_LIMIT,
            *([AGREE] if takes_the_first(table) else []),
            *([] if table.key else [ONCE]),
        ],
        partitioned=product.is_partitioned(name),
        ranges=True,
        code=_CLEANING,
        settings=table.model_dump_json(exclude={"source"}) + str(product.near(name) or ""),
    )


def takes_the_first(table: Table) -> bool:
    """Whether the first row of a key stays only because nobody said which."""
    return bool(table.key) and "duplicates" not in table.model_fields_set


def rejected_stage(product: Product, name: str, table: Table) -> Stage:
    """The stage that shows what the contract kept out."""
    return Stage(
        stage="rejected",
        asset=f"rejected/{name}",
        description=f"Rows of {name} that break the contract, with the rule they broke.",
        together=work("cleaned:show_rejected", name=name),
        kinds=frozenset({"polars", "deltalake"}),
        upstream=[Upstream(f"cleaned/{name}", partitioned=product.is_partitioned(name))],
        partitioned=product.is_partitioned(name),
        ranges=True,
        code=_CLEANING,
    )


def online_stage(product: Product, name: str, table: Table) -> Stage:
    """The stage that keeps the newest snapshot of one history table."""
    return Stage(
        stage="online",
        asset=f"online/{name}",
        description=f"Latest {name}, as far back as features look. Read by the server.",
        compute=work("online:take_latest", name=name, table=table),
        kinds=frozenset({"polars", "deltalake"}),
        upstream=[Upstream(f"cleaned/{name}")],
        partitioned=False,
        settings=str(product.declaration.lookback),
    )


BOTH_CLASSES = Guard("both_classes", "There are rows of both classes.")
EVERY_CLASS = Guard("every_class", "There are rows of every declared class.")
MORE_THAN_ONE = Guard("more_than_one_value", "There are rows of different outcomes.")
_OF_LABELS = {"binary": BOTH_CLASSES, "multiclass": EVERY_CLASS, "regression": MORE_THAN_ONE}


def labels_stage(product: Product) -> Stage:
    """The stage that computes labels."""
    declared = product.declaration
    return Stage(
        stage="labels",
        asset="labels",
        description=f"{declared.description} The outcome, once known: {declared.label.sql}; "
        "where that is null, what callers told.",
        compute=work("labels:compute_labels"),
        kinds=frozenset({"duckdb", "deltalake"}),
        upstream=[Upstream(f"cleaned/{declared.request}"), Upstream("feedback")],
        guards=[of_the_labels(product)],
        ranges=True,
        code=("labels.py",),
        settings=declared.label.model_dump_json(),
    )


def of_the_labels(product: Product) -> Guard:
    """The check of labels that suits the product's task."""
    return _OF_LABELS[product.declaration.label.task]


NO_LATE_COLUMNS = Guard(
    "no_late_column_of_the_request",
    "No feature reaches a column of `request` that becomes known after the answer is given.",
    blocking=True,
)
NOTHING_TOO_EARLY = Guard(
    "nothing_known_too_early",
    "Changing every value that was not yet known at the horizon leaves all features the same, and "
    "so does leaving out other rows of the request.",
    blocking=True,
)


ONLY_JUDGING = Guard(
    "no_feature_of_a_protected_column",
    "No feature is made of a column of `fairness.columns` that models may not learn from.",
    blocking=True,
)


def features_stage(product: Product) -> Stage:
    """The stage that runs the feature query."""
    upstream = [
        Upstream(f"cleaned/{name}", product.reach, product.is_partitioned(name))
        for name in product.declaration.tables
    ]
    judging = product.declaration.fairness.only_judging if product.declaration.fairness else []
    ahead = product.declaration.horizon
    return Stage(
        stage="features",
        asset="features",
        description="What is known of each request row when the answer is given: "
        f"{f'{format_duration(ahead)} before' if ahead else 'at the time of'} the event.",
        together=work("features:compute_features"),
        kinds=frozenset({"duckdb", "sql", "deltalake"}),
        upstream=upstream,
        guards=[NO_LATE_COLUMNS, NOTHING_TOO_EARLY, *([ONLY_JUDGING] if judging else [])],
        ranges=True,
        code=("features",),
        settings=product.features_sql + str(product.declaration.horizon) + ",".join(judging),
    )
