"""What landing keeps of a delivery: everything but the credentials."""

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import assume, given, settings

from pipelines.flatten.quarantine import event_json
from pipelines.oneschema.credentials import without_credentials
from pipelines.oneschema.json_text import Json, loads, storable
from pipelines.oneschema.tokens import MISSING, TokenReader
from pipelines.raw.raw_rows import Envelope, to_raw
from pipelines.raw.raw_tables import RAW_EMBED_EVENTS
from tests.flatten.flattening import token_reader
from tests.flatten.payloads import EVENTS, SECRETS, sign
from tests.proving import examples

TOKENS = token_reader(SECRETS)
JWT = sign('{"iss":"client-1","user_id":"u"}', SECRETS["client-1"])
OTHER_JWT = sign('{"iss":"client-1","user_id":"v","n":1}', SECRETS["client-1"])
FETCHED_AT = datetime(2025, 12, 1)
EVENT: dict[str, Any] = {"uuid": "event-1", "event_type": "embed_closed", "created_at": 1706112805.512352}


def envelope(token: object = None, **more: Any) -> Envelope:
    known: dict[str, Any] = {"embed_id": 1, "template_key": "employees", "environment_name": "Production"} | more
    return Envelope(**known, token=TOKENS.read(token), source="api", fetched_at=FETCHED_AT, sweep_id="sweep")


def landed(event: Any, token: object = None, tokens: TokenReader = TOKENS) -> dict[str, Any]:
    (row,) = to_raw([(event, envelope(token))], tokens).iter_rows(named=True)
    return row


def test_columns() -> None:
    frame = to_raw([], TOKENS)
    assert dict(frame.drop("occurred_at", "event_date", "plain_digest").schema) == dict(RAW_EMBED_EVENTS.polars_schema)
    assert frame.columns[-1] == "event_date"


@pytest.mark.slow
@pytest.mark.prove
@settings(max_examples=examples(400))
@given(event=EVENTS)
def test_nothing_is_lost(event: Json) -> None:
    """The row gives the event back, but for credentials, for null in a known field, and for what the envelope adds."""
    (row,) = to_raw([(event, Envelope(None, None, None, TOKENS.read(None), "api", FETCHED_AT, "s"))], TOKENS).iter_rows(
        named=True
    )
    if isinstance(event, dict):
        known = {"uuid", "id", "embed_id", "event_type", "trigger_type", "created_at", "has_snapshot", "data"}
        known |= {"template_key", "environment_name"}
        event = {key: value for key, value in event.items() if key not in ("token", "embed_jwt")}
        event = {key: value for key, value in event.items() if value is not None or key not in known}
    assume(without_credentials(event) == event)
    assert json.loads(event_json(row)) == storable(event)


def test_odd_values_and_the_folder() -> None:
    row = landed({**EVENT, "created_at": "2024-01-24T23:30:00-01:00", "id": "7", "data": [1], "new": None})
    assert row["event_date"] == "2024-01-25"
    assert (row["created_at"], row["event_id"], row["data"]) == (None, None, None)
    assert json.loads(row["odd"]) == {"created_at": "2024-01-24T23:30:00-01:00", "id": "7", "data": [1]}
    assert row["extra"] == '{"new":null}'
    assert landed({**EVENT, "created_at": "soon"})["event_date"] == "unknown"
    assert landed({**EVENT, "created_at": 1706112805512})["event_date"] == "2024-01-24"
    assert landed([1])["odd"] == "[1]"


def test_the_event_wins_over_its_embed() -> None:
    own = {**EVENT, "embed_id": 9, "template_key": "mine", "environment_name": "Staging", "embed_jwt": OTHER_JWT}
    row = landed(own, JWT)
    assert (row["embed_id"], row["template_key"], row["environment_name"]) == (9, "mine", "Staging")
    assert json.loads(row["claims"])["user_id"] == "v"
    row = landed(EVENT, JWT)
    assert (row["embed_id"], row["template_key"], row["environment_name"]) == (1, "employees", "Production")
    assert (json.loads(row["claims"])["user_id"], row["jwt_status"]) == ("u", "verified")


@pytest.mark.parametrize(
    "hidden",
    [
        {},
        {"token": "5fd6a161-86f1-4514-9e92-0660e19ad5c2"},
        {"data": {"deep": [{"user_jwt": "x" * 40, "kept": 1}]}},
        {"data": {"text": f"Authorization: Bearer {JWT}"}},
        {"data": {JWT: 1}},
        {"data": {"path": f"keystore.{JWT}", "words": f"eyes.wide.{JWT}", "joined": f"eyXX{JWT}.{JWT}"}},
        {"data": {"url": f"https://x.example/?token={JWT}&then=.."}},
        {"data": {"User_JWT": {"nested": "secret text"}}},
        {"note": 'a "quoted" secret', "token": 'a "quoted" secret'},
        {"token": {"value": "secret text"}, "again": "secret text"},
        {"deep": json.loads('{"a":' * 150 + "1" + "}" * 150)},
        {"huge": 2**70, "small": 5e-08},
        {"lone": "\ud800"},
    ],
)
def test_credentials_leave_no_trace_and_do_not_change_the_digest(hidden: dict[str, Any]) -> None:
    """The same event, fetched again with another token, is the same event."""
    rows = [
        landed({**EVENT, **hidden, "embed_jwt": token}) for token in (JWT, OTHER_JWT, "malformed", "bad \ud800", None)
    ]
    assert len({row["digest"] for row in rows}) == 1
    assert len({(row["data"], row["odd"], row["extra"]) for row in rows}) == 1
    written = json.dumps(rows[0], default=str)
    for secret in (*JWT.split("."), "5fd6a161", "x" * 40, "quoted", "secret text"):
        assert secret not in written


@pytest.mark.parametrize(
    "text", ["ey" * 500_000, "eyJ" * 300_000 + ".a.b", ("eyJ" * 1_300 + ".x.") * 250, "ey." * 100_000]
)
def test_a_long_text_is_searched_in_a_time_that_grows_with_its_length(text: str) -> None:
    """If the time grew with the square, this would take hours."""
    assert json.loads(landed({**EVENT, "token": "12345678", "note": text})["extra"]) == {"note": text}


def test_a_template_column_may_be_called_token() -> None:
    counts = {"validation_error_counts": {"token": {"MISSING": 1}}}
    assert json.loads(landed({**EVENT, "data": counts})["data"]) == counts


def test_words_with_dots_are_no_credentials() -> None:
    text = "ewallet-provider.com.example and eyes.wide.shut"
    assert json.loads(landed({**EVENT, "note": text})["extra"]) == {"note": text}


def test_what_is_no_json() -> None:
    for body in (b"", b"{", b"[1", b"\xff", b"nope", b"[" * 50_000, b"<html>"):
        with pytest.raises(ValueError):
            loads(body)


def test_bytes_that_are_no_text_are_kept_as_their_escapes() -> None:
    assert loads(b'{"a":"\xff"}') == {"a": "\\udcff"}


def test_times_that_are_not_plausible_share_one_folder() -> None:
    fetched_at = datetime(2026, 1, 28, 12)
    envelope = Envelope(7, "t", "Production", MISSING, "api", fetched_at, "s")
    noon = 1769601600.0
    times = {
        noon: "2026-01-28",
        noon + 86_400: "2026-01-29",
        noon + 86_401: "unknown",
        1577836800.0: "2020-01-01",
        1577836799.0: "unknown",
        0.0: "unknown",
        noon / 1000: "unknown",
        noon * 1000: "2026-01-28",
        "2026-01-27T23:59:59+00": "2026-01-27",
        "9999-12-31T00:00:00Z": "unknown",
        "never": "unknown",
        **{float(day * 86_400): "unknown" for day in range(1000)},
    }
    frame = to_raw((({"created_at": at}, envelope) for at in times), TOKENS)
    assert frame["event_date"].to_list() == list(times.values())
    # What is known of the time is kept.
    assert frame["occurred_at"].null_count() == 1
