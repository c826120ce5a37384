"""The text of a row against its definition: what Python's own JSON writes of it."""

import json
import math
from datetime import datetime
from typing import Any

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.chain.row_texts import row_texts

SCHEMA = {
    "text": pl.String(),
    "whole": pl.Int64(),
    "double": pl.Float64(),
    "yes": pl.Boolean(),
    "at": pl.Datetime("us"),
}
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.none() | st.text(),
            "whole": st.none() | st.integers(-(2**63), 2**63 - 1),
            "double": st.none() | st.floats(),
            "yes": st.none() | st.booleans(),
            "at": st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),
        }
    ),
    max_size=6,
)


def defined(row: dict[str, Any]) -> bytes:
    shown = {name: value for name, value in row.items() if value is not None}
    if "at" in shown:
        shown["at"] = shown["at"].strftime("%Y-%m-%dT%H:%M:%S.%f").rjust(26, "0") + "Z"
    if not math.isfinite(shown.get("double", 0)):
        shown["double"] = repr(shown["double"])
    return json.dumps(shown, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


@given(ROWS)
@example([{"text": '\u2028\x7f\x00"\\/é😀', "whole": 0, "double": -0.0, "yes": None, "at": None}])
@example(
    [{"text": None, "whole": None, "double": value, "yes": None, "at": None} for value in (1e16, 1e-5, 1e15, 5e-324)]
)
@example([{"text": None, "whole": None, "double": 1764590000.123456, "yes": None, "at": datetime(2026, 12, 1)}])
def test_a_row_is_written_as_defined(rows: list[dict[str, Any]]) -> None:
    assert row_texts(pl.DataFrame(rows, schema=SCHEMA)) == [defined(row) for row in rows]


@given(ROWS)
def test_neither_new_columns_nor_their_order_nor_other_rows_change_a_text(rows: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame(rows, schema=SCHEMA)
    grown = frame.with_columns(later=pl.lit(None, pl.String)).select(reversed([*SCHEMA, "later"]))
    assert row_texts(grown) == row_texts(frame)
    assert [row_texts(frame[i]) for i in range(frame.height)] == [[text] for text in row_texts(frame)]
