"""A product from a file: its data profiled, `defs.yaml` and `features.sql` written.

python -m ai_assets.scaffold churn --data customers.csv --target churned
"""

import argparse
import sys
from pathlib import Path

from ai_assets.lifecycle.errors import UserError
from ai_assets.lifecycle.naming import check_product_name
from ai_assets.lifecycle.profile.declare import Asked, propose
from ai_assets.lifecycle.profile.files import change, write

FOLDER = Path(__file__).resolve().parent / "products"


def main(arguments: list[str] | None = None) -> int:
    """Write a product, or show how one that is there would change.

    Returns:
        0 when it is written, or as the data says; 1 when a change is proposed; 2 for a mistake.
    """
    given = _parser().parse_args(arguments)
    try:
        folder = given.products / check_product_name(given.name)
        asked = Asked(
            given.data,
            given.target,
            given.key or (),
            given.time,
            given.table,
            given.query,
            given.kind,
            given.text,
        )
        files = propose(asked)
        if (folder / "defs.yaml").is_file():
            return _renew(folder, files, write_it=given.write)
        write(folder, files)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Wrote {', '.join(files)} to {folder}.")
    return 0


def _renew(folder: Path, proposed: dict[str, str], *, write_it: bool) -> int:
    """Show, or write, what the data changed in a product; what a person changed in it stays."""
    found = change(folder, proposed)
    if write_it:
        write(folder, found.files, proposed)
        print(f"Wrote {', '.join(found.files)} to {folder}.")
    elif not found.diff and not found.kept:
        print(f"{folder} is as the data says; nothing to change.")
    else:
        print(found.diff, end="")
    for ours, data in found.kept:
        said = f"the data says: {data.strip()}" if data else "the data has it no more"
        print(f"Kept as you have it: {ours.strip() or '(taken out)'}\n  {said}", file=sys.stderr)
    if write_it or not (found.diff or found.kept):
        return 0
    print(f"{folder} was left as it is. To write this: --write", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ai_assets.scaffold", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("name", help="the product's name, which is its folder's")
    parser.add_argument(
        "--data",
        required=True,
        help="a CSV, NDJSON (gzip or zstd too) or Parquet file, a folder of Parquet files, their "
        "address (http, s3, …), or the URL of a database",
    )
    parser.add_argument("--table", help="table of the database, or in the folder of pictures")
    parser.add_argument("--query", help="SELECT to run in the database, instead of --table")
    parser.add_argument(
        "--target",
        help="the column to predict; of a folder labelled by subfolders, what to call these",
    )
    parser.add_argument(
        "--kind",
        choices=["tabular", "image", "text"],
        default="tabular",
        help="of product: rows, a folder of pictures, or texts of a table or folder",
    )
    parser.add_argument("--text", help="of --kind text the column of the texts; default: guessed")
    parser.add_argument("--key", nargs="+", help="columns that identify a row; default: guessed")
    parser.add_argument("--time", help="column of a row's moment; '' is none; default: guessed")
    parser.add_argument(
        "--write",
        action="store_true",
        help="write what is proposed for a product that is there; your changes stay",
    )
    parser.add_argument(
        "--products", type=Path, default=FOLDER, help="folder of the products; default: %(default)s"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
