"""`python -m ai_assets.serving.access create | list | revoke`: the keys of the servers."""

import argparse
import sys
import time
from datetime import UTC, datetime

from ai_assets.lifecycle.errors import UserError
from ai_assets.serving.access.keys import SCOPES, Key, new_key
from ai_assets.serving.access.limits import parse_quota, parse_rate, parse_span
from ai_assets.serving.access.store import KeyStore, key_store
from ai_assets.serving.place import keys_place


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Returns 1, with one sentence, where it cannot be done."""
    given = _parser().parse_args(arguments)
    try:
        store = key_store(given.keys or keys_place())
        {"create": _create, "list": _list, "revoke": _revoke}[given.command](store, given)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ai_assets.serving.access", description=__doc__)
    parser.add_argument("--keys", help="file or database of keys, instead of AI_ASSETS_KEYS")
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a key; its token is shown once")
    create.add_argument("--name", required=True, help="who holds it")
    create.add_argument("--scope", action="append", required=True, metavar="|".join(SCOPES))
    create.add_argument("--rate", help="most requests in a short time, such as 100/s")
    create.add_argument("--quota", help="most requests of a window, such as 100000/day")
    create.add_argument("--expires", nargs="+", metavar="SPAN", help="ends after, such as 90 days")
    commands.add_parser("list", help="show the keys, without their secrets")
    revoke = commands.add_parser("revoke", help="close a key for good")
    revoke.add_argument("id")
    return parser


def _create(store: KeyStore, given: argparse.Namespace) -> None:
    now = time.time()
    key, token = new_key(
        given.name,
        given.scope,
        now,
        rate=parse_rate(given.rate) if given.rate else None,
        quota=parse_quota(given.quota) if given.quota else None,
        expires_at=now + parse_span(" ".join(given.expires)) if given.expires else None,
    )
    store.add(key)
    # Only the token goes to the output, so `TOKEN=$(… create …)` works.
    print(f"Key {key.id} of {key.name}. Its token is shown this once:", file=sys.stderr)
    print(token)


def _list(store: KeyStore, _: argparse.Namespace) -> None:
    now = time.time()
    head = ("id", "name", "scopes", "rate", "quota", "used", "expires", "state")
    rows = [head, *(_row(key, store, now) for key in store.keys().values())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _row(key: Key, store: KeyStore, now: float) -> tuple[str, ...]:
    return (
        key.id,
        key.name,
        ",".join(sorted(key.scopes)),
        str(key.rate or "-"),
        str(key.quota or "-"),
        str(store.used(key.id, key.quota.window(now))) if key.quota else "-",
        f"{datetime.fromtimestamp(key.expires_at, UTC):%Y-%m-%d %H:%M}" if key.expires_at else "-",
        key.state(now),
    )


def _revoke(store: KeyStore, given: argparse.Namespace) -> None:
    key = store.revoke(given.id, time.time())
    print(f"Key {key.id} of {key.name} is revoked. Running servers refuse it within seconds.")


if __name__ == "__main__":
    sys.exit(main())
