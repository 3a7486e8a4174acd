"""The one way to name a thing: everything derives from (product, asset, partition)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ai_assets.lifecycle.errors import DeclarationError, must_be

_DIGEST = 12
_PRODUCT = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class AssetName:
    """One asset of one product, such as `flight_delay/raw/flights`."""

    product: str
    asset: str

    def __post_init__(self) -> None:
        check_product_name(self.product)

    @property
    def key(self) -> list[str]:
        """The path of the Dagster asset key."""
        return [self.product, *self.asset.split("/")]

    @property
    def path(self) -> str:
        """Where the asset lies below the lake's root, and its name for people."""
        return "/".join(self.key)

    @property
    def experiment(self) -> str:
        """The MLflow experiment of the product; one for all its assets, runs name the asset."""
        return self.product

    @property
    def registered_model(self) -> str:
        """The name in MLflow's model registry."""
        return self.product


def check_product_name(name: str) -> str:
    """Return `name`, or raise if it cannot name assets, folders and bundles alike."""
    if not _PRODUCT.fullmatch(name):
        raise DeclarationError(
            must_be(
                "a product's folder name",
                "lower case letters, digits and underscores, starting with a letter",
                name,
            )
        )
    return name


def bundle_tag(product: str, partition: str | None, digest: str) -> str:
    """The Bento tag of a bundle: `<product>:<partition>-<first 12 of the content digest>`."""
    version = f"{partition.replace(':', '-')}-{digest[:_DIGEST]}" if partition else digest[:_DIGEST]
    return f"{product}:{version.lower()}"


def bundle_partition(tag: str, keys: Iterable[str]) -> str | None:
    """Which of the partition keys a bundle's tag names; None for none of them."""
    version = tag.partition(":")[2]
    named = version[: -_DIGEST - 1] if len(version) > _DIGEST else ""
    return next((key for key in keys if key.replace(":", "-").lower() == named), None)
