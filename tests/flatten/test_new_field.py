"""A field that the vendor adds is one line of EVENT_FIELDS: with it, it arrives wherever the others do."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# A process of its own, in which the table has two more lines from the start: nothing else is changed.
PROGRAM = """
import json, sys
from datetime import datetime
from pathlib import Path
from pipelines.oneschema import event_fields
from pipelines.oneschema.reading import INTEGER, NAME, TEXT, TIME
lines = (
    event_fields.EventField("row_total", "row_total", INTEGER, "rows of the sheet when it happened"),
    event_fields.EventField("seen_at", "noticed_at", TIME, "when the vendor noticed it (UTC)"),
)
if "without" not in sys.argv:
    event_fields.EVENT_FIELDS += lines

from pipelines.flatten.days import FlattenOptions, flatten_days
from pipelines.flatten.lake_tables import LAKE_EMBED_EVENTS
from pipelines.flatten.quarantine import event_json
from pipelines.home.layout import Home
from pipelines.oneschema.tokens import MISSING, TokenReader
from pipelines.raw.raw_rows import Envelope, to_raw
from tests.flatten.flattening import read_table, write_raw

def delivery(uuid, source, **more):
    event = {"uuid": uuid, "event_type": "embed_closed", "created_at": 1706112805.5, **more}
    return event, Envelope(1, "employees", "Production", MISSING, source, datetime(2025, 1, 1), "sweep")

home = Home(Path(sys.argv[1]))
raw = to_raw([
    delivery("plain", "api", row_total=7, seen_at=1706112806.25),
    delivery("odd", "api", row_total="8", seen_at="2024-01-24T16:13:27Z"),
    delivery("bad", "api", row_total={"n": 1}, seen_at="soon"),
    delivery("merged", "api"),
    delivery("merged", "webhook", row_total=9),
    delivery("disagreed", "api", row_total=10),
    delivery("disagreed", "webhook", row_total=11),
    delivery(None, "api", row_total=12),
], TokenReader({}, {}, None))
if "again" not in sys.argv:
    write_raw(home, raw, "sweep")
report = flatten_days(home, FlattenOptions())
names = [name for name in ("event_uuid", "row_total", "noticed_at", "extra") if name in LAKE_EMBED_EVENTS.names]
print(json.dumps({
    "events": read_table(home.lake_embed_events).select(names).sort("event_uuid").rows(),
    "quarantine": read_table(home.quarantine).select("level", "event_uuid", "field", "reason", "payload").rows(),
    "documented": {column.name: column.description for column in LAKE_EMBED_EVENTS.columns},
    "conflicts": report.conflict_count,
    "redone": flatten_days(home, FlattenOptions()).dates,
}, default=str))
"""


def run(home: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-c", PROGRAM, str(home), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    return json.loads(done.stdout)


def test_a_new_field_is_one_line(tmp_path: Path) -> None:
    found = run(tmp_path)
    assert found["events"] == [
        ["bad", None, None, None],
        ["disagreed", 10, None, None],
        ["merged", 9, None, None],
        ["odd", 8, "2024-01-24 16:13:27", None],
        ["plain", 7, "2024-01-24 16:13:26.250000", None],
    ]
    whole, *fields = found["quarantine"]
    assert fields == [
        ["field", "bad", "row_total", "an object, not an integer", '{"n":1}'],
        ["field", "bad", "seen_at", "a text, neither a number nor an ISO time with a zone", '"soon"'],
    ]
    assert (whole[0], json.loads(whole[4])["row_total"]) == ("event", 12)
    assert found["documented"]["row_total"] == "rows of the sheet when it happened"
    assert found["documented"]["noticed_at"] == "when the vendor noticed it (UTC)"
    assert (found["conflicts"], found["redone"]) == (1, [])


@pytest.mark.slow
def test_what_landed_before_the_field_was_known_is_read_from_extra(tmp_path: Path) -> None:
    """With its columns the flattening's version is another one, so every day is redone."""
    before = run(tmp_path / "before", "without")
    assert before["events"][-1] == ["plain", '{"row_total":7,"seen_at":1706112806.25}']
    assert before["redone"] == []
    assert run(tmp_path / "before", "again") == run(tmp_path / "from the start")


@pytest.mark.parametrize("name", ["created_at", "seen_at"])
def test_a_time_needs_a_column_beside_its_raw_one(name: str) -> None:
    from pipelines.oneschema.event_fields import EventField
    from pipelines.oneschema.reading import TIME

    with pytest.raises(ValueError, match=name):
        EventField(name, name, TIME, "when")
