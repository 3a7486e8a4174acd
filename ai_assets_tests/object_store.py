"""An object store of the tests' own: buckets in memory, asked by S3's REST API over loopback.

What the clients here ask is answered as Amazon's documentation says: objects and parts of them,
conditional puts (`If-None-Match: *`, by which a Delta commit is nobody else's), listings, uploads
in parts, and removal. Signatures are not looked at.
"""

import hashlib
import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO
from urllib.parse import parse_qs, quote, unquote, urlsplit
from urllib.request import Request, urlopen
from xml.etree import ElementTree
from xml.sax.saxutils import escape

_WHEN = "2024-01-01T00:00:00.000Z"
_WHEN_HTTP = "Mon, 01 Jan 2024 00:00:00 GMT"


class Objects:
    """What the store holds.

    Attributes:
        held: Content by bucket and key, as `bucket/key`.
        parts: Of uploads that are not complete, by their id and the part's number.
        upload_ids: Those of uploads to come; none is given twice.
    """

    def __init__(self) -> None:
        self.upload_ids = (f"upload-{number}" for number in itertools.count())
        self.held: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.lock = threading.Lock()

    def put(self, name: str, content: bytes, *, only_new: bool) -> bool:
        """Keep it; False where it must be new and is not."""
        with self.lock:
            if only_new and name in self.held:
                return False
            self.held[name] = content
            return True


@dataclass(frozen=True)
class Answer:
    """What was asked, and how it was answered.

    Attributes:
        method: Such as GET.
        name: Bucket and key, as `bucket/key`.
        part: Whether a part of the object was asked for.
        status: Of HTTP; 412 where a new object was to be put and one is there.
    """

    method: str
    name: str
    part: bool
    status: int


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    objects = Objects()
    log: TextIO

    def do_GET(self) -> None:
        name, query = self._asked()
        if "list-type" in query or ("prefix" in query and "/" not in name):
            self._list(name.split("/")[0], query)
            return
        content = self.objects.held.get(name)
        if content is None:
            is_bucket = "/" not in name
            self._answer(200 if is_bucket else 404, b"" if is_bucket else _error("NoSuchKey"))
            return
        first, last = _range(self.headers.get("Range"), len(content))
        told = {"ETag": _etag(content), "Last-Modified": _WHEN_HTTP, "Accept-Ranges": "bytes"}
        if self.headers.get("Range"):
            told["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        status = 206 if self.headers.get("Range") else 200
        self._answer(status, content[first : last + 1], told)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        name, query = self._asked()
        content = self._body()
        if "uploadId" in query:
            self.objects.parts[query["uploadId"]][int(query["partNumber"])] = content
        elif not self.objects.put(name, content, only_new=self.headers.get("If-None-Match") == "*"):
            self._answer(412, _error("PreconditionFailed"))
            return
        self._answer(200, b"", {"ETag": _etag(content)})

    def do_POST(self) -> None:
        name, query = self._asked()
        body = self._body()
        if "delete" in query:
            keys = [
                one.text or "" for one in ElementTree.fromstring(body).iter() if _is(one, "Key")
            ]
            for key in keys:
                self.objects.held.pop(f"{name.rstrip('/')}/{key}", None)
            gone = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
            self._answer(200, _xml("DeleteResult", gone))
        elif "uploads" in query:
            upload = next(self.objects.upload_ids)
            self.objects.parts[upload] = {}
            bucket, _, key = name.partition("/")
            inside = (
                f"<Bucket>{bucket}</Bucket><Key>{escape(key)}</Key><UploadId>{upload}</UploadId>"
            )
            self._answer(200, _xml("InitiateMultipartUploadResult", inside))
        else:
            parts = self.objects.parts.pop(query["uploadId"])
            content = b"".join(parts[number] for number in sorted(parts))
            only_new = self.headers.get("If-None-Match") == "*"
            if not self.objects.put(name, content, only_new=only_new):
                self._answer(412, _error("PreconditionFailed"))
                return
            inside = f"<Key>{escape(name)}</Key><ETag>{escape(_etag(content))}</ETag>"
            self._answer(200, _xml("CompleteMultipartUploadResult", inside))

    def do_DELETE(self) -> None:
        name, query = self._asked()
        if "uploadId" in query:
            self.objects.parts.pop(query["uploadId"], None)
        else:
            self.objects.held.pop(name, None)
        self._answer(204, b"")

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        """All keys in order on one page; below a delimiter as common prefixes."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("start-after", "")
        keys, common = [], set()
        for name in sorted(self.objects.held):
            key = name.removeprefix(f"{bucket}/")
            if key == name or not key.startswith(prefix) or key <= after:
                continue
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                common.add(prefix + rest.split(delimiter)[0] + delimiter)
            else:
                keys.append(key)
        each = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{_WHEN}</LastModified>"
            f"<ETag>{escape(_etag(self.objects.held[f'{bucket}/{key}']))}</ETag>"
            f"<Size>{len(self.objects.held[f'{bucket}/{key}'])}</Size></Contents>"
            for key in keys
        )
        each += "".join(
            f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>"
            for one in sorted(common)
        )
        head = f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix>"
        count = f"<KeyCount>{len(keys) + len(common)}</KeyCount><IsTruncated>false</IsTruncated>"
        self._answer(200, _xml("ListBucketResult", head + count + each))

    def _asked(self) -> tuple[str, dict[str, str]]:
        """Bucket and key as one name, and the query."""
        parts = urlsplit(self.path)
        query = {n: v[0] for n, v in parse_qs(parts.query, keep_blank_values=True).items()}
        return unquote(parts.path).strip("/"), query

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(iter(self._chunk, b""))
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "aws-chunked" not in (self.headers.get("Content-Encoding") or ""):
            return body
        content, rest = b"", body
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size.partition(b";")[0], 16)
            if not length:
                break
            content, rest = content + rest[:length], rest[length + 2 :]
        return content

    def _chunk(self) -> bytes:
        """One piece of a body of unknown length; nothing at its end."""
        content = self.rfile.read(int(self.rfile.readline().partition(b";")[0], 16))
        self.rfile.readline()
        return content

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        told = Answer(self.command, self._asked()[0], self.headers.get("Range") is not None, status)
        print(json.dumps(asdict(told)), file=self.log, flush=True)
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if body[:5] == b"<?xml":
            self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def _range(said: str | None, size: int) -> tuple[int, int]:
    if not said:
        return 0, size - 1
    begin, _, end = said.removeprefix("bytes=").partition("-")
    first = int(begin) if begin else max(0, size - int(end))
    return first, min(size - 1, int(end)) if begin and end else size - 1


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def _xml(name: str, inside: str) -> bytes:
    space = "http://s3.amazonaws.com/doc/2006-03-01/"
    return f'<?xml version="1.0"?><{name} xmlns="{space}">{inside}</{name}>'.encode()


def _error(code: str) -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code></Error>'.encode()


def _is(element: ElementTree.Element, name: str) -> bool:
    return element.tag.rpartition("}")[2] == name


@dataclass(frozen=True)
class ObjectStore:
    """A running store.

    Attributes:
        environment: In which `s3://<any bucket>` is there.
        address: Where it listens.
        log: A file with a line an answer.
    """

    environment: dict[str, str]
    address: str
    log: Path

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Keep an object, in place of one that is there."""
        asked = Request(f"{self.address}/{bucket}/{quote(key)}", content, method="PUT")
        with urlopen(asked, timeout=10):
            pass

    def answers(self) -> list[Answer]:
        """What was answered until now, by time."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [Answer(**json.loads(line)) for line in lines]

    def keys(self, bucket: str) -> list[str]:
        """What a bucket holds."""
        with urlopen(f"{self.address}/{bucket}?list-type=2", timeout=10) as answer:
            found = ElementTree.fromstring(answer.read())
        return [one.text or "" for one in found.iter() if _is(one, "Key")]


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A store in a process of its own: clients may wait for it and let no other thread run."""
    folder = TemporaryDirectory()
    log = Path(folder.name, "answers.ndjson")
    command = [sys.executable, __file__, str(log)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = f"http://127.0.0.1:{int(process.stdout.readline())}"
    environment = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ALLOW_HTTP": "true",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        yield ObjectStore(environment, address, log)
    finally:
        process.kill()
        process.communicate()
        folder.cleanup()


if __name__ == "__main__":
    with Path(sys.argv[1]).open("w", encoding="utf-8") as _Handler.log:
        listening = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        print(listening.server_port, flush=True)
        listening.serve_forever()
