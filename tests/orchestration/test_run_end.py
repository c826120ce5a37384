"""How a run ends: one that had to put a failed sweep off publishes what had landed, and is red as it was."""

from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pytest

from assets.failures import RETRY
from assets.raw import EMBED_EVENTS
from assets.run_end import can_be_put_off
from assets.warehouse import model_key
from pipelines.definitions import build_definitions
from pipelines.errors import CredentialRefusedError, EmbedAnalyticsError, HostUnreachableError
from pipelines.home.layout import Home
from pipelines.orchestration.instance.terminal_runs import terminal_tags
from pipelines.orchestration.jobs import RAW_STEP, REPORT_STEP, WAREHOUSE_STEP, partition_range, run_config
from pipelines.settings import load_settings
from pipelines.simulator.server import RunningSimulator
from tests.orchestration.conftest import LAST_DAY, last_line, materialize

TODAY = partition_range(LAST_DAY, LAST_DAY)


def refresh_job() -> dg.JobDefinition:
    """The job of the environment's settings, as a process that begins a run again loads it."""
    return build_definitions(load_settings()).resolve_job_def("refresh")


def _refresh(
    definitions: dg.Definitions, instance: dg.DagsterInstance, kind: str = "refresh"
) -> dg.ExecuteInProcessResult:
    return definitions.resolve_job_def(kind).execute_in_process(
        run_config=run_config(kind), tags=TODAY, instance=instance, raise_on_error=False
    )


def _failures(instance: dg.DagsterInstance, run_id: str) -> list[tuple[str | None, str, dict[str, Any]]]:
    """(step, text, metadata) of each step that failed."""
    found: list[tuple[str | None, str, dict[str, Any]]] = []
    for record in instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records:
        event = record.event_log_entry.get_dagster_event()
        failure = event.step_failure_data.user_failure_data
        assert failure is not None
        metadata = {name: value.value for name, value in failure.metadata.items()}
        found.append((event.step_key, failure.description or "", metadata))
    return found


@pytest.mark.parametrize("kind", ["refresh", pytest.param("reconcile", marks=pytest.mark.slow)])
def test_the_last_step_raises_what_the_sweep_met(
    home: Home,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    simulator: RunningSimulator,
    kind: str,
) -> None:
    simulator.throw(refused_after_requests=9)

    result = _refresh(definitions, instance, kind)

    assert not result.success
    ((step, text, metadata),) = _failures(instance, result.run_id)
    assert step == REPORT_STEP
    assert "refused the key" in text
    assert "published anyway. Next: set the ONESCHEMA_API_KEY" in text
    assert metadata["error"] == "CredentialRefusedError"
    assert metadata["next_step"].startswith("set the ONESCHEMA_API_KEY")
    assert home.warehouse.exists()
    assert home.report.exists()
    line = last_line(instance, result.run_id)
    assert line.startswith("asked ")
    assert f"published {home.warehouse}, page {home.report}, " in line
    materialized = instance.get_latest_materialization_event(EMBED_EVENTS)
    assert materialized is not None
    assert materialized.asset_materialization is not None
    assert materialized.asset_materialization.metadata["error"].value == "CredentialRefusedError"
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["dagster/will_retry"] == "false"


def test_a_run_of_raw_alone_fails_at_once(
    definitions: dg.Definitions, instance: dg.DagsterInstance, simulator: RunningSimulator
) -> None:
    simulator.throw(refused_after_requests=0)

    result = materialize(definitions, instance, EMBED_EVENTS, tags=TODAY)

    ((step, text, _),) = _failures(instance, result.run_id)
    assert step == RAW_STEP
    assert "published" not in text
    assert instance.get_latest_materialization_event(EMBED_EVENTS) is None


@pytest.mark.slow
def test_a_run_that_goes_on_from_the_failure_is_red_until_a_sweep_succeeds(
    home: Home,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    simulator: RunningSimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As Dagster's run retries begin a run again that died behind its sweep."""
    simulator.throw(refused_after_requests=9)
    first = _refresh(definitions, instance)
    monkeypatch.setenv("ONESCHEMA_API_URL", simulator.url)
    monkeypatch.setenv("EMBED_ANALYTICS_HOME", str(home.root))

    options = dg.ReexecutionOptions.from_failure(first.run_id, instance)
    with dg.execute_job(dg.reconstructable(refresh_job), instance, tags=TODAY, reexecution_options=options) as second:
        assert not second.success

    assert second.run_id != first.run_id
    ((step, text, _),) = _failures(instance, second.run_id)
    assert step == REPORT_STEP
    assert "refused the key" in text


@pytest.mark.slow
def test_a_later_run_does_not_inherit_the_failure(
    definitions: dg.Definitions, instance: dg.DagsterInstance, simulator: RunningSimulator
) -> None:
    simulator.throw(refused_after_requests=9)
    assert not _refresh(definitions, instance).success
    assert materialize(definitions, instance, model_key("fct_embeds")).success
    simulator.throw(refused_after_requests=None)
    assert _refresh(definitions, instance).success


@pytest.mark.parametrize(
    ("error", "tags", "retry_number", "steps", "is_put_off"),
    [
        (CredentialRefusedError("no", 401), {}, 0, None, True),
        (HostUnreachableError("no"), {}, 0, None, False),
        (HostUnreachableError("no"), {}, RETRY.max_retries, None, True),
        (HostUnreachableError("no"), terminal_tags("this"), 0, None, True),
        (CredentialRefusedError("no", 401), {}, 0, [RAW_STEP], False),
        (CredentialRefusedError("no", 401), {}, 0, [RAW_STEP, "lake", WAREHOUSE_STEP], True),
    ],
)
def test_it_is_put_off_after_the_last_attempt_where_the_run_publishes(
    definitions: dg.Definitions,
    error: EmbedAnalyticsError,
    tags: dict[str, str],
    retry_number: int,
    steps: list[str] | None,
    is_put_off: bool,
) -> None:
    run = SimpleNamespace(run_id="this", tags=tags, step_keys_to_execute=steps)
    job = definitions.resolve_job_def("refresh")
    context = SimpleNamespace(run=run, retry_number=retry_number, job_def=job)
    assert can_be_put_off(cast(dg.AssetExecutionContext, context), error) == is_put_off
