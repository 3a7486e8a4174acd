"""The loop that all networks train by: it stops, keeps the best, resumes, and sets the rates."""

import math
from pathlib import Path

import numpy as np
import pytest

from ai_assets.lifecycle.learners.base import Dataset
from ai_assets.lifecycle.learners.checkpoints import Checkpoint, digest_of_run
from ai_assets.lifecycle.learners.cnn import Cnn
from ai_assets.lifecycle.learners.training_loop import Course, Outcome, State, Step, Trainee, run
from ai_assets_tests.lifecycle.test_cnn import make_images

ROWS, BATCHES = 40, 4


class Line(Trainee):
    """Learns y = 2 x from noisy rows; `judged` are the losses that validation tells, if any."""

    def __init__(self, judged: list[float] | None = None, rate: float = 0.05) -> None:
        import torch

        torch.manual_seed(0)
        self.x = torch.linspace(-1, 1, ROWS)
        self.slope = torch.nn.Parameter(torch.zeros(1))
        self.parameters = [self.slope]
        self.optimizer = torch.optim.AdamW(self.parameters, rate)
        self.batches_an_epoch = BATCHES
        self.judged, self.seen = judged, 0
        self.rates: list[float] = []
        self.steps: list[int] = []
        self.orders: list[list[int]] = []

    def batches(self):
        import torch

        order = torch.randperm(ROWS)
        self.orders.append(order.tolist())
        return order.tensor_split(BATCHES)

    def step(self, batch) -> Step:
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        return Step(((self.slope * self.x[batch] - 2 * self.x[batch]) ** 2).mean(), len(batch))

    def stepped(self, step: int) -> None:
        self.steps.append(step)

    def judge(self) -> float | None:
        if self.judged is None:
            return None
        self.seen += 1
        return self.judged[self.seen - 1]

    def answering(self) -> State:
        return {"slope": self.slope.detach().clone()}

    def load(self, state: State) -> None:
        self.slope.data.copy_(state["slope"])


def course(epochs: int = 6, **more) -> Course:
    settings = {"epochs": epochs} | ({"warm_up": 0.25} if more.pop("warm_up", False) else {})
    return Course("regression", settings, 3, 1, "cpu", **more)


def test_it_stops_after_its_patience_and_ends_with_the_best_weights():
    line, slopes = Line([5.0, 3.0, 4.0, 4.0, 1.0]), []

    done = run(line, course(patience=2), on_step=lambda *_: slopes.append(line.slope.item()))

    assert done.iterations == 2 and len(done.curve) == len(slopes) == 4
    assert [entry["validation"] for entry in done.curve] == [5.0, 3.0, 4.0, 4.0]
    assert line.slope.item() == slopes[1] != slopes[3]


def test_without_patience_all_epochs_run_and_the_last_weights_stay():
    line = Line([1.0, 2.0, 3.0])
    done = run(line, course(3))
    assert done.iterations == 3 and len(done.curve) == 3 and line.seen == 3
    again = Line()
    assert run(again, course(3)).curve[2] == {"step": 3.0, "train": done.curve[2]["train"]}
    assert float(again.slope) == float(line.slope)


def test_fewer_iterations_walk_the_beginning_of_the_same_path():
    whole, part = Line(), Line()
    long = run(whole, course(warm_up=True))
    short = run(part, course(warm_up=True, iterations=2))
    assert short.curve == long.curve[:2] and short.iterations == 2
    assert part.rates == whole.rates[: 2 * BATCHES]


def test_rates_go_up_in_a_line_and_down_along_half_a_cosine():
    line = Line(rate=0.8)
    run(line, course(4, warm_up=True))  # 16 steps, of which 4 up
    assert line.rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    falling = [0.4 * (1 + math.cos(math.pi * step / 12)) for step in range(12)]
    assert line.rates[4:] == pytest.approx(falling)
    assert line.steps == list(range(16))


def test_without_a_warm_up_the_rate_stays():
    line = Line()
    run(line, course(2))
    assert set(line.rates) == {0.05}


def test_the_curve_is_the_mean_of_all_that_was_counted():
    class Told(Line):
        def step(self, batch) -> Step:
            found = super().step(batch)
            return Step(found.objective, 3, found.objective * 0 + 6)

    assert run(Told(), course(1)).curve[0]["train"] == 2.0


def test_a_long_gradient_is_clipped_and_a_short_one_is_not():
    import torch

    seen: list[float] = []

    class Steep(Line):
        clip = 0.5

        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor
            self.optimizer = torch.optim.SGD(self.parameters, 1.0)

        def step(self, batch) -> Step:
            return Step(self.factor * self.slope.sum(), len(batch))

        def stepped(self, step: int) -> None:
            seen.append(float(self.slope.grad))

    run(Steep(100.0), course(1))
    run(Steep(0.25), course(1))
    assert seen == pytest.approx([0.5] * BATCHES + [0.25] * BATCHES, abs=1e-6)


def test_an_epochs_order_comes_from_the_seed_and_its_number_alone():
    one, other = Line(), Line()
    run(one, course(3))
    other.orders = []
    run(other, course(2))
    assert one.orders[:2] == other.orders and one.orders[0] != one.orders[1]

    class Drawn(Line):
        seeded_by_epoch = False

    drawn = Drawn()
    run(drawn, course(3))
    assert drawn.orders[0] != one.orders[0]


@pytest.mark.parametrize("killed", [1, 3, 4])
def test_a_killed_run_goes_on_to_the_same_end(tmp_path: Path, killed: int):
    judged = [5.0, 3.0, 4.0, 4.5, 4.6]
    path = Checkpoint(tmp_path / "state", "this", every=1)

    def kill(step: int, value: float) -> None:
        if step == killed:
            raise KeyboardInterrupt

    def finished(line: Line, **more) -> Outcome:
        return run(line, course(warm_up=True, patience=3), **more)

    whole, stopped = Line(judged), Line(judged)
    wanted = finished(whole)
    with pytest.raises(KeyboardInterrupt):
        finished(stopped, checkpoint=path, on_step=kill)
    left = path.read()
    assert left is None if killed == 1 else left is not None and left.about["done"] == killed - 1
    resumed = Line(judged)
    resumed.seen = killed - 1
    assert finished(resumed, checkpoint=path) == wanted
    assert float(resumed.slope) == float(whole.slope)
    assert resumed.rates == whole.rates[(killed - 1) * BATCHES :]
    assert not path.path.exists()


def test_a_refit_and_a_fit_without_validation_are_not_stopped_early():
    family, rows = Cnn("cpu"), make_images(rows=8)
    fit = family.course({"epochs": 9}, rows, "binary", 1, 2)
    refit = family.course({"epochs": 9, "iterations": 4}, rows, "binary", 1, 2)
    blind = family.course({"epochs": 9}, None, "binary", 1, 2)
    assert (fit.patience, fit.iterations) == (Cnn.patience, None)
    assert (refit.patience, refit.iterations) == (None, 4)
    assert (blind.patience, blind.iterations) == (None, None)
    assert (fit.device, fit.seed, fit.threads) == ("cpu", 1, 2)


def test_a_family_keeps_its_state_where_it_is_told_and_for_that_very_fit(tmp_path: Path):
    rows = make_images(rows=8)
    family = Cnn("cpu", tmp_path / "state")
    fits = [family.course({"epochs": epochs}, None, "binary", 1, 1) for epochs in (9, 8)]

    one, other = (family.kept(fit, rows, None, {"a": 1}) for fit in fits)

    assert one is not None and other is not None and one.run != other.run
    assert (one.path, one.every) == (tmp_path / "state", Cnn.kept_every)
    assert family.kept(fits[0], rows, None, {"a": 1}) == one
    assert Cnn("cpu").kept(fits[0], rows, None, {"a": 1}) is None


def test_the_digest_of_a_run_depends_on_everything():
    data = make_images(rows=8)
    other = Dataset(data.x, data.y[::-1].copy(), None, data.encoding)
    weighted = Dataset(data.x, data.y, np.ones(8), data.encoding)
    start = [np.zeros((2, 3))]
    runs = [
        digest_of_run(["a", 1], start, data, None),
        digest_of_run(["b", 1], start, data, None),
        digest_of_run(["a", 1], [np.zeros((3, 2))], data, None),
        digest_of_run(["a", 1], start, other, None),
        digest_of_run(["a", 1], start, weighted, None),
        digest_of_run(["a", 1], start, data, data),
    ]
    assert len(set(runs)) == len(runs)
    assert runs[0] == digest_of_run(["a", 1], [np.zeros((2, 3))], make_images(rows=8), None)
