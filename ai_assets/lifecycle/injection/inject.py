"""Named changes of real rows, by which anyone can see that their cause is named."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import DeclarationError, must_be
from ai_assets.lifecycle.injection import breaks, concepts, shifts
from ai_assets.lifecycle.injection.roles import Frames, World
from ai_assets.lifecycle.product import TabularDeclaration
from ai_assets.lifecycle.verdict.evidence import Cause


@dataclass(frozen=True)
class Injection:
    """A way to change rows.

    Attributes:
        name: By which it is asked for.
        cause: The cause that a verdict on the changed rows should name.
        change: Changes the rows.
        words: What it does, in a sentence.
    """

    name: str
    cause: Cause
    change: Callable[[World], Frames]
    words: str

    @property
    def changes_code(self) -> bool:
        """Whether code versions change with the rows (`code_after`)."""
        return self.cause == "changed_code"

    @property
    def changes_outcome(self) -> bool:
        """Whether it changes outcomes alone, so that only labels can show it."""
        return self.cause == "concept_drift"


def _named(cause: Cause, *changes: Callable[[World], Frames]) -> dict[str, Injection]:
    return {
        change.__name__: Injection(
            change.__name__, cause, change, (change.__doc__ or "").split("\n")[0]
        )
        for change in changes
    }


INJECTIONS: dict[str, Injection] = {
    **_named(
        "broken_data",
        breaks.column_renamed,
        breaks.nulls_spread,
        breaks.unit_changed,
        breaks.clock_shifted,
        breaks.value_stuck,
    ),
    **_named("changed_code", breaks.upstream_code_changed),
    **_named(
        "covariate_drift",
        shifts.category_mix_shifted,
        shifts.numeric_shifted,
        shifts.new_category,
        shifts.joint_shifted,
    ),
    **_named(
        "concept_drift",
        concepts.label_flipped_in_segment,
        concepts.base_rate_shifted,
        concepts.relation_weakened,
    ),
}


def inject(
    name: str,
    frames: Mapping[str, pl.DataFrame],
    declared: TabularDeclaration,
    seed: int,
    *,
    strength: float = 1.0,
) -> Frames:
    """Change raw rows in a named way.

    Args:
        name: one of `INJECTIONS`.
        frames: raw rows by table, as the source gave them; they are not changed themselves.
        declared: the product's declaration, from which the columns to change are picked.
        seed: chooses columns and rows; the same seed changes the same.
        strength: 1 is the injection's own measure, 0 changes next to nothing.

    Returns:
        All frames, the changed among them. A changed column has the declared type.

    Raises:
        DeclarationError: the name is unknown, or the strength is not between 0 and 2.
        DataError: the product has no column that can be changed so.
    """
    injection = get_injection(name)
    if not 0 < strength <= 2:
        raise DeclarationError(must_be("strength", "above 0 and at most 2", strength))
    # The name is in the seed, so that two injections of one seed choose their own columns.
    mixed = int.from_bytes(sha256(f"{name}/{seed}".encode()).digest()[:8])
    world = World(dict(frames), declared, np.random.default_rng(mixed), strength)
    return injection.change(world)


def get_injection(name: str) -> Injection:
    """The injection of that name.

    Raises:
        DeclarationError: there is none.
    """
    if name not in INJECTIONS:
        raise DeclarationError(must_be("the injection", INJECTIONS, name))
    return INJECTIONS[name]


def code_after(name: str, versions: Mapping[str, str]) -> dict[str, str]:
    """The code versions that go with an injection; the first is another if it changes code."""
    if not get_injection(name).changes_code:
        return dict(versions)
    return {
        stage: f"{version}+{name}" if place == 0 else version
        for place, (stage, version) in enumerate(versions.items())
    }
