"""The end of a run: its summary, and the failure that its sweep has put off so that what had landed is published first.

Dagster skips everything downstream of a failed step. So raw/embed_events materialises with what had landed, and notes
its failure in the run's event log. The last step raises it after all else. The note stays in the log for a run that
goes on from this one's failure and does not sweep again.
"""

import dagster as dg

from assets.failures import RETRY, failure_of, may_be_tried_again
from pipelines.errors import EmbedAnalyticsError
from pipelines.home.layout import Home
from pipelines.orchestration.jobs import RAW_STEP, STEPS, WAREHOUSE_STEP
from pipelines.orchestration.run_summary import read_summary, summary_line

EFFECT = "What had landed was flattened and published anyway."

# The key of the failure's text in the note's metadata, beside the failure's own metadata.
_TEXT = "put_off_failure"


def can_be_put_off(context: dg.AssetExecutionContext, error: EmbedAnalyticsError) -> bool:
    """Whether the run goes on to publish: the warehouse is among its steps, and this step is not retried."""
    is_tried_again = may_be_tried_again(context, error) and context.retry_number < RETRY.max_retries
    return _has_step(context, WAREHOUSE_STEP) and not is_tried_again


def put_off(context: dg.AssetExecutionContext, error: EmbedAnalyticsError) -> dict[str, dg.MetadataValue]:
    """Note the failure in the event log. Returns the metadata for the materialisation."""
    failure = failure_of(error, allow_retries=False, effect=EFFECT)
    text = dg.MetadataValue.text(failure.description or "")
    context.log_event(dg.AssetObservation(context.asset_key, metadata={**failure.metadata, _TEXT: text}))
    context.log.error(f"The sweep failed. The run will fail after publishing what had landed: {error}")
    return dict(failure.metadata)


def end_run(context: dg.AssetExecutionContext, home: Home) -> None:
    """What each step calls at its end: if it is the run's last, a line in the log sums up the run, and the failure that
    the sweep has put off is raised."""
    (*_, last) = (step for step in STEPS if _has_step(context, step))
    if context.op_def.name == last:
        context.log.info(summary_line(read_summary(context.instance, context.run.run_id), home))
        _raise_put_off(context)


def _has_step(context: dg.AssetExecutionContext, step: str) -> bool:
    steps = context.run.step_keys_to_execute
    return context.job_def.has_node_named(step) if steps is None else step in steps


def _raise_put_off(context: dg.AssetExecutionContext) -> None:
    run: dg.DagsterRun | None = context.run
    while run is not None:
        records = context.instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION)
        for record in records.records:
            noted = record.event_log_entry.asset_observation
            if noted is not None and _TEXT in noted.metadata:
                metadata = dict(noted.metadata)
                raise dg.Failure(str(metadata.pop(_TEXT).value), metadata, allow_retries=False)
        swept = run.step_keys_to_execute is None or RAW_STEP in run.step_keys_to_execute
        # This run goes on from the failure of its parent, which did the sweep.
        run = None if swept or run.parent_run_id is None else context.instance.get_run_by_id(run.parent_run_id)
