"""The tests' object store answers as S3 does where a client would notice."""

from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from ai_assets_tests.object_store import ObjectStore, object_store


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with object_store() as running:
        yield running


def ask(store: ObjectStore, method: str, path: str, content: bytes = b"", **headers: str) -> bytes:
    asked = Request(f"{store.address}/{path}", content or None, headers, method=method)
    with urlopen(asked, timeout=10) as answer:
        found: bytes = answer.read()
        return found


def begun(store: ObjectStore, path: str) -> str:
    """The id of an upload in parts."""
    told = ask(store, "POST", f"{path}?uploads=").decode()
    return told.partition("<UploadId>")[2].partition("</UploadId>")[0]


def test_an_upload_that_is_open_keeps_its_parts_while_others_end_and_begin(
    store: ObjectStore,
) -> None:
    first, second = begun(store, "uploads/a"), begun(store, "uploads/b")
    ask(store, "PUT", f"uploads/b?uploadId={second}&partNumber=2", b"two")
    ask(store, "PUT", f"uploads/b?uploadId={second}&partNumber=1", b"one ")
    ask(store, "POST", f"uploads/a?uploadId={first}")

    third = begun(store, "uploads/c")
    ask(store, "POST", f"uploads/b?uploadId={second}")

    assert len({first, second, third}) == 3
    assert ask(store, "GET", "uploads/b") == b"one two"


def test_an_upload_that_is_given_up_leaves_the_object_of_its_name(store: ObjectStore) -> None:
    store.put("given-up", "a", b"there before")
    upload = begun(store, "given-up/a")
    ask(store, "PUT", f"given-up/a?uploadId={upload}&partNumber=1", b"lost")

    ask(store, "DELETE", f"given-up/a?uploadId={upload}")

    assert ask(store, "GET", "given-up/a") == b"there before"
    ask(store, "DELETE", "given-up/a")
    assert store.keys("given-up") == []


def test_an_object_that_must_be_new_is_refused_where_one_is_there(store: ObjectStore) -> None:
    ask(store, "PUT", "new/a", b"first", **{"If-None-Match": "*"})

    with pytest.raises(HTTPError) as refused:
        ask(store, "PUT", "new/a", b"second", **{"If-None-Match": "*"})

    assert refused.value.code == 412
    assert ask(store, "GET", "new/a") == b"first"
    said = [one.status for one in store.answers() if (one.method, one.name) == ("PUT", "new/a")]
    assert said == [200, 412]
