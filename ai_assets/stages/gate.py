"""gate: whether a bundle may be released."""

from ai_assets.lifecycle.gate.limits import GateResult, judge
from ai_assets.lifecycle.product import Product
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Guard, Outcome, Stage, StageRun, Upstream, digest
from ai_assets.stages.model_card import read_evaluation
from ai_assets.stages.training_data import artifact, read_json, save_folder, write_json

WITHIN_LIMITS = Guard(
    "within_limits", "The evaluation, size and latency meet every declared limit.", blocking=True
)


def gate_stage(product: Product) -> Stage:
    """The stage that judges a bundle against the declared limits."""
    return Stage(
        stage="gate",
        asset="gate",
        description="Whether the bundle meets every declared limit and may be released.",
        compute=judge_bundle,
        kinds=frozenset({"python"}),
        upstream=[Upstream("bundle"), Upstream("evaluation"), Upstream("compressed_model")],
        guards=[WITHIN_LIMITS],
        code=("gate",),
        settings=product.declaration.gate.model_dump_json(),
    )


def judge_bundle(run: StageRun) -> Outcome:
    """Judge the evaluation of what the bundle serves."""
    evaluation = read_evaluation(run)
    chosen = read_json(artifact(run, "compressed_model"), "chosen.json")
    result = judge(evaluation, chosen, run.product.declaration.gate)
    content = {
        "passed": result.passed,
        "words": result.words,
        "bundle": read_json(artifact(run, "bundle"), "bundle.json")["tag"],
        "limits": result.rows.to_dicts(),
    }
    version = save_folder(run, "gate", lambda folder: write_json(folder, "gate.json", content))
    return Outcome(
        digest(version),
        {"limits": shown.table(result.rows), "bundle": content["bundle"], "passed": result.passed},
        {WITHIN_LIMITS.name: within_limits(result)},
    )


def within_limits(result: GateResult) -> Finding:
    return Finding(result.passed, result.words)
