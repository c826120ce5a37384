"""The demo's run over HTTP and through Dagster: the warehouse says what the simulator knows to have happened."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest

from pipelines.home.times import EPOCH
from pipelines.orchestration.jobs import partition_range, run_config
from pipelines.settings import Settings
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator
from pipelines.terminal.runs import run_job
from pipelines.warehouse.published import connect_published
from tests.poll.sweeping import settings_for
from tests.warehouse import error_counts_oracle as oracle
from tests.warehouse.funnel_oracle import Event, seconds_of_steps

DAYS = 30

# The vendor's, in the order in which a session passes them; not the code's own list of them.
STEPS = ["embed_initialized", "file_uploaded", "header_selected", "columns_mapped", "import_submitted"]

Truth = list[dict[str, Any]]


# The kinds of account that the vendor's documentation leaves open.
ACCOUNTS = {
    "counts at mapping": SimulatorOptions(embeds=800, days=DAYS),
    "counts everywhere": SimulatorOptions(embeds=800, days=DAYS, error_counts="everywhere"),
    "panes skipped": SimulatorOptions(embeds=800, days=DAYS, panes="skipped"),
}


# The vendor's pages spell it in two ways.
PENDING = ("import_pending", "import-pending")


@pytest.fixture(
    scope="module",
    params=["panes skipped", *(pytest.param(name, marks=pytest.mark.slow) for name in list(ACCOUNTS)[:-1])],
)
def published(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[duckdb.DuckDBPyConnection, Truth, Truth]]:
    """Published through Dagster: a blocking check that found anything would have failed the run."""
    home = tmp_path_factory.mktemp("truth") / "home"
    with running_simulator(ACCOUNTS[request.param]) as simulator:
        settings = settings_for(simulator, home)
        last = datetime.fromtimestamp(simulator.simulation.clock.now(), UTC).date()
        run_job(settings, "backfill", run_config("backfill"), partition_range(last - timedelta(days=DAYS), last))
        truth, embeds = simulator.truth(), simulator.truth_embeds()
    connection = connect_published(settings.home)
    yield connection, truth, embeds
    connection.close()


Published = tuple[duckdb.DuckDBPyConnection, Truth, Truth]


def answers(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[Any, Any]:
    """The rows as {all columns but the last: the last}."""
    return {row[0] if len(row) == 2 else row[:-1]: row[-1] for row in connection.execute(sql).fetchall()}


def counts_of(event: dict[str, Any]) -> dict[str, dict[str, int]]:
    data: dict[str, Any] = event["data"] or {}
    return data.get("validation_error_counts") or {}


def test_events_by_type(published: Published) -> None:
    connection, truth, _ = published
    expected = Counter(event["event_type"] for event in truth)
    assert len(expected) > 8, "the world has unknown types, too"
    assert answers(connection, "select event_type, count(*) from stg_embed_events group by all") == expected


def test_distinct_embeds(published: Published) -> None:
    connection, truth, _ = published
    embeds = {event["embed_id"] for event in truth}
    assert answers(connection, "select 'embeds', count(distinct embed_id) from stg_embed_events") == {
        "embeds": len(embeds)
    }
    assert answers(connection, "select 'rows', count(*) from fct_embeds") == {"rows": len(embeds)}


def test_the_funnel_of_each_template(published: Published) -> None:
    connection, truth, _ = published
    steps: defaultdict[int, set[int]] = defaultdict(set)
    templates: dict[int, str] = {}
    for event in truth:
        templates[event["embed_id"]] = event["template_key"]
        if event["event_type"] in STEPS:
            steps[event["embed_id"]].add(STEPS.index(event["event_type"]) + 1)
    expected: Counter[tuple[str, int]] = Counter()
    for embed_id, template in templates.items():
        for step in range(1, len(STEPS) + 1):
            expected[template, step] += step == 1 or max(steps[embed_id], default=0) >= step
    sql = "select template_key, step_number, sum(reached_count) from fct_embed_funnel_daily group by all"
    assert answers(connection, sql) == expected


def test_what_was_delivered_is_what_the_list_said(published: Published) -> None:
    connection, _, embeds = published
    words = {"imported": "imported", "import_failed": "failed", **dict.fromkeys(PENDING, "pending")}
    expected = {row["embed_id"]: words.get(row["status"]) for row in embeds}
    assert {*expected.values()} == {None, "imported", "failed", "pending"}
    assert answers(connection, "select embed_id, delivery from fct_embeds") == expected
    by_template = Counter(row["template_key"] for row in embeds if row["status"] == "imported")
    sql = "select template_key, sum(delivered_count) from fct_embed_funnel_daily where step_number = 5 group by all"
    assert answers(connection, sql) == by_template


def test_the_steps_of_each_session(published: Published) -> None:
    connection, truth, embeds = published
    silent = {embed["embed_id"]: embed["silent_steps"] for embed in embeds}
    events: defaultdict[int, list[Event]] = defaultdict(list)
    for event in truth:
        at = EPOCH + timedelta(microseconds=round(event["created_at"] * 1_000_000))
        events[event["embed_id"]].append(
            Event("", None, at, event["id"], event["uuid"], event["event_type"], operation=None)
        )
    window = Settings.defaults().embed_analytics_funnel_window_days * 86_400
    expected: dict[int, tuple[list[str], int]] = {}
    for embed_id, mine in events.items():
        furthest = max((STEPS.index(event.event_type) for event in mine if event.event_type in STEPS), default=0)
        # A pane that was skipped before the customer left is not known to have been passed.
        skipped = [step for step in STEPS[:furthest] if step in silent[embed_id]]
        in_order = seconds_of_steps(mine, STEPS, window, "ordered", ["header_selected", "columns_mapped"])
        expected[embed_id] = (skipped, len(in_order))
    rows = connection.execute("select embed_id, skipped_steps, in_order_step_count from fct_embeds").fetchall()
    assert {embed_id: (skipped, in_order) for embed_id, skipped, in_order in rows} == expected
    assert any(skipped for skipped, _ in expected.values()) == any(silent.values())


def test_error_counts_by_column_and_code(published: Published) -> None:
    connection, truth, _ = published
    expected: Counter[tuple[str, str]] = Counter()
    for event in truth:
        for column, codes in counts_of(event).items():
            for code, count in codes.items():
                expected[column, code] += count
    for table in ("stg_validation_errors", "fct_validation_errors_daily"):
        sql = f"select column_key, error_code, sum(error_count) from {table} group by all"
        assert answers(connection, sql) == expected


def test_what_is_known_of_each_session_s_errors(published: Published) -> None:
    connection, truth, _ = published
    sessions: defaultdict[int, Truth] = defaultdict(list)
    for event in truth:
        data: dict[str, Any] = event["data"] or {}
        counts = data.get("validation_error_counts")
        sessions[event["embed_id"]].append(
            event
            | {
                "event_uuid": event["uuid"],
                "event_id": event["id"],
                "occurred_at": event["created_at"],
                "has_error_counts": counts is not None,
                "has_unreadable_error_counts": False,
                "counts": counts or {},
            }
        )
    expected = {embed_id: oracle.session_of(session) for embed_id, session in sessions.items()}
    resolved = {
        (embed_id, *pair): told["is_resolved"]
        for embed_id, session in expected.items()
        for pair, told in session["pairs"].items()
    }
    assert set(resolved.values()) == {True, False, None}
    sql = "select embed_id, column_key, error_code, is_resolved from fct_embed_validation_errors"
    assert answers(connection, sql) == resolved
    names = ("last_error_count", "last_counted_event_type", "operations_after_count", "is_recounted")
    sql = f"select embed_id, struct_pack({', '.join(names)}) from fct_embeds"
    assert answers(connection, sql) == {
        embed_id: {name: session[name] for name in names} for embed_id, session in expected.items()
    }


def test_operations_by_type(published: Published) -> None:
    connection, truth, _ = published
    datas: list[dict[str, Any]] = [
        event["data"] or {} for event in truth if event["event_type"] == "sheet_operation_performed"
    ]
    expected = Counter(data.get("operation") for data in datas)
    assert None in expected, "the world has operations without data, too"
    sql = "select operation, sum(operation_count) from fct_sheet_operations_daily group by all"
    assert answers(connection, sql) == expected


def test_every_moment_to_the_microsecond(published: Published) -> None:
    connection, truth, _ = published
    expected = {event["uuid"]: round(event["created_at"] * 1_000_000) for event in truth}
    assert answers(connection, "select event_uuid, epoch_us(occurred_at) from stg_embed_events") == expected
