"""A warehouse that was kept up run by run equals one built from nothing."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import event as counted
from hypothesis import strategies as st

from pipelines.home.layout import Home
from pipelines.settings import Settings
from pipelines.warehouse import build as build_module
from pipelines.warehouse import continuing, published_state, sources
from pipelines.warehouse import models as models_module
from pipelines.warehouse import refresh as refresh_module
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.checks import load_checks
from pipelines.warehouse.model import Model
from pipelines.warehouse.models import downstream_of, load_models
from pipelines.warehouse.published import connect_published
from pipelines.warehouse.statements import version_of
from tests.proving import examples
from tests.warehouse.compare import differences
from tests.warehouse.history import History
from tests.warehouse.lake import START, Lake, at, event

OPTIONS = BuildOptions(
    Settings.defaults(embed_analytics_funnel_window_days=2, embed_analytics_customer_claim="team"), "test"
)


def changed(options: BuildOptions, **changes: float | str | None) -> BuildOptions:
    return replace(options, settings=options.settings.model_copy(update=changes))


def rebuilt(lake: Lake, options: BuildOptions, root: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home with the same lake, built from nothing."""

    def read_catalogues(_: Home) -> tuple[pl.DataFrame, pl.DataFrame]:
        return lake.catalogues(lake.home)

    shutil.copytree(lake.home.root, root, ignore=shutil.ignore_patterns("warehouse*"))
    with monkeypatch.context() as patch:
        patch.setattr(sources, "read_catalogues", read_catalogues)
        assert build(Home(root), options).is_full
    return Home(root)


@pytest.mark.slow
@pytest.mark.prove
@settings(max_examples=examples(8), suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_incremental_equals_full(
    new_lake: Callable[[Path], Lake],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    random = Random(seed)
    root = tmp_path_factory.mktemp("homes")
    lake = new_lake(root / "kept")
    history = History(lake, random)
    # Any file that may be written to is, whatever it missed.
    monkeypatch.setattr(continuing, "_COPIED_IN_THE_TIME", 0)
    options = changed(OPTIONS, embed_analytics_keep_warehouses=random.choice([0, 0, 1]))
    refreshed = 0
    for number in range(7):
        for _ in range(random.choice([1, 1, 3])):
            history.batch()
        if random.random() < 0.1:
            options = changed(options, embed_analytics_idle_after_hours=random.choice([2, 24]))
        if random.random() < 0.1:
            options = changed(options, embed_analytics_funnel_window_days=random.choice([2, 48]) / 24)
        if random.random() < 0.1:
            options = changed(options, embed_analytics_plan_claim=random.choice(["user_id", "rare_1", None]))
        if random.random() < 0.3:
            options = changed(options, oneschema_retention_days=random.choice([2, 30, 3000, None]))
        report = build(lake.home, options, check_everything=random.random() < 0.3)
        refreshed += not report.is_full
        counted(f"recycled: {report.is_recycled}")
        if number in (3, 6):
            full = rebuilt(lake, options, root / f"full-{number}", monkeypatch)
            assert differences(lake.home, full) == {}
    assert refreshed >= 1


def some_history(lake: Lake) -> History:
    history = History(lake, Random(7))
    for _ in range(6):
        history.batch()
    lake.sweep(history.now)
    return history


@pytest.mark.slow
def test_time_that_passes_touches_outcomes_and_cohorts(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write([event("a", 1, "embed_initialized", at(0)), event("b", 2, "embed_initialized", at(30))])
    # Each moment at which something changes, and the ones around it: idle_after, entry + window, date + 1 + window.
    moments = [
        at(minutes + 60 * hours) + timedelta(microseconds=off)
        for hours in (24, 48)
        for minutes in (0, 30)
        for off in (0, 1)
    ]
    midnight = START.replace(hour=0) + timedelta(days=3)
    moments += [midnight + timedelta(microseconds=off) for off in (-1, 0)]
    for number, moment in enumerate(sorted(moments)):
        lake.sweep(moment)
        report = build(lake.home, OPTIONS)
        assert report.is_full == (number == 0)
        full = rebuilt(lake, OPTIONS, tmp_path / f"full-{number}", monkeypatch)
        assert differences(lake.home, full) == {}, moment


@pytest.mark.slow
def test_the_first_complete_sweep_gives_a_now(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.write([event("a", 1, "embed_closed", at(0))])
    build(lake.home, OPTIONS)
    lake.sweep(at(60 * 72))
    assert not build(lake.home, OPTIONS).is_full
    assert differences(lake.home, rebuilt(lake, OPTIONS, tmp_path / "full", monkeypatch)) == {}


@pytest.mark.slow
def test_a_partition_that_is_gone_takes_its_events_along(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write([event("a", 1, "embed_initialized", at(0)), event("b", 1, "file_uploaded", at(60 * 24))])
    build(lake.home, OPTIONS)
    gone = f"event_date={at(60 * 24):%Y-%m-%d}"
    for table in (lake.home.lake_embed_events, lake.home.lake_validation_errors, lake.home.quarantine):
        shutil.rmtree(table / gone)
    shutil.rmtree(lake.home.raw_embed_events / gone)
    del lake.days[gone.removeprefix("event_date=")]
    report = build(lake.home, OPTIONS)
    assert (report.is_full, report.tables["stg_embed_events"]) == (False, 1)
    assert differences(lake.home, rebuilt(lake, OPTIONS, tmp_path / "full", monkeypatch)) == {}


@pytest.mark.slow
def test_compacted_raw_files_change_nothing(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import polars as pl

    some_history(lake)
    build(lake.home, OPTIONS)
    for table in (lake.home.raw_embeds, lake.home.raw_sweeps):
        files = sorted(table.glob("*.parquet"))
        rows = pl.concat([pl.read_parquet(file) for file in files])
        for file in files:
            file.unlink()
        rows.write_parquet(table / "compacted.parquet")
    assert not build(lake.home, OPTIONS).is_full
    assert differences(lake.home, rebuilt(lake, OPTIONS, tmp_path / "full", monkeypatch)) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["stg_embed_events", "fct_embeds", "fct_events_daily", "fct_embed_validation_errors", "meta_build"]
)
def test_a_changed_model_is_rebuilt_with_what_hangs_on_it(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    some_history(lake)
    build(lake.home, OPTIONS)

    def changed(model: Model) -> Model:
        if model.name != name:
            return model
        head, select, tail = model.sql.rpartition("\nselect\n")
        sql = f"{head}{select}    1 as one_more, -- a column that was not there\n{tail}"
        if "\ngroup by" in tail:
            sql = f"select 1 as one_more, * from (\n{model.sql}\n)"
        columns = {"one_more": "a column that was not there", **model.columns}
        return replace(model, sql=sql, columns=columns, code_version=version_of(sql))

    models = [changed(model) for model in load_models()]
    for module in (models_module, build_module):
        monkeypatch.setattr(module, "load_models", lambda: models)
    before = published_state.read_published(lake.home)
    report = build(lake.home, OPTIONS)
    assert before is not None
    staging = next(model for model in models if model.name == name).refresh in ("lake_partition", "merge")
    assert report.is_full == staging
    with connect_published(lake.home) as connection:
        assert connection.execute(f"select count(*) from {name} where one_more = 1").fetchone() == (
            report.tables[name],
        )
    assert differences(lake.home, rebuilt(lake, OPTIONS, tmp_path / "full", monkeypatch)) == {}


@pytest.mark.slow
def test_a_model_that_turns_from_table_to_view_and_goes_is_followed(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write([event("a", 1, "embed_initialized", at(0))])
    models = load_models()
    # They are read once, from the models that there really are.
    load_checks()
    (claims,) = [model for model in models if model.name == "meta_claims"]
    kinds: list[str] = []
    for number, refresh in enumerate(("whole", "view", "whole", "view", None)):
        one = replace(claims, name="extra", refresh=refresh, sql="select 1 as path", columns={"path": "one"})
        having = [model for model in models if model not in kept_last(models)]
        now = [*having, *([] if refresh is None else [one]), *kept_last(models)]
        for module in (models_module, build_module):
            monkeypatch.setattr(module, "load_models", now.copy)
        assert build(lake.home, OPTIONS).is_full == (number == 0)
        with connect_published(lake.home) as connection:
            kinds += [
                kind
                for (kind,) in connection.execute(
                    "select table_type from information_schema.tables where table_name = 'extra'"
                ).fetchall()
            ]
    assert kinds == ["BASE TABLE", "VIEW", "BASE TABLE", "VIEW"]
    assert differences(lake.home, rebuilt(lake, OPTIONS, tmp_path / "full", monkeypatch)) == {}


def kept_last(models: list[Model]) -> list[Model]:
    """The models that tell of the build itself, and those that read them."""
    last = downstream_of({model.name for model in models if "table_rows" in model.sources}, models)
    return [model for model in models if model.name in last]


def test_a_comment_alone_rebuilds_nothing() -> None:
    assert version_of("select 1 as a -- one\n") == version_of("select 1 as a   -- another word\n")
    assert version_of("select 1 as a") != version_of("select 2 as a")


@pytest.mark.slow
def test_a_refresh_computes_only_what_changed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    days = [event(f"e{n}", n, "embed_initialized", at(60 * 24 * (n % 5))) for n in range(50)]
    lake.write(days)
    build(lake.home, OPTIONS)
    touched: dict[str, int] = {}
    replace_rows = refresh_module.replace_rows

    def spy(connection: duckdb.DuckDBPyConnection, model: Model, replaced: str) -> None:
        touched[model.name] = connection.execute("select count(*) from temp.main.incoming").fetchall()[0][0]
        replace_rows(connection, model, replaced)

    monkeypatch.setattr(refresh_module, "replace_rows", spy)
    days.append(event("new", 3, "file_uploaded", at(60 * 24 * 3 + 5)))
    lake.write([row for row in days if row["lake_partition"] == days[-1]["lake_partition"]])
    build(lake.home, OPTIONS)
    assert touched["stg_embed_events"] == 11
    assert touched["fct_embeds"] == 1
    assert touched["fct_embed_funnel_daily"] == 5
    assert touched["fct_events_daily"] == 2


@pytest.mark.slow
def test_the_file_does_not_grow_without_bound(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_state, "_GROWTH_ALLOWANCE", 0)
    rows = [
        event(f"{n:032x}", n // 5, "columns_mapped", at(n / 100), counts={"a": {"B": n}}, data=f'{{"n": {n}}}')
        for n in range(2500)
    ]
    lake.write(rows)
    build(lake.home, OPTIONS)
    fresh = lake.home.warehouse.stat().st_size
    compactions = 0
    for number in range(20):
        for row in rows:
            row["landed_at"] = at(number)
        lake.write(rows)
        report = build(lake.home, OPTIONS)
        compactions += "compact" in report.seconds
        assert not report.is_full
        assert lake.home.warehouse.stat().st_size < 4 * fresh
    assert compactions >= 1
