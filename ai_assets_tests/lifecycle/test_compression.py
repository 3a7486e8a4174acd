"""Candidates are smaller, parity is checked both ways, and no clock decides the choice."""

from dataclasses import replace

import numpy as np
import pytest

from ai_assets.lifecycle.compression import tree_students
from ai_assets.lifecycle.compression.candidates import Measurement, build_candidates, measure
from ai_assets.lifecycle.compression.choose import choose
from ai_assets.lifecycle.compression.held_out import HeldOut
from ai_assets.lifecycle.compression.onnx_session import open_session
from ai_assets.lifecycle.compression.parity import budget_ok, onnx_parity_ok
from ai_assets.lifecycle.compression.recipes import Candidate, Job
from ai_assets.lifecycle.compression.spec import Compression
from ai_assets_tests.lifecycle.test_learners import fit, make_data

STUDENTS = [f"student_{leaves}" for leaves in (15, 31, 63)]
TRAIN, VALIDATION = make_data(), make_data(seed=4, rows=500)
PLAIN = Measurement("onnx", 1000, 0.1, 0.2, 0.5, 0.0, 0.0, 0.0)
SMALL = Measurement("student", 200, 0.9, 0.9, 0.503, 0.003, 0.1, 0.01)


def candidates(family: str, task: str = "binary", **more) -> dict:
    winner = fit(family, task, **more)
    train, validation = make_data(task), make_data(task, seed=4, rows=500)
    made = build_candidates(Job(winner, train, validation, Compression(), task, 0, 1))
    return {"winner": winner} | {candidate.name: candidate for candidate in made}


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_students_have_a_quarter_of_the_trees_and_answer_like_their_teacher(task):
    made = candidates("lightgbm", task)
    winner, students = made.pop("winner"), [made[name] for name in STUDENTS]
    data = make_data(task, seed=4, rows=500)
    for student in students:
        assert student.model.iterations <= winner.iterations // 4
        assert len(student.onnx) < len(made["onnx"].onnx)
        assert onnx_parity_ok(student.model, student, HeldOut(data))[0]
        pair = [model.predict(data.x)[:, 0] for model in (winner, student.model)]
        assert np.corrcoef(*pair)[0, 1] > 0.95
    sizes = [len(student.onnx) for student in students]
    assert sizes == sorted(sizes)


def test_no_larger_student_is_built_once_one_is_enough():
    winner, asked = fit("mlp"), []

    def enough(candidate: Candidate) -> bool:
        asked.append(candidate.name)
        return candidate.name == "student_31"

    job = Job(winner, TRAIN, VALIDATION, Compression(), "binary", 0, 1)
    made = build_candidates(job, enough=enough)

    assert [candidate.name for candidate in made] == ["onnx", "student_15", "student_31", "int8"]
    assert asked == ["student_15", "student_31"]


def test_int8_is_smaller_than_the_network_and_close_to_it():
    made = candidates("mlp", width=256, layers=3)
    rules = {"metric": "log_loss", "task": "binary", "repeats": 50}
    measured = {
        name: measure(made[name], made["winner"], HeldOut(VALIDATION), **rules)
        for name in ("onnx", "int8")
    }
    assert measured["int8"].size < measured["onnx"].size / 2
    assert abs(measured["int8"].metric_loss) < 0.01
    assert 0 < measured["int8"].mean_difference <= measured["int8"].max_difference < 0.1
    assert measured["onnx"].max_difference < 1e-5
    assert 0 < measured["onnx"].p50 <= measured["onnx"].p99


def test_the_winner_answers_the_rows_that_students_learn_from_once(monkeypatch):
    winner, answered = fit("lightgbm"), []
    run = tree_students.run_session
    monkeypatch.setattr(
        tree_students, "run_session", lambda session, x: (answered.append(x), run(session, x))[1]
    )

    job = Job(winner, TRAIN, VALIDATION, Compression(), "binary", 0, 1)
    made = build_candidates(job)

    assert [candidate.name for candidate in made] == ["onnx", *STUDENTS]
    assert [x is TRAIN.x for x in answered] == [True]
    taught = tree_students.taught(job)
    np.testing.assert_allclose(taught.y, winner.predict(TRAIN.x)[:, 0], atol=1e-6)


def test_students_look_closer_at_features_than_a_cautious_winner_does() -> None:
    winner = fit("lightgbm")
    job = Job(winner, TRAIN, VALIDATION, Compression(), "binary", 0, 1)
    student = tree_students.distil(job, tree_students.taught(job), 15)
    assert [f"[max_bin: {n}]" in m.text for n, m in ((63, winner), (255, student))] == [True, True]


def test_one_candidate_can_be_built_alone_and_is_the_same() -> None:
    made = candidates("lightgbm")
    winner = made["winner"]
    job = Job(winner, TRAIN, VALIDATION, Compression(), "binary", 0, 1)
    (alone,) = build_candidates(job, only=STUDENTS[1])
    assert (alone.name, alone.onnx) == (STUDENTS[1], made[STUDENTS[1]].onnx)


def test_only_declared_methods_are_tried():
    job = Job(fit("mlp"), TRAIN, VALIDATION, Compression(methods=["int8_dynamic"]), "binary", 0, 1)
    assert [candidate.name for candidate in build_candidates(job)] == ["onnx", "int8"]
    with pytest.raises(ValueError, match="methods"):
        Compression(methods=["int4"])


def test_a_linear_winner_is_served_as_it_is():
    assert set(candidates("linear")) == {"winner", "onnx"}


def test_parity_passes_for_the_own_graph_and_fails_for_another_models():
    model, other = fit("linear"), fit("linear", c=0.001)
    own, strange = (Candidate("onnx", "linear", m.to_onnx(), m, "") for m in (model, other))
    assert onnx_parity_ok(model, own, HeldOut(VALIDATION))[0]
    passed, words = onnx_parity_ok(model, strange, HeldOut(VALIDATION))
    assert not passed
    assert "beyond the tolerance" in words


def test_each_is_asked_once_for_its_answers_to_the_held_out_rows(monkeypatch):
    model, other = fit("linear"), fit("linear", c=0.001)
    first, second = (Candidate("onnx", "linear", m.to_onnx(), m, "") for m in (model, other))
    held_out = HeldOut(VALIDATION)
    opened: list[bytes] = []
    monkeypatch.setattr(
        "ai_assets.lifecycle.compression.held_out.open_session",
        lambda graph: opened.append(graph) or open_session(graph),
    )

    found = [held_out.of_graph(c) for c in (first, second, first)]

    assert opened == [first.onnx, second.onnx]
    assert found[0] is found[2] and not np.allclose(found[0], found[1])
    assert np.allclose(found[1], other.predict(VALIDATION.x), atol=1e-5)
    assert held_out.of_model(other) is held_out.of_model(other)
    assert np.array_equal(held_out.of_model(other), other.predict(VALIDATION.x))


def test_the_budget_check_passes_within_and_names_each_broken_limit():
    assert budget_ok(SMALL, Compression()) == (True, "student: metric loss 0.003 within 0.005.")
    passed, words = budget_ok(SMALL, Compression(max_metric_loss=0.001, max_p99=0.5))
    assert not passed
    assert words == "student: metric loss 0.003 above 0.001; p99 of one row 0.9 ms above 0.5 ms."


def test_the_smallest_within_the_budget_is_chosen_whatever_the_clock_said():
    choice = choose([PLAIN, SMALL], Compression())
    assert (choice.name, choice.within_budget) == ("student", True)
    slower = replace(PLAIN, p50=5.0)
    assert choose([slower, SMALL], Compression()).name == "student"


def test_a_candidate_outside_the_budget_is_passed_over_and_said():
    choice = choose([PLAIN, SMALL], Compression(max_metric_loss=0.001))
    assert choice.name == "onnx"
    assert "Outside: student: metric loss 0.003 above 0.001." in choice.reason


def test_when_nothing_is_within_the_budget_the_choice_says_so():
    choice = choose([PLAIN, SMALL], Compression(max_size=0.0001))
    assert (choice.name, choice.within_budget) == ("onnx", False)
    assert "No candidate is within the budget" in choice.reason
