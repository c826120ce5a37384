"""Schedules by real ticks: what they ask for, and that it runs."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from pipelines.definitions import defs
from pipelines.home.layout import Home
from pipelines.orchestration.jobs import RANGE_END, RANGE_START
from pipelines.orchestration.schedules import SCHEDULES, prune_schedule, reconcile_schedule, refresh_schedule
from pipelines.settings import Settings
from pipelines.terminal.runs import run_job
from tests.orchestration.conftest import LAST_DAY

# Dagster gives ticks with their zone; a late one still belongs to the day that it was due.
DUE = datetime(LAST_DAY.year, LAST_DAY.month, LAST_DAY.day, 23, 7, tzinfo=UTC)


def _tick(schedule: dg.ScheduleDefinition, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=DUE, repository_def=defs.get_repository_def()
    )
    return list(schedule.evaluate_tick(context).run_requests or [])


@pytest.mark.parametrize(("schedule", "job"), [(refresh_schedule, "refresh"), (reconcile_schedule, "reconcile")])
def test_a_tick_asks_for_a_run_of_its_day_that_publishes(
    schedule: dg.ScheduleDefinition, job: str, home: Home, instance: dg.DagsterInstance
) -> None:
    (request,) = _tick(schedule, instance)

    assert request.tags[RANGE_START] == request.tags[RANGE_END] == str(LAST_DAY)
    summary = run_job(home, job, dict(request.run_config), dict(request.tags))
    assert summary.metadata["raw/embed_events"]["due_embeds"] > 0
    assert home.warehouse.exists()


def test_a_tick_behind_a_waiting_run_asks_for_none(instance: dg.DagsterInstance) -> None:
    waiting = instance.create_run_for_job(defs.resolve_job_def("refresh"), status=dg.DagsterRunStatus.NOT_STARTED)
    assert not _tick(refresh_schedule, instance)

    instance.report_run_canceled(waiting)
    assert len(_tick(refresh_schedule, instance)) == 1


def test_pruning_is_asked_for_and_runs(home: Home, instance: dg.DagsterInstance) -> None:
    (request,) = _tick(prune_schedule, instance)

    result = defs.resolve_job_def("prune_run_history").execute_in_process(
        instance=instance, run_config=dict(request.run_config)
    )
    assert result.success


def test_all_are_on_by_default_at_the_times_of_the_settings(settings: Settings) -> None:
    assert {schedule.default_status for schedule in SCHEDULES} == {dg.DefaultScheduleStatus.RUNNING}
    assert [schedule.cron_schedule for schedule in SCHEDULES] == [
        settings.embed_analytics_refresh_cron,
        settings.embed_analytics_reconcile_cron,
        settings.embed_analytics_prune_cron,
    ]
