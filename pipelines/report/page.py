"""Makes the page: one HTML file with its numbers, its style and the program that draws it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, datetime
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Any

import duckdb

from pipelines.errors import ConfigurationError
from pipelines.home.derived import derived
from pipelines.home.files import write_text
from pipelines.home.permissions import write_as_home
from pipelines.report.annotations import read_annotations
from pipelines.report.customers import read_customers
from pipelines.report.numbers import FIELDS, read_numbers
from pipelines.report.people import read_people
from pipelines.report.tables import compact, read_tables
from pipelines.settings import Settings
from pipelines.warehouse import findings
from pipelines.warehouse.freshness import late_after
from pipelines.warehouse.published import connect_published, unreadable

_FILES = Path(__file__).parent / "parts"
# One program in the order in which its parts stand on the page; the parts share one scope.
_PROGRAM = (
    *("metrics.js", "tables.js", "texts.js", "filters.js", "drawing.js", "rows.js"),
    *("header.js", "numbers.js", "funnel.js", "conversion.js"),
    *("bubbles.js", "leaving.js", "repair.js", "times.js"),
    *("customers.js", "stuck.js", "session.js", "completeness.js"),
    "start.js",
)


class ExtraMissingError(ConfigurationError):
    """The extra `report`, which brings what draws the page, is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "The page needs the extra `report`, which is not installed: pip install 'embed-analytics[report]'."
        )


def write_page(settings: Settings, path: Path | None = None, *, with_people: bool = False) -> Path:
    """Write the page of the published warehouse. Returns where it is.

    `path` is by default `report.html` in the home. `with_people` adds who is stuck and what happened in sessions: the
    file is then its owner's alone, whatever else the home is open to, and by default `report-with-people.html`, since
    each publish writes `report.html` anew.

    Raises WarehouseMissingError before the first publication, PermanentError where the published file cannot be read or
    is of another version, ExtraMissingError, and ConfigurationError where annotations.csv cannot be read.
    """
    if find_spec("vl_convert") is None:
        raise ExtraMissingError
    home = settings.home
    if path is None:
        path = home.report_with_people if with_people else home.report
    annotations = [asdict(annotation) for annotation in read_annotations(home.annotations)]
    try:
        with connect_published(home) as connection:
            told = _read(connection, settings, with_people=with_people)
    except duckdb.Error as error:
        raise unreadable(home, error) from None
    write_as_home(home)
    late_seconds = late_after(settings).total_seconds()
    page = _render(told | {"annotations": annotations, "late_after_seconds": late_seconds})
    write_text(page, path, is_private=with_people)
    return path


def _read(connection: duckdb.DuckDBPyConnection, settings: Settings, *, with_people: bool) -> dict[str, Any]:
    """What the page tells of a published warehouse. `warnings`: the checks that do not hold; None if that is not known.
    `customers` are None where no setting names their claim, `people` where the page is without them."""
    found = findings.read(connection)
    # Not asdict, which copies each of many thousand rows.
    return vars(read_numbers(connection)) | {
        "fields": FIELDS,
        "tables": {name: compact(table) for name, table in read_tables(connection).items()},
        "customers": read_customers(connection, settings),
        "people": read_people(connection) if with_people else None,
        "warnings": None if found is None else [finding.name for finding in found if not finding.passed],
    }


def _render(told: Mapping[str, object]) -> str:
    return Template(_part("page.html")).substitute(
        style=_part("page.css"),
        program="\n".join(map(_part, _PROGRAM)),
        drawing=_drawing_program(),
        data=_as_script(told),
    )


def _as_script(value: object) -> str:
    """JSON that no browser takes for the end of its script, or for a comment in HTML."""
    text = json.dumps(value, default=_text, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value.isoformat()}Z"
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")


@cache
def _part(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def _drawing_program() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script. Bundling them takes seconds, so the result is kept."""

    def bundle() -> str:
        from vl_convert import javascript_bundle

        return javascript_bundle("window.vegaEmbed = vegaEmbed;")

    return derived(f"drawing-{version('vl-convert-python')}", bundle)
