"""A build within a bound of memory: the same tables, made range by range."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import ConfigurationError
from pipelines.settings import Settings, load_settings
from pipelines.warehouse import bounded
from pipelines.warehouse import build as build_module
from pipelines.warehouse.bounded import memory_limit
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.published import connect_published
from tests.proving import examples
from tests.warehouse.compare import differences
from tests.warehouse.history import History
from tests.warehouse.lake import Lake, at, event
from tests.warehouse.test_incremental import OPTIONS, changed, rebuilt


def reading_at_once(patch: pytest.MonkeyPatch, rows: int) -> None:
    def rows_at_once(limit: int) -> int:
        assert limit > 0
        return rows

    patch.setattr(build_module, "rows_at_once", rows_at_once)


@pytest.mark.slow
@pytest.mark.prove
@settings(max_examples=examples(2), suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), rows_at_once=st.sampled_from([15, 40]))
def test_ranges_give_the_same_tables(
    new_lake: Callable[[Path], Lake],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    rows_at_once: int,
) -> None:
    root = tmp_path_factory.mktemp("homes")
    lake = new_lake(root / "ranges")
    history = History(lake, Random(seed))
    for _ in range(4):
        history.batch()
    whole = rebuilt(lake, OPTIONS, root / "whole", monkeypatch)
    with monkeypatch.context() as patch:
        reading_at_once(patch, rows_at_once)
        assert build(lake.home, OPTIONS).is_full
        assert differences(lake.home, whole) == {}
        # A model that is made anew in a refresh is made in ranges, too.
        options = changed(OPTIONS, embed_analytics_funnel_window_days=1)
        assert not build(lake.home, options).is_full
    assert differences(lake.home, rebuilt(lake, options, root / "later", monkeypatch)) == {}


@pytest.mark.parametrize(("rows_at_once", "parts"), [(60, 1), (59, 2), (20, 3)])
def test_there_are_as_many_ranges_as_the_events_need(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, rows_at_once: int, parts: int
) -> None:
    lake.write([event(f"{n}", n % 20, "embed_initialized", at(n)) for n in range(60)])
    appended: list[str] = []
    append = bounded.append

    def appending(connection: duckdb.DuckDBPyConnection, model: bounded.Model) -> None:
        appended.append(model.name)
        append(connection, model)

    monkeypatch.setattr(bounded, "append", appending)
    reading_at_once(monkeypatch, rows_at_once)
    build(lake.home, OPTIONS)
    assert appended.count("fct_embeds") == parts - 1
    with connect_published(lake.home) as connection:
        assert connection.execute("select embed_id, event_count from fct_embeds").fetchall() == [
            (n, 3) for n in range(20)
        ]


@pytest.mark.parametrize(
    ("available", "setting", "limit"),
    [("80GB", None, 1_800_000_000), ("0.8GB", None, 250_000_000), ("0.8GB", "3GB", 3_000_000_000)],
)
def test_the_limit_is_the_setting_else_a_share_of_the_machine(available: str, setting: str | None, limit: int) -> None:
    with duckdb.connect(config={"memory_limit": available}) as connection:
        found = memory_limit(connection, Settings.defaults(embed_analytics_memory_limit=setting))
    # DuckDB tells its own limit rounded.
    assert found == pytest.approx(limit, rel=0.01)


def test_duckdb_is_given_the_limit(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[str] = []
    create_functions = build_module.create_functions

    def told(connection: duckdb.DuckDBPyConnection) -> None:
        limits.extend(connection.execute("select current_setting('memory_limit')").fetchall()[0])
        create_functions(connection)

    monkeypatch.setattr(build_module, "create_functions", told)
    build(lake.home, BuildOptions(Settings.defaults(embed_analytics_memory_limit="512MiB"), "test"))
    assert limits == ["512.0 MiB"]


@pytest.mark.parametrize(
    ("value", "told"), [("2", "write it like 2GB"), ("lots", "write it like 2GB"), ("9MB", "100MB")]
)
def test_a_limit_that_cannot_be_meant_says_how_it_is_written(
    monkeypatch: pytest.MonkeyPatch, value: str, told: str
) -> None:
    monkeypatch.setenv("EMBED_ANALYTICS_MEMORY_LIMIT", value)
    with pytest.raises(ConfigurationError, match=f"EMBED_ANALYTICS_MEMORY_LIMIT.*{told}"):
        load_settings()
