"""A run that a command began tells where it is executed."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.tags import GRPC_INFO_TAG

from ai_assets.resources import machine
from ai_assets.resources.machine import MACHINE_TAG, Machine, Where, tell_machine, where

HOST, CONTAINER = "pid:[4026531836]", "pid:[4026532000]"


@dg.asset
def first(context: dg.AssetExecutionContext) -> None:
    tell_machine(context)


@dg.asset(deps=[first])
def second(context: dg.AssetExecutionContext) -> None:
    tell_machine(context)


def tags_of(instance: dg.DagsterInstance, tags: dict[str, str]) -> dict[str, str]:
    done = dg.materialize([first, second], instance=instance, tags=tags)
    run = instance.get_run_by_id(done.run_id)
    assert run is not None
    return dict(run.tags)


def test_a_run_of_a_command_tells_its_machine_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    with dg.DagsterInstance.ephemeral() as instance:
        add = instance.add_run_tags
        monkeypatch.setattr(
            instance, "add_run_tags", lambda run, tags: (told.append(run), add(run, tags))
        )
        tags = tags_of(instance, {"team": "ours"})

    assert tags["team"] == "ours"
    assert tags[MACHINE_TAG] == str(Machine.here())
    assert len(told) == 1


def test_one_that_a_code_server_launched_has_told_its_address() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert MACHINE_TAG not in tags_of(instance, {GRPC_INFO_TAG: "{}"})


def test_where_the_kernel_does_not_say_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_BOOT", Path("/there/is/no/such"))

    with dg.DagsterInstance.ephemeral() as instance:
        assert MACHINE_TAG not in tags_of(instance, {})
    assert Machine.here() is None
    assert where(a_run(f"host id {HOST} first")) is Where.ELSEWHERE


def test_the_machine_is_the_one_that_this_process_is_on() -> None:
    here = Machine.here()

    assert here is not None
    assert here.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert where(a_run(str(here))) is Where.HERE


@pytest.mark.parametrize(
    ("written", "told"), [("b08dfa6083e7567a\n", "ec72900a187d5484"), ("", "-"), (None, "-")]
)
def test_an_installation_is_told_by_a_digest_of_its_id(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: str | None, told: str
) -> None:
    file = tmp_path / "machine-id"
    monkeypatch.setattr(machine, "_INSTALLED", file)
    if written is not None:
        file.write_text(written, encoding="ascii")

    assert machine._installed() == told


@pytest.mark.parametrize(
    ("told", "now", "expected"),
    [
        (f"host id {HOST} first", ("host", "id", HOST, "first"), Where.HERE),
        (f"host - {HOST} first", ("host", "-", HOST, "first"), Where.HERE),
        (f"host id {HOST} first", ("host", "id", HOST, "second"), Where.BEFORE_A_RESTART),
        (f"host id {HOST} first", ("host", "of another", HOST, "second"), Where.ELSEWHERE),
        (f"host - {HOST} first", ("host", "-", HOST, "second"), Where.ELSEWHERE),
        (f"host id {HOST} first", ("other", "id", HOST, "second"), Where.ELSEWHERE),
        (f"host id {CONTAINER} first", ("host", "id", CONTAINER, "first"), Where.HERE),
        (f"host id {CONTAINER} first", ("host", "id", CONTAINER, "second"), Where.ELSEWHERE),
        (f"host id {CONTAINER} first", ("host", "id", HOST, "first"), Where.ELSEWHERE),
        (f"host id {HOST} first", ("host", "id", CONTAINER, "second"), Where.ELSEWHERE),
        (None, ("host", "id", HOST, "first"), Where.ELSEWHERE),
    ],
)
def test_a_process_number_counts_where_it_was_given(
    monkeypatch: pytest.MonkeyPatch,
    told: str | None,
    now: tuple[str, str, str, str],
    expected: Where,
) -> None:
    monkeypatch.setattr(Machine, "here", lambda: Machine(*now))

    assert where(a_run(told)) is expected


def a_run(told: str | None) -> dg.DagsterRun:
    return dg.DagsterRun("all", tags={} if told is None else {MACHINE_TAG: told})
