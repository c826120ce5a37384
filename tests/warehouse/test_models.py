"""Each model against given rows and the rows that are expected of it, written by hand."""

import json
from collections import Counter
from datetime import date, timedelta
from random import Random
from typing import Any

import pytest

from pipelines.flatten.lake_tables import LAKE_EMBED_EVENTS, LAKE_VALIDATION_ERRORS
from pipelines.home.layout import Home
from pipelines.oneschema.vocabulary import EVENT_TYPES, FUNNEL_STEPS
from pipelines.settings import Settings
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.lineage import column_lineage
from pipelines.warehouse.model import Model
from pipelines.warehouse.models import load_models
from pipelines.warehouse.published import connect_published
from pipelines.warehouse.sql_errors import ModelError
from tests.warehouse.answers import rows_of
from tests.warehouse.lake import Lake, at, event

OPTIONS = BuildOptions(
    Settings.defaults(embed_analytics_idle_after_hours=24, embed_analytics_funnel_window_days=7), "test"
)
DAY = 60 * 24


@pytest.fixture
def ask(lake: Lake) -> Any:
    """Builds the lake as it is when asked, and returns a query's rows as dictionaries."""

    def answer(query: str) -> list[dict[str, Any]]:
        build(lake.home, OPTIONS)
        with connect_published(lake.home) as connection:
            return rows_of(connection.execute(query))

    return answer


def full_session(embed_id: int, start: float, **fields: Any) -> list[dict[str, Any]]:
    """A session that does everything once: minutes 0, 1, 2, 4, 8, 16 and 32."""
    name = f"s{embed_id}"
    return [
        event(f"{name}-1", embed_id, "embed_initialized", at(start), **fields),
        event(f"{name}-2", embed_id, "file_uploaded", at(start + 1), **fields),
        event(f"{name}-3", embed_id, "header_selected", at(start + 2), **fields),
        event(f"{name}-4", embed_id, "columns_mapped", at(start + 4), counts={"item": {"MISSING": 3}}, **fields),
        event(f"{name}-5", embed_id, "sheet_operation_performed", at(start + 8), operation="sum", **fields),
        event(f"{name}-6", embed_id, "import_submitted", at(start + 16), import_type="webhook", counts={}, **fields),
        event(f"{name}-7", embed_id, "embed_closed", at(start + 32), **fields),
    ]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A published warehouse of a home without any file."""
    home = Home(tmp_path_factory.mktemp("empty"))
    report = build(home, OPTIONS)
    assert report.data_through is None
    return home


@pytest.mark.parametrize("model", load_models(), ids=lambda model: model.name)
def test_an_empty_home_gives_every_table_with_its_columns(empty: Home, model: Model) -> None:
    with connect_published(empty) as connection:
        table = connection.execute(f"select * from {model.name}")
        names = [column[0] for column in table.description or []]
        rows = table.fetchall()
        types = dict(connection.execute(f"select column_name, column_type from (describe {model.name})").fetchall())
        comments = connection.execute(
            "select column_name, comment from duckdb_columns() where table_name = $1", [model.name]
        ).fetchall()
    assert [name for name in names if not name.startswith("claim_")] == list(model.columns)
    assert ("claim_user_id" in names) == model.has_claim_columns
    # What rpt_metrics says of now is there in any case.
    of_now = {"rpt_metrics_recent": 12, "rpt_metrics": 13}
    expected_rows = {"meta_build": 1, "meta_event_types": len(EVENT_TYPES), **of_now}
    assert len(rows) == expected_rows.get(model.name, 0)
    assert '"NULL"' not in types.values()
    assert "INTEGER" not in {kind for name, kind in types.items() if name.endswith("_count")}
    assert {kind for name, kind in types.items() if name.endswith("_at")} <= {"TIMESTAMP"}
    assert {kind for name, kind in types.items() if name.endswith("_seconds")} <= {"DOUBLE"}
    assert {kind for name, kind in types.items() if name.startswith("is_")} <= {"BOOLEAN"}
    assert all(comment for _, comment in comments)


@pytest.mark.slow
def test_column_types_do_not_depend_on_the_rows(lake: Lake, ask: Any) -> None:
    query = """
        select table_name, column_name, data_type from duckdb_columns()
        where database_name = 'warehouse' and schema_name = 'main' order by all
    """
    empty = ask(query)
    lake.write(full_session(1, 0, claims={"user_id": "u"}))
    lake.sweep(at(100))
    lake.embeds([{"embed_id": 1, "status": "imported", "imported_row_count": 3}])
    assert ask(query) == empty


def test_staging_shows_the_lakes_columns(lake: Lake, ask: Any) -> None:
    lake.write([event("a", 1, "unheard_of", at(0), claims={"user_id": "u", "org": "x"}, extra='{"new": 1}')])
    (row,) = ask("select * from stg_embed_events")
    assert list(row) == [*LAKE_EMBED_EVENTS.names, "lake_partition", "claim_org", "claim_user_id"]
    assert (row["event_type"], row["extra"], row["claim_org"], row["lake_partition"]) == (
        "unheard_of", '{"new": 1}', "x", "2026-03-02",
    )  # fmt: skip


def test_staged_validation_errors(lake: Lake, ask: Any) -> None:
    lake.write([event("a", 1, "embed_closed", at(0), counts={"item": {"A": 1, "B": 2}})])
    rows = ask("select * from stg_validation_errors order by error_code")
    assert list(rows[0]) == [*LAKE_VALIDATION_ERRORS.names, "lake_partition"]
    assert [(row["column_key"], row["error_code"], row["error_count"]) for row in rows] == [
        ("item", "A", 1),
        ("item", "B", 2),
    ]


@pytest.mark.slow
def test_an_embed_is_what_the_api_said_last(lake: Lake, ask: Any) -> None:
    lake.embeds([{"embed_id": 1, "status": "uploaded", "fetched_at": at(5)}])
    lake.embeds([{"embed_id": 1, "status": "initialized", "fetched_at": at(1)}])
    lake.embeds([{"embed_id": 2, "status": "imported", "imported_row_count": 7}])
    assert ask("select embed_id, status, imported_row_count from stg_embeds order by embed_id") == [
        {"embed_id": 1, "status": "uploaded", "imported_row_count": None},
        {"embed_id": 2, "status": "imported", "imported_row_count": 7},
    ]
    assert ask("select * from fct_embeds") == []


def test_a_whole_session(lake: Lake, ask: Any) -> None:
    lake.write(full_session(1, 0, claims={"user_id": "u1"}))
    lake.sweep(at(60))
    lake.embeds([{"embed_id": 1, "status": "imported", "imported_row_count": 7}])
    assert ask("select * from fct_embeds") == [
        {
            "embed_id": 1,
            "environment_name": "Production",
            "template_key": "products",
            "status": "imported",
            "imported_row_count": 7,
            "user_id": "u1",
            "customer_id": None,
            "customer_name": None,
            "plan": None,
            "entry_at": at(0),
            "entry_date": at(0).date(),
            "entry_trigger_type": "user",
            "is_entry_observed": True,
            "initialized_at": at(0),
            "file_uploaded_at": at(1),
            "header_selected_at": at(2),
            "columns_mapped_at": at(4),
            "first_operation_at": at(8),
            "import_submitted_at": at(16),
            "delivery": None,
            "delivery_at": None,
            "last_event_at": at(32),
            "last_event_type": "embed_closed",
            "event_count": 7,
            "upload_count": 1,
            "mapping_count": 1,
            "operation_count": 1,
            "resumed_count": 0,
            "closed_count": 1,
            "import_type": "webhook",
            "furthest_step": "import_submitted",
            "skipped_steps": [],
            "outcome": "submitted",
            "seconds_to_upload": 60.0,
            "seconds_to_header": 120.0,
            "seconds_to_mapping": 240.0,
            "seconds_to_submit": 960.0,
            "in_order_step_count": 5,
            "first_error_count": 3,
            "last_error_count": 0,
            "last_counted_at": at(16),
            "last_counted_event_type": "import_submitted",
            "operations_after_count": 0,
            "is_recounted": True,
            "claims": '{"user_id": "u1"}',
            "claim_user_id": "u1",
        }
    ]


def test_a_session_whose_start_was_not_seen(lake: Lake, ask: Any) -> None:
    lake.write(
        [
            event("a", 1, "columns_mapped", at(3), trigger_type="api", template_key=None),
            event("b", 1, "file_uploaded", at(9), template_key="people"),
        ]
    )
    (row,) = ask("from fct_embeds")
    assert (row["is_entry_observed"], row["entry_at"], row["entry_trigger_type"], row["template_key"]) == (
        False, at(3), "api", None,
    )  # fmt: skip
    assert (row["furthest_step"], row["in_order_step_count"], row["seconds_to_upload"]) == ("columns_mapped", 0, 360.0)
    assert (row["first_error_count"], row["last_error_count"], row["seconds_to_submit"]) == (None, None, None)


# The events of a session, and its furthest step, its skipped steps and the steps of its chain.
SKIPS = [
    ("embed_initialized file_uploaded import_submitted", "import_submitted", "header_selected columns_mapped", 5),
    ("embed_initialized file_uploaded columns_mapped import_submitted", "import_submitted", "header_selected", 5),
    ("embed_initialized file_uploaded columns_mapped", "columns_mapped", "header_selected", 4),
    ("embed_initialized file_uploaded embed_closed", "file_uploaded", "", 2),
    # Seen, though too early: performed, and skipped by the chain alone.
    ("header_selected embed_initialized file_uploaded import_submitted", "import_submitted", "columns_mapped", 5),
    # A required step is skipped, but by no chain.
    ("embed_initialized header_selected import_submitted", "import_submitted", "file_uploaded columns_mapped", 1),
    ("file_uploaded import_submitted", "import_submitted", "embed_initialized header_selected columns_mapped", 0),
    ("embed_resumed sheet_operation_performed", "embed_initialized", "", 0),
]


@pytest.mark.slow
def test_a_skipped_step_is_not_a_dropped_session(lake: Lake, ask: Any) -> None:
    lake.write(
        event(f"{embed_id}-{n}", embed_id, event_type, at(n))
        for embed_id, (types, *_) in enumerate(SKIPS)
        for n, event_type in enumerate(types.split())
    )
    assert ask("select furthest_step, skipped_steps, in_order_step_count from fct_embeds order by embed_id") == [
        {"furthest_step": furthest, "skipped_steps": skipped.split(), "in_order_step_count": in_order}
        for _, furthest, skipped, in_order in SKIPS
    ]
    chains = ask(
        "select breakdown, step from funnel(by := 'embed_id', include_immature := true) where reached_count = 1"
    )
    assert Counter(int(row["breakdown"]) for row in chains) == {
        embed_id: in_order for embed_id, (*_, in_order) in enumerate(SKIPS) if in_order
    }


def test_the_entry_is_the_first_initialisation_and_seconds_count_from_it(lake: Lake, ask: Any) -> None:
    lake.write(
        [
            event("a", 1, "file_uploaded", at(0), template_key="early"),
            event("b", 1, "embed_initialized", at(10), template_key="entry"),
            event("c", 1, "embed_initialized", at(20), template_key="again"),
            event("d", 1, "file_uploaded", at(25)),
        ]
    )
    (row,) = ask("from fct_embeds")
    assert (row["entry_at"], row["template_key"], row["file_uploaded_at"]) == (at(10), "entry", at(0))
    assert (row["seconds_to_upload"], row["in_order_step_count"]) == (900.0, 2)


@pytest.mark.slow
def test_events_of_one_moment_are_ordered_by_id_and_uuid(lake: Lake, ask: Any) -> None:
    lake.write(
        [
            event("b", 1, "embed_closed", at(0), event_id=None),
            event("a", 1, "embed_resumed", at(0), event_id=None),
            event("z", 1, "file_uploaded", at(0), event_id=7),
        ]
    )
    assert [row["event_uuid"] for row in ask("from rpt_embed_timeline order by event_number")] == ["z", "a", "b"]
    assert ask("select last_event_type from fct_embeds") == [{"last_event_type": "embed_closed"}]


def test_claims_are_those_of_the_latest_event_that_has_any(lake: Lake, ask: Any) -> None:
    lake.write(
        [
            event("a", 1, "embed_initialized", at(0), claims={"user_id": "old", "org": "x"}),
            event("b", 1, "file_uploaded", at(1), claims={"user_id": "new"}),
            event("c", 1, "embed_closed", at(2)),
        ]
    )
    assert ask("select user_id, claim_user_id, claim_org from fct_embeds") == [
        {"user_id": "new", "claim_user_id": "new", "claim_org": None}
    ]


@pytest.mark.parametrize(
    ("last_event", "minutes", "outcome"),
    [
        ("file_uploaded", DAY, "open"),
        ("file_uploaded", DAY + 1, "silent"),
        ("embed_closed", DAY, "open"),
        ("embed_closed", DAY + 1, "closed"),
        ("import_submitted", DAY + 1, "submitted"),
        ("import_submitted", 0, "submitted"),
    ],
)
def test_outcomes(lake: Lake, ask: Any, last_event: str, minutes: int, outcome: str) -> None:
    lake.write([event("a", 1, "embed_initialized", at(-5)), event("b", 1, last_event, at(0))])
    lake.sweep(at(minutes))
    assert ask("select outcome from fct_embeds") == [{"outcome": outcome}]


def test_without_a_complete_sweep_nobody_can_say_that_time_has_passed(lake: Lake, ask: Any) -> None:
    lake.write([event("a", 1, "embed_closed", at(0))])
    lake.sweep(at(DAY * 9), is_complete=False)
    assert ask("select outcome, data_through from fct_embeds cross join meta_build") == [
        {"outcome": "open", "data_through": None}
    ]


def test_the_funnel_of_a_cohort(lake: Lake, ask: Any) -> None:
    lake.write(
        [
            *full_session(1, 0),
            event("b1", 2, "embed_initialized", at(10)),
            event("b2", 2, "columns_mapped", at(20)),
            event("b3", 2, "file_uploaded", at(30)),
            event("c1", 3, "embed_resumed", at(40)),
        ]
    )
    lake.sweep(at(60))
    rows = ask("from fct_embed_funnel_daily order by step_number")
    assert [row["step"] for row in rows] == [step.step for step in FUNNEL_STEPS]
    assert [row["entered_count"] for row in rows] == [3] * 5
    assert [row["reached_count"] for row in rows] == [3, 2, 2, 2, 1]
    assert [row["performed_count"] for row in rows] == [2, 2, 1, 2, 1]
    assert [row["skipped_count"] for row in rows] == [0, 0, 1, 0, 0]
    assert [row["in_order_count"] for row in rows] == [2, 2, 1, 1, 1]
    assert [row["open_count"] for row in rows] == [0, 1, 1, 1, 2]
    assert [row["conversion_rate"] for row in rows] == [1.0, 2 / 3, 2 / 3, 2 / 3, 1 / 3]
    assert [row["step_conversion_rate"] for row in rows] == [None, 2 / 3, 1.0, 1.0, 0.5]
    assert [row["median_seconds_from_entry"] for row in rows] == [0.0, 630.0, 120.0, 420.0, 960.0]
    assert rows[1]["p90_seconds_from_entry"] == pytest.approx(60 + 0.9 * 1140)
    assert not any(row["is_mature"] for row in rows)


def test_a_cohort_has_a_row_for_each_of_its_keys_and_nulls_are_keys(lake: Lake, ask: Any) -> None:
    lake.write(
        [
            event("a", 1, "embed_initialized", at(0), template_key=None, environment_name=None, trigger_type=None),
            event("b", 2, "embed_initialized", at(0), template_key=None, environment_name=None, trigger_type=None),
            event("c", 3, "embed_initialized", at(0), trigger_type="api"),
        ]
    )
    rows = ask("from fct_embed_funnel_daily where step_number = 1 order by template_key")
    assert [(row["template_key"], row["entry_trigger_type"], row["entered_count"]) for row in rows] == [
        ("products", "api", 1),
        (None, None, 2),
    ]


@pytest.mark.slow
def test_a_cohort_matures_when_its_last_session_has_had_its_window(lake: Lake, ask: Any) -> None:
    lake.write([event("a", 1, "embed_initialized", at(0))])
    midnight = at(0).replace(hour=0) + timedelta(days=8)
    for moment, is_mature in ((midnight - timedelta(microseconds=1), False), (midnight, True)):
        lake.sweep(moment)
        assert ask("select distinct is_mature, open_count from fct_embed_funnel_daily where step_number = 2") == [
            {"is_mature": is_mature, "open_count": 0}
        ]


def test_sheet_operations_of_a_day(lake: Lake, ask: Any) -> None:
    def operation(uuid: str, embed_id: int, name: str | None, **fields: Any) -> dict[str, Any]:
        return event(uuid, embed_id, "sheet_operation_performed", at(0), operation=name, **fields)

    lake.write(
        [
            operation("a", 1, "sum"),
            operation("b", 1, "sum"),
            operation("c", 2, "sum"),
            operation("d", 2, "sum", trigger_type="automation"),
            operation("e", 2, None),
            event("f", 2, "embed_closed", at(1), operation="sum"),
        ]
    )
    rows = ask("from fct_sheet_operations_daily order by operation, trigger_type")
    assert [(r["trigger_type"], r["operation"], r["operation_count"], r["embed_count"]) for r in rows] == [
        ("automation", "sum", 1, 1),
        ("user", "sum", 3, 2),
        ("user", None, 1, 1),
    ]


def test_events_of_a_day(lake: Lake, ask: Any) -> None:
    lake.write(
        [event("a", 1, "odd", at(0)), event("b", 1, "odd", at(2)), event("c", 2, "odd", at(1), trigger_type=None)]
    )
    rows = ask("from fct_events_daily order by trigger_type")
    assert [
        (r["trigger_type"], r["event_count"], r["embed_count"], r["first_seen_at"], r["last_seen_at"]) for r in rows
    ] == [
        ("user", 2, 1, at(0), at(2)),
        (None, 1, 1, at(1), at(1)),
    ]


def test_a_timeline(lake: Lake, ask: Any) -> None:
    lake.write(full_session(1, 0, claims={"user_id": "u"}))
    rows = ask("from rpt_embed_timeline where embed_id = 1 order by event_number")
    assert [row["event_number"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert [row["seconds_since_previous"] for row in rows] == [None, 60.0, 60.0, 120.0, 240.0, 480.0, 960.0]
    assert {row["user_id"] for row in rows} == {"u"}


def test_stuck_sessions(lake: Lake, ask: Any) -> None:
    rows = [row for embed_id in range(100, 125) for row in full_session(embed_id, embed_id, template_key="slow")]
    for row in rows:
        if row["event_type"] == "file_uploaded":
            # The way from the upload to the header takes 10 to 34 minutes; its 90th percentile is 31.6.
            row["occurred_at"] -= timedelta(minutes=row["embed_id"] - 91)
        if row["event_type"] == "embed_initialized":
            row["occurred_at"] -= timedelta(minutes=60)
    for row in rows:
        row["lake_partition"] = row["occurred_at"].date().isoformat()
        row["event_date"] = row["occurred_at"].date()
    now = 400

    def waiting(embed_id: int, idle: float, last: str = "file_uploaded", **fields: Any) -> list[dict[str, Any]]:
        return [
            event(f"w{embed_id}-1", embed_id, "embed_initialized", at(now - idle - 5), **fields),
            event(
                f"w{embed_id}-2",
                embed_id,
                last,
                at(now - idle),
                counts={"a": {"X": 1, "B": 4}, "b": {"A": 4}},
                **fields,
            ),
        ]

    rows += waiting(1, 33, template_key="slow", claims={"user_id": "u"})
    rows += waiting(2, 31, template_key="slow")
    rows += waiting(3, 33, template_key="unseen")
    rows += waiting(4, 31, template_key="unseen")
    rows += waiting(5, 61, "embed_closed", template_key="slow")
    rows += waiting(6, DAY + 1, template_key="slow")
    lake.write(rows)
    lake.sweep(at(now))
    stuck = ask("from rpt_stuck_embeds order by embed_id")
    assert [row["embed_id"] for row in stuck] == [1, 3]
    assert stuck[0]["step"] == "file_uploaded"
    assert stuck[0]["idle_seconds"] == 33 * 60
    assert stuck[0]["threshold_seconds"] == pytest.approx(1896, abs=70)
    assert stuck[1]["threshold_seconds"] == stuck[0]["threshold_seconds"]
    assert (stuck[0]["user_id"], stuck[0]["last_error_count"]) == ("u", 9)
    assert (stuck[0]["worst_column_key"], stuck[0]["worst_error_code"], stuck[0]["worst_error_count"]) == ("a", "B", 4)


@pytest.mark.parametrize("seed", range(3))
def test_stuck_sessions_are_in_the_order_in_which_to_act(lake: Lake, ask: Any, seed: int) -> None:
    random = Random(seed)
    now = DAY
    sessions: list[tuple[bool, int | None, float, int]] = []
    rows: list[dict[str, Any]] = []
    for embed_id in random.sample(range(1000), 60):
        # Longer than the hour that is the threshold here; to the second, whole minutes, and about the two hours.
        idle = random.choice([61, 61.5, 119.99, 120, 120.01, 121, 300, 301, 20 * 60])
        errors = random.choice([None, None, 0, 1, 7, 200])
        is_uploaded = errors is not None or random.random() < 0.5
        last = "columns_mapped" if errors is not None else "file_uploaded" if is_uploaded else "embed_resumed"
        counts = None if errors is None else {"a": {"X": errors}} if errors else {}
        rows.append(event(f"{embed_id}-1", embed_id, "embed_initialized", at(now - idle - 1)))
        rows.append(event(f"{embed_id}-2", embed_id, last, at(now - idle), counts=counts))
        sessions.append((is_uploaded, errors, idle, embed_id))
    lake.write(rows)
    lake.sweep(at(now))
    stuck = ask("from rpt_stuck_embeds")
    expected = sorted(sessions, key=lambda s: (not s[0], -(s[1] or 0), -int(s[2]), s[3]))
    assert [(row["priority"], row["embed_id"], row["can_still_be_helped"]) for row in stuck] == [
        (place, embed_id, idle <= 120) for place, (*_, idle, embed_id) in enumerate(expected, start=1)
    ]


@pytest.mark.parametrize(("idle", "is_stuck"), [(60, False), (61, True)])
def test_with_few_sessions_an_hour_is_the_threshold(lake: Lake, ask: Any, idle: int, is_stuck: bool) -> None:
    lake.write([event("a", 1, "embed_initialized", at(0))])
    lake.sweep(at(idle))
    assert [row["threshold_seconds"] for row in ask("from rpt_stuck_embeds")] == [3600.0] * is_stuck


@pytest.mark.slow
def test_fast_sessions_do_not_make_everyone_stuck(lake: Lake, ask: Any) -> None:
    lake.write(
        [row for n in range(100, 130) for row in full_session(n, n)] + [event("a", 1, "embed_initialized", at(134))]
    )
    for now, expected in ((149, []), (150, [900.0])):
        lake.sweep(at(now))
        assert [row["threshold_seconds"] for row in ask("from rpt_stuck_embeds")] == expected


def test_event_types_seen_and_known(lake: Lake, ask: Any) -> None:
    lake.write(
        [
            event("a", 1, "odd", at(0), trigger_type="robot"),
            event("b", 1, "odd", at(DAY)),
            event("c", 1, "embed_closed", at(5)),
        ]
    )
    rows = {row["event_type"]: row for row in ask("from meta_event_types")}
    assert rows.keys() == {"odd", *EVENT_TYPES}
    odd = rows["odd"]
    assert (odd["is_known"], odd["event_count"], odd["first_seen_at"], odd["last_seen_at"]) == (
        False,
        2,
        at(0),
        at(DAY),
    )
    assert (odd["trigger_types"], odd["unknown_trigger_types"]) == ("robot, user", "robot")
    assert (rows["embed_closed"]["event_count"], rows["file_uploaded"]["event_count"]) == (1, 0)
    assert rows["embed_closed"]["unknown_trigger_types"] is None


@pytest.mark.slow
def test_claims_catalogue_and_quarantine_are_shown(lake: Lake, ask: Any) -> None:
    lake.write([event("a", 1, "embed_closed", at(0), claims={"user_id": "u"})], {"unknown": 2})
    assert [row["path"] for row in ask("from meta_claims")] == ["user_id"]
    assert ask("select lake_partition, level, reason, count(*) as n from meta_quarantine group by all") == [
        {"lake_partition": "unknown", "level": "event", "reason": "missing", "n": 2}
    ]


def test_coverage_joins_what_is_held_with_the_latest_reconcile(lake: Lake, ask: Any) -> None:
    lake.write([event("a", 1, "embed_closed", at(0))], {"2026-03-02": 1}, merged=2)

    def found(unheld: int) -> str:
        days = {"2026-03-01": (0, 0, 4), "2026-03-02": (1, 2, unheld)}
        names = ("held_at_source_count", "held_purged_count", "unheld_count")
        return json.dumps([{"event_date": day, **dict(zip(names, days[day], strict=True))} for day in days])

    lake.sweep(at(0), kind="reconcile", coverage=found(9))
    lake.sweep(at(1), kind="reconcile", coverage=found(3))
    lake.sweep(at(2))
    rows = ask("from meta_coverage order by lake_partition")
    assert [
        (r["event_date"], r["delivery_count"], r["event_count"], r["merged_count"], r["quarantined_count"],
         r["reconciled_at"], r["held_at_source_count"], r["held_purged_count"], r["unheld_count"])
        for r in rows
    ] == [
        (date(2026, 3, 1), 0, 0, 0, 0, at(1), 0, 0, 4),
        (date(2026, 3, 2), 4, 1, 2, 1, at(1), 1, 2, 3),
    ]  # fmt: skip


@pytest.mark.slow
def test_the_build_describes_itself(lake: Lake, ask: Any) -> None:
    lake.write([event("a", 1, "embed_closed", at(0))])
    lake.sweep(at(1), failed_count=2)
    lake.sweep(at(2), is_complete=False, failed_count=7)
    (first,) = ask("select *, (table_rows ->> '$.fct_embeds')::int as fct_embeds from meta_build")
    assert (first["data_through"], first["failed_embed_count"], first["is_full"], first["fct_embeds"]) == (
        at(1), 2, True, 1,
    )  # fmt: skip
    assert (first["code_version"], first["idle_after_seconds"], first["funnel_window_seconds"]) == (
        "test", 86400.0, 604800.0,
    )  # fmt: skip
    (second,) = ask("from meta_build")
    assert (second["is_full"], second["previous_build_id"]) == (False, first["build_id"])


def test_sweeps_are_kept_one_by_one(lake: Lake, ask: Any) -> None:
    lake.sweep(at(1), listed_count=4)
    lake.sweep(at(2), listed_count=5)
    assert ask("select listed_count from meta_sweeps order by started_at") == [{"listed_count": 4}, {"listed_count": 5}]


def test_nonsense_totals_do_not_stop_a_build(lake: Lake, ask: Any) -> None:
    huge = 2**63 - 1
    lake.write([event("a", 1, "columns_mapped", at(0), counts={"x": {"A": huge}, "y": {"A": huge}})])
    assert ask("select first_error_count from fct_embeds") == [{"first_error_count": huge}]


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("select 1 as a, -- one\n", "has no comment at its top that says what it is"),
        ("-- One.\nselect 1 as a -- one\n", "refresh"),
        ("-- One.\n-- refresh: whole\nselect\n    1 as a\nfrom source.x\n", "column a has no comment"),
        ("-- One.\n-- refresh: whole\nselect\n    a, -- one\nfrom nowhere\n", "nowhere"),
        ("-- One.\n-- grain: b\n-- refresh: whole\nselect\n    1 as a, -- one\n", "its grain names b"),
    ],
)
def test_a_model_without_its_contract_is_refused(tmp_path: Any, sql: str, told: str) -> None:
    (tmp_path / "broken.sql").write_text(sql)
    with pytest.raises(ModelError, match=told):
        load_models(tmp_path)


@pytest.mark.parametrize("model", load_models(), ids=lambda model: model.name)
def test_every_column_of_a_model_has_its_lineage(model: Model) -> None:
    """sqlglot resolves it from the known columns: a source that is missing there shows in Dagster alone."""
    assert column_lineage(model).keys() == model.columns.keys()
