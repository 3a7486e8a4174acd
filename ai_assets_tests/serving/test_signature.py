"""A bundle with any byte changed, missing or added is not loaded."""

import json
import shutil
from pathlib import Path

import pytest

from ai_assets.lifecycle.errors import BundleError
from ai_assets.resources.signer import Signer
from ai_assets.serving.bundle import load_bundle

FILES = [
    "background.json", "calibration.json", "decision.json", "encoding.json", "features.sql",
    "lookups/carriers.parquet", "manifest.json", "model.onnx", "model_card.md", "online.json",
    "plan.json", "request.json", "signature.json", "tables.json",
]  # fmt: skip


def test_a_signed_bundle_loads_with_its_tag_and_its_parts(payload: Path):
    bundle = load_bundle(payload)

    assert bundle.tag.startswith("trips:2013-04-01-")
    assert bundle.product == "trips"
    assert bundle.horizon.total_seconds() == 7200
    assert list(bundle.lookups) == ["carriers"]
    assert "delay" in bundle.tables["trips"].columns
    assert "delay" not in bundle.request.table.columns


def test_the_files_of_these_tests_are_all_files_of_the_bundle(payload: Path):
    names = {p.relative_to(payload).as_posix() for p in payload.rglob("*") if p.is_file()}

    assert names == set(FILES)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_one_changed_byte_is_refused_and_the_file_is_named(payload: Path, name: str, place: float):
    content = bytearray((payload / name).read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    (payload / name).write_bytes(content)

    with pytest.raises(BundleError, match=name):
        load_bundle(payload)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(payload: Path, name: str):
    (payload / name).unlink()

    with pytest.raises(BundleError, match=name):
        load_bundle(payload)


@pytest.mark.parametrize("name", ["extra.py", "lookups/more.parquet", ".hidden"])
def test_a_file_that_was_not_signed_is_named(payload: Path, name: str):
    (payload / name).write_text("")

    with pytest.raises(BundleError, match=name):
        load_bundle(payload)


def test_a_link_is_refused(payload: Path, tmp_path: Path):
    shutil.move(payload / "model_card.md", tmp_path / "card.md")
    (payload / "model_card.md").symlink_to(tmp_path / "card.md")

    with pytest.raises(BundleError, match=r"model_card\.md is a link"):
        load_bundle(payload)


def test_the_signature_in_another_form_is_refused(payload: Path):
    seal = json.loads((payload / "signature.json").read_text())
    (payload / "signature.json").write_text(json.dumps(seal))

    with pytest.raises(BundleError, match=r"signature\.json"):
        load_bundle(payload)


def test_only_the_trusted_key_is_taken_where_one_is_given(payload: Path, tmp_path: Path):
    signer = Signer(key_path=str(tmp_path / "key.pem"))
    other = Signer(key_path=str(tmp_path / "other.pem"))

    assert load_bundle(payload, signer.public_key()).product == "trips"
    with pytest.raises(BundleError, match="trusted"):
        load_bundle(payload, other.public_key())


def test_another_format_is_refused(payload: Path, tmp_path: Path):
    (payload / "manifest.json").unlink()
    (payload / "signature.json").unlink()
    facts = {"product": "trips", "partition": None, "format": 99}
    Signer(key_path=str(tmp_path / "key.pem")).sign(payload, facts)

    with pytest.raises(BundleError, match=r"format of manifest\.json must be 1, but got 99"):
        load_bundle(payload)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path):
    with pytest.raises(BundleError, match="nowhere"):
        load_bundle(tmp_path / "nowhere")


def test_no_address_of_a_source_goes_into_the_bundle(payload: Path):
    assert not any(b"secret" in p.read_bytes() for p in payload.rglob("*") if p.is_file())
