"""What the graph tells MLflow of a run, read back from its store."""

from small_product import FEBRUARY, World


def test_a_tracked_run_says_which_data_code_and_run_made_it(shared_world: World) -> None:
    run_id = shared_world.metadata("model/linear", FEBRUARY)["mlflow_run"]
    event = shared_world.latest("model/linear", FEBRUARY)
    assert event.asset_materialization is not None
    tags = event.asset_materialization.tags or {}

    tracked = shared_world.tools.tracker.client().get_run(run_id)

    assert {name: tracked.data.tags[name] for name in TOLD} == {
        "product": "late_orders",
        "asset": "model/linear",
        "partition": FEBRUARY,
        "dagster_run_id": event.run_id,
        "code_version": tags["dagster/code_version"],
        "training_set_version": shared_world.tools.lake.digest(
            shared_world.product.asset("training_set"), FEBRUARY
        ),
    }
    assert len(tags["dagster/code_version"]) == 16
    assert tracked.data.params["family"] == "linear"
    assert 0 < tracked.data.metrics["validation_log_loss"] < 0.5


def test_a_search_is_tracked_trial_by_trial(shared_world: World) -> None:
    client = shared_world.tools.tracker.client()
    name = shared_world.product.asset("tuning").experiment
    experiment = client.get_experiment_by_name(name)
    (tracked,) = client.search_runs([experiment.experiment_id], "tags.asset = 'tuning'")

    trials = client.get_metric_history(tracked.info.run_id, "log_loss")
    rows = shared_world.rows("tuning", FEBRUARY)
    assert [point.value for point in trials] == rows["value"].to_list()
    spec = shared_world.assets[list(shared_world.stages).index("tuning")].specs_by_key
    (code,) = [asset.code_version for asset in spec.values()]
    assert tracked.data.tags["code_version"] == code
    assert tracked.data.params.keys() == {"c"}


TOLD = (
    "product", "asset", "partition", "dagster_run_id", "code_version", "training_set_version",
)  # fmt: skip
