"""The data dictionary, a page made from the models' comments. `python -m pipelines.warehouse.dictionary` writes it.

With `--check` it writes nothing and fails when the page is stale, so that CI keeps the page true.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.warehouse.chart_queries import load_charts
from pipelines.warehouse.checks import load_checks
from pipelines.warehouse.functions import function_files, is_published
from pipelines.warehouse.macros import macro_files, read_macro
from pipelines.warehouse.model import Model
from pipelines.warehouse.models import SQL, load_models

PAGE = SQL.parent / "docs" / "dictionary.md"

_ORDER = ("fct_", "rpt_", "stg_", "meta_")


def render() -> str:
    """The page, in Markdown."""
    models = sorted(load_models(), key=lambda model: (_place(model.name), model.name))
    parts = [
        "# Data dictionary",
        "Made by `make dictionary` from the comments in `sql/`. The warehouse holds them as well: see "
        "`duckdb_columns()`. Every timestamp is UTC.",
        "\n".join(f"- [`{model.name}`](#{model.name})" for model in models)
        + "".join(f"\n- [`{path.stem}(...)`](#{path.stem})" for path in macro_files())
        + "\n- [Functions](#functions)",
        *(_table(model) for model in models),
        *(_macro(path) for path in macro_files()),
        "## Functions",
        *(_function(path) for path in function_files() if is_published(path)),
    ]
    return "\n\n".join(parts) + "\n"


def _place(name: str) -> int:
    prefix = f"{name.split('_')[0]}_"
    return _ORDER.index(prefix) if prefix in _ORDER else len(_ORDER)


def _table(model: Model) -> str:
    lines = [f"## {model.name}", "", model.description, ""]
    if model.grain:
        lines.append("- Grain: " + ", ".join(f"`{column}`" for column in model.grain))
    reads = [f"`{name}`" for name in (*model.depends_on, *(f"source.{name}" for name in model.sources))]
    lines.append("- Reads: " + ", ".join(reads))
    lines.append(f"- A refresh replaces {model.kind.replaced}")
    lines += [
        f"- {'Blocks' if check.severity == 'error' else 'Warns'} unless: {check.description}"
        for check in load_checks()
        if check.table == model.name
    ]
    if chart := load_charts().get(model.name):
        lines.append(f"- Chart in Dagster: {chart.title}")
    lines += ["", "| column | meaning |", "| --- | --- |"]
    lines += [f"| `{name}` | {_cell(text)} |" for name, text in model.columns.items()]
    if model.has_claim_columns:
        lines.append("| `claim_*` | a column for each claim; `meta_claims` says which path it holds |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _macro(path: Path) -> str:
    lines = read_macro(path).splitlines()
    begins = next(number for number, line in enumerate(lines) if line.startswith("create "))
    ends = lines.index(") as table")
    meaning = "\n".join(line.removeprefix("--").removeprefix(" ") for line in lines[:begins])
    arguments = "\n".join(lines[begins + 1 : ends])
    return f"## {path.stem}\n\n```text\n{meaning}\n```\n\n```sql\nfrom {path.stem}(\n{arguments}\n)\n```"


def _function(path: Path) -> str:
    return f"```sql\n{path.read_text(encoding='utf-8').strip()}\n```"


def main(arguments: Sequence[str]) -> int:
    """Write the page, or with `--check` only compare it. Returns the exit code."""
    text = render()
    if "--check" in arguments:
        held = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        if held != text:
            sys.stderr.write(f"{PAGE} is stale: run `make dictionary`.\n")
            return 1
        return 0
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
