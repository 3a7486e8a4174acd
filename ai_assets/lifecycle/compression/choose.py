"""Which artifact is served."""

from dataclasses import dataclass

from ai_assets.lifecycle.compression.candidates import Measurement
from ai_assets.lifecycle.compression.parity import budget_ok
from ai_assets.lifecycle.compression.spec import Compression
from ai_assets.lifecycle.errors import DataError


@dataclass(frozen=True)
class Choice:
    """The chosen candidate's name, whether it is within the budget, and why it was chosen."""

    name: str
    within_budget: bool
    reason: str


def choose(measured: list[Measurement], spec: Compression) -> Choice:
    """The smallest candidate within the budget.

    The smallest, not the one that was quickest on the clock: fewer bytes are fewer tree nodes or
    multiplications, so size ranks speed well, and it is the same on every run, where a clock would
    choose between near equals by chance. Of one size the first given wins. The one clock that can
    matter is `max_p99`, and only where it is declared.

    Where none is within the budget, the one that loses least is named and `within_budget` is false:
    the blocking check stops it, and people see how far it is from the budget.

    Raises:
        DataError: nothing was measured.
    """
    if not measured:
        raise DataError("there is no candidate to choose from.")
    judged = {m.name: budget_ok(m, spec) for m in measured}
    within = [m for m in measured if judged[m.name][0]]
    if not within:
        least = min(measured, key=lambda m: m.metric_loss)
        every = " ".join(words for _, words in judged.values())
        return Choice(least.name, False, f"No candidate is within the budget. {every}")
    best = min(within, key=lambda m: m.size)
    outside = [judged[m.name][1] for m in measured if not judged[m.name][0]]
    reason = (
        f"{best.name} is the smallest of {len(within)} within the budget: "
        f"{best.size / 1e3:.0f} kB, {best.p50:.3f} ms a row (median), "
        f"metric loss {best.metric_loss:.4f}."
    )
    return Choice(best.name, True, " ".join([reason, *(f"Outside: {words}" for words in outside)]))
