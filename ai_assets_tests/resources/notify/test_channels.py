"""What each channel sends, which failures last, and that no secret is told."""

import base64
import ipaddress
import json
import logging
import ssl
from datetime import UTC, datetime, timedelta
from email import message_from_string
from email.policy import default

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from receivers import Mails, Posts, http_server, smtp_server

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.resources.notify.channels import Email, File, NotSent, Webhook

SECRETS = ("T0P-PATH", "T0P-TOKEN", "T0P-PASSWORD")


@pytest.fixture
def safe(tmp_path, monkeypatch):
    """A server's TLS context, whose certificate this process trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([_LOOPBACK]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (tmp_path / "ca.pem").write_bytes(pem)
    (tmp_path / "server.pem").write_bytes(
        pem
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    return context


_LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


def failure(channel, alert) -> NotSent:
    with pytest.raises(NotSent) as caught:
        channel.send(alert)
    return caught.value


def test_a_webhook_gets_every_attribute_and_a_key_to_tell_repetitions_by(alert, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    posts = Posts([200])
    with http_server(posts) as address:
        Webhook(f"{address}/in?x=1", token="abc").send(alert())

    (body,), (request,) = posts.bodies, posts.requests
    assert posts.paths == ["/in?x=1"]
    assert {name: body[name] for name in ("product", "partition", "kind", "severity", "key")} == {
        "product": "flights", "partition": "2013-03-01", "kind": "drift", "severity": "warning",
        "key": "drift/2013-03-01",
    }  # fmt: skip
    assert body["text"].splitlines() == [
        "[warning] flights 2013-03-01: Distances drifted",
        "Half of the flights are longer. Look at the drift report.",
        "  psi: 0.31",
    ]
    assert request["Idempotency-Key"] == alert().id == body["id"]
    assert request["Authorization"] == "Bearer abc"
    assert request["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("code", "lasting"),
    [(301, True), (400, True), (401, True), (404, True), (408, False), (429, False), (500, False),
     (503, False)],
)  # fmt: skip
def test_only_answers_that_may_change_are_worth_another_try(alert, monkeypatch, code, lasting):
    monkeypatch.setenv("NO_PROXY", "*")
    with http_server(Posts([code])) as address:
        problem = failure(Webhook(address), alert())

    assert (problem.lasting, str(problem)) == (lasting, f"the receiver answered {code}")


@pytest.mark.parametrize(
    ("header", "wait"), [("30", 30), ("9999999", 86_400), ("Fri, 01 Mar 2013 00:00:00 GMT", 0)]
)
def test_a_wait_that_is_asked_for_is_told(alert, monkeypatch, header, wait):
    monkeypatch.setenv("NO_PROXY", "*")
    with http_server(Posts([503], {"Retry-After": header})) as address:
        assert failure(Webhook(address), alert()).wait == wait


def test_a_webhook_that_does_not_answer_is_left_after_the_time_limit(alert, monkeypatch):
    import socket

    monkeypatch.setenv("NO_PROXY", "*")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        problem = failure(Webhook(address, timeout_seconds=0.2), alert())

    assert (problem.lasting, str(problem)) == (False, "no answer (ReadTimeout)")


def test_no_secret_is_logged_printed_or_kept(notifier, alert, state, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    with http_server(Posts([200, 403, 500])) as address, smtp_server(Mails(EHLO="502 no")) as port:
        told = notifier(
            console=True,
            webhook=f"{address}/T0P-PATH",
            webhook_token="T0P-TOKEN",
            smtp=f"smtp+starttls://me:T0P-PASSWORD@127.0.0.1:{port}",
            email_from="a@example.org",
            email_to="b@example.org",
        )
        for number in range(3):
            told.notify(alert(key=f"k{number}"))
    said = [caplog.text, *capsys.readouterr(), repr(told), repr(told._channels())]
    kept = [path.read_bytes().decode("latin-1") for path in (state / "alerts").iterdir()]

    assert [d.channel for d in told.failed()].count("webhook") == 1
    assert [secret for secret in SECRETS if secret in "".join([*said, *kept])] == []


def test_what_httpx_logs_of_other_requests_is_still_logged(alert, monkeypatch, caplog):
    import httpx

    monkeypatch.setenv("NO_PROXY", "*")
    caplog.set_level(logging.INFO)
    with http_server(Posts([200])) as address:
        Webhook(f"{address}/ours").send(alert())
        httpx.post(f"{address}/theirs", json={})

    assert "/theirs" in caplog.text
    assert "/ours" not in caplog.text


def test_a_file_gets_a_line_an_alert_also_after_a_torn_one(alert, tmp_path):
    path = tmp_path / "deep" / "alerts.ndjson"
    File(path).send(alert(key="one"))
    with path.open("a", encoding="utf-8") as file:
        file.write('{"key": "to')

    File(path).send(alert(key="two"))

    first, torn, second = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(first)["key"], torn, json.loads(second)["key"]] == [
        "one", '{"key": "to', "two",
    ]  # fmt: skip


def test_a_file_that_cannot_be_written_is_tried_again(alert, tmp_path):
    problem = failure(File(tmp_path), alert())

    assert (problem.lasting, str(problem)) == (False, "the file cannot be written: Is a directory")


def test_a_mail_holds_the_alert(alert):
    mails = Mails()
    with smtp_server(mails) as port:
        server = f"smtp://127.0.0.1:{port}"
        Email(server, "us@example.org", ("a@example.org", "b@example.org")).send(
            alert(title="Länge\nBcc: evil@example.org")
        )

    mail = message_from_string(mails.texts[0], policy=default)
    assert mail["Subject"] == "[warning] flights 2013-03-01: Länge Bcc: evil@example.org"
    assert (mail["From"], mail["To"]) == ("us@example.org", "a@example.org, b@example.org")
    assert mail["Bcc"] is None
    assert mail["Message-ID"] == f"<{alert().id}@ai-assets>"
    assert "Look at the drift report." in mail.get_content()
    assert "psi: 0.31" in mail.get_content()


def test_a_password_goes_over_tls_only(alert, safe):
    mails = Mails()
    with smtp_server(mails, safe) as port:
        server = f"smtp+starttls://me:p%40ss@127.0.0.1:{port}"
        Email(server, "us@example.org", ("a@example.org",)).send(alert())

    assert mails.encrypted == [True]
    assert base64.b64decode(mails.logins[0]) == b"\0me\0p@ss"


def test_a_certificate_that_nobody_vouches_for_is_refused(alert, safe, monkeypatch, tmp_path):
    (tmp_path / "none.pem").write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    mails = Mails()
    with smtp_server(mails, safe) as port:
        server = f"smtp+starttls://me:pw@127.0.0.1:{port}"
        problem = failure(Email(server, "us@example.org", ("a@example.org",)), alert())

    assert str(problem) == "no mail server (SSLCertVerificationError)"
    assert mails.logins == []


def test_a_server_without_starttls_gets_no_password(alert):
    mails = Mails()
    with smtp_server(mails) as port:
        server = f"smtp+starttls://me:pw@127.0.0.1:{port}"
        problem = failure(Email(server, "us@example.org", ("a@example.org",)), alert())

    assert (problem.lasting, mails.logins) == (True, [])
    assert str(problem) == "the mail server offers no STARTTLS or no login"


@pytest.mark.parametrize(
    ("answers", "lasting", "says"),
    [
        ({"MAIL": "451 later"}, False, "the mail server answered 451"),
        ({"MAIL": "550 no"}, True, "the mail server answered 550"),
        ({"RCPT": "450 later"}, False, "every recipient was refused (450)"),
        ({"RCPT": "550 no"}, True, "every recipient was refused (550)"),
        ({"DATA": "421 bye"}, False, "the mail server answered 421"),
    ],
)
def test_only_refusals_of_a_mail_that_may_change_are_worth_another_try(
    alert, answers, lasting, says
):
    with smtp_server(Mails(**answers)) as port:
        channel = Email(f"smtp://127.0.0.1:{port}", "us@example.org", ("a@example.org",))
        problem = failure(channel, alert())

    assert (problem.lasting, str(problem)) == (lasting, says)


def test_a_mail_server_that_is_down_is_tried_again(alert, free_port):
    channel = Email(f"smtp://127.0.0.1:{free_port}", "us@example.org", ("a@example.org",))

    problem = failure(channel, alert())

    assert (problem.lasting, str(problem)) == (False, "no mail server (ConnectionRefusedError)")


@pytest.mark.parametrize(
    ("server", "to", "says"),
    [
        ("smpt://host", ("b",), "smtp's scheme must be one of .*Did you mean 'smtp'"),
        ("smtp://", ("b",), "smtp must name a host"),
        ("smtp://me:T0P-PASSWORD@host", ("b",), r"smtp must begin with smtp\+starttls://"),
        ("smtps://me:T0P-PASSWORD@host:99999", ("b",), "smtp must be a valid address with a port"),
        ("smtp://host", (), "email_from and email_to must be given"),
    ],
)
def test_a_mail_server_that_is_written_wrong_is_told_without_its_password(server, to, says):
    with pytest.raises(DeclarationError, match=says) as error:
        Email(server, "us@example.org", to)

    assert "T0P-PASSWORD" not in str(error.value)
