"""The contract of a table: columns that are not as declared, rows kept out, keys there twice."""

from ai_assets.lifecycle.cleaning import CleaningCounts
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.verdict.evidence import Evidence, beyond
from ai_assets.lifecycle.verdict.sketch import TableSketch
from ai_assets.lifecycle.verdict.spec import Causes


def schema_evidence(problems: list[str]) -> list[Evidence]:
    """What `check_columns` said against the source, a piece of evidence a sentence."""
    return [
        Evidence("broken_data", "schema", "", 1.0, 0.0, words.strip().rstrip("."), 1.0)
        for words in problems
    ]


def contract_evidence(
    counts: CleaningCounts, table: Table, reference: TableSketch | None, spec: Causes
) -> list[Evidence]:
    """Rows kept out beyond what is declared and usual."""
    if not counts.raw:
        return []
    found = []
    usual = reference.rejected if reference else 0.0
    rejected = counts.rejected / counts.raw
    limit = max(table.max_rejected, usual * 2)
    if rejected > limit:
        rule, rows = max(counts.by_rule.items(), key=lambda item: item[1])
        found.append(
            Evidence(
                "broken_data",
                "contract",
                rule.split(" ")[0],
                rejected,
                limit,
                f"{rejected:.1%} of the rows break the contract, "
                f"{rows / counts.raw:.1%} because {rule}",
                beyond(rejected, limit),
            )
        )
    twice = counts.duplicates / counts.raw
    limit = (reference.duplicates if reference else 0.0) + spec.duplicates
    if twice > limit:
        found.append(
            Evidence(
                "broken_data",
                "duplicates",
                "",
                twice,
                limit,
                f"{twice:.1%} of the rows have a key that is there already",
                beyond(twice, limit),
            )
        )
    return found
