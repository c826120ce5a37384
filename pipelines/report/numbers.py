"""What the page shows: rows of rpt_metrics, as compact as a page of a year and 20 templates needs them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb

from pipelines.report.tables import definition_of

# Days of this long ago are not on the page. Their weeks and months are.
DAYS_SHOWN = 60

FIELDS = (
    *("metric", "step", "period", "start", "environment", "template", "plan"),
    *("value", "numerator", "denominator", "low", "high", "is_mature"),
)
"""What the rows have, in their order. Up to the plan these are indexes into lists; a name of -1 means all of them."""

_ALL = -1

_CHOSEN = f"""
select
    metric, step, period, period_start::varchar,
    case when not is_all_environments then [environment_name] end,
    case when not is_all_templates then [template_key] end,
    case when not is_all_plans then [plan] end,
    round(value, 9), numerator, denominator, round(low, 6), round(high, 6), is_mature::int
from rpt_metrics
where is_all_customers and (
    period = 'now'
    or (
        period in ('last_28_days', 'previous_28_days')
        and metric in (
            'sessions', 'submitted', 'delivered', 'seconds_to_submit_median', 'seconds_to_submit_p90', 'reached'
        )
    )
    or (period = 'last_28_days' and metric in ('performed', 'skipped', 'dropped'))
    or (period = 'since' and metric = 'sessions')
    or (
        metric = 'submitted'
        and (
            period in ('week', 'month')
            or (period = 'day' and period_start > (select max(entry_date) from fct_metrics_daily) - {DAYS_SHOWN})
        )
    )
)
order by period, metric, step_number, period_start, is_all_environments desc, is_all_templates desc, is_all_plans desc,
    environment_name, template_key, plan
"""

_ABOUT = "select build_id, built_at, data_through, code_version from meta_build"


@dataclass(frozen=True)
class Numbers:
    """The rows of the page as FIELDS, the lists that they point into, and the build that they come from.

    `names`: by environment, template and plan, the names that have rows; None among them is a name that is not known.
    """

    build_id: str
    built_at: datetime
    data_through: datetime | None
    code_version: str
    metrics: Sequence[str]
    periods: Sequence[str]
    steps: Sequence[str]
    starts: Sequence[str]
    names: Mapping[str, Sequence[str | None]]
    rows: Sequence[Sequence[Any]]
    definition: str


def read_numbers(connection: duckdb.DuckDBPyConnection) -> Numbers:
    """The page's rows of a published warehouse."""
    ((build_id, built_at, data_through, code_version),) = connection.execute(_ABOUT).fetchall()
    metrics, periods, steps, starts = _Index(), _Index(), _Index(), _Index()
    names = {"environment": _Index(), "template": _Index(), "plan": _Index()}
    rows: list[list[Any]] = []
    for metric, step, period, start, *chosen, value, numerator, denominator, low, high, is_mature in connection.execute(
        _CHOSEN
    ).fetchall():
        places = [_ALL if name is None else index[name[0]] for name, index in zip(chosen, names.values(), strict=True)]
        at_step = None if step is None else steps[step]
        at_start = None if start is None else starts[start]
        rows.append(
            [
                metrics[metric],
                at_step,
                periods[period],
                at_start,
                *places,
                value,
                numerator,
                denominator,
                low,
                high,
                is_mature,
            ]
        )
    return Numbers(
        build_id,
        built_at,
        data_through,
        code_version,
        [*metrics],
        [*periods],
        [*steps],
        [*starts],
        {kind: [*index] for kind, index in names.items()},
        rows,
        definition_of(connection, "rpt_metrics"),
    )


class _Index(dict[Any, int]):
    """Numbers values in the order in which they are asked for."""

    def __missing__(self, value: object) -> int:
        self[value] = len(self)
        return self[value]
