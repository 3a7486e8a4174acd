"""Which rows teach, which choose and which judge. A row has one role, and keeps it."""

from datetime import timedelta

import numpy as np

from ai_assets.lifecycle.errors import DataError, must_be

PARTS = ("train", "validation", "test")
_MOST_COPIES, _FEW_COPIES = 0.05, 5


def split_rows(
    times: np.ndarray | None,
    row_ids: np.ndarray,
    validation: float | timedelta,
    test: float | timedelta,
) -> np.ndarray:
    """The role of each row: "train", "validation" or "test", as text [n].

    With times the latest rows are test and those before them validation; a boundary lies between
    two different times, so rows of one moment share a role. Without, a row's role depends on its
    id alone: rows that come later do not change it.

    Args:
        times: event times [n] (datetime64 or numbers), or None.
        row_ids: int64 [n].
        validation: wanted share of validation rows, or how long they last before the test rows.
        test: wanted share of test rows, or how long the latest ones last.

    Raises:
        DataError: a time is missing, or there are too few rows or times for three parts.
    """
    validation, test = _shares(times, validation, test)
    if not (validation > 0 and test > 0 and validation + test < 1):
        shares = f"{validation} and {test}"
        raise DataError(must_be("validation and test", "above 0 and below 1 together", shares))
    if times is None:
        return _by_hash(row_ids, validation, test)
    values, inverse, counts = distinct_times(times, least=3)
    before = np.cumsum(counts)[:-1]  # rows before each possible boundary
    total = len(times)
    # Of the possible boundaries the nearest, leaving at least one moment to each part.
    first = 1 + int(np.abs(before[:-1] - total * (1 - validation - test)).argmin())
    second = first + 1 + int(np.abs(before[first:] - total * (1 - test)).argmin())
    roles = np.full(len(values), "train", dtype="<U10")
    roles[first:], roles[second:] = "validation", "test"
    return roles[inverse]


def _shares(
    times: np.ndarray | None, validation: float | timedelta, test: float | timedelta
) -> tuple[float, float]:
    """The shares of the rows that the parts are, where some are given as a length of time."""
    judging = _share(times, timedelta(0), test)
    if isinstance(test, timedelta):
        return _share(times, test, validation), judging
    if isinstance(validation, timedelta):
        raise DataError(must_be("test", "a length of time, as validation is", test))
    return validation, judging


def _share(times: np.ndarray | None, after: timedelta, part: float | timedelta) -> float:
    """A part's share of the rows; `after` is the time between its end and that of all rows.

    Raises:
        DataError: the rows have no times, or the part leaves nothing before it.
    """
    if not isinstance(part, timedelta):
        return part
    if times is None or not np.issubdtype(times.dtype, np.datetime64) or np.isnat(times).any():
        raise DataError(must_be("a split by time", "of rows that all have one", "rows without"))
    end = times.max() - np.timedelta64(after)
    if end - np.timedelta64(part) <= times.min():
        whole = (times.max() - times.min()).astype("timedelta64[s]").item()
        raise DataError(
            f"Validation and test must last less than the window's {whole}, but the split asks "
            f"for {after + part}."
        )
    return float(np.mean((times > end - np.timedelta64(part)) & (times <= end)))


def copies_together(contents: np.ndarray, row_ids: np.ndarray) -> np.ndarray:
    """What decides where a row goes that no key tells from others: its content, int64 [n].

    So a row and its copy share a part: what was learned from judges nobody. What more than 5 % of
    the rows are like, and more than five of them, is no copy but a kind of case; such rows go each
    by its id, or one of them would fill a part.

    Args:
        contents: a hash of what is known of each row when somebody asks, int64 [n].
        row_ids: int64 [n].
    """
    _, inverse, counts = np.unique(contents, return_inverse=True, return_counts=True)
    most = max(_MOST_COPIES * len(contents), _FEW_COPIES)
    return np.where(counts[inverse] > most, row_ids, contents)


def uniform(row_ids: np.ndarray, salt: int = 0) -> np.ndarray:
    """A number in [0, 1) for each id, the same in every process (SplitMix64, Steele 2014)."""
    z = row_ids.astype(np.int64).view(np.uint64) + np.uint64(salt)
    z = z * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x632BE59BD9B4E019)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    # 53 bits fill a double exactly: more would round up to 1.
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) / 2.0**53


def _by_hash(row_ids: np.ndarray, validation: float, test: float) -> np.ndarray:
    place = uniform(row_ids)
    roles = np.full(len(row_ids), "train", dtype="<U10")
    roles[place < test + validation] = "validation"
    roles[place < test] = "test"
    if missing := [part for part in PARTS if not (roles == part).any()]:
        raise DataError(
            f"{len(row_ids)} rows are too few to split: none fell to {' and '.join(missing)}."
        )
    return roles


def distinct_times(times: np.ndarray, *, least: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct times, which of them each row has, and how many rows have each.

    Raises:
        DataError: a time is missing, or there are fewer than `least` different ones.
    """
    if (missing := np.isnat(times) if times.dtype.kind == "M" else np.isnan(times)).any():
        raise DataError(f"times must not be missing, but {int(missing.sum())} are.")
    values, inverse, counts = np.unique(times, return_inverse=True, return_counts=True)
    if len(values) < least:
        raise DataError(
            f"splitting by time needs at least {least} different times, but got {len(values)}."
        )
    return values, inverse, counts
