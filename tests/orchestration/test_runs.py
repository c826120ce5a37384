"""Runs in process against the simulator over HTTP: what they record, and how they fail."""

import hashlib
import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from datetime import timedelta
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import orjson
import polars as pl
import pytest
import yaml

from assets.failures import clear_failures
from assets.warehouse import model_key
from pipelines.errors import ConfigurationError, HostUnreachableError
from pipelines.home.layout import Home
from pipelines.home.ownership import writer_lock
from pipelines.orchestration.instance.dagster_internals import (
    CachingStaleStatusResolver,
    LoadingContextForTest,
    StaleStatus,
)
from pipelines.orchestration.instance.terminal_runs import terminal_tags
from pipelines.orchestration.jobs import partition_range, run_config
from pipelines.settings import Settings
from pipelines.simulator.server import RunningSimulator
from pipelines.terminal.runs import RunFailedError, run_job
from pipelines.warehouse.checks import load_checks
from pipelines.warehouse.models import load_models
from tests.orchestration.conftest import LAST_DAY, backfill, materialize

REPOSITORY = Path(__file__).parents[2]
PARTITIONED = (
    dg.AssetKey(["raw", "embed_events"]),
    dg.AssetKey(["lake", "embed_events"]),
    dg.AssetKey(["lake", "validation_errors"]),
)
MATERIALIZATION = dg.DagsterEventType.ASSET_MATERIALIZATION


@pytest.mark.slow
def test_a_backfill_fills_every_day_and_asks_each_embed_once(
    settings: Settings, instance: dg.DagsterInstance, simulator: RunningSimulator
) -> None:
    backfill(settings, 10)

    days = {str(LAST_DAY - timedelta(days=days)) for days in range(10)}
    for key in PARTITIONED:
        assert instance.get_materialized_partitions(key) == days
    assert set(simulator.simulation.requests.events_by_embed.values()) == {1}
    empty, full = str(LAST_DAY - timedelta(days=9)), str(LAST_DAY - timedelta(days=2))
    for key in PARTITIONED:
        assert _partition_metadata(instance, key, empty)["dagster/partition_row_count"] == 0
        assert _partition_metadata(instance, key, full)["dagster/partition_row_count"] > 0


@pytest.mark.slow
def test_tables_show_rows_types_lineage_and_pictures_and_no_claim(
    settings: Settings, home: Home, instance: dg.DagsterInstance, simulator: RunningSimulator
) -> None:
    backfill(settings, 5)

    for model in load_models():
        metadata = _metadata(instance, model_key(model.name))
        assert metadata["dagster/row_count"] >= 0
        schema: dg.TableSchema = metadata["dagster/column_schema"]
        assert {column.name for column in schema.columns} >= set(model.columns)
        assert all(column.type and column.description for column in schema.columns)
        lineage: dg.TableColumnLineage = metadata["dagster/column_lineage"]
        assert set(lineage.deps_by_column) == set(model.columns)
        assert metadata["preview"].startswith("| ")
    funnel = _metadata(instance, model_key("fct_embed_funnel_daily"))
    entered = funnel["dagster/column_lineage"].deps_by_column["entry_date"]
    assert [(dep.asset_key, dep.column_name) for dep in entered] == [(model_key("fct_embeds"), "entry_date")]
    for name in ("fct_validation_errors_daily", "fct_sheet_operations_daily"):
        assert "data:image/png;base64," in _metadata(instance, model_key(name))["chart"]
    # The funnel's chart is of the last 28 mature days before now. The account's clock stands long before that.
    assert "chart" not in funnel
    last = _partition_metadata(instance, PARTITIONED[1], str(LAST_DAY))
    assert "data:image/png;base64," in last["events"]

    previews = unescape("\n".join(_metadata(instance, model_key(model.name))["preview"] for model in load_models()))
    files = home.lake_embed_events.glob("*/*.parquet")
    frames = [frame for frame in map(pl.read_parquet, files) if "claim_user_id" in frame.columns]
    users = {user for frame in frames for user in frame["claim_user_id"].drop_nulls()}
    assert users
    assert not any(f"| {user} |" in previews for user in users)


@pytest.mark.slow
def test_a_refresh_records_the_days_beside_its_own(
    settings: Settings, home: Home, instance: dg.DagsterInstance
) -> None:
    run_job(settings, "refresh", run_config("refresh"), partition_range(LAST_DAY, LAST_DAY))

    on_disk = {path.name.removeprefix("event_date=") for path in home.lake_embed_events.iterdir()}
    for key in PARTITIONED:
        assert instance.get_materialized_partitions(key) == on_disk | {str(LAST_DAY)}


@pytest.mark.slow
def test_materialising_one_model_publishes_all_of_them_without_a_request(
    settings: Settings, definitions: dg.Definitions, instance: dg.DagsterInstance, simulator: RunningSimulator
) -> None:
    backfill(settings, 5)
    asked = simulator.simulation.requests.total
    before = _metadata(instance, model_key("stg_embeds"))["build_id"]

    assert materialize(definitions, instance, model_key("fct_embeds")).success

    builds = {_metadata(instance, model_key(model.name))["build_id"] for model in load_models()}
    assert len(builds) == 1
    assert before not in builds
    assert simulator.simulation.requests.total == asked


@pytest.mark.slow
def test_materialising_one_model_leaves_none_stale_and_every_later_change_seen(
    settings: Settings, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    backfill(settings, 5)

    assert materialize(definitions, instance, model_key("fct_embeds")).success

    graph = definitions.get_repository_def().asset_graph
    status = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    for model in load_models():
        key = model_key(model.name)
        assert status.get_status(key) == StaleStatus.FRESH
        event = instance.get_latest_materialization_event(key)
        assert event is not None
        assert event.asset_materialization is not None
        # What a later change of the SQL is compared with.
        tags = event.asset_materialization.tags or {}
        assert tags["dagster/code_version"] == graph.get(key).code_version


@pytest.mark.slow
def test_a_failed_blocking_check_leaves_the_published_file_and_asks_nothing_again(
    settings: Settings,
    definitions: dg.Definitions,
    home: Home,
    instance: dg.DagsterInstance,
    simulator: RunningSimulator,
) -> None:
    backfill(settings, 5)
    published, asked = _digest(home.warehouse), simulator.simulation.requests.total
    lose_an_event(home)

    # A table that the check is not of: all are built and checked, whichever was asked for.
    asked_for = materialize(definitions, instance, model_key("fct_embeds"))
    assert not asked_for.success
    assert ("deliveries_reconcile", False) in [
        (check.check_name, check.passed) for check in asked_for.get_asset_check_evaluations()
    ]
    with pytest.raises(RunFailedError, match=r"was not published, .* blocking.*deliveries_reconcile.*Next: look at"):
        run_job(settings, "publish", {}, {})

    assert _digest(home.warehouse) == published
    assert simulator.simulation.requests.total == asked
    (run, _) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    assert run.tags["dagster/will_retry"] == "false"
    check = next(check for check in load_checks() if check.name == "deliveries_reconcile")
    key = dg.AssetCheckKey(model_key(check.table), check.name)
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert latest.run_id == run.run_id
    assert latest.event is not None
    assert not latest.event.get_dagster_event().asset_check_evaluation_data.passed


def test_a_missing_key_is_named_with_the_next_step(settings: Settings, instance: dg.DagsterInstance) -> None:
    without = settings.model_copy(update={"oneschema_api_key": None})
    with pytest.raises(RunFailedError, match=r"ONESCHEMA_API_KEY is missing.*Next: correct"):
        backfill(without, 1)

    # And the run says why Dagster cannot execute it again.
    (run_id,) = instance.get_run_ids()
    events = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT).records
    told = [record.event_log_entry.get_dagster_event().message or "" for record in events]
    assert any("launch the job of this name" in message for message in told)


def test_only_what_may_pass_is_tried_again_and_never_in_a_terminal() -> None:
    def allows_retries(error: BaseException, tags: dict[str, str]) -> bool:
        context = cast(dg.AssetExecutionContext, SimpleNamespace(run=SimpleNamespace(run_id="this", tags=tags)))
        with pytest.raises(dg.Failure) as failure, clear_failures(context):
            raise error
        return failure.value.allow_retries

    assert allows_retries(HostUnreachableError("no answer"), {})
    assert not allows_retries(HostUnreachableError("no answer"), terminal_tags("this"))
    # Launched in the UI with the tags of a run of the command line.
    assert allows_retries(HostUnreachableError("no answer"), terminal_tags("another"))
    assert not allows_retries(ConfigurationError("no key"), {})
    # Control-C, and Terminate in the UI.
    assert not allows_retries(dg.DagsterExecutionInterruptedError(), {})


@pytest.mark.slow
def test_a_terminal_is_told_that_its_run_waits_for_another_writer(
    home: Home, simulator: RunningSimulator, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "ONESCHEMA_API_URL": simulator.url,
        "ONESCHEMA_API_KEY": simulator.api_key,
        "EMBED_ANALYTICS_HOME": str(home.root),
    }
    with ExitStack() as another_writer:
        another_writer.enter_context(writer_lock(home, print))
        waiting = subprocess.Popen(
            [sys.executable, "-m", "pipelines", "refresh"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=environment,
        )
        assert waiting.stderr is not None
        with waiting.stderr:
            # Only for a process that waits without a word, which would not end by itself.
            killer = threading.Timer(300, waiting.kill)
            killer.start()
            assert any("is writing to" in line for line in waiting.stderr)
            killer.cancel()
            another_writer.close()
            waiting.stderr.read()
    assert waiting.wait() == 0


def test_each_code_location_loads_in_a_fresh_interpreter_without_settings(tmp_path: Path) -> None:
    workspace = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text(encoding="utf-8"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ONESCHEMA_", "EMBED_"))}
    for location in workspace["load_from"]:
        module = location["python_module"]["module_name"]
        code = f"import {module} as m; print(sorted(m.defs.get_repository_def().job_names))"
        # Elsewhere, where no .env is found.
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment
        )
        assert done.returncode == 0, done.stderr
        assert "refresh" in done.stdout


def lose_an_event(home: Home) -> None:
    """A lake file without one of its rows, and with a count that fits: what a fault of the flattening would leave."""
    paths = sorted(home.lake_embed_events.glob("*/events.parquet"))
    path, rows = next((path, rows) for path in paths if (rows := pl.read_parquet(path)).height > 1)
    record = orjson.loads(pl.read_parquet_metadata(path)["embed_analytics"])
    record["report"]["event_count"] -= 1
    temporary = path.with_suffix(".lost")
    rows.head(-1).write_parquet(temporary, metadata={"embed_analytics": orjson.dumps(record).decode()})
    temporary.replace(path)


def _metadata(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(key)
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def _partition_metadata(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str) -> dict[str, Any]:
    records = instance.fetch_materializations(dg.AssetRecordsFilter(key, asset_partitions=[partition]), limit=1).records
    assert records[0].asset_materialization is not None
    return {name: value.value for name, value in records[0].asset_materialization.metadata.items()}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
