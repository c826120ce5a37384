"""The sensor, by real ticks."""

from pathlib import Path

import dagster as dg
import pytest

from pipelines.definitions import build_definitions
from pipelines.orchestration.jobs import REFRESH_JOB
from pipelines.settings import Settings
from tests.webhooks.receiving import ingest, running_receiver

SENSOR = "refresh_after_webhooks"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """No simulator is needed."""
    return tmp_path / "home"


def definitions_of(home: Path) -> dg.Definitions:
    return build_definitions(Settings.defaults(embed_analytics_home=home, embed_analytics_webhook_refresh_seconds=60))


def tick(definitions: dg.Definitions, instance: dg.DagsterInstance, cursor: str | None) -> tuple[int, str | None]:
    """How many runs a tick asks for, and the cursor after it."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor, definitions=definitions)
    evaluated = definitions.get_repository_def().get_sensor_def(SENSOR).evaluate_tick(context)
    return len(evaluated.run_requests or []), evaluated.cursor or cursor


def test_it_asks_for_one_refresh_when_events_have_arrived(home: Path) -> None:
    definitions = definitions_of(home)
    made = definitions.get_repository_def().get_sensor_def(SENSOR)
    assert made.minimum_interval_seconds == 60
    assert made.job_name == REFRESH_JOB.name
    with dg.DagsterInstance.ephemeral() as instance:
        assert tick(definitions, instance, None) == (0, None)
        with running_receiver(home) as receiver:
            assert tick(definitions, instance, None) == (0, None)
            receiver.push(b'{"uuid":"event-1"}')
            count, cursor = tick(definitions, instance, None)
            assert count == 1
            assert tick(definitions, instance, cursor) == (0, cursor)
            receiver.push(b'{"uuid":"event-2"}')
            count, cursor = tick(definitions, instance, cursor)
            assert count == 1
        ingest(home)
        assert tick(definitions, instance, cursor) == (0, cursor)


def test_it_waits_for_the_refresh_under_way(home: Path) -> None:
    definitions = definitions_of(home)
    with running_receiver(home) as receiver, dg.DagsterInstance.ephemeral() as instance:
        receiver.push(b'{"uuid":"event-1"}')
        run = instance.create_run_for_job(
            definitions.resolve_job_def(REFRESH_JOB.name), status=dg.DagsterRunStatus.STARTED
        )
        assert tick(definitions, instance, None) == (0, None)
        instance.report_run_failed(run)
        assert tick(definitions, instance, None)[0] == 1


def test_it_is_off_by_default() -> None:
    assert not build_definitions(Settings.defaults()).get_repository_def().has_sensor_def(SENSOR)
