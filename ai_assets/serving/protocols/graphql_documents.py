"""GraphQL documents: read, bounded and validated; those asked again are remembered."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    get_operation_ast,
    parse,
    specified_rules,
    validate,
)
from graphql.validation import MaxIntrospectionDepthRule

from ai_assets.serving.problems import Refused

# Room for the query that tools ask for the schema, and for some rows in the text itself. Rows
# belong into variables, which these bounds do not count.
MOST_CHARACTERS = 100_000
MOST_TOKENS = 5000
MOST_FIELDS = 400
MOST_DEPTH = 20
MOST_ERRORS = 20
_REMEMBERED = 64
_LONGEST_REMEMBERED = 10_000


class Documents:
    """Documents that a schema can answer."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._known: OrderedDict[str, DocumentNode] = OrderedDict()
        self._changing = threading.Lock()

    def read(self, text: str) -> DocumentNode:
        """The document of a text.

        Raises:
            GraphQLError: it is none; says where.
            Invalid: it asks what the schema does not have.
            Refused: with 413; it is too large.
        """
        with self._changing:
            if text in self._known:
                self._known.move_to_end(text)
                return self._known[text]
        document = _parsed(text)
        _check_size(document)
        rules = [*specified_rules, MaxIntrospectionDepthRule]
        errors = validate(
            self._schema, document, list(dict.fromkeys(rules)), max_errors=MOST_ERRORS
        )
        if errors:
            raise Invalid(errors)
        if len(text) <= _LONGEST_REMEMBERED:
            with self._changing:
                self._known[text] = document
                if len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
        return document


class Invalid(Exception):
    """A document that the schema cannot answer."""

    def __init__(self, errors: Sequence[GraphQLError]) -> None:
        super().__init__(f"{len(errors)} errors")
        self.errors = errors


def fields_asked(document: DocumentNode, operation: str | None) -> list[str]:
    """The names of the fields of the query or mutation itself, each as often as it is asked.

    Raises:
        Refused: there is no such operation, or it is a subscription.
    """
    found = get_operation_ast(document, operation)
    if found is None:
        words = "The document must have one operation, or operationName must name one of it."
        raise Refused(400, words)
    if found.operation is OperationType.SUBSCRIPTION:
        raise Refused(400, "There are no subscriptions; /stream answers row by row.")
    fragments = _fragments(document)
    return [field.name.value for field in _fields(found.selection_set.selections, fragments)]


def values_asked(
    fields: Sequence[FieldNode],
    fragments: Mapping[str, FragmentDefinitionNode],
    lists: Mapping[str, int],
) -> int:
    """How many values one object of these fields asks for; what is asked twice counts twice.

    Args:
        fields: of one name, as they were asked for.
        fragments: of the document, by name.
        lists: how many objects a field gives, by its name; others give one.
    """
    total = 0
    for field in fields:
        inner = _fields(field.selection_set.selections, fragments) if field.selection_set else []
        for one in inner:
            total += 1 + lists.get(one.name.value, 1) * values_asked([one], fragments, lists)
    return total


def _parsed(text: str) -> DocumentNode:
    if len(text) > MOST_CHARACTERS:
        raise Refused(413, f"The query must have at most {MOST_CHARACTERS} characters.")
    try:
        return parse(text, no_location=False, max_tokens=MOST_TOKENS)
    except GraphQLError as error:
        if "tokens" in error.message:
            raise Refused(
                413,
                f"The query must have at most {MOST_TOKENS} tokens. Send rows as variables.",
            ) from None
        raise
    except RecursionError:
        raise Refused(413, "The query is nested too deeply.") from None


def _fragments(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    return {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }


def _fields(
    selections: Sequence[SelectionNode], fragments: Mapping[str, FragmentDefinitionNode]
) -> list[FieldNode]:
    """The fields of one level. Fragments hold no cycles: the document was validated."""
    found: list[FieldNode] = []
    for selection in selections:
        inner: Any = selection
        if isinstance(selection, FieldNode):
            found.append(selection)
            continue
        if isinstance(selection, FragmentSpreadNode):
            inner = fragments[selection.name.value]
        found += _fields(inner.selection_set.selections, fragments)
    return found


def _check_size(document: DocumentNode) -> None:
    """Refuse what takes long to validate or to answer, before either is begun.

    A fragment counts as often as it is used, since it is answered as often.
    """
    fragments = _fragments(document)
    sizes: dict[str, tuple[int, int]] = {}

    def size(selections: Sequence[SelectionNode], inside: tuple[str, ...]) -> tuple[int, int]:
        """How many fields there are, and how deep they lie."""
        count = depth = 0
        for selection in selections:
            if isinstance(selection, FragmentSpreadNode):
                more, deep = of_fragment(selection.name.value, inside)
            else:
                inner: Any = selection
                more, deep = (
                    size(inner.selection_set.selections, inside) if inner.selection_set else (0, 0)
                )
                if isinstance(selection, FieldNode):
                    more, deep = more + 1, deep + 1
            count, depth = count + more, max(depth, deep)
        return count, depth

    def of_fragment(name: str, inside: tuple[str, ...]) -> tuple[int, int]:
        # What is unknown or holds itself is told by the validation.
        if name not in fragments or name in inside:
            return 0, 0
        if name not in sizes:
            sizes[name] = size(fragments[name].selection_set.selections, (*inside, name))
        return sizes[name]

    total = 0
    for node in document.definitions:
        if not isinstance(node, OperationDefinitionNode | FragmentDefinitionNode):
            continue
        count, depth = size(node.selection_set.selections, ())
        total += count if isinstance(node, OperationDefinitionNode) else 0
        if depth > MOST_DEPTH:
            raise Refused(413, f"The query must be at most {MOST_DEPTH} fields deep.")
    if total > MOST_FIELDS:
        raise Refused(413, f"The query must have at most {MOST_FIELDS} fields, but has {total}.")
