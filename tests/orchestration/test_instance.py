"""The instance's own parts: pruning keeps the present, the storage is Dagster's, and dead runs are found."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest

from assets.warehouse import model_key
from pipelines.definitions import build_definitions
from pipelines.errors import ConfigurationError
from pipelines.home.layout import Home
from pipelines.orchestration.instance import damaged as damaged_module
from pipelines.orchestration.instance import terminal_runs
from pipelines.orchestration.instance.dagster_internals import (
    DagsterSqliteStorage,
    WorkerStatus,
    add_partition_metadata,
)
from pipelines.orchestration.instance.launcher import WatchedRunLauncher
from pipelines.orchestration.instance.opening import make_databases, open_instance, prepare_instance
from pipelines.orchestration.instance.pruning import prune_run_history
from pipelines.orchestration.instance.storage import PooledSqliteStorage
from pipelines.orchestration.jobs import partition_range, run_config
from pipelines.settings import Settings
from pipelines.terminal.runs import run_job
from pipelines.warehouse.models import load_models
from tests.orchestration.conftest import LAST_DAY, backfill

RAW = dg.AssetKey(["raw", "embed_events"])
LAKE = dg.AssetKey(["lake", "embed_events"])
DEFINITIONS = build_definitions(Settings.defaults())
CHECKS = DEFINITIONS.get_repository_def().asset_graph.asset_check_keys


def test_services_that_begin_together_make_the_databases_once(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    prepare_instance(home, pytest.fail)
    together = threading.Barrier(4)

    def begin() -> set[str]:
        together.wait(60)
        make_databases(home)
        return {path.name for path in home.dagster.rglob("*.db")}

    with ThreadPoolExecutor(4) as pool:
        made = [future.result() for future in [pool.submit(begin) for _ in range(4)]]
    assert made == [{"index.db", "runs.db", "schedules.db"}] * 4


@pytest.mark.slow
def test_pruning_keeps_what_assets_partitions_and_checks_are(
    settings: Settings, home: Home, instance: dg.DagsterInstance
) -> None:
    backfill(settings, 6)
    today = partition_range(LAST_DAY, LAST_DAY)
    for _ in range(3):
        run_job(settings, "refresh", run_config("refresh"), today)
    before = _present(instance)
    runs = instance.get_run_ids()

    report = prune_run_history(instance, datetime.now(UTC) + timedelta(hours=1), CHECKS)

    # The backfill still stands for the five days before, the last refresh for everything else.
    assert (report.deleted_count, report.kept_count) == (2, 2)
    assert _present(instance) == before
    kept = set(instance.get_run_ids())
    assert kept == {runs[0], runs[-1]}
    shards = {path.name.partition(".")[0] for path in (home.dagster / "history" / "runs").iterdir()}
    assert not shards & (set(runs) - kept)
    # The next refresh goes on as if nothing had happened.
    run_job(settings, "refresh", run_config("refresh"), today)


@pytest.mark.slow
def test_young_runs_stay(settings: Settings, instance: dg.DagsterInstance) -> None:
    for _ in range(2):
        run_job(settings, "refresh", run_config("refresh"), partition_range(LAST_DAY, LAST_DAY))

    report = prune_run_history(instance, datetime.now(UTC) - timedelta(days=1), CHECKS)

    assert (report.deleted_count, len(instance.get_run_ids())) == (0, 2)


@pytest.mark.slow
def test_dagsters_own_storage_reads_what_was_written(
    settings: Settings, home: Home, instance: dg.DagsterInstance
) -> None:
    backfill(settings, 6)

    storage = instance._event_storage  # pyright: ignore[reportPrivateUsage]
    assert isinstance(storage, type(PooledSqliteStorage(str(home.dagster)).event_log_storage))
    theirs = DagsterSqliteStorage.from_local(str(home.dagster)).event_log_storage
    theirs.register_instance(instance)
    (run_id,) = instance.get_run_ids()
    for kind in (dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        mine = instance.get_records_for_run(run_id, of_type=kind).records
        assert mine
        assert [record.event_log_entry for record in theirs.get_records_for_run(run_id, of_type=kind).records] == [
            record.event_log_entry for record in mine
        ]
    assert theirs.get_materialized_partitions(LAKE) == instance.get_materialized_partitions(LAKE)
    latest = theirs.get_latest_materialization_events([LAKE])[LAKE]
    assert latest is not None
    assert latest.get_dagster_event().partition == str(LAST_DAY)


@pytest.mark.slow
def test_a_terminal_run_whose_process_died_is_marked_as_failed(
    settings: Settings, home: Home, instance: dg.DagsterInstance
) -> None:
    dead, launched = str(uuid4()), str(uuid4())
    _started_run(instance, terminal_runs.terminal_tags(dead), dead)
    # Launched in the UI with the tags of the first: another process runs it.
    _started_run(instance, terminal_runs.terminal_tags(dead), launched)
    # A real process that takes the run's lock, says so, and is killed.
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(home.dagster / "running" / f"{dead}.lock")], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert _health(instance, dead) == WorkerStatus.RUNNING
    terminal_runs.fail_dead_runs(instance)
    assert _status(instance, dead) == dg.DagsterRunStatus.STARTED

    holder.kill()
    holder.wait()
    holder.stdout.close()

    assert _health(instance, dead) == WorkerStatus.NOT_FOUND
    run_job(settings, "refresh", run_config("refresh"), partition_range(LAST_DAY, LAST_DAY))
    assert _status(instance, dead) == dg.DagsterRunStatus.FAILURE
    assert _status(instance, launched) == dg.DagsterRunStatus.STARTED
    run = instance.get_run_by_id(dead)
    assert run is not None
    # Nothing begins it again, so nothing says that it will.
    assert run.tags["dagster/will_retry"] == "false"
    (ended,) = instance.get_records_for_run(dead, of_type=dg.DagsterEventType.RUN_FAILURE).records
    assert "launch the job of this name" in str(ended.event_log_entry.get_dagster_event().message)


def test_a_run_whose_code_server_is_gone_counts_as_dead(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    socket = json.dumps({"host": "localhost", "socket": str(tmp_path / "gone")})
    assert _health(instance, _started_run(instance, {".dagster/grpc_info": socket})) == WorkerStatus.NOT_FOUND
    assert _health(instance, _started_run(instance, {})) == WorkerStatus.NOT_FOUND


_HOLD = """
import sys
from pathlib import Path
from filelock import FileLock
Path(sys.argv[1]).parent.mkdir(exist_ok=True)
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
    import threading
    threading.Event().wait()
"""


def _started_run(instance: dg.DagsterInstance, tags: dict[str, str], run_id: str | None = None) -> str:
    run = instance.create_run_for_job(
        DEFINITIONS.resolve_job_def("publish"), status=dg.DagsterRunStatus.STARTED, tags=tags, run_id=run_id
    )
    return run.run_id


def _status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def _health(instance: dg.DagsterInstance, run_id: str) -> WorkerStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert isinstance(instance.run_launcher, WatchedRunLauncher)
    return instance.run_launcher.check_run_worker_health(run).status


def _present(instance: dg.DagsterInstance) -> dict[str, object]:
    tables = [model_key(model.name) for model in load_models()]
    checks = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(CHECKS))
    return {
        "partitions": [instance.get_materialized_partitions(key) for key in (RAW, LAKE)],
        "tables": [instance.get_latest_materialization_event(key) for key in (RAW, LAKE, *tables)],
        "checks": {key: record.run_id for key, record in checks.items()},
    }


def _nothing_to_say(line: str) -> None:
    raise AssertionError(line)


@pytest.mark.parametrize("damage", ["cut", "zeroed", "flipped"])
def test_a_damaged_database_is_set_aside_and_the_next_run_is_recorded(home: Home, damage: str) -> None:
    folder = home.dagster
    with open_instance(home) as opened:
        opened.get_runs()
    names = ["history/runs.db", "history/runs/index.db", "schedules/schedules.db"]
    for name in names:
        # In the schema of the file, where SQLite always looks.
        path = folder / name
        content = path.read_bytes()
        damaged = {
            "cut": content[:600],
            "zeroed": bytes(len(content)),
            "flipped": bytes([content[0] ^ 1]) + content[1:],
        }[damage]
        path.write_bytes(damaged)
        for log in path.parent.glob(f"{path.name}-*"):
            log.unlink()
        lines: list[str] = []
        prepare_instance(home, lines.append)
        (line,) = lines
        assert line.startswith(f"{path} is damaged")
        (aside,) = path.parent.glob(f"{path.name}.damaged-*")
        assert (aside.name in line, aside.read_bytes()) == (True, damaged)
        with open_instance(home) as opened:
            opened.get_runs()
    prepare_instance(home, _nothing_to_say)
    with open_instance(home) as opened:
        run = opened.create_run_for_job(DEFINITIONS.resolve_job_def("refresh"))
        assert opened.get_run_by_id(run.run_id) is not None


def test_only_databases_that_changed_are_looked_at_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_instance(home) as opened:
        run = opened.create_run_for_job(DEFINITIONS.resolve_job_def("refresh"))
        opened.report_engine_event("an event, which makes the run's file", run)
    looked_at: list[Path] = []
    monkeypatch.setattr(damaged_module, "_damage", looked_at.append)

    def look() -> list[str]:
        looked_at.clear()
        prepare_instance(home, _nothing_to_say)
        return [path.name for path in looked_at]

    of_run = f"{run.run_id}.db"
    assert set(look()) == {"runs.db", "index.db", of_run, "schedules.db"}
    # What was written in the tick of the clock in which that look began is looked at once more.
    look()
    assert look() == []
    path = home.dagster / "history" / "runs" / of_run
    with path.open("r+b") as file:
        file.write(b"S")
    # As a tool does that restores a copy with its times.
    os.utime(path, (0, 0))
    assert look() == [of_run]


def test_a_damaged_database_that_another_process_has_open_stays(home: Home) -> None:
    with open_instance(home) as opened:
        opened.get_runs()
    path = home.dagster / "history" / "runs.db"
    holder = "import sys; file = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with path.open("r+b") as file:
            file.write(bytes(4096))
        damaged = path.read_bytes()
        with pytest.raises(ConfigurationError, match=r"runs\.db is damaged .* another process has it open"):
            prepare_instance(home, _nothing_to_say)
        process.communicate()
    assert path.read_bytes() == damaged
    lines: list[str] = []
    prepare_instance(home, lines.append)
    assert len(lines) == 1


def test_recording_partitions_costs_as_much_for_each_however_many_there_are() -> None:
    """Counted in calls and not in time."""

    def calls(count: int) -> int:
        partitions = dg.DailyPartitionsDefinition("2026-01-01")
        keys = [str(date(2026, 1, 1) + timedelta(days=day)) for day in range(count)]
        made: list[str] = []

        @dg.asset(partitions_def=partitions)
        def recorded(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
            metadata = {key: {"day": key, "number": number} for number, key in enumerate(context.partition_keys)}
            context.add_asset_metadata({"number": -1}, partition_key=keys[0])
            sys.setprofile(lambda frame, event, _: made.append(event) if event in ("call", "c_call") else None)
            try:
                add_partition_metadata(context, dg.AssetKey("recorded"), metadata)
            finally:
                sys.setprofile(None)
            context.add_asset_metadata({"last": True}, partition_key=keys[-1])
            return dg.MaterializeResult(metadata={"of_all": 1})

        tags = partition_range(date.fromisoformat(keys[0]), date.fromisoformat(keys[-1]))
        with dg.DagsterInstance.ephemeral() as instance:
            result = dg.materialize([recorded], instance=instance, tags=tags)
            events = [
                event.step_materialization_data.materialization for event in result.get_asset_materialization_events()
            ]
        found = {event.partition: {name: value.value for name, value in event.metadata.items()} for event in events}
        assert found == {
            key: {"day": key, "number": number, "of_all": 1} | ({"last": True} if key == keys[-1] else {})
            for number, key in enumerate(keys)
        }
        return len(made)

    assert calls(80) < 4.5 * calls(20)
