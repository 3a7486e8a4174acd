"""The pseudonyms of values, for whoever asks a server about a row whose key is one.

python -m ai_assets.pseudonym 4711 0815
"""

import argparse
import sys

from ai_assets.lifecycle.cleaning.personal import pseudonym
from ai_assets.lifecycle.errors import UserError
from ai_assets.resources.pseudonyms import VARIABLE, pseudonym_key


def main(arguments: list[str] | None = None) -> int:
    """Print the pseudonym of each value; without values, of each line of the input."""
    parser = argparse.ArgumentParser(
        prog="python -m ai_assets.pseudonym",
        description=f"Pseudonyms of values, under {VARIABLE} or the key of the state folder.",
    )
    parser.add_argument("values", nargs="*", help="default: the lines of the standard input")
    given = parser.parse_args(arguments).values or [line.rstrip("\n") for line in sys.stdin]
    try:
        key = pseudonym_key()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    for value in given:
        print(pseudonym(value, key))
    return 0


if __name__ == "__main__":
    sys.exit(main())
