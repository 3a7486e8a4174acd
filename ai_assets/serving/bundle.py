"""A bundle read into memory, once its signature was verified."""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ai_assets.lifecycle.errors import BundleError
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.features.hoist import Plan, hoist
from ai_assets.lifecycle.features.lookups import LookupQuery
from ai_assets.lifecycle.naming import bundle_tag
from ai_assets.lifecycle.schema.calibration import Calibration
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.durations import format_duration, parse_duration
from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.serving import signature

if TYPE_CHECKING:
    import polars as pl

REQUIRED = (
    "model.onnx", "encoding.json", "calibration.json", "decision.json", "request.json",
    "tables.json", "features.sql", "online.json", "background.json", "model_card.md",
)  # fmt: skip
_NOWHERE = Source.model_validate({"python": "not.in.the.bundle"})
T = TypeVar("T")


@dataclass(frozen=True)
class RequestSchema:
    """The rows that may be asked about: the request table without what becomes known late."""

    table: Table
    name: str


class Lookups(Mapping[str, "pl.DataFrame"]):
    """The lookup tables, each read when it is first asked for.

    BentoML's supervisor loads the bundle too, and needs neither the tables nor polars.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = {Path(name).stem: name for name in files}
        self._contents = files
        self._read: dict[str, pl.DataFrame] = {}

    def __getitem__(self, table: str) -> "pl.DataFrame":
        """The table's rows. Raises a BundleError if the file cannot be read."""
        if table not in self._read:
            name = self._files[table]
            self._read[table] = _read_parquet(name, self._contents[name])
        return self._read[table]

    def __iter__(self) -> Iterator[str]:
        """The tables' names."""
        return iter(self._files)

    def __len__(self) -> int:
        """How many tables there are."""
        return len(self._files)


@dataclass(frozen=True, eq=False)
class Bundle:
    """Everything that serving needs."""

    tag: str
    product: str
    partition: str | None
    description: str
    horizon: timedelta
    manifest: Mapping[str, Any]
    model: bytes
    encoding: Encoding
    calibration: Calibration
    decision: Decision
    request: RequestSchema
    tables: Mapping[str, Table]
    features_sql: str
    lookups: Mapping[str, "pl.DataFrame"]
    online: Mapping[str, Mapping[str, Any]]
    background: Mapping[str, Any]
    model_card: str
    trees: str | None
    plan: Plan | None = None
    reference: str | None = None


def load_bundle(folder: Path | str, trusted_key: str | None = None) -> Bundle:
    """Verify a bundle and read it.

    Raises:
        BundleError: names the file that is missing, changed, not signed or of another format.
    """
    return read_bundle(*signature.verified(Path(folder), trusted_key))


def read_bundle(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> Bundle:
    """Read a bundle from files that were verified.

    Raises:
        BundleError: names the file that is missing or of another format.
    """
    for name in REQUIRED:
        if name not in files:
            raise BundleError(f"{name} is missing from the bundle.")

    def read(name: str, parse: Callable[[str], T]) -> T:
        return _read(name, files[name], parse)

    product, partition = str(manifest["product"]), manifest["partition"]
    return Bundle(
        tag=bundle_tag(product, partition, payload_digest(files[signature.MANIFEST])),
        product=product,
        partition=partition,
        description=str(manifest.get("description", "")),
        horizon=parse_duration(manifest["horizon"]),
        manifest=manifest,
        model=files["model.onnx"],
        encoding=read("encoding.json", Encoding.from_json),
        calibration=read("calibration.json", Calibration.from_json),
        decision=read("decision.json", Decision.from_json),
        request=read("request.json", _request),
        tables=read("tables.json", _tables),
        features_sql=read("features.sql", str),
        lookups=Lookups({n: f for n, f in files.items() if n.startswith("lookups/")}),
        online=read("online.json", json.loads),
        background=read("background.json", json.loads),
        model_card=read("model_card.md", str),
        trees=read("trees.txt", str) if "trees.txt" in files else None,
        plan=_plan(files),
        reference=read("reference.json", str) if "reference.json" in files else None,
    )


def payload_digest(manifest: bytes) -> str:
    """What names the content of a bundle: the digest of its manifest."""
    return hashlib.sha256(manifest).hexdigest()


def schema_files(tables: Mapping[str, Table], request: str) -> dict[str, str]:
    """The content of `request.json` and `tables.json` for a product's declaration.

    Sources stay out: an address may hold a password, and serving reads no source.
    """
    table = tables[request]
    asked = {n: c for n, c in table.columns.items() if c.known_at is None}
    # A key that no caller can give, as the path of a file, identifies no row that is asked for.
    key = table.key if set(table.key) <= set(asked) else []
    update = {"source": _NOWHERE, "columns": asked, "known_at": None, "key": key}
    shown = table.model_copy(update=update)
    kept = {n: t.model_copy(update={"source": _NOWHERE}) for n, t in tables.items()}
    dumped = {n: t.model_dump(mode="json", exclude_none=True) for n, t in kept.items()}
    own = {"name": request, "table": shown.model_dump(mode="json", exclude_none=True)}
    return {"request.json": _json(own), "tables.json": _json(dumped)}


def plan_file(sql: str) -> str:
    """The content of `plan.json`: the query split beforehand, since a parser starts slowly."""
    return _json({"of": _digest(sql.encode()), **asdict(hoist(sql))})


def manifest_facts(
    *,
    product: str,
    partition: str | None,
    description: str,
    task: str,
    horizon: timedelta,
    created_from: Mapping[str, Any],
    features_digest: str,
    code_version: str,
    major: int = 1,
    serving: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the manifest says beside the files; give it to the signer."""
    return {
        "product": product,
        "partition": partition,
        "description": description,
        "task": task,
        "horizon": format_duration(horizon),
        "created_from": dict(created_from),
        "features_digest": features_digest,
        "code_version": code_version,
        "major": major,
        "serving": dict(serving or {}),
    }


def _read(name: str, content: bytes, parse: Callable[[str], T]) -> T:
    try:
        return parse(content.decode("utf-8"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{name} cannot be read: {error}") from error


def _read_parquet(name: str, content: bytes) -> "pl.DataFrame":
    import polars as pl

    try:
        return pl.read_parquet(io.BytesIO(content))
    except pl.exceptions.PolarsError as error:
        raise BundleError(f"{name} cannot be read: {error}") from error


def _request(text: str) -> RequestSchema:
    content = json.loads(text)
    return RequestSchema(Table(**content["table"]), content["name"])


def _tables(text: str) -> dict[str, Table]:
    return {name: Table(**table) for name, table in json.loads(text).items()}


def _plan(files: Mapping[str, bytes]) -> Plan | None:
    """The split query, if it is there and of this very query; else it is split when needed."""
    if "plan.json" not in files:
        return None
    content = _read("plan.json", files["plan.json"], json.loads)
    if not isinstance(content, dict) or content.pop("of", None) != _digest(files["features.sql"]):
        raise BundleError("plan.json is not the plan of features.sql. Build the bundle anew.")
    if set(content) != {field.name for field in fields(Plan)}:
        return None
    quick = content.pop("quick")
    if quick and set(quick) != {field.name for field in fields(LookupQuery)}:
        return None
    passed = tuple((column, name) for column, name in content.pop("passed"))
    parts: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
    return Plan(**parts, quick=LookupQuery.from_dict(quick) if quick else None, passed=passed)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1)
