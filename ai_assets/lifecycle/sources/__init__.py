"""Reading a table's rows from where they are, for one stretch of time, without holding them all."""

from ai_assets.lifecycle.sources.read import Delivery, read_delivery, read_source

__all__ = ["Delivery", "read_delivery", "read_source"]
