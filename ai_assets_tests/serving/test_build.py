"""A payload becomes a Bento once, and a build that fails leaves nothing."""

from pathlib import Path

import pytest

from ai_assets.lifecycle.errors import BundleError
from ai_assets.resources.bundles import BundleStore


@pytest.mark.slow
def test_the_same_content_is_built_once_and_holds_only_what_serving_needs(
    payload: Path, tmp_path: Path
):
    store = BundleStore(home=str(tmp_path / ".hidden" / "home"))

    tag = store.build(payload)
    built = (store.path(tag) / "bento.yaml").stat().st_mtime_ns

    assert store.build(payload) == tag
    assert (store.path(tag) / "bento.yaml").stat().st_mtime_ns == built
    assert store.list() == [tag]
    assert store.load(tag).tag == tag
    files = [p.relative_to(store.path(tag) / "src") for p in store.path(tag).glob("src/**/*.*")]
    rooms = {p.parts[1] for p in files if p.parts[0] == "ai_assets" and len(p.parts) > 2}
    assert rooms == {"lifecycle", "serving"}
    kept = {p.name for p in (tmp_path / ".hidden" / "home").iterdir()}
    assert kept == {"bentos", "locks"}


def test_a_damaged_payload_is_not_built(payload: Path, tmp_path: Path):
    (payload / "model.onnx").write_bytes(b"")
    store = BundleStore(home=str(tmp_path / "home"))

    with pytest.raises(BundleError, match=r"model\.onnx was changed"):
        store.build(payload)

    assert store.list() == []
