"""What is known of validation errors, and what is not: against rows written by hand, and against the oracle."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.home.layout import Home
from pipelines.settings import Settings
from pipelines.warehouse.build import BuildOptions, build
from tests.proving import examples
from tests.warehouse import error_counts_oracle as oracle
from tests.warehouse.answers import published_rows
from tests.warehouse.lake import START, Lake, at, event

OPTIONS = BuildOptions(Settings.defaults(), "test")
DAY = 60 * 24

Counts = dict[str, dict[str, int]]
# What an event reports: its counts, and whether something could not be read. NULL and True: not an object.
Report = tuple[Counts | None, bool]
NOTHING: Report = (None, False)

TYPES = [
    "file_uploaded",
    "header_selected",
    "columns_mapped",
    "columns_mapped",
    "sheet_operation_performed",
    "sheet_operation_performed",
    "import_submitted",
    "embed_closed",
    "embed_resumed",
    "odd",
]
COUNTS = st.dictionaries(
    st.sampled_from(["item", "price"]),
    st.dictionaries(st.sampled_from(["X", "Y"]), st.sampled_from([0, 1, 7])),
    max_size=2,
)
REPORTS = st.one_of(
    *[st.tuples(COUNTS, st.just(value=False))] * 4,
    st.tuples(COUNTS, st.just(value=True)),
    st.sampled_from([({}, True), (None, True), NOTHING]),
)


@st.composite
def accounts(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The events of some sessions: of an account that counts on columns_mapped alone, or on any event; with events at
    one instant, with and without the API's ids, and some whose time is not plausible."""
    counts_everywhere = draw(st.booleans())
    rows: list[dict[str, Any]] = []
    for embed_id in range(draw(st.integers(1, 16))):
        moment = START
        for event_type in draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=9)):
            moment += timedelta(minutes=draw(st.sampled_from([0, 0, 1, 5, DAY])))
            reports = event_type == "columns_mapped" or (counts_everywhere and draw(st.booleans()))
            counts, is_unread = draw(REPORTS) if reports else NOTHING
            occurred_at = draw(st.sampled_from([*[moment] * 15, datetime(2019, 12, 31)]))
            rows.append(
                event(
                    f"{draw(st.integers(0, 999)):03}-{len(rows)}",
                    embed_id,
                    event_type,
                    occurred_at,
                    counts=counts,
                    has_unreadable_error_counts=is_unread,
                    event_id=draw(st.sampled_from([None, 1, 2, 3])),
                )
            )
    return rows


def chosen(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}


def agree(home: Home, events: list[dict[str, Any]]) -> None:
    """The tables, and the timeline, say what the oracle says of these events."""
    reported = {row["event_uuid"]: oracle.total_of(row) if oracle.is_report(row) else None for row in events}
    timeline = published_rows(home, "from rpt_embed_timeline")
    assert {row["event_uuid"]: row["error_count"] for row in timeline} == reported
    plausible = [row for row in events if oracle.is_plausible(row, None)]
    sessions = {
        embed_id: oracle.session_of(row for row in plausible if row["embed_id"] == embed_id)
        for embed_id in {row["embed_id"] for row in events}
    }
    pairs = {
        (embed_id, *pair): told for embed_id, session in sessions.items() for pair, told in session.pop("pairs").items()
    }
    names = next(iter(sessions.values())).keys()
    assert {row["embed_id"]: chosen(row, names) for row in published_rows(home, "from fct_embeds")} == sessions
    errors = published_rows(home, "from fct_embed_validation_errors")
    told = {(row["embed_id"], row["column_key"], row["error_code"]): row for row in errors}
    assert {key: chosen(row, pairs.get(key, row)) for key, row in told.items()} == pairs
    days = oracle.days_of(plausible)
    daily = {
        (r["event_date"], r["column_key"], r["error_code"]): r
        for r in published_rows(home, "from fct_validation_errors_daily")
    }
    assert {key: chosen(row, days.get(key, row)) for key, row in daily.items()} == days


@pytest.mark.slow
@pytest.mark.prove
@settings(
    max_examples=examples(12),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(events=accounts(), cut=st.floats(0, 1))
def test_the_tables_agree_with_the_oracle(
    new_lake: Callable[[Path], Lake],
    tmp_path_factory: pytest.TempPathFactory,
    events: list[dict[str, Any]],
    cut: float,
) -> None:
    """Brought up to date and built from nothing; a check that finds anything stops the build."""
    lake = new_lake(tmp_path_factory.mktemp("homes") / "home")
    first = events[: round(cut * len(events))] or events[:1]
    lake.write(first)
    build(lake.home, OPTIONS)
    agree(lake.home, first)
    lake.write(events)
    assert not build(lake.home, OPTIONS).is_full
    agree(lake.home, events)
    assert build(lake.home, OPTIONS, full_refresh=True).is_full
    agree(lake.home, events)


@pytest.fixture
def ask(lake: Lake) -> Any:
    """Builds the lake as it is when asked, and returns a query's rows as dictionaries."""

    def answer(query: str) -> list[dict[str, Any]]:
        build(lake.home, OPTIONS)
        return published_rows(lake.home, query)

    return answer


@pytest.mark.slow
def test_first_and_last_errors_of_a_session(lake: Lake, ask: Any) -> None:
    lake.write(
        [
            event(
                "a", 1, "columns_mapped", at(0), counts={"item": {"MISSING": 3, "PICKLIST": 1}}, template_key="entry"
            ),
            event("b", 1, "columns_mapped", at(5), counts={"item": {"MISSING": 9}}),
            event("c", 1, "embed_closed", at(9), counts={"item": {"MISSING": 2}, "sku": {"X": 0}}),
            event("d", 1, "embed_closed", at(11)),
        ]
    )
    rows = ask("from fct_embed_validation_errors order by column_key, error_code")
    shown = [
        (r["column_key"], r["error_code"], r["first_error_count"], r["last_error_count"], r["first_seen_at"],
         r["last_seen_at"], r["is_resolved"], r["template_key"])
        for r in rows
    ]  # fmt: skip
    assert shown == [
        ("item", "MISSING", 3, 2, at(0), at(9), False, "entry"),
        ("item", "PICKLIST", 1, 0, at(0), at(0), True, "entry"),
        ("sku", "X", 0, 0, at(9), at(9), True, "entry"),
    ]
    assert ask("select first_error_count, last_error_count from fct_embeds") == [
        {"first_error_count": 4, "last_error_count": 2}
    ]


def test_an_empty_report_at_last_resolves_everything(lake: Lake, ask: Any) -> None:
    lake.write(
        [
            event("a", 1, "columns_mapped", at(0), counts={"item": {"MISSING": 3}}),
            event("b", 1, "import_submitted", at(5), counts={}),
        ]
    )
    assert ask("select last_error_count, is_resolved from fct_embed_validation_errors") == [
        {"last_error_count": 0, "is_resolved": True}
    ]


def test_validation_errors_of_a_day(lake: Lake, ask: Any) -> None:
    lake.write(
        [
            event("a", 1, "columns_mapped", at(0), counts={"item": {"MISSING": 3}}),
            event("b", 1, "columns_mapped", at(5), counts={"item": {"MISSING": 2}}),
            event("c", 2, "columns_mapped", at(6), counts={"item": {"MISSING": 10}}),
            event("d", 2, "import_submitted", at(7), counts={}),
            event("e", 1, "columns_mapped", at(DAY), counts={"item": {"MISSING": 1}}),
        ]
    )
    rows = ask("from fct_validation_errors_daily order by event_date")
    assert [
        (r["event_date"], r["embed_count"], r["event_count"], r["error_count"], r["latest_error_count"]) for r in rows
    ] == [(date(2026, 3, 2), 2, 3, 15, 2), (date(2026, 3, 3), 1, 1, 1, 1)]


MAPPED = event("a", 1, "columns_mapped", at(0), counts={"item": {"X": 3, "Y": 0}})

LATER: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    # What happened after a mapping with errors: the session's columns, and is_resolved of X and Y.
    "nothing": ([], {"left": 3, "operations": 0, "is_recounted": True, "resolved": [False, True]}),
    "closed": (
        [event("b", 1, "embed_closed", at(1))],
        {"left": 3, "operations": 0, "is_recounted": True, "resolved": [False, True]},
    ),
    "an operation": (
        [event("b", 1, "sheet_operation_performed", at(1)), event("c", 1, "import_submitted", at(2))],
        {"left": 3, "operations": 1, "is_recounted": False, "resolved": [None, None]},
    ),
    "another file": (
        [event("b", 1, "file_uploaded", at(1))],
        {"left": 3, "operations": 0, "is_recounted": False, "resolved": [None, None]},
    ),
    "a header": (
        [event("b", 1, "header_selected", at(1))],
        {"left": 3, "operations": 0, "is_recounted": False, "resolved": [None, None]},
    ),
    "a mapping without counts": (
        [event("b", 1, "columns_mapped", at(1))],
        {"left": 3, "operations": 0, "is_recounted": False, "resolved": [None, None]},
    ),
    "an operation and a count": (
        [event("b", 1, "sheet_operation_performed", at(1)), event("c", 1, "import_submitted", at(2), counts={})],
        {"left": 0, "operations": 0, "is_recounted": True, "resolved": [True, True]},
    ),
    "a count of which some cannot be read": (
        [event("b", 1, "embed_closed", at(1), counts={"item": {"X": 2}}, has_unreadable_error_counts=True)],
        {"left": None, "operations": 0, "is_recounted": True, "resolved": [False, None]},
    ),
    "a count that is not an object": (
        [event("b", 1, "embed_closed", at(1), has_unreadable_error_counts=True)],
        {"left": None, "operations": 0, "is_recounted": True, "resolved": [None, None]},
    ),
}


def test_a_count_holds_until_the_sheet_changes(lake: Lake, ask: Any) -> None:
    lake.write(
        {**row, "embed_id": embed_id, "event_uuid": f"{embed_id}-{row['event_uuid']}"}
        for embed_id, (events, _) in enumerate(LATER.values())
        for row in [MAPPED, *events]
    )
    rows = ask(
        "select embed_id, embeds.last_error_count as left, embeds.operations_after_count as operations, "
        "embeds.is_recounted, array_agg(is_resolved order by error_code) as resolved "
        "from fct_embeds as embeds join fct_embed_validation_errors using (embed_id) group by all order by embed_id"
    )
    found = {name: {**row, "embed_id": None} for name, row in zip(LATER, rows, strict=True)}
    assert found == {name: {"embed_id": None, **told} for name, (_, told) in LATER.items()}


def test_counts_that_cannot_be_read_are_not_zero(lake: Lake, ask: Any) -> None:
    lake.write(
        [
            event("a", 1, "columns_mapped", at(0), counts={}, has_unreadable_error_counts=True),
            event("b", 2, "columns_mapped", at(0), counts={}),
            event("c", 3, "columns_mapped", at(0)),
        ]
    )
    assert ask("select first_error_count, last_error_count, last_counted_at from fct_embeds order by embed_id") == [
        {"first_error_count": None, "last_error_count": None, "last_counted_at": at(0)},
        {"first_error_count": 0, "last_error_count": 0, "last_counted_at": at(0)},
        {"first_error_count": None, "last_error_count": None, "last_counted_at": None},
    ]


def test_a_day_s_count_that_cannot_be_read_is_not_zero(lake: Lake, ask: Any) -> None:
    lake.write(
        [
            event("a", 1, "columns_mapped", at(0), counts={"item": {"X": 3}}, has_unreadable_error_counts=True),
            event("b", 1, "columns_mapped", at(DAY), counts={"item": {"X": 2}}),
            event("c", 1, "embed_closed", at(DAY + 1), counts={"item": {"X": 1}}, has_unreadable_error_counts=True),
        ]
    )
    names = "error_count, latest_error_count, unread_embed_count"
    assert ask(f"select {names} from fct_validation_errors_daily order by event_date") == [
        {"error_count": 3, "latest_error_count": None, "unread_embed_count": 1},
        {"error_count": 3, "latest_error_count": 2, "unread_embed_count": 0},
    ]
