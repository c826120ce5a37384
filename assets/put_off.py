"""Puts off a sweep's failure to the end of the run, so that what had landed is published first.

Dagster skips everything downstream of a failed step. So raw/embed_events materialises with what had landed, and notes
its failure in the run's event log. The warehouse, the last step, raises it after publishing. The note stays in the log
for a run that goes on from this one's failure and does not sweep again.
"""

import dagster as dg

from assets.failures import RETRY, failure_of, may_be_tried_again
from pipelines.errors import EmbedAnalyticsError
from pipelines.orchestration.jobs import RAW_STEP, WAREHOUSE_STEP

EFFECT = "What had landed was flattened and published anyway."

# The key of the failure's text in the note's metadata, beside the failure's own metadata.
_TEXT = "put_off_failure"


def can_be_put_off(context: dg.AssetExecutionContext, error: EmbedAnalyticsError) -> bool:
    """Whether the run goes on to publish: the warehouse is among its steps, and this step is not retried."""
    steps = context.run.step_keys_to_execute
    publishes = context.job_def.has_node_named(WAREHOUSE_STEP) if steps is None else WAREHOUSE_STEP in steps
    is_tried_again = may_be_tried_again(context, error) and context.retry_number < RETRY.max_retries
    return publishes and not is_tried_again


def put_off(context: dg.AssetExecutionContext, error: EmbedAnalyticsError) -> dict[str, dg.MetadataValue]:
    """Note the failure in the event log. Returns the metadata for the materialisation."""
    failure = failure_of(error, allow_retries=False, effect=EFFECT)
    text = dg.MetadataValue.text(failure.description or "")
    context.log_event(dg.AssetObservation(context.asset_key, metadata={**failure.metadata, _TEXT: text}))
    context.log.error(f"The sweep failed. The run will fail after publishing what had landed: {error}")
    return dict(failure.metadata)


def raise_put_off(context: dg.AssetExecutionContext) -> None:
    """Raise the failure that the run's sweep has put off, if there is one."""
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
