"""Schedules by real ticks: what they ask for, and that it runs."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from pipelines.definitions import build_definitions
from pipelines.home.layout import Home
from pipelines.orchestration.jobs import RANGE_END, RANGE_START
from pipelines.settings import Settings
from pipelines.terminal.runs import run_job
from tests.orchestration.conftest import LAST_DAY

# Dagster gives ticks with their zone; a late one still belongs to the day that it was due.
DUE = datetime(LAST_DAY.year, LAST_DAY.month, LAST_DAY.day, 23, 7, tzinfo=UTC)


def _tick(definitions: dg.Definitions, schedule: str, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    repository = definitions.get_repository_def()
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=DUE, repository_def=repository)
    return list(repository.get_schedule_def(schedule).evaluate_tick(context).run_requests or [])


@pytest.mark.parametrize("job", ["refresh", pytest.param("reconcile", marks=pytest.mark.slow)])
def test_a_tick_asks_for_a_run_of_its_day_that_publishes(
    job: str, settings: Settings, home: Home, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    (request,) = _tick(definitions, f"{job}_schedule", instance)

    assert request.tags[RANGE_START] == request.tags[RANGE_END] == str(LAST_DAY)
    summary = run_job(settings, job, dict(request.run_config), dict(request.tags))
    assert summary.metadata["raw/embed_events"]["due_embeds"] > 0
    assert home.warehouse.exists()


def test_a_tick_behind_a_waiting_run_asks_for_none(definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
    waiting = instance.create_run_for_job(
        definitions.resolve_job_def("refresh"), status=dg.DagsterRunStatus.NOT_STARTED
    )
    assert not _tick(definitions, "refresh_schedule", instance)

    instance.report_run_canceled(waiting)
    assert len(_tick(definitions, "refresh_schedule", instance)) == 1


def test_pruning_is_asked_for_and_runs(definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
    (request,) = _tick(definitions, "prune_schedule", instance)

    result = definitions.resolve_job_def("prune_run_history").execute_in_process(
        instance=instance, run_config=dict(request.run_config)
    )
    assert result.success


def test_all_are_on_by_default_at_the_times_of_the_settings(settings: Settings) -> None:
    crons = {"refresh": "1 * * * *", "reconcile": "2 3 * * *", "prune": "3 4 * * *"}
    settings = Settings.defaults(**{f"embed_analytics_{name}_cron": cron for name, cron in crons.items()})
    schedules = build_definitions(settings).get_repository_def().schedule_defs
    assert {schedule.default_status for schedule in schedules} == {dg.DefaultScheduleStatus.RUNNING}
    assert {schedule.name: schedule.cron_schedule for schedule in schedules} == {
        f"{name}_schedule": cron for name, cron in crons.items()
    }
