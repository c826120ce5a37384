"""The sensor, by real ticks."""

from pathlib import Path

import dagster as dg

from pipelines.definitions import defs
from pipelines.orchestration.jobs import refresh
from pipelines.orchestration.webhook_sensor import WEBHOOK_SENSORS, build_sensor
from tests.webhooks.receiving import ingest, running_receiver


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None) -> tuple[int, str | None]:
    """How many runs a tick asks for, and the cursor after it."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor, definitions=defs)
    evaluated = sensor.evaluate_tick(context)
    return len(evaluated.run_requests or []), evaluated.cursor or cursor


def test_it_asks_for_one_refresh_when_events_have_arrived(home: Path) -> None:
    sensor = build_sensor(home / "webhooks", 60)
    assert sensor.minimum_interval_seconds == 60
    assert sensor.job_name == refresh.name
    with dg.DagsterInstance.ephemeral() as instance:
        assert tick(sensor, instance, None) == (0, None)
        with running_receiver(home) as receiver:
            assert tick(sensor, instance, None) == (0, None)
            receiver.push(b'{"uuid":"event-1"}')
            count, cursor = tick(sensor, instance, None)
            assert count == 1
            assert tick(sensor, instance, cursor) == (0, cursor)
            receiver.push(b'{"uuid":"event-2"}')
            count, cursor = tick(sensor, instance, cursor)
            assert count == 1
        ingest(home)
        assert tick(sensor, instance, cursor) == (0, cursor)


def test_it_waits_for_the_refresh_under_way(home: Path) -> None:
    sensor = build_sensor(home / "webhooks", 60)
    with running_receiver(home) as receiver, dg.DagsterInstance.ephemeral() as instance:
        receiver.push(b'{"uuid":"event-1"}')
        run = instance.create_run_for_job(defs.resolve_job_def(refresh.name), status=dg.DagsterRunStatus.STARTED)
        assert tick(sensor, instance, None) == (0, None)
        instance.report_run_failed(run)
        assert tick(sensor, instance, None)[0] == 1


def test_it_is_off_by_default() -> None:
    assert WEBHOOK_SENSORS == []
