"""The newest bundle of a product, which the benchmarks of serving measure."""

import sys
from pathlib import Path

from ai_assets.resources.bundles import BundleStore


def newest_bundle(product: str) -> tuple[Path, Path]:
    """The Bento's folder and its payload. Ends the program where nothing was built yet."""
    store = BundleStore()
    tags = store.tags(product)
    if not tags:
        sys.exit(
            f"There is no bundle of {product} below {store.root}. Build one first:\n"
            f"  make products PRODUCTS={product}"
        )
    return store.path(tags[-1]), store.payload(tags[-1])
