"""Makes the page: one HTML file with its numbers, its style and the program that draws it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from string import Template

from pipelines.errors import ConfigurationError
from pipelines.home.derived import derived
from pipelines.home.files import write_text
from pipelines.home.permissions import write_as_home
from pipelines.report.annotations import Annotation, read_annotations
from pipelines.report.numbers import FIELDS, Numbers, read_numbers
from pipelines.report.tables import Table, read_tables
from pipelines.settings import Settings
from pipelines.warehouse import findings
from pipelines.warehouse.freshness import late_after
from pipelines.warehouse.published import connect_published

_FILES = Path(__file__).parent / "parts"
# One program in the order in which its parts stand on the page; the parts share one scope.
_PROGRAM = (
    *("metrics.js", "tables.js", "texts.js", "filters.js", "drawing.js", "rows.js"),
    *("header.js", "numbers.js", "funnel.js", "conversion.js"),
    "start.js",
)


def write_page(settings: Settings, path: Path | None = None) -> Path:
    """Write the page of the published warehouse to `path`, by default `report.html` in the home. Returns where it is.

    Raises WarehouseMissingError before the first publication, and ConfigurationError where the extra `report` is not
    installed or annotations.csv cannot be read.
    """
    home, path = settings.home, settings.home.report if path is None else path
    annotations = read_annotations(home.annotations)
    with connect_published(home) as connection:
        numbers, tables, found = read_numbers(connection), read_tables(connection), findings.read(connection)
    warnings = None if found is None else [finding.name for finding in found if not finding.passed]
    write_as_home(home)
    late_seconds = late_after(settings).total_seconds()
    write_text(render(numbers, tables, annotations, warnings, late_seconds), path)
    return path


def render(
    numbers: Numbers,
    tables: Mapping[str, Table],
    annotations: Sequence[Annotation],
    warnings: Sequence[str] | None,
    late_after_seconds: float,
) -> str:
    """The page as HTML. `warnings`: the checks that do not hold; None if that is not known."""
    told = asdict(numbers) | {
        "fields": FIELDS,
        "tables": {name: vars(table) for name, table in tables.items()},
        "annotations": [asdict(annotation) for annotation in annotations],
        "warnings": warnings,
        "late_after_seconds": late_after_seconds,
    }
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
    try:
        from vl_convert import javascript_bundle
    except ModuleNotFoundError:
        raise ConfigurationError(
            "The page needs the extra `report`, which is not installed: pip install 'embed-analytics[report]'."
        ) from None
    return derived(
        f"drawing-{version('vl-convert-python')}", lambda: javascript_bundle("window.vegaEmbed = vegaEmbed;")
    )
