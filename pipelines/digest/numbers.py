"""What the digest says: rows of rpt_metrics, and the checks that do not hold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import duckdb

from pipelines.errors import PermanentError
from pipelines.report import customers
from pipelines.warehouse import findings

NOW, BEFORE = "last_28_days", "previous_28_days"

# Of each template, in the order in which they are told.
COMPARED = ("submitted", "delivered", "dropped", "seconds_to_submit_median", "seconds_to_submit_p90")

# The templates with the most sessions come first.
_METRICS = f"""
select
    metric, step, period, period_start, period_end, is_all_templates, template_key,
    value, numerator, denominator, low, high
from rpt_metrics
where is_all_environments and is_all_plans and is_all_customers and period in ('{NOW}', '{BEFORE}', 'since', 'now')
    and (metric in {COMPARED} or is_all_templates and (metric = 'sessions' or period = 'now'))
order by
    is_all_templates desc,
    max(denominator) filter (metric = 'submitted' and period = '{NOW}')
        over (partition by is_all_templates, template_key) desc nulls last,
    template_key, list_position({[*COMPARED]}, metric), step_number
"""

# As the page has them, of all templates together.
_FALLS = f"""
select
    coalesce(customer_name, customer_id),
    rate, submitted, sessions, rate_low, rate_high,
    rate_before, submitted_before, sessions_before, rate_before_low, rate_before_high
from ({customers.SQL})
where is_all_templates and rate < rate_before
order by {customers.ORDER}
"""


@dataclass(frozen=True)
class Number:
    """A row's value, what it is out of, and its 95 % interval. What is not known is None."""

    value: float | None
    numerator: int | None
    denominator: int | None
    low: float | None
    high: float | None

    def is_apart_from(self, other: "Number") -> bool:
        """Whether both have an interval, and the intervals do not overlap."""
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return False
        return self.high < other.low or other.high < self.low


@dataclass(frozen=True)
class Change:
    """A number of a template (of all of them if `is_all_templates`), in the last 28 mature days and the 28 before."""

    is_all_templates: bool
    template: str | None
    metric: str
    step: str | None
    now: Number
    before: Number


@dataclass(frozen=True)
class Fall:
    """The conversion of a customer, which fell."""

    customer: str
    now: Number
    before: Number


@dataclass(frozen=True)
class Numbers:
    """All that a digest says.

    `totals`: of all templates together, by metric and period; without steps. `days`: the first and last day of each
    period that has sessions (UTC). `moved`: the numbers of templates whose intervals are apart. `falls`: those beyond
    the interval first, then the worst. `warnings`: the checks that do not hold; None if an older version published it.
    """

    build_id: str
    data_through: datetime | None
    totals: dict[tuple[str, str], Number]
    days: dict[str, tuple[date, date]]
    moved: Sequence[Change]
    falls: Sequence[Fall]
    warnings: Sequence[findings.Finding] | None


def read_numbers(connection: duckdb.DuckDBPyConnection) -> Numbers:
    """The numbers of a published warehouse. Raises PermanentError where an older version published it."""
    try:
        rows = connection.execute(_METRICS).fetchall()
    except duckdb.CatalogException:
        raise PermanentError(
            "The warehouse was published by an older version, which had no rpt_metrics: `embed-analytics publish` "
            "builds it anew."
        ) from None
    ((build_id, data_through),) = connection.execute("select build_id, data_through from meta_build").fetchall()
    falls = connection.execute(_FALLS).fetchall()
    found = findings.read(connection)
    totals: dict[tuple[str, str], Number] = {}
    days: dict[str, tuple[date, date]] = {}
    compared: dict[tuple[bool, str | None, str, str | None], dict[str, Number]] = {}
    for metric, step, period, first, last, is_all_templates, template, *number in rows:
        if is_all_templates and step is None:
            totals[metric, period] = Number(*number)
        if metric in COMPARED:
            compared.setdefault((is_all_templates, template, metric, step), {})[period] = Number(*number)
        days[period] = (first, last)
    return Numbers(
        build_id,
        data_through,
        totals,
        days,
        [change for change in _changes(compared) if change.now.is_apart_from(change.before)],
        [Fall(who, Number(*rates[:5]), Number(*rates[5:])) for who, *rates in falls],
        None if found is None else [finding for finding in found if not finding.passed],
    )


def _changes(compared: dict[tuple[bool, str | None, str, str | None], dict[str, Number]]) -> Iterator[Change]:
    for (is_all_templates, template, metric, step), by_period in compared.items():
        if NOW in by_period and BEFORE in by_period:
            yield Change(is_all_templates, template, metric, step, by_period[NOW], by_period[BEFORE])
