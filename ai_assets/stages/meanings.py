"""What the columns of the graph's own tables mean, for those who look at them in the UI."""

from collections.abc import Mapping, Sequence

from ai_assets.lifecycle.features.lineage import ROW_ID, Origin
from ai_assets.lifecycle.schema.tables import Table

_ORIGINS_SHOWN = 8

ROW = {
    "_row_id": "The row, by a hash of its key (without one: of its content)",
    "_rule": "The rule of the contract that the row broke",
}


def of_table(table: Table) -> dict[str, str]:
    """What the columns of a declared table mean, where they are not held to the contract."""
    return ROW | {name: column.description for name, column in table.columns.items()}


def of_features(
    tables: Mapping[str, Table],
    request: str,
    lineage: Mapping[str, Sequence[Origin]],
    carried: Mapping[str, Origin],
) -> dict[str, str]:
    """What features mean: as the column does that one is, else what they are made of.

    Args:
        tables: the declared tables.
        request: the name of the request table.
        lineage: the columns of tables, and of `request`, that each feature is made of.
        carried: the column that a feature is, where it is one as it is.
    """
    tables = {**tables, "request": tables[request]}
    found = dict(ROW)
    for feature, origins in lineage.items():
        table, name = carried.get(feature, (request, ""))
        column = tables[table].columns.get(name)
        if column is not None and column.meaning:
            found[feature] = column.meaning
        elif made := _made_of(origins, tables):
            found[feature] = made
    return found


def _made_of(origins: Sequence[Origin], tables: Mapping[str, Table]) -> str:
    """The declared columns; moments, which nearly every join compares, where there is no other."""
    known = [(t, name) for t, name in origins if name in tables[t].columns]
    names = [f"{t}.{name}" for t, name in known or origins if name != ROW_ID]
    more = ", …" if len(names) > _ORIGINS_SHOWN else ""
    return f"Made of {', '.join(names[:_ORIGINS_SHOWN])}{more}" if names else ""


LABELS = ROW | {
    "label": "What came true; missing while it is not known",
    "event_time": "The time of the row",
    "known_at": "When its label is known",
}

FEEDBACK = LABELS | {
    "told_at": "When a caller sent the outcome",
    "outcome": "The outcome in the caller's words",
    "prediction_id": "The answer that it is the outcome of",
    "entity": "The row's key, where the caller named that instead of an answer",
    "key_id": "Who told it: the id of the API key",
}

TRAINING_SET = LABELS | {
    "split": "Which part of the work the row is for; no row is in two",
    "_group": "Rows of one group are never parted by the split",
    "_protected": "A number for the groups of people that the row is of, by which it is weighed",
}

_ANSWER = {
    "probability": "The answer's probability; of a number that is predicted, the number",
    "probabilities": "The probability of each class, in the order of their declaration",
    "predicted": "What was answered",
    "bundle": "The bundle that answered",
}

PREDICTIONS = ROW | _ANSWER | {"release_id": "The line of the ledger by which it was in production"}

SERVED = PREDICTIONS | {
    "prediction_id": "What a caller names when the outcome is known",
    "event_time": "The time of the row, where it has one",
    "asked_at": "When it was asked",
    "key_id": "Who asked: the id of the API key",
    "route": "By which path",
    "model": "The partition that the model learned up to",
    "role": "In which role the bundle answered",
    "threshold": "From which probability the answer was yes",
    "latency_ms": "How long the answer took, in milliseconds",
    "request": "The request as it was sent, as JSON",
    "features": "What the model saw, as JSON",
    "online": "The versions of the tables that the server looked up, as JSON",
}

DRIFT = {
    "column": "A feature, or what was predicted",
    "kind": "How it was compared: as numbers or as categories",
    "rows": "Rows of this partition",
    "psi": "Population stability index: 0 is no change",
    "jensen_shannon": "Jensen-Shannon distance, 0 to 1",
    "wasserstein": "Wasserstein distance, in standard deviations of the reference",
    "null_share": "Share of missing values",
    "null_share_change": "By how much that share differs from the reference",
    "new_category_share": "Share of categories that the reference has not",
    "drifted": "Whether an effect is beyond its limit, and more than chance",
    "words": "What was found, in words",
    "cramers_v": "Cramér's V of category and time, 0 to 1",
    "limit": "The PSI from which the column has drifted, raised for few rows",
    "effect": "Of embeddings: how far they moved, of one standard deviation",
}

PERFORMANCE = {
    "metric": "What is measured",
    "bundle": "The bundle that was in production",
    "rows": "Rows that were scored",
    "estimate": "The metric as the scores alone let expect it",
    "estimate_low": "Lower end of the estimate's interval of 95 %",
    "estimate_high": "Upper end of the estimate's interval of 95 %",
    "labelled": "Rows whose label has arrived",
    "realised": "The metric by the labels that have arrived",
    "realised_low": "Lower end of its interval of 95 %",
    "realised_high": "Upper end of its interval of 95 %",
    "valid": "Whether the estimate may be believed",
    "costs": "Of `cost`: what answers were declared to cost, by label and answer; only values by "
    "the same costs can be compared",
}

BACKTEST = LABELS | {
    "never": "What the first model would have answered: never trained again",
    "rolling": "What a model of the newest window would have answered",
    "expanding": "What a model of everything so far would have answered",
}
