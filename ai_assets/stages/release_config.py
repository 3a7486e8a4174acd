"""What a person, or a sensor, may ask of `release`."""

import dagster as dg
from pydantic import Field

from ai_assets.lifecycle.errors import DataError, must_be
from ai_assets.resources.ledger import MODES

ENDS = ("promote", "drop")


class ReleaseConfig(dg.Config):
    """Who releases what, and why.

    With neither `bundle` nor `partition` it is the bundle of the run's own partition; of a run
    without one, the newest that passed its gate. With `candidate`, `mode`, `split` or `end` the
    bundle in production stays, and what is tried beside it changes.
    """

    bundle: str | None = Field(
        default=None, description="Tag of the bundle to release; an earlier one rolls back to it."
    )
    partition: str | None = Field(
        default=None,
        description="Or its partition, such as 2013-03 of months: the newest bundle of it that was "
        "released before or passed its gate.",
    )
    candidate: str | None = Field(
        default=None, description="Tag of the bundle to try beside the one in production."
    )
    mode: str | None = Field(
        default=None,
        description="How it is tried: ab (a fixed share), canary (a share that grows), shadow "
        "(nobody gets its answers) or bandit (feedback decides the share). Default: as it is tried "
        "already, else as the product declares, else ab.",
    )
    split: float | None = Field(
        default=None,
        description="Share of the traffic that the candidate gets, 0 to 1. Alone it changes that "
        "of the running trial. Default: the first of the declared steps.",
    )
    end: str | None = Field(
        default=None,
        description="Ends the trial: promote puts the candidate into production, drop lets it go.",
    )
    who: str = Field(default="operator", description="Who decides.")
    why: str = Field(default="released by hand", description="The reason, for the history.")
    decision: str | None = Field(
        default=None,
        description="Id of the recorded decision that asked for this bundle. Where the gate says "
        "no, or a person must approve, what is in production then stays there.",
    )
    expects: str | None = Field(
        default=None,
        description="Id of the newest release as its writer knew it. Where another has come since, "
        "nothing is changed.",
    )
    override_gate: bool = Field(
        default=False, description="Release a bundle that its gate did not pass. Recorded."
    )

    def names_one(self) -> bool:
        """Whether a bundle is named, by its tag or its partition."""
        return self.bundle is not None or self.partition is not None

    def of_a_trial(self) -> bool:
        """Whether a trial is to begin, change or end.

        Raises:
            DataError: what is asked for does not go together, or is none of what may be.
        """
        trial = {
            name: value
            for name in ("candidate", "mode", "split", "end")
            if (value := getattr(self, name)) is not None
        }
        if self.bundle is not None and self.partition is not None:
            raise DataError(must_be("partition", "left out where bundle is set", self.partition))
        if trial and self.names_one():
            name = "partition" if self.bundle is None else "bundle"
            raise DataError(
                f"{name} releases at once, so it must stand without {', '.join(trial)}. To try a "
                "bundle first, name it as candidate."
            )
        if self.end is not None and len(trial) > 1:
            others = ", ".join(name for name in trial if name != "end")
            raise DataError(must_be("end", f"alone, without {others}", self.end))
        if self.end is not None and self.end not in ENDS:
            raise DataError(must_be("end", ENDS, self.end))
        if self.mode is not None and self.mode not in MODES:
            raise DataError(must_be("mode", MODES, self.mode))
        if self.split is not None and not 0 <= self.split <= 1:
            raise DataError(must_be("split", "between 0 and 1", self.split))
        return bool(trial)
