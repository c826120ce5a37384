"""How raw and lake are partitioned."""

from collections.abc import Iterable

import dagster as dg

from pipelines.orchestration.first_partition import first_partition, is_plausible
from pipelines.settings import Settings

# A range of dates is one run: the API has no time filter, so each run asks an embed once for all its dates.
ONE_RUN = dg.BackfillPolicy.single_run()


def daily_partitions(settings: Settings) -> dg.DailyPartitionsDefinition:
    """One partition per UTC event date, today's included."""
    return dg.DailyPartitionsDefinition(start_date=first_partition(settings).isoformat(), end_offset=1, timezone="UTC")


def partitions_beside(context: dg.AssetExecutionContext, event_dates: Iterable[str]) -> list[str]:
    """Those of the dates that are partitions but not this run's, because of late events and resumed sessions.

    A date before the first partition counts as well: the definitions that are made next begin there.
    """
    in_run = set(context.partition_keys)
    return sorted(date for date in event_dates if date not in in_run and is_plausible(date))
