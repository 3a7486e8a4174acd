"""The GraphQL schema of a bundle: the product's own fields, as far as GraphQL can name them.

The scalars made here let every value through: what a value must be is said by the column's
declaration alone, in the words that REST answers with.
"""

from collections.abc import Callable, Mapping, Set
from typing import TYPE_CHECKING, Any

from graphql import (
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLField,
    GraphQLFloat,
    GraphQLID,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLString,
    ValueNode,
    value_from_ast_untyped,
)

from ai_assets.serving.openapi_answers import MAP, WORDS, probability_words
from ai_assets.serving.protocols.graphql_names import graphql_names
from ai_assets.serving.record.feedback import ID, KNOWN_AT, OUTCOME

if TYPE_CHECKING:
    from ai_assets.lifecycle.features.encoding import Encoding
    from ai_assets.lifecycle.schema.decision import Decision
    from ai_assets.serving.bundle import Bundle
    from ai_assets.serving.columns import ColumnCheck
    from ai_assets.serving.record.feedback import FeedbackReader
    from ai_assets.serving.request import RequestReader

# Which scope a field of Query or Mutation needs; the others need a key.
SCOPES = {"predict": "predict", "explain": "explain", "feedback": "feedback"}
Resolver = Callable[..., Any]


def _literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
    return value_from_ast_untyped(node, variables)


def _scalar(name: str, words: str) -> GraphQLScalarType:
    return GraphQLScalarType(
        name, parse_value=lambda value: value, parse_literal=_literal, description=words
    )


INT64 = _scalar("Int64", "A whole number of 64 bits.")
NUMBER = _scalar("Number", "A finite number.")
MOMENT = _scalar("DateTime", "An ISO 8601 instant with its UTC offset: 2013-04-10T21:00:00Z.")
DAY = _scalar("Date", "An ISO 8601 date, such as 2013-04-10.")
PERSONAL = _scalar("Personal", "A value that no error repeats.")
OUTCOME_VALUE = _scalar("Outcome", "A word of the product's labels, a truth value or a number.")
JSON = _scalar("JSON", "Any JSON value.")
_SCALARS = {
    "string": GraphQLString,
    "int64": INT64,
    "float64": NUMBER,
    "bool": GraphQLBoolean,
    "datetime": MOMENT,
    "date": DAY,
    "image": GraphQLString,
    "text": GraphQLString,
}


def build_schema(
    bundle: "Bundle",
    reader: "RequestReader",
    feedback: "FeedbackReader",
    resolvers: Mapping[str, Resolver],
) -> GraphQLSchema:
    """The schema of what a bundle answers.

    Args:
        bundle: what is served.
        reader: knows the columns of the request.
        feedback: knows the key of a row.
        resolvers: for each field of Query and Mutation what answers it.
    """
    row = _input("RowInput", bundle.request.table.description, _row_fields(reader))
    told = _input("OutcomeInput", "By predictionId, or by the key.", _outcome_fields(feedback))
    prediction = _prediction(bundle.decision)
    explanation = _explanation(bundle.decision, bundle.encoding)
    query = {
        "predict": GraphQLField(
            _many(prediction), {"rows": _arguments(row)}, description="Answers, one a row."
        ),
        "explain": GraphQLField(
            _many(explanation),
            {"rows": _arguments(row)},
            description="How much each feature contributed to the answer to a row.",
        ),
        "model": GraphQLField(GraphQLNonNull(_model(bundle.decision)), description="What answers."),
        "schema": GraphQLField(_list(_column()), description="The columns of a row."),
    }
    mutation = {
        "feedback": GraphQLField(
            _object("Kept", {"recorded": GraphQLNonNull(GraphQLInt)}),
            {"outcomes": _arguments(told)},
            description="Take outcomes, each of a prediction by its id, or of a row by its key.",
        )
    }
    for name, field in (*query.items(), *mutation.items()):
        field.resolve = resolvers[name]
    return GraphQLSchema(
        GraphQLObjectType("Query", query),
        GraphQLObjectType("Mutation", mutation),
        description=bundle.description or None,
    )


def columns_shown(reader: "RequestReader") -> list[dict[str, Any]]:
    """What the field `schema` answers: each column, by both its names."""
    names = graphql_names(reader.checks)
    return [
        {
            "name": column,
            "graphqlName": names[column],
            "type": check.column.type,
            "required": check.required,
            "declared": check.json_schema(),
        }
        for column, check in reader.checks.items()
    ]


def _row_fields(reader: "RequestReader") -> dict[str, GraphQLInputField]:
    names = graphql_names(reader.checks)
    return {names[column]: _field(check) for column, check in reader.checks.items()}


def _outcome_fields(feedback: "FeedbackReader") -> dict[str, GraphQLInputField]:
    own = {"predictionId": ID, "outcome": OUTCOME, "knownAt": KNOWN_AT}
    names = graphql_names(feedback.key, own)
    return {
        "predictionId": GraphQLInputField(GraphQLID, out_name=ID),
        **{names[c]: _field(feedback.checks[c], required=False) for c in feedback.key},
        "outcome": GraphQLInputField(GraphQLNonNull(OUTCOME_VALUE), out_name=OUTCOME),
        "knownAt": GraphQLInputField(
            MOMENT, description="When it became known.", out_name=KNOWN_AT
        ),
    }


def _field(check: "ColumnCheck", *, required: bool | None = None) -> GraphQLInputField:
    kind: Any = PERSONAL if check.column.personal else _SCALARS[check.column.type]
    if check.required if required is None else required:
        kind = GraphQLNonNull(kind)
    return GraphQLInputField(kind, description=_words(check), out_name=check.name)


def _words(check: "ColumnCheck") -> str:
    """What a person must know of a column: name elsewhere, meaning, unit, bounds, example."""
    declared = check.json_schema()
    parts = [str(declared["description"])] if "description" in declared else []
    column = check.column
    bounds = {
        "at least": ("minimum", column.min),
        "at most": ("maximum", column.max),
        "matches": ("pattern", column.pattern),
    }
    parts += [f"{words} {declared[k]}" for words, (k, own) in bounds.items() if own is not None]
    if check.column.allowed is not None:
        some = ", ".join(map(str, check.column.allowed[:20]))
        parts.append(f"one of {some}{', …' if len(check.column.allowed) > 20 else ''}")
    if "examples" in declared:
        parts.append(f"such as {declared['examples'][0]}")
    if graphql_names([check.name])[check.name] != check.name:
        parts.append(f"elsewhere named '{check.name}'")
    return "; ".join(parts)


def _prediction(decision: "Decision") -> GraphQLObjectType:
    number = decision.task == "regression"
    return _object(
        "Prediction",
        {
            "predictionId": GraphQLNonNull(GraphQLID),
            "label": GraphQLNonNull(GraphQLFloat if number else GraphQLString),
            "probability": GraphQLNonNull(GraphQLFloat),
            **_of_answer(decision),
            **_ANSWERED,
            "online": _list(
                _object(
                    "OnlineTable",
                    {
                        "name": GraphQLNonNull(GraphQLString),
                        "version": GraphQLNonNull(GraphQLString),
                        "ageSeconds": GraphQLNonNull(GraphQLFloat),
                    },
                )
            ),
        },
        probability=probability_words(decision),
        online="Version and age of each time-varying table",
        **_said_of_label(decision),
    )


def _of_answer(decision: "Decision") -> dict[str, Any]:
    """What an answer has beside label and probability. GraphQL knows no object of free names."""
    if decision.task == "binary":
        return {"threshold": GraphQLNonNull(GraphQLFloat)}
    if decision.task == "regression":
        return {} if decision.interval is None else {"interval": _list(GraphQLFloat)}
    each = {"label": GraphQLNonNull(GraphQLString), "probability": GraphQLNonNull(GraphQLFloat)}
    return {"probabilities": _list(_object("ClassProbability", each))}


def _said_of_label(decision: "Decision") -> dict[str, str]:
    # Names of classes need not be names of GraphQL, so they make no enum.
    several = decision.task == "multiclass"
    return {"label": f"One of {', '.join(decision.classes)}"} if several else {}


def _explanation(decision: "Decision", encoding: "Encoding") -> GraphQLObjectType:
    shares = _object(
        "Contribution",
        {
            "feature": GraphQLNonNull(GraphQLString),
            "value": JSON,
            "contribution": GraphQLNonNull(GraphQLFloat),
            **_within({column.kind for column in encoding.items}),
        },
        map=MAP,
        words=WORDS,
    )
    text, number = GraphQLNonNull(GraphQLString), GraphQLNonNull(GraphQLFloat)
    fields = {"method": text, "space": text, "output": number, "base": number}
    if decision.task == "multiclass":
        fields = {"label": text, **fields}
    return _object("Explanation", {**fields, "contributions": _list(shares), **_ANSWERED})


def _within(kinds: Set[str]) -> dict[str, Any]:
    """What a contribution has within it, of items of these kinds; null of other features."""
    found: dict[str, Any] = {}
    if "image" in kinds:
        found["map"] = GraphQLList(_list(GraphQLFloat))
    if "text" in kinds:
        each = {
            "word": GraphQLNonNull(GraphQLString),
            "contribution": GraphQLNonNull(GraphQLFloat),
        }
        found["words"] = _many(_object("WordContribution", each))
    return found


def _model(decision: "Decision") -> GraphQLObjectType:
    text = GraphQLNonNull(GraphQLString)
    binary = decision.task == "binary"
    return _object(
        "Model",
        {
            "product": text,
            "description": text,
            **_ANSWERED,
            "task": text,
            "labels": _list(GraphQLString),
            **({"threshold": GraphQLNonNull(GraphQLFloat)} if binary else {}),
            "modelCard": text,
        },
        modelCard="The model card, in Markdown",
    )


def _column() -> GraphQLObjectType:
    text = GraphQLNonNull(GraphQLString)
    fields = {
        "name": text,
        "graphqlName": text,
        "type": text,
        "required": GraphQLNonNull(GraphQLBoolean),
        "declared": GraphQLNonNull(JSON),
    }
    return _object("Column", fields, declared="The column as JSON Schema")


_ANSWERED = {"bundle": GraphQLNonNull(GraphQLString), "model": GraphQLString}


def _object(name: str, types: Mapping[str, Any], **words: str) -> GraphQLObjectType:
    fields = {n: GraphQLField(kind, description=words.get(n)) for n, kind in types.items()}
    return GraphQLObjectType(name, fields)


def _input(
    name: str, words: str | None, fields: dict[str, GraphQLInputField]
) -> GraphQLInputObjectType:
    return GraphQLInputObjectType(name, fields, description=words or None)


def _list(kind: Any) -> GraphQLNonNull[Any]:
    return GraphQLNonNull(GraphQLList(GraphQLNonNull(kind)))


def _many(kind: Any) -> GraphQLList[Any]:
    """A list that may be null: a field that fails does not take the others with it."""
    return GraphQLList(GraphQLNonNull(kind))


def _arguments(kind: GraphQLInputObjectType) -> GraphQLArgument:
    return GraphQLArgument(_list(kind))
