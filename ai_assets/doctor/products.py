"""Whether products are declared as they must be, and load."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ai_assets.doctor.line import Line, ok, problem
from ai_assets.doctor.place import Place
from ai_assets.lifecycle.errors import UserError, must_be

_LOAD = """
from ai_assets.definitions import defs
found = defs().get_repository_def()
print(len(found.asset_graph.get_all_asset_keys()), "assets,", len(found.sensor_defs), "sensors")
"""
_MOST_SECONDS = 120
# A section tells a field that it does not know, which lies below it.
_UNKNOWN = re.compile(r"'(.+?)' is not a field here")
# What is wrong between fields is told beginning with the field, and has no place of its own.
_FIELD = re.compile(r"[a-z_]+(\.[a-z_]+)*")


def declarations(place: Place) -> Iterator[Line]:
    """Whether each `defs.yaml` says what a product may say: mistakes by file and line."""
    files = sorted(place.products.glob("*/defs.yaml"))
    mistakes = [line for file in files for line in _mistakes(file, place)]
    yield from mistakes
    if not files:
        do = "python -m ai_assets.scaffold NAME --data FILE --target COLUMN"
        yield problem("products", f"There is none below {place.products}.", do)
    elif not mistakes:
        names = ", ".join(file.parent.name for file in files)
        yield ok("products", f"{len(files)} are declared without a mistake: {names}.")


def code_location(place: Place) -> Iterator[Line]:
    """Whether Dagster can load the definitions, in a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _LOAD],
            cwd=place.project,
            env={**os.environ, **place.settings, "PYTHONPATH": str(place.project)},
            capture_output=True,
            text=True,
            timeout=_MOST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        found = f"It did not load within {_MOST_SECONDS} s."
        yield problem(
            "code location", found, "python -X importtime -c 'import ai_assets.definitions'"
        )
        return
    if done.returncode == 0:
        yield ok("code location", f"It loads: {done.stdout.strip()}.")
        return
    said = (done.stderr.strip().splitlines() or ["It ended without a word."])[-1]
    yield problem("code location", f"It does not load: {said}", "dg check defs, or make check-yaml")


def _mistakes(file: Path, place: Place) -> Iterator[Line]:
    """A line a mistake of a product's YAML, and of the files that it names."""
    import yaml
    from dagster_shared.yaml_utils import parse_yaml_with_source_position
    from pydantic import ValidationError

    from ai_assets.lifecycle.product import DECLARATIONS, Product

    shown = file.relative_to(place.project) if file.is_relative_to(place.project) else file
    check = f"product {file.parent.name}"

    def wrong(line: int, said: str) -> Line:
        return problem(check, f"{shown}:{line} {said}", f"correct line {line}; docs/reference")

    try:
        parsed = parse_yaml_with_source_position(file.read_text(encoding="utf-8"), str(file))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        yield wrong(line, str(error.problem))
        return
    lines, content = parsed.source_position_tree, parsed.value
    if not isinstance(content, dict):
        yield wrong(1, "must hold `type` and `attributes`.")
        return
    kinds = {f"ai_assets.components.{kind.title()}Product": kind for kind in DECLARATIONS}
    if content.get("type") not in kinds:
        at = lines.lookup_closest_and_path(["type"], None)[0].start.line
        yield wrong(at, must_be("type", kinds, content.get("type")))
        return
    declares = DECLARATIONS[kinds[content["type"]]]
    try:
        declared = declares.model_validate(content.get("attributes") or {})
        Product(file.parent.name, file.parent, declared).features_sql  # noqa: B018
    except ValidationError as error:
        for one in error.errors():
            unknown = _UNKNOWN.search(one["msg"])
            said = str(one["msg"]).removeprefix("Value error, ")
            path = ["attributes", *one["loc"], *(unknown.groups() if unknown else ())]
            if not one["loc"] and (field := _FIELD.match(said)):
                path += field.group().split(".")
            at = lines.lookup_closest_and_path(path, None)[0].start.line
            where = ".".join(str(part) for part in one["loc"])
            yield wrong(at, ": ".join([where] * bool(where) + [said]))
    except UserError as error:
        at = lines.lookup_closest_and_path(["attributes", "features"], None)[0].start.line
        yield wrong(at, str(error))
