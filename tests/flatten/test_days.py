"""What is flattened when, what is left behind by a crash, and the vendor's own examples."""

import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines.errors import ConfigurationError
from pipelines.flatten import days, event_data, read_deliveries
from pipelines.flatten.days import FLATTEN_VERSION, FlattenOptions, catalogues, flatten_days
from pipelines.flatten.lake_tables import LAKE_EMBED_EVENTS, LAKE_VALIDATION_ERRORS
from pipelines.home.layout import Home, partition_folder
from pipelines.oneschema.event_fields import EVENT_FIELDS
from pipelines.oneschema.json_text import Json, loads
from tests.flatten.flattening import land, read_table, token_reader, write_raw
from tests.flatten.payloads import SECRETS, sign
from tests.flatten.reference import Delivery

VENDOR_JWT = (
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJpc3MiOiIxYTQxNWE5Ni0wOGE0LTRjYzUtOTcwZC0zOWM5YTQ1Mzc4MWEiLCJ1c2VyX2lkIjoi"
    "PFVTRVJfSUQ-In0.dvqE3c18PIk0Of3HWVES0SArXUhYvl8h8ua9bmhQ_t0"
)
VENDOR_WEBHOOK: dict[str, Json] = {
    "uuid": "event-34cbc6e7-7f94-4a9a-8f26-e5bfbee90f18",
    "embed_id": 53511,
    "embed_jwt": VENDOR_JWT,
    "environment_name": "Production",
    "template_key": "contacts",
    "event_type": "embed_initialized",
    "trigger_type": "user",
    "data": {},
    "created_at": 1706112805.512352,
}
VENDOR_API: dict[str, Json] = {
    "uuid": "event-ddbb6677-460c-4eb5-b279-c7fd3f964dcf",
    "id": 417836,
    "event_type": "columns_mapped",
    "trigger_type": "user",
    "data": {"validation_error_counts": {"item": {"PICKLIST": 1}, "some_column": {"MISSING": 1}}},
    "created_at": 1762463783.125189,
    "has_snapshot": True,
}


def delivery(
    event: Json,
    *,
    source: Literal["api", "webhook"] = "api",
    token: Json = None,
    hour: int = 0,
    embed_id: int | None = 41559,
) -> Delivery:
    return Delivery(event, token, embed_id, "employees", "Production", source, datetime(2025, 12, 1, hour))


def event(uuid: str, created_at: Any = 1706112805.5, **more: Any) -> dict[str, Any]:
    return {"uuid": uuid, "event_type": "embed_closed", "created_at": created_at, **more}


def land_in(home: Home, name: str, *deliveries: Delivery) -> None:
    raw, _ = land(deliveries, token_reader(SECRETS))
    write_raw(home, raw, name)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_vendor_webhook_example(home: Home) -> None:
    land_in(home, "a", delivery(VENDOR_WEBHOOK, source="webhook", embed_id=None))
    flatten_days(home, FlattenOptions())
    (row,) = read_table(home.lake_embed_events).iter_rows(named=True)
    assert row["occurred_at"] == datetime(2024, 1, 24, 16, 13, 25, 512352)
    assert row["event_date"] == date(2024, 1, 24)
    assert row["claim_user_id"] == "<USER_ID>"
    assert (row["embed_id"], row["environment_name"], row["template_key"]) == (53511, "Production", "contacts")
    assert (row["source"], row["jwt_status"], row["has_error_counts"]) == ("webhook", "unverified", False)


def test_vendor_api_example(home: Home) -> None:
    land_in(home, "a", delivery(VENDOR_API, token=VENDOR_JWT))
    flatten_days(home, FlattenOptions())
    errors = read_table(home.lake_validation_errors)
    assert errors.select("embed_id", "column_key", "error_code", "error_count").rows() == [
        (41559, "item", "PICKLIST", 1),
        (41559, "some_column", "MISSING", 1),
    ]
    assert errors["occurred_at"][0] == datetime(2025, 11, 6, 21, 16, 23, 125189)


def test_the_first_hours_of_1970_are_exact_as_well(home: Home) -> None:
    land_in(home, "a", delivery(event("one", 2.5e-06)))
    flatten_days(home, FlattenOptions())
    assert read_table(home.lake_embed_events)["occurred_at"].to_list() == [datetime(1970, 1, 1, 0, 0, 0, 3)]


def test_both_channels_become_one_row(home: Home) -> None:
    ours = delivery(VENDOR_API, hour=1)
    theirs = delivery(
        {**VENDOR_API, "id": None, "has_snapshot": None, "template_key": "theirs", "extra_field": 1},
        source="webhook",
        token=VENDOR_JWT,
    )
    land_in(home, "a", ours, theirs)
    report = flatten_days(home, FlattenOptions())
    (row,) = read_table(home.lake_embed_events).iter_rows(named=True)
    assert (row["source"], row["event_id"], row["template_key"]) == ("both", 417836, "employees")
    assert (row["extra"], row["claim_user_id"]) == ('{"extra_field":1}', "<USER_ID>")
    assert row["landed_at"] == datetime(2025, 12, 1, 0)
    assert (report.merged_count, report.conflict_count) == (1, 1)
    assert read_table(home.lake_validation_errors).height == 2


def test_the_lake_reads_as_the_readme_says(home: Home) -> None:
    """The date is the folder's, and stays a date where one folder has none."""
    land_in(home, "a", delivery(event("one")), delivery(event("two", "soon")))
    land_in(home, "b", delivery({**event("two", "soon"), "created_at": "later"}))
    raw, _ = land([delivery(event("two", 1706212805.5), hour=2)], token_reader(SECRETS))
    write_raw(home, raw.with_columns(event_date=pl.lit("unknown")), "c")
    flatten_days(home, FlattenOptions())
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (source,) = re.findall(r"`(read_parquet\('lake/[^`]*)`", readme)
    source = source.replace("'lake/", f"'{home.root}/lake/")
    rows = duckdb.execute(f"select event_uuid, event_date, occurred_at::date from {source} order by 1").fetchall()
    assert rows == [("one", date(2024, 1, 24), date(2024, 1, 24)), ("two", date(1, 1, 1), date(2024, 1, 25))]


def test_only_dirty_days_are_redone(home: Home) -> None:
    land_in(home, "a", delivery(event("one")), delivery(event("two", 1706212805.5)))
    assert flatten_days(home, FlattenOptions()).dates == ["2024-01-24", "2024-01-25"]
    assert flatten_days(home, FlattenOptions()).dates == []
    land_in(home, "b", delivery(event("three", 1706212806.5)))
    assert flatten_days(home, FlattenOptions()).dates == ["2024-01-25"]
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))

    redone = flatten_days(home, FlattenOptions(), redo=["2024-01-24", "2024-01-26"], on_progress=tell)
    assert redone.dates == ["2024-01-24", "2024-01-26"]
    assert told == [(1, 2), (2, 2)]
    assert catalogues(home)[0]["event_count"].to_list() == [1, 2, 0]


def test_a_day_without_events_has_files_with_the_whole_schema(home: Home) -> None:
    flatten_days(home, FlattenOptions(), redo=["2024-01-26"])
    events = pl.read_parquet(
        partition_folder(home.lake_embed_events, "2024-01-26") / "events.parquet", hive_partitioning=False
    )
    errors = pl.read_parquet(
        partition_folder(home.lake_validation_errors, "2024-01-26") / "errors.parquet", hive_partitioning=False
    )
    for found, table in ((events, LAKE_EMBED_EVENTS), (errors, LAKE_VALIDATION_ERRORS)):
        assert {**found.schema, "event_date": pl.Date()} == dict(table.polars_schema)
    assert not events.height


def test_another_version_makes_every_day_dirty(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    land_in(home, "a", delivery(event("one")))
    flatten_days(home, FlattenOptions())
    monkeypatch.setattr(days, "FLATTEN_VERSION", "next")
    assert flatten_days(home, FlattenOptions()).dates == ["2024-01-24"]


def test_what_a_crash_left_is_not_read_and_is_removed(home: Home) -> None:
    land_in(home, "a", delivery(event("one")))
    raw_folder = partition_folder(home.raw_embed_events, "2024-01-24")
    (raw_folder / ".tmp-1-b.parquet").write_bytes(b"half a file")
    lake_folder = partition_folder(home.lake_embed_events, "2024-01-24")
    lake_folder.mkdir(parents=True)
    (lake_folder / ".tmp-1-events.parquet").write_bytes(b"half a file")
    assert flatten_days(home, FlattenOptions()).event_count == 1
    assert [path.name for path in lake_folder.iterdir()] == ["events.parquet"]


def test_a_corrected_reading_empties_the_quarantine(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    land_in(home, "a", delivery(event("one", id="x1")), delivery(event("two", created_at="yesterday")))
    flatten_days(home, FlattenOptions())
    found = read_table(home.quarantine).select("event_date", "level", "event_uuid", "field", "reason", "payload")
    assert found.rows()[0] == ("2024-01-24", "field", "one", "id", "a text, not an integer", '"x1"')
    assert found.rows()[1][:4] == ("unknown", "event", "two", "created_at")
    assert json.loads(found.rows()[1][5])["created_at"] == "yesterday"

    lenient = {"created_at": 1706112805_000000, "id": 7}

    def answer(found: int) -> Callable[[object], int]:
        return lambda _: found

    corrected = tuple(
        replace(field, kind=replace(field.kind, read=answer(lenient[field.name]))) if field.name in lenient else field
        for field in EVENT_FIELDS
    )
    monkeypatch.setattr("pipelines.flatten.read_deliveries.EVENT_FIELDS", corrected)
    assert flatten_days(home, FlattenOptions(), redo=["2024-01-24", "unknown"]).event_count == 2
    assert not list(home.quarantine.rglob("*.parquet"))


def test_bad_values_are_read_one_by_one_and_the_others_never(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one bad row costs a batch does not grow with the batch."""
    slow: list[str] = []

    def slowly(text: bytes) -> Any:
        slow.append(text.decode())
        return loads(text)

    for module in (read_deliveries, event_data):
        monkeypatch.setattr(module, "loads", slowly)
    counts = {"validation_error_counts": {"a": {"X": 1}}}
    plain = [{}, counts, {"operation": "x"}, {"import_type": "x", "row_count": 1}, {**counts, "operation": "x"}]
    good = [delivery(event(f"good-{i}", data=plain[i % 5], id=i, trigger_type="new", new_field=i)) for i in range(500)]
    bad = [delivery(event("odd", id="x1")), delivery(event("data", data={"operation": 1}))]
    land_in(home, "a", *good, *bad)
    assert flatten_days(home, FlattenOptions()).field_quarantined_count == 2
    assert slow == ['{"id":"x1"}', '{"operation":1}']


def test_claim_columns_are_one_choice_for_all_days(home: Home) -> None:
    """An earlier day that is landed later takes a place among the columns, and the later days follow."""

    def with_claims(uuid: str, created_at: float, **claims: Any) -> Delivery:
        return delivery(event(uuid, created_at), token=sign(json.dumps(claims), "s"))

    options = FlattenOptions(claim_column_limit=2)
    land_in(home, "a", with_claims("late", 1706212805.5, Plan=1, seats=2))
    flatten_days(home, options)
    land_in(home, "b", with_claims("early", 1706112805.5, plan="x", user_id="u"))
    assert flatten_days(home, options).dates == ["2024-01-24", "2024-01-25"]
    catalogue = catalogues(home)[1]
    assert catalogue.select("path", "column_name", "is_column", "event_count", "coverage").rows() == [
        ("Plan", None, False, 1, 0.5),
        ("plan", "claim_plan", True, 1, 0.5),
        ("seats", None, False, 1, 0.5),
        ("user_id", "claim_user_id", True, 1, 0.5),
    ]
    collision = hashlib.sha256(b"Plan").hexdigest()[:6]
    assert flatten_days(home, FlattenOptions()).dates == ["2024-01-25"]
    assert read_table(home.lake_embed_events)[f"claim_plan_{collision}"].to_list() == [None, "1"]


def test_declared_claim_types(home: Home) -> None:
    claims = {
        **{
            "seats": "12",
            "ratio": 0.5,
            "is_admin": True,
            "born": "1990-02-03",
            "iat": 1706112805,
            "iso": "2024-01-24T00:00Z",
        },
    }
    land_in(
        home,
        "a",
        delivery(event("good"), token=sign(json.dumps(claims), "s")),
        delivery(event("bad", 1706112806), token=sign(json.dumps({"seats": "many", "born": "x", "is_admin": 1}), "s")),
    )
    types = {
        "seats": "bigint",
        "ratio": "DOUBLE",
        "is_admin": "BOOLEAN",
        "born": "DATE",
        "iat": "TIMESTAMP",
        "iso": "TIMESTAMP",
    }
    report = flatten_days(home, FlattenOptions(claim_types=types))
    good, bad = read_table(home.lake_embed_events).iter_rows(named=True)
    assert (good["claim_seats"], good["claim_ratio"], good["claim_is_admin"]) == (12, 0.5, True)
    assert (good["claim_born"], good["claim_iso"]) == (date(1990, 2, 3), datetime(2024, 1, 24))
    assert good["claim_iat"] == datetime(2024, 1, 24, 16, 13, 25)
    assert (bad["claim_seats"], bad["claim_born"], bad["claim_is_admin"]) == (None, None, None)
    assert report.field_quarantined_count == 3
    assert set(read_table(home.quarantine)["field"]) == {"claims.seats", "claims.born", "claims.is_admin"}


@pytest.mark.parametrize("written", [r"https://acme\.example/seats", "https://acme.example/seats"])
def test_a_claim_type_is_declared_by_the_path_of_meta_claims_or_with_its_dots_plain(home: Home, written: str) -> None:
    token = sign('{"https://acme.example/seats":12}', "s")
    land_in(home, "a", delivery(event("one"), token=token))
    flatten_days(home, FlattenOptions(claim_types={written: "BIGINT"}))
    (row,) = catalogues(home)[1].iter_rows(named=True)
    assert row["path"] == r"https://acme\.example/seats"
    assert read_table(home.lake_embed_events)[row["column_name"]].to_list() == [12]


def test_an_unknown_claim_type_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match=r"org\.seats.*NUMBER"):
        FlattenOptions(claim_types={"org.seats": "NUMBER"})


def test_output_is_that_of_this_version(home: Home) -> None:
    """Where this fails the output changed: raise FLATTEN_VERSION, and then the digest here."""
    jwt = sign('{"iss":"client-1","n":1.10,"org":{"Plan Name":"x","plan":["a"]},"t":null}', SECRETS["client-1"])
    land_in(
        home,
        "a",
        delivery(VENDOR_WEBHOOK, source="webhook"),
        delivery(VENDOR_API, token=jwt),
        delivery(
            {**VENDOR_API, "data": {"operation": 1, "validation_error_counts": {"a": {"X": "2", "Y": -1}}}}, hour=2
        ),
        delivery(event("iso", "2024-01-24T16:13:25.1234567+02:00", new_field={"a": None}), token="malformed"),
        delivery(event("ms", 1706112805512, id="5", has_snapshot="no", embed_jwt=jwt)),
        delivery(event("", 1706112805512)),
        delivery("no object"),
    )
    flatten_days(home, FlattenOptions())
    tables = [read_table(table) for table in (home.lake_embed_events, home.lake_validation_errors, home.quarantine)]
    written = [(sorted(table.columns), table.select(sorted(table.columns)).rows()) for table in tables]
    digest = hashlib.sha256(json.dumps(written, default=str).encode()).hexdigest()[:16]
    assert (FLATTEN_VERSION, digest) == ("5", "8c6f9f56a87d58dc")


def test_footers_are_opened_where_they_are_new_alone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    days_ago = [delivery(event(f"event-{day}", 1764158400.0 - day * 86400)) for day in range(3)]
    land_in(home, "a", *days_ago)
    flatten_days(home, FlattenOptions())
    before = catalogues(home)[0]

    opened: list[str] = []
    read = pl.read_parquet_metadata

    def noting(source: Path | io.BytesIO) -> dict[str, str]:
        if isinstance(source, Path):
            opened.append(source.parent.name)
        return read(source)

    monkeypatch.setattr(pl, "read_parquet_metadata", noting)
    assert_frame_equal(catalogues(home)[0], before)
    assert opened == []

    # A day that was written again is read again, and every one where the state is lost or damaged.
    flatten_days(home, FlattenOptions(), redo=["2025-11-25"])
    assert_frame_equal(catalogues(home)[0], before)
    assert opened == ["event_date=2025-11-25"]
    kept = home.state / "lake_records.parquet"
    of_another_kind = io.BytesIO()
    pl.DataFrame({"event_date": ["2025-11-25"]}).write_parquet(of_another_kind)
    for content in (b"", b"no Parquet", kept.read_bytes()[:-20], of_another_kind.getvalue()):
        kept.write_bytes(content)
        opened.clear()
        assert_frame_equal(catalogues(home)[0], before)
        assert len(opened) == 3
