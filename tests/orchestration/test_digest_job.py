"""The digest's schedule: there where a setting says to whom, and run once in Dagster, for real."""

from datetime import UTC, datetime

import dagster as dg
import pytest
from pydantic import SecretStr

from pipelines.definitions import build_definitions
from pipelines.errors import ConfigurationError
from pipelines.home.layout import Home
from pipelines.settings import Settings
from pipelines.warehouse.build import BuildOptions, build
from tests.orchestration.alert_endpoint import AlertEndpoint

MONDAY = datetime(2026, 5, 11, 8, tzinfo=UTC)


def test_without_a_channel_there_is_no_job(settings: Settings) -> None:
    repository = build_definitions(settings).get_repository_def()
    assert not repository.has_job("digest")
    assert "digest_schedule" not in {schedule.name for schedule in repository.schedule_defs}


def test_a_cron_expression_that_cannot_be_read_is_named() -> None:
    settings = Settings.defaults(embed_analytics_digest_to="a@example.com", embed_analytics_digest_cron="weekly")
    with pytest.raises(ConfigurationError, match="EMBED_ANALYTICS_DIGEST_CRON"):
        build_definitions(settings)


@pytest.mark.slow
def test_a_tick_asks_for_a_run_that_sends_it_and_a_second_sends_nothing(
    settings: Settings, home: Home, instance: dg.DagsterInstance, alert_endpoint: AlertEndpoint
) -> None:
    build(home, BuildOptions())
    url = SecretStr(alert_endpoint.url)
    sending = settings.model_copy(update={"embed_analytics_digest_webhook_url": url})
    definitions = build_definitions(sending)
    repository = definitions.get_repository_def()
    schedule = repository.get_schedule_def("digest_schedule")
    assert (schedule.cron_schedule, schedule.default_status) == ("0 8 * * 1", dg.DefaultScheduleStatus.RUNNING)
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=MONDAY, repository_def=repository)
    (request,) = schedule.evaluate_tick(context).run_requests or []
    job = definitions.resolve_job_def(schedule.job_name)

    def run() -> dg.ExecuteInProcessResult:
        return job.execute_in_process(
            instance=instance, run_config=dict(request.run_config), tags=dict(request.tags), raise_on_error=False
        )

    alert_endpoint.answers = [404]
    refused = run()
    (failure,) = [event for event in refused.all_events if event.is_step_failure]
    told = failure.step_failure_data.user_failure_data
    assert told is not None
    assert told.description == "webhook: EMBED_ANALYTICS_DIGEST_WEBHOOK_URL answered 404."
    assert told.metadata["error"].value == "DigestNotSentError"
    assert run().success
    assert run().success
    (message,) = alert_endpoint.bodies
    assert message["text"] == "Embed imports: no session on a mature day"
    logged = "".join(str(record) for record in instance.all_logs(refused.run_id))
    assert "secret-path" not in logged
