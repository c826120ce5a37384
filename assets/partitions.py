"""How raw and lake are partitioned, and how a step of a run talks to Dagster."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager

import dagster as dg

from pipelines.errors import EmbedAnalyticsError, TransientError
from pipelines.schema import Table
from pipelines.settings import load_settings

# One partition per UTC event date, today's included.
DAILY = dg.DailyPartitionsDefinition(
    start_date=load_settings().embed_analytics_start_date.isoformat(), end_offset=1, timezone="UTC"
)

# A range of dates is one run: the API has no time filter, so each run asks an embed once for all its dates.
ONE_RUN = dg.BackfillPolicy.single_run()


@contextmanager
def clear_failures() -> Generator[None]:
    """Show an error that was raised on purpose as the failure's text; only transient ones are worth a retry."""
    try:
        yield
    except EmbedAnalyticsError as error:
        raise dg.Failure(description=str(error), allow_retries=isinstance(error, TransientError)) from error


def column_schema(table: Table) -> dg.TableSchema:
    """A file table's columns as Dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                str(column.dtype),
                column.description,
                constraints=dg.TableColumnConstraints(nullable=not column.required),
            )
            for column in table.columns
        ]
    )


def partitions_beside(context: dg.AssetExecutionContext, event_dates: Iterable[str]) -> list[str]:
    """Those of the dates that are partitions, but not of this run: late events and resumed sessions."""
    in_run = set(context.partition_keys)
    return sorted(date for date in event_dates if date not in in_run and DAILY.has_partition_key(date))
