"""What is kept of the files in sql/ is what reading them says, in every field."""

from dataclasses import asdict

import pytest

from pipelines.flatten.days import flatten_version
from pipelines.flatten.lake_tables import LAKE_EMBED_EVENTS
from pipelines.orchestration import file_tables
from pipelines.warehouse.chart_files import read_charts
from pipelines.warehouse.chart_queries import CHARTS, load_charts
from pipelines.warehouse.check_files import read_checks
from pipelines.warehouse.checks import CHECKS, load_checks
from pipelines.warehouse.lineage import column_lineage
from pipelines.warehouse.model_files import read_models
from pipelines.warehouse.models import SQL, load_models


def test_models_are_those_of_the_files() -> None:
    assert [asdict(model) for model in load_models()] == [asdict(model) for model in read_models(SQL)]


def test_checks_are_those_of_the_files() -> None:
    assert load_checks() == read_checks(CHECKS)


def test_charts_are_those_of_the_files() -> None:
    assert list(load_charts().values()) == read_charts(CHARTS)


@pytest.mark.slow
def test_lineage_is_that_of_the_files() -> None:
    """A model that is not one of those that were loaded is always traced."""
    for loaded, read in zip(load_models(), read_models(SQL), strict=True):
        assert loaded is not read
        assert column_lineage(loaded) == column_lineage(read)


def test_tables_of_files_are_those_of_the_layers() -> None:
    assert file_tables.flatten_version() == flatten_version()
    shown = file_tables.file_tables()["lake/embed_events"]
    assert shown.description == LAKE_EMBED_EVENTS.description
    assert [(column.name, column.dtype, column.description, column.required) for column in shown.columns] == [
        (column.name, str(column.dtype), column.description, column.required) for column in LAKE_EMBED_EVENTS.columns
    ]
