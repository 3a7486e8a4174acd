"""Files of thousands of columns are read as narrow ones are."""

from pathlib import Path

from ai_assets_tests.lifecycle.test_sources import read


def test_a_row_of_many_columns_with_one_value_is_no_blank_line(tmp_path: Path) -> None:
    # A name like "^.*$" must be no pattern.
    names = ["^.*$", *(f"c{i}" for i in range(2_000))]
    rows = [["a"] + [""] * 2_000, [""] * 2_000 + ["b"], [""] * 1_000 + ["c"] + [""] * 1_000]
    text = "\n\n".join(",".join(row) for row in [names, *rows])
    (tmp_path / "wide.csv").write_text(text, encoding="utf-8")

    found = read(tmp_path, csv="wide.csv")

    assert [next(v for v in row if v is not None) for row in found.rows()] == ["a", "b", "c"]
    assert found.columns[:2] == ["^.*$", "c0"]
