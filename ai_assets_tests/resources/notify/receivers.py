"""Real receivers on the loopback interface: an HTTP server and a small SMTP server."""

import json
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from ai_assets_tests.http_servers import served


class Posts:
    """What was posted, and the codes to answer with, in turn; the last one for ever."""

    def __init__(self, codes: list[int], headers: dict[str, str] | None = None) -> None:
        self.codes, self.headers = codes, headers or {}
        self.bodies: list[dict[str, Any]] = []
        self.requests: list[dict[str, str]] = []
        self.paths: list[str] = []

    def keys(self) -> list[str]:
        return [body["key"] for body in self.bodies]


@contextmanager
def http_server(posts: Posts, port: int = 0) -> Iterator[str]:
    """The server's address, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posts.bodies.append(json.loads(body))
            posts.requests.append(dict(self.headers))
            posts.paths.append(self.path)
            self.send_response(posts.codes.pop(0) if len(posts.codes) > 1 else posts.codes[0])
            for name, value in posts.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with served(Handler, port) as address:
        yield address


class Mails:
    """What was mailed, the logins seen, and what the server answers."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.texts: list[str] = []
        self.logins: list[str] = []
        self.encrypted: list[bool] = []


@contextmanager
def smtp_server(mails: Mails, safe: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of an SMTP server that offers STARTTLS where it has a certificate."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.secure = False
            self.say("220 ready")
            while line := self.rfile.readline().decode().strip():
                word = line.split(" ")[0].split(":")[0].upper()
                if word == "QUIT":
                    self.say("221 bye")
                    return
                self.answer(word, line)

        def answer(self, word: str, line: str) -> None:
            if word in mails.answers:
                self.say(mails.answers[word])
            elif word == "EHLO":
                more = "AUTH PLAIN" if self.secure or safe is None else "STARTTLS"
                self.say(f"250-localhost\r\n250 {more}")
            elif word == "STARTTLS" and safe:
                self.say("220 go on")
                self.connection = safe.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = (self.connection.makefile(m) for m in ("rb", "wb"))
                self.secure = True
            elif word == "AUTH":
                mails.logins.append(line.split(" ")[-1])
                self.say("235 welcome")
            elif word == "DATA":
                self.say("354 go on")
                mails.texts.append(self.message())
                mails.encrypted.append(self.secure)
                self.say("250 taken")
            else:
                self.say("250 fine")

        def message(self) -> str:
            lines = []
            while (line := self.rfile.readline().decode()) != ".\r\n":
                lines.append(line)
            return "".join(lines)

        def say(self, words: str) -> None:
            self.wfile.write(f"{words}\r\n".encode())
            self.wfile.flush()

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address, daemon_threads = True, True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
