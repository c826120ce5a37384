"""From deliveries in raw to the published warehouse, through the real flattening: the layers fit together."""

from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest

from pipelines.flatten.days import FlattenOptions, flatten_days
from pipelines.home.layout import Home, partition_folder
from pipelines.oneschema.tokens import TokenReader
from pipelines.raw.raw_rows import Envelope, to_raw
from pipelines.raw.raw_tables import RAW_EMBED_EVENTS
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.published import connect_published

OPTIONS = BuildOptions(code_version="test")
MORNING = datetime(2026, 3, 2, 9)
EPOCH = 1772442000.0


def land(home: Home, number: int, deliveries: list[dict[str, Any]]) -> None:
    tokens = TokenReader({}, {}, None)
    token = tokens.read(jwt.encode({"iss": "client", "user_id": "u1", "org": {"Plan Name": "pro"}}, "s" * 32))
    fetched_at = MORNING + timedelta(hours=number)
    envelope = Envelope(1, "products", "Production", token, "api", fetched_at, f"sweep-{number}")
    for (folder,), rows in to_raw([(event, envelope) for event in deliveries], tokens).group_by("event_date"):
        path = partition_folder(home.raw_embed_events, str(folder)) / f"{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.select(RAW_EMBED_EVENTS.names).write_parquet(path)


@pytest.mark.slow
def test_deliveries_become_a_warehouse_and_more_of_them_a_newer_one(tmp_path: Any) -> None:
    home = Home(tmp_path)
    first = {"uuid": "event-1", "id": 1, "event_type": "embed_initialized", "trigger_type": "user", "created_at": EPOCH}
    mapped = {
        "uuid": "event-2",
        "id": 2,
        "event_type": "columns_mapped",
        "trigger_type": "user",
        "created_at": EPOCH + 60,
        "data": {"validation_error_counts": {"item": {"MISSING": 3}}},
    }
    unreadable = {"event_type": None, "created_at": "never"}
    disagreeing = first | {"has_snapshot": True, "id": 3}
    land(home, 0, [first, disagreeing, unreadable, mapped | {"uuid": 7, "id": "x", "embed_id": []}])
    flatten_days(home, FlattenOptions())
    report = build(home, OPTIONS)
    assert {check.name for check in report.failed_checks} == {"data_fresh", "quarantine_empty"}
    land(home, 1, [mapped])
    flatten_days(home, FlattenOptions())
    report = build(home, OPTIONS)
    assert not report.is_full
    with connect_published(home) as connection:
        session = connection.execute(
            "select user_id, claim_org__plan_name, event_count, last_error_count, seconds_to_mapping from fct_embeds"
        ).fetchall()
        coverage = connection.execute(
            "select sum(delivery_count), sum(event_count), sum(merged_count), sum(quarantined_count), "
            "sum(conflict_count) from meta_coverage"
        ).fetchone()
        claims = connection.execute("select path, event_count, all_event_count, coverage from meta_claims").fetchall()
        by_plan = connection.execute("select distinct breakdown from funnel(by := 'org.Plan Name')").fetchall()
    assert session == [("u1", "pro", 2, 3, 60.0)]
    assert coverage == (5, 2, 1, 2, 1)
    assert claims
    assert all(share == count / total and total == 2 for _, count, total, share in claims)
    assert by_plan == [("pro",)]


def test_no_counts_unreadable_counts_and_none_left_are_told_apart(tmp_path: Any) -> None:
    home = Home(tmp_path)
    unreadable: list[Any] = [
        {"email": 5},
        {"email": {"MISSING": 2.5}},
        {"email": {"MISSING": -1}},
        {"email": {"MISSING": {"n": 3}}},
        {"email": {"MISSING": None}, "name": {"MISSING": 1}},
        "none",
        [],
    ]
    others: list[Any] = [{}, {"email": {}}, None]
    mapped = [{"validation_error_counts": counts} for counts in [*unreadable, *others]]
    land(
        home,
        0,
        [
            {"uuid": f"e{n}", "embed_id": n, "event_type": "columns_mapped", "created_at": EPOCH, "data": data}
            for n, data in enumerate([*mapped, {}])
        ],
    )
    flatten_days(home, FlattenOptions())
    build(home, OPTIONS)
    with connect_published(home) as connection:
        rows = connection.execute(
            "select last_error_count, last_counted_event_type from fct_embeds order by embed_id"
        ).fetchall()
        pairs = connection.execute("select * exclude (event_uuid) from stg_validation_errors").fetchall()
    assert rows == [
        *[(None, "columns_mapped")] * len(unreadable),
        *[(0, "columns_mapped")] * 2,
        *[(None, None)] * 2,
    ]
    assert len(pairs) == 1, "what can be read beside it is kept"
