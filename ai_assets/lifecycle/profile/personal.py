"""Columns that look as if they told who somebody is: by their name, and by what stands in them."""

import re

import polars as pl

_TOLD_BY_NAME = {
    "e-mail address": r"e_?mail",
    "phone number": r"(tele)?phone(_?(no|nr|number|num))?|mobile|fax|tel|cell",
    "name of a person": r"(first|last|sur|family|given|full|middle|maiden|customer|client|user|"
    r"person|patient|employee)_?name|surname|forename|nachname|vorname|name",
    "address": r"(street|postal|home|billing|shipping|mail)?_?address(_?line)?(_?\d)?|street|"
    r"strasse|straße|anschrift|adresse",
    "national id": r"ssn|social_?security(_?(no|nr|number))?|national_?id|passport(_?(no|number))?|"
    r"tax_?id|nin|personnummer|steuer_?id|dni|nif|cpf",
    "date of birth": r"dob|birth_?(date|day)|date_?of_?birth|geburtsdatum",
    "account number": r"iban|credit_?card(_?(no|number))?|card_?number",
}
_TOLD_BY_VALUES = {
    "e-mail address": r"^[^@\s]+@[^@\s]+\.[A-Za-z]{2,}$",
    "national id": r"^\d{3}-\d{2}-\d{4}$",
    "account number": r"^[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?$",
    "phone number": r"^(?:\+|00|\()\d[\d\s().-]{6,18}\d$|^\d{3}[-. ]\d{3}[-. ]\d{4}$",
}
_MOSTLY = 0.8
_WORDS_OF_TEXT = ("e-mail address", "phone number", "name of a person", "address")


def suspected(values: pl.Series) -> tuple[str, str] | None:
    """What a column seems to hold of a person, and what says so; None of others.

    A name alone convicts no yes-or-no column such as `phone_service`: the values must be many.
    """
    plain = re.sub(r"\W+", "_", _snake(values.name)).strip("_")
    there = values.drop_nulls()
    if there.is_empty():
        return None
    if there.dtype == pl.String:
        for what, pattern in _TOLD_BY_VALUES.items():
            share = there.str.strip_chars().str.contains(pattern).mean()
            if isinstance(share, float) and share >= _MOSTLY:
                return what, f"{share:.0%} of the values look so"
    many = there.n_unique() > max(10, 0.1 * len(there))
    for what, pattern in _TOLD_BY_NAME.items():
        if many and re.fullmatch(pattern, plain):
            if what in _WORDS_OF_TEXT and there.dtype.is_float():
                continue
            return what, "by its name"
    return None


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
