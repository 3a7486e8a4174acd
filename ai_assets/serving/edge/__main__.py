"""`python -m ai_assets.serving.edge --bundle DIR OUT`: one folder that needs no more than
onnxruntime and numpy.

OUT gets `model.onnx`, what it needs to be read (`edge.json`, of texts `vocabulary.json`), and
`run.py`: `python OUT/run.py FILE` prints an answer a line. The bundle's signature is verified
before; the runner itself checks only that the model is the one that was exported.
"""

import argparse
import json
import shutil
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

from ai_assets.lifecycle.errors import BundleError, UserError
from ai_assets.serving.bundle import Bundle, load_bundle

HERE = Path(__file__).parent
WHITE = 255


def main(arguments: list[str] | None = None) -> int:
    """Export a bundle. Returns 1, with one sentence, where it cannot be."""
    parser = argparse.ArgumentParser(prog="python -m ai_assets.serving.edge", description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="folder of a signed bundle")
    parser.add_argument("--trusted-key", help="public key that must have signed it; any if left")
    parser.add_argument("folder", type=Path, help="folder to write; it must be empty or absent")
    given = parser.parse_args(arguments)
    try:
        written = export(load_bundle(given.bundle, given.trusted_key), given.folder)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{written:,} bytes in {given.folder}; try: python {given.folder}/run.py FILE")
    return 0


def export(bundle: Bundle, folder: Path) -> int:
    """Write the folder; returns how many bytes it has.

    Raises:
        BundleError: something is there already, or the model reads more than one kind of thing.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleError(f"The folder to write must be empty or absent, but '{folder}' is not.")
    items = bundle.encoding.items
    if items and len(bundle.encoding.columns) > 1:
        names = ", ".join(column.name for column in bundle.encoding.columns)
        raise BundleError(f"The runner reads an image, a text or numbers alone, but got {names}.")
    kind = items[0].kind if items else "tabular"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(bundle.model)
    shutil.copyfile(HERE / "run.py", folder / "run.py")
    shutil.copyfile(HERE / f"read_{kind}.py", folder / "reader.py")
    _write(folder / "edge.json", about(bundle))
    if kind == "text":
        told = json.loads(items[0].tokenizer)
        _write(folder / "vocabulary.json", told["model"]["vocab"])
    return sum(file.stat().st_size for file in folder.iterdir())


def about(bundle: Bundle) -> dict[str, Any]:
    """What the runner must know."""
    columns = json.loads(bundle.encoding.to_json())["columns"]
    for column in columns:
        column.pop("tokenizer", None)
    whites = [c.max for c in bundle.request.table.columns.values() if c.type == "image"]
    return {
        "product": bundle.product,
        "bundle": bundle.tag,
        "sha256": sha256(bundle.model).hexdigest(),
        "columns": columns,
        "calibration": json.loads(bundle.calibration.to_json()),
        "task": bundle.decision.task,
        "threshold": bundle.decision.asked_threshold,
        "classes": list(bundle.decision.classes),
        "costs": bundle.decision.costs if bundle.decision.task == "multiclass" else None,
        "white": next((white for white in whites if white), WHITE),
    }


def _write(file: Path, content: Any) -> None:
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, indent=1)
    file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
