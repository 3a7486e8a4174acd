"""Which assets a change of the lifecycle's code makes stale."""

import shutil
from pathlib import Path

import pytest
from small_product import write_product

from ai_assets.lifecycle.product import read_product
from ai_assets.stages import binding, stages_of


def test_what_reads_and_what_holds_rows_to_their_contract_is_stale_when_values_are_cast_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = list(stages_of(read_product(write_product(tmp_path / "product"))))

    def versions() -> dict[str, str]:
        return {s.asset: binding.code_version(tuple(s.code), s.settings) for s in stages}

    before = versions()
    changed = Path(shutil.copytree(binding._LIFECYCLE, tmp_path / "lifecycle"))
    with (changed / "sources/casts.py").open("a", encoding="utf-8") as code:
        code.write("# otherwise\n")
    monkeypatch.setattr(binding, "_LIFECYCLE", changed)
    monkeypatch.setattr(binding, "_source_digest", binding._source_digest.__wrapped__)
    after = versions()

    stale = {asset for asset in before if before[asset] != after[asset]}
    tables = ("orders", "visits", "shops")
    assert stale == {f"{kind}/{t}" for kind in ("raw", "cleaned", "rejected") for t in tables}
