"""`make demo`: a simulated account, backfilled through HTTP and Dagster, and what the warehouse says about it."""

import csv
import io
import os
import shutil
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from pipelines.errors import ConfigurationError
from pipelines.home.files import write_text
from pipelines.home.layout import Home
from pipelines.home.ownership import open_home
from pipelines.home.permissions import write_as_home
from pipelines.orchestration.jobs import partition_range, run_config
from pipelines.orchestration.progress import terminal_progress
from pipelines.orchestration.run_summary import RunSummary, summary_lines
from pipelines.report.annotations import COLUMNS as ANNOTATION_COLUMNS
from pipelines.settings import Settings
from pipelines.terminal.answers import print_table
from pipelines.terminal.demo_account import MARKER, DemoAccount, RunningAccount, remembered, running
from pipelines.terminal.dev import run_dagster_dev
from pipelines.terminal.runs import run_job
from pipelines.warehouse.published import connect_published

FUNNEL = """
with together as (
    from rpt_metrics where is_all_environments and is_all_templates and is_all_plans and is_all_customers
),
steps as (select distinct step_number, step from together where step is not null),
recent as (from together where period = 'last_28_days')
select steps.step_number as "#", steps.step, coalesce(max(numerator) filter (metric = 'reached'), 0) as embeds,
    round(100 * max(value) filter (metric = 'reached'), 1) as "% of entered",
    max(format('{:.1f} to {:.1f}', 100 * low, 100 * high)) filter (metric = 'reached') as "95 % interval",
    coalesce(max(numerator) filter (metric = 'skipped'), 0) as skipped,
    coalesce(max(numerator) filter (metric = 'in_order'), 0) as "in order"
from steps left join recent using (step) group by 1, 2 order by 1
"""

IMMATURE = """
select coalesce(max(numerator), 0) from rpt_metrics
where metric = 'sessions' and period = 'since' and is_all_environments and is_all_templates and is_all_plans
"""

WORST_COLUMNS = """
select template_key as template, column_key as "column", error_code as error, count(*) as embeds,
    sum(first_error_count)::bigint as "cells at first mapping",
    sum(last_error_count)::bigint as "cells at last mapping",
    count(*) filter (is_resolved is null) as "changed since", count(*) filter (not is_resolved) as "not resolved",
    count(*) filter (is_resolved) as resolved
from fct_embed_validation_errors group by all order by "cells at last mapping" desc, embeds desc limit 10
"""

OPERATIONS = """
select coalesce(operation, '(not said)') as operation, sum(operation_count)::bigint as operations,
    coalesce(sum(operation_count) filter (trigger_type = 'user'), 0)::bigint as "by hand",
    coalesce(sum(operation_count) filter (trigger_type = 'automation'), 0)::bigint as "by automation"
from fct_sheet_operations_daily group by all order by operations desc
"""

QUERIES = [
    "select outcome, count(*) as embeds, median(seconds_to_submit) as median_seconds from fct_embeds group by all",
    "select template_key, step, sum(reached_count) as n from fct_embed_funnel_daily where is_mature group by all "
    "order by 1, 3 desc",
    "select date_trunc('week', event_date)::date as week, column_key, error_code, sum(embed_count) as embeds "
    "from fct_validation_errors_daily where template_key = 'employees' group by all order by 2, 3, 1",
    "select * from rpt_stuck_embeds order by priority limit 10",
    "select customer_id, max(value) filter (period = 'previous_28_days') as rate_before, "
    "max(value) filter (period = 'last_28_days') as rate from rpt_metrics where metric = 'submitted' and not "
    "is_all_customers and is_all_templates group by all having max(high) filter (period = 'last_28_days') < max(low) "
    "filter (period = 'previous_28_days')",
]


def run_demo(root: Path, embeds: int, days: int) -> None:
    """Build the demo's home at `root` from nothing, and show it. Settings in the environment are ignored."""
    # Let the terminal wrap long lines, so that a URL, a path or a command is copied whole.
    console = Console(soft_wrap=True)
    started = time.monotonic()
    _make_anew(root)
    with running(DemoAccount(embeds, days, int(time.time()))) as running_account:
        running_account.remember(root)
        account = running_account.account
        console.print(
            f"[bold]1.[/] An account of {embeds} embed sessions over {days} days is simulated at {running_account.url}."
        )
        settings = _settings(running_account, root)
        _show_incidents(console, running_account, settings.home)
        console.print(
            "[bold]2.[/] Dagster backfills it through HTTP, flattens it, and builds and checks the warehouse."
        )
        with terminal_progress():
            summary = run_job(
                settings, "backfill", run_config("backfill"), partition_range(account.first_date, account.last_date)
            )
    for line in summary_lines(summary, settings.home):
        console.print(f"   {escape(line)}", highlight=False)
    console.print(f"[bold]3.[/] Published after {time.monotonic() - started:.0f} s. What it says:\n")
    _show_answers(console, settings.home)
    _show_page(console, settings.home, summary)
    _say_how_to_go_on(console, root)


def run_demo_dev(root: Path, host: str, port: int) -> None:
    """`dev --demo`: Dagster's UI on the demo's home, while its account goes on. Other settings are ignored.

    Raises as `run_dagster_dev`, and ConfigurationError where `root` is not a demo's home.
    """
    root = root.absolute()
    account, api_port = remembered(root)
    with running(account, api_port) as running_account:
        running_account.set_clock(time.time())
        for name in [name for name in os.environ if name.lower() in Settings.model_fields]:
            del os.environ[name]
        os.environ.update(running_account.settings(root))
        # A `.env` is not the demo's.
        os.chdir(root)
        run_dagster_dev(host, port)


def _settings(account: RunningAccount, root: Path) -> Settings:
    return Settings.defaults(**{name.lower(): value for name, value in account.settings(root).items()})


def _show_incidents(console: Console, account: RunningAccount, home: Home) -> None:
    """Say what happened to the account, and mark the release on the page."""
    write_as_home(home)
    marks = io.StringIO(newline="")
    writer = csv.writer(marks)
    writer.writerow(ANNOTATION_COLUMNS)
    for incident in account.incidents():
        console.print(f"   Since {incident['date']}: {escape(incident['text'])}.", highlight=False)
        if incident["template"] is not None:
            writer.writerow(incident[column] for column in ANNOTATION_COLUMNS)
    write_text(marks.getvalue(), home.annotations)


def _show_answers(console: Console, home: Home) -> None:
    with connect_published(home) as connection:
        for title, sql in (
            ("The funnel of the last 28 mature days: where customers drop out", FUNNEL),
            ("The worst columns: which errors sheets have at mapping, where the vendor counts them", WORST_COLUMNS),
            ("The operations: what customers do by hand to repair their data", OPERATIONS),
        ):
            print_table(connection.execute(sql), title=title)
            if sql is FUNNEL:
                (young,) = connection.execute(IMMATURE).fetchone() or (0,)
                console.print(f"{young} embeds are left out: they began too late to have had their time to convert.")
            console.print()


def _show_page(console: Console, home: Home, summary: RunSummary) -> None:
    # An install without the extra has everything else.
    page = (
        f"The page, to open in a browser: {home.report.absolute().as_uri()}" if home.report.exists() else summary.page
    )
    console.print(f"[bold]4.[/] {escape(page or '')}\n", highlight=False)


def _say_how_to_go_on(console: Console, root: Path) -> None:
    program = escape(_program())
    command = f"EMBED_ANALYTICS_HOME={escape(str(root))} {program}"
    console.print(f"The warehouse is {Home(root.absolute()).warehouse}; any DuckDB client opens it. Worth trying:\n")
    for sql in QUERIES:
        console.print(f'  {command} query "{sql}"', highlight=False)
    console.print(
        "\nNext: open Dagster on this home, where the account goes on and is refreshed every hour:\n\n"
        f"  {program} dev --demo {escape(str(root))}\n\n"
        f"Or put ONESCHEMA_API_KEY=... into .env and run [bold]{program} refresh[/].",
        highlight=False,
    )


def _program() -> str:
    """The command that called this program, for copying into a terminal."""
    called = Path(sys.argv[0])
    return f"{sys.executable} -m pipelines" if called.name == "__main__.py" else str(called)


def _make_anew(root: Path) -> None:
    if root.exists():
        if not (root / MARKER).exists():
            raise ConfigurationError(f"--home {root} exists and is not a demo's home: name another, or remove it.")
        shutil.rmtree(root)
    open_home(Home(root.absolute()))
    (root / MARKER).touch()
