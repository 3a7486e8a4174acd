"""Holding rows to the declared contract: good rows, rejected rows, and an exact account."""

from ai_assets.lifecycle.cleaning.clean import Cleaned, CleaningCounts, clean
from ai_assets.lifecycle.cleaning.columns import check_columns

__all__ = ["Cleaned", "CleaningCounts", "check_columns", "clean"]
