"""The customers on the page: how each converted in the last 28 mature days and in the 28 before, worst falls first."""

from typing import Any

import duckdb

from pipelines.report.tables import read_table
from pipelines.settings import Settings

FEWEST_SESSIONS = 20
"""A customer with fewer in one of the two periods is not compared."""

MOST = 100
"""How many customers the page holds of each template, and of all templates together."""

SQL = f"""with names as (
    select
        customer_id,
        last(customer_name order by last_seen_at nulls first, template_key)
            filter (customer_name is not null) as customer_name,
        last(plan order by last_seen_at nulls first, template_key) filter (plan is not null) as plan
    from rpt_customers
    group by customer_id
)

select
    latest.customer_id, customer_name, names.plan, latest.is_all_templates, latest.template_key,
    previous.numerator as submitted_before, previous.denominator as sessions_before, previous.value as rate_before,
    previous.low as rate_before_low, previous.high as rate_before_high,
    latest.numerator as submitted, latest.denominator as sessions, latest.value as rate,
    latest.low as rate_low, latest.high as rate_high,
    latest.high < previous.low as fell_beyond_interval
from rpt_metrics as latest
inner join rpt_metrics as previous
    on previous.customer_id = latest.customer_id
    and previous.is_all_templates = latest.is_all_templates
    and previous.template_key is not distinct from latest.template_key
left join names on names.customer_id = latest.customer_id
where latest.metric = 'submitted' and latest.period = 'last_28_days' and not latest.is_all_customers
    and previous.metric = 'submitted' and previous.period = 'previous_28_days' and not previous.is_all_customers
    and latest.denominator >= {FEWEST_SESSIONS} and previous.denominator >= {FEWEST_SESSIONS}"""
"""One row per customer and template, and per customer with all templates together. More conditions can follow it."""

ORDER = "fell_beyond_interval desc, rate - rate_before, customer_id"
"""The worst first: falls that are larger than chance explains, then by how far each rate moved."""


def read_customers(
    connection: duckdb.DuckDBPyConnection, settings: Settings, most: int = MOST
) -> dict[str, Any] | None:
    """The `most` worst customers of each choice of template, with how many there are, and the SQL that gives them all.

    None where no setting names a claim of the customer.
    """
    if settings.embed_analytics_customer_claim is None and settings.embed_analytics_customer_id_claim is None:
        return None
    worst = f"""
        select *, count(*) over choice as customer_count
        from ({SQL})
        window choice as (partition by is_all_templates, template_key)
        qualify row_number() over (partition by is_all_templates, template_key order by {ORDER}) <= {most}
        order by {ORDER}
    """
    held = read_table(connection, worst, "rpt_metrics", "rpt_customers")
    return vars(held) | {"sql": SQL, "order": ORDER, "fewest_sessions": FEWEST_SESSIONS}
