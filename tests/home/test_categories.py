"""A frame's categories in its file: to every reader it is the file of a frame of strings."""

from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from pipelines.home.files import write_parquet
from pipelines.home.sealed import find_damage

# Without types of its own for what is asked of it here.
PARQUET: Any = import_module("pyarrow.parquet")

STRINGS = pl.DataFrame(
    {
        "number": pl.Series([1, 2, 3, 4, 5, 6], dtype=pl.Int64),
        "text": ["b", "b", None, "", "ü", "b"],
        "all_null": pl.Series([None] * 6, dtype=pl.String()),
        "plain": ["x", "y", "x", "y", "x", "y"],
    }
)


def categories(frame: pl.DataFrame) -> pl.DataFrame:
    """Two columns as categories. Theirs are more than the frame has: "a" and "z" are in rows that were cut off."""
    more = pl.DataFrame({"text": ["a"], "all_null": ["z"]})
    longer = pl.concat([more, frame.select("text", "all_null"), more])
    cut = longer.with_columns(pl.all().cast(pl.Categorical(pl.Categories.random()))).slice(1, frame.height)
    return frame.with_columns(cut)


@pytest.fixture(params=["some rows", "none"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """The files of the frame of strings, and of the one of categories."""
    frame = STRINGS if request.param == "some rows" else STRINGS.clear()
    of_strings, of_categories = tmp_path / "strings.parquet", tmp_path / "categories.parquet"
    write_parquet(frame, of_strings, {"about": "this file"})
    write_parquet(categories(frame), of_categories, {"about": "this file"})
    return of_strings, of_categories


def test_every_reader_finds_strings(files: tuple[Path, Path]) -> None:
    of_strings, of_categories = files
    assert pl.read_parquet(of_categories).equals(pl.read_parquet(of_strings))
    assert pl.read_parquet_schema(of_categories) == STRINGS.schema
    expected, found = PARQUET.read_table(of_strings), PARQUET.read_table(of_categories)
    assert found.schema.equals(expected.schema)
    assert found.equals(expected)
    expected, found = (duckdb.connect().sql(f"from '{path}'") for path in files)
    assert (found.columns, found.types) == (expected.columns, expected.types)
    assert found.fetchall() == expected.fetchall()


def test_its_footer_says_what_that_of_strings_says(files: tuple[Path, Path]) -> None:
    """Statistics of the rows alone, so that readers pass over as much; the metadata once, ours included."""
    expected, found = (PARQUET.ParquetFile(path) for path in files)
    assert found.metadata.metadata == expected.metadata.metadata
    assert found.metadata.metadata[b"about"] == b"this file"
    assert found.schema.equals(expected.schema)
    assert found.metadata.num_row_groups == expected.metadata.num_row_groups
    for number in range(expected.metadata.num_row_groups):
        for column in range(expected.metadata.num_columns):
            one, other = (file.metadata.row_group(number).column(column) for file in (expected, found))
            assert (one.encodings, one.statistics) == (other.encodings, other.statistics)


def test_it_is_sealed(files: tuple[Path, Path]) -> None:
    assert [find_damage(path) for path in files] == [None, None]
