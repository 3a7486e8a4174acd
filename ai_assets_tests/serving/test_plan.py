"""The query split beforehand travels in the bundle, and belongs to that very query."""

import json
from pathlib import Path

import pytest

from ai_assets.lifecycle.errors import BundleError
from ai_assets.lifecycle.features.hoist import hoist
from ai_assets.resources.signer import Signer
from ai_assets.serving.bundle import load_bundle, plan_file
from ai_assets.serving.signature import MANIFEST


def sign_again(payload: Path, keys: Path) -> None:
    manifest = json.loads((payload / MANIFEST).read_bytes())
    facts = {k: v for k, v in manifest.items() if k not in ("files", "format")}
    Signer(key_path=str(keys / "key.pem")).sign(payload, facts)


def test_the_plan_in_the_bundle_is_that_of_its_query(payload: Path) -> None:
    bundle = load_bundle(payload)

    assert bundle.plan == hoist(bundle.features_sql)


def test_a_plan_of_another_query_is_refused_though_it_is_signed(
    payload: Path, tmp_path: Path
) -> None:
    (payload / "plan.json").write_text(plan_file("SELECT _row_id, 1 AS one FROM request"))
    sign_again(payload, tmp_path)

    with pytest.raises(BundleError, match=r"plan.json is not the plan of features.sql"):
        load_bundle(payload)


def test_a_bundle_without_a_plan_still_loads(payload: Path, tmp_path: Path) -> None:
    (payload / "plan.json").unlink()
    sign_again(payload, tmp_path)

    assert load_bundle(payload).plan is None


def test_a_plan_of_an_earlier_form_is_made_anew(payload: Path, tmp_path: Path) -> None:
    plan = json.loads((payload / "plan.json").read_text())
    sql = load_bundle(payload).features_sql + " LEFT JOIN lookup AS l ON l.key = r.key"
    quick = plan | {"quick": {"query": sql, "keys": sql, "lookups": [], "outputs": []}}
    (payload / "plan.json").write_text(json.dumps(quick))
    sign_again(payload, tmp_path)

    assert load_bundle(payload).plan is None
