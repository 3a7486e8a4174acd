"""No alert is lost, and none is sent twice through a channel that took it."""

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from datetime import datetime

import dagster as dg
import pytest
from receivers import Posts, http_server

from ai_assets.lifecycle.errors import DataError, DeclarationError
from ai_assets.resources import default_resources
from ai_assets.resources.notify import Alert, Delivered, Notifier
from ai_assets.resources.notify.outbox import Outbox


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_default_resources_hold_a_notifier_that_writes_to_the_console(state, alert, capsys):
    told = default_resources()["notifier"]

    told.notify(alert())

    assert "[warning] flights 2013-03-01: Distances drifted" in capsys.readouterr().err
    assert told.pending() == []


def test_the_environment_switches_channels_on_and_off(state, alert, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AI_ASSETS_ALERTS_CONSOLE", "0")
    monkeypatch.setenv("AI_ASSETS_ALERTS_FILE", str(tmp_path / "alerts.ndjson"))

    Notifier().notify(alert())

    assert capsys.readouterr().err == ""
    assert [line["key"] for line in lines(tmp_path / "alerts.ndjson")] == ["drift/2013-03-01"]


def test_the_same_alert_is_sent_once_a_channel(notifier, alert, tmp_path, capsys):
    one = notifier(console=True, file=str(tmp_path / "one.ndjson"))

    one.notify(alert())
    one.notify(alert(words="said otherwise"))
    one.notify(alert(product="other"))
    one.notify(alert(key="drift/2013-04-01"))

    told = [(line["product"], line["key"]) for line in lines(tmp_path / "one.ndjson")]
    assert told == [
        ("flights", "drift/2013-03-01"),
        ("other", "drift/2013-03-01"),
        ("flights", "drift/2013-04-01"),
    ]
    assert capsys.readouterr().err.count("Distances drifted") == 3


def test_a_webhook_that_is_down_gets_the_alert_when_it_is_up_again(
    notifier, alert, moment, free_port, tmp_path
):
    told = notifier(
        webhook=f"http://127.0.0.1:{free_port}/in", file=str(tmp_path / "alerts.ndjson")
    )
    told.notify(alert())

    (waiting,) = told.pending()
    assert (waiting.channel, waiting.attempts, waiting.error) == (
        "webhook", 1, "no answer (ConnectError)",
    )  # fmt: skip
    assert len(lines(tmp_path / "alerts.ndjson")) == 1
    posts = Posts([204])
    with http_server(posts, free_port):
        assert told.flush(moment(5)) == Delivered()
        assert told.flush(moment(60)) == Delivered(sent=1)
        assert told.flush(moment(9999)) == Delivered()
    assert posts.keys() == ["drift/2013-03-01"]
    assert told.pending() == []


def test_another_process_sends_what_this_one_could_not(notifier, alert, moment, free_port):
    notifier(webhook=f"http://127.0.0.1:{free_port}").notify(alert())

    posts = Posts([200])
    with http_server(posts) as address:
        assert notifier(webhook=address).flush(moment(60)) == Delivered(sent=1)
    assert posts.bodies[0]["evidence"] == {"psi": 0.31}


def test_the_waits_double_up_to_the_longest(notifier, alert, moment):
    with http_server(Posts([503])) as address:
        told = notifier(webhook=address, first_wait_seconds=10, longest_wait_seconds=35)
        told.notify(alert())
        waits, at = [], 100.0
        for _ in range(3):
            told.flush(moment(at))
            waits.append(round(told.pending()[0].next_attempt.timestamp() - moment(at).timestamp()))
            at += 1000

    assert waits == [20, 35, 35]


def test_a_server_that_asks_to_wait_is_left_alone_for_so_long(notifier, alert, moment):
    with http_server(Posts([429], {"Retry-After": "900"})) as address:
        told = notifier(webhook=address)
        told.notify(alert())

    wait = told.pending()[0].next_attempt.timestamp() - moment(0).timestamp()
    assert wait == pytest.approx(900, abs=5)


def test_an_answer_that_will_not_change_is_given_up_at_once_until_asked(notifier, alert, moment):
    posts = Posts([404, 200])
    with http_server(posts) as address:
        told = notifier(webhook=address)
        told.notify(alert())

        (lost,) = told.failed()
        assert (lost.attempts, lost.error) == (1, "the receiver answered 404")
        assert told.flush(moment(9999)) == Delivered()
        assert told.resend(moment(9999)) == Delivered(sent=1)
    assert told.failed() == []


def test_attempts_come_to_an_end(notifier, alert, moment):
    with http_server(Posts([500])) as address:
        told = notifier(webhook=address, most_attempts=3)
        told.notify(alert())

        assert told.flush(moment(5000)) == Delivered(retried=1)
        assert told.flush(moment(9999)) == Delivered(failed=1)
    assert told.failed()[0].attempts == 3


def test_one_failure_ends_the_tries_of_a_channel_but_not_of_the_others(
    notifier, alert, moment, free_port, tmp_path
):
    down = f"http://127.0.0.1:{free_port}"
    for number in range(3):
        notifier(webhook=down).notify(alert(key=f"k{number}"))
    told = notifier(webhook=down, file=str(tmp_path / "alerts.ndjson"))
    told._outbox().add(alert(key="k3"), ["webhook", "file"], 0)

    assert told.flush(moment(9999)) == Delivered(sent=1, retried=1)
    assert len(told.pending()) == 4


def test_a_delivery_taken_by_a_process_that_died_is_sent_when_its_time_is_over(
    state, notifier, alert, moment, tmp_path
):
    told = notifier(file=str(tmp_path / "alerts.ndjson"))
    told._outbox().add(alert(), ["file"], 0)
    assert told._outbox().take(["file"], moment(0).timestamp(), seconds=80) is not None

    assert told.flush(moment(79)) == Delivered()
    assert told.flush(moment(81)) == Delivered(sent=1)


def test_a_channel_that_was_switched_off_keeps_its_alerts(notifier, alert, moment, free_port):
    notifier(webhook=f"http://127.0.0.1:{free_port}").notify(alert())

    assert notifier().flush(moment(9999)) == Delivered()
    assert [waiting.channel for waiting in notifier().pending()] == ["webhook"]


PROCESS = """
import sys
from datetime import UTC, datetime
from ai_assets.resources.notify import Alert, Notifier
told = Notifier(console=False, file=sys.argv[1])
for n in range(20):
    told.notify(Alert("flights", None, "drift", "info", "t", "w", f"k{n}"))
    told.flush(datetime.now(UTC))
"""


def test_processes_at_once_send_each_alert_once(state, tmp_path):
    path = tmp_path / "alerts.ndjson"
    command = [sys.executable, "-c", PROCESS, str(path)]
    processes = [subprocess.Popen(command, cwd=tmp_path) for _ in range(3)]

    assert [process.wait(120) for process in processes] == [0, 0, 0]

    assert Counter(line["key"] for line in lines(path)) == {f"k{n}": 1 for n in range(20)}
    assert Notifier().pending() == []


def test_a_failed_write_to_the_outbox_leaves_nothing_half_written(tmp_path, alert):
    outbox = Outbox(tmp_path / "outbox.db")

    with pytest.raises(sqlite3.Error):
        outbox.add(alert(), ["file", None], 0)  # type: ignore[list-item]

    assert outbox.in_state("pending") == []
    with sqlite3.connect(tmp_path / "outbox.db") as connection:
        assert connection.execute("SELECT count(*) FROM alert").fetchone() == (0,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_an_asset_uses_it_as_a_resource(notifier, alert, tmp_path):
    @dg.asset
    def watched(told: Notifier) -> None:
        told.notify(alert())

    resources = {"told": notifier(file=str(tmp_path / "alerts.ndjson"))}
    assert dg.materialize([watched], resources=resources).success

    assert len(lines(tmp_path / "alerts.ndjson")) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"severity": "warn"},
            "severity must be one of 'info', 'warning', 'error', but",
        ),
        ({"key": " "}, "key must be some text"),
        ({"evidence": {"psi": float("nan")}}, "evidence must be what JSON can hold"),
        ({"evidence": {"when": datetime(2013, 1, 1)}}, "evidence must be what JSON can hold"),
    ],
)
def test_an_alert_that_cannot_be_sent_says_why(alert, changes, says):
    with pytest.raises(DataError, match=says):
        alert(**changes)


def test_an_alert_survives_its_own_json(alert):
    assert Alert.from_json(alert().to_json()) == alert()


def test_a_moment_without_time_zone_is_refused(notifier):
    with pytest.raises(DataError, match="now must be a moment with a time zone"):
        notifier().flush(datetime(2013, 1, 1))


def test_an_address_that_is_none_is_told_without_the_address(notifier, alert):
    with pytest.raises(DeclarationError, match="webhook must be an http or https address") as error:
        notifier(webhook="ftp://host/secret").notify(alert())

    assert "secret" not in str(error.value)
