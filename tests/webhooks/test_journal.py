"""The journal's lines and segments: torn, damaged, rotated."""

import json
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import steps
from pipelines.oneschema.credentials import without_credentials
from pipelines.oneschema.json_text import Json, loads
from pipelines.oneschema.tokens import TokenReader
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.simulation import Simulation
from pipelines.webhooks.journal import JournalLimits
from pipelines.webhooks.records import decode, encode
from pipelines.webhooks.segments import Segment, create_segment
from tests.poll.sweeping import raw_events
from tests.proving import examples
from tests.webhooks.receiving import full_events, ingest, journal_files, landed_uuids, running_receiver, settings_of

TOKENS = TokenReader({}, {}, None)
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyX2lkIjoiNyJ9.c2lnbmF0dXJl"

texts = st.text(max_size=20) | st.sampled_from(
    [JWT, f"see {JWT}.", "token", "a.b.c", "\n\t\u2028", JWT[:30], "12345678"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts | st.just("Embed_JWT"), inner, max_size=3),
    max_leaves=8,
)
events = st.fixed_dictionaries(
    {"uuid": texts}, optional={"embed_jwt": values | texts, "data": values, "token": values, "user_jwt": texts}
)


@pytest.mark.prove
@settings(max_examples=examples(250))
@given(events)
def test_a_line_is_the_event_without_its_credentials(sent: dict[str, object]) -> None:
    event = loads(json.dumps(sent).encode())
    assert isinstance(event, dict)
    line = encode(event, 5, TOKENS)
    assert line.count(b"\n") == 1
    record = decode(line)
    assert record is not None
    assert record.received_at == 5
    assert record.token == TOKENS.read(event.get("embed_jwt"))
    assert record.event == without_credentials(event)
    assert JWT.encode() not in line


def test_a_line_torn_anywhere_is_passed_over_and_a_bit_that_fell_is_seen(tmp_path: Path) -> None:
    sent: list[Json] = [{"uuid": f"event-{number}", "n": number} for number in range(3)]
    lines = [encode(event, number, TOKENS) for number, event in enumerate(sent)]
    for cut in range(len(lines[2])):
        path, _ = create_segment(tmp_path / str(cut))
        path.write_bytes(b"".join(lines)[: len(lines[0]) + len(lines[1]) + cut])
        segment = Segment(path)
        found = [decode(line) for line in segment.lines()]
        segment.close()
        assert [record and record.event for record in found] == sent[:2]
    for position in range(len(lines[0]) - 1):
        fallen = bytearray(lines[0])
        fallen[position] ^= 4
        assert decode(bytes(fallen)) is None


def test_a_damaged_line_goes_to_quarantine_and_the_others_land(home: Path) -> None:
    path, _ = create_segment(home / "webhooks")
    lines = [encode({"uuid": f"event-{n}", "embed_id": n, "created_at": 1.7e9}, 1, TOKENS) for n in range(3)]
    path.write_bytes(lines[0] + lines[1].replace(b"event-1", b"event-9") + lines[2] + b"half a li")
    # The descriptor of this process holds the lock; another reads what is there and leaves the file.
    assert ingest(home).damaged_count == 1
    assert path.exists()
    raw = raw_events(home)
    assert sorted(raw["event_uuid"].drop_nulls()) == ["event-0", "event-2"]
    kept = json.loads(raw.filter(raw["event_uuid"].is_null())["extra"].item())["unreadable"]
    assert kept["reason"] == "damaged line of the journal"
    assert "event-9" in kept["text"]
    report = steps.flatten(settings_of(home), on_wait=print)
    assert report.days["quarantined_count"].sum() >= 1


def test_segments_are_closed_by_size_and_removed_but_for_the_one_at_work(home: Path) -> None:
    bodies = list(full_events(Simulation(SimulatorOptions(embeds=20))))[:60]
    uuids = sorted(orjson.loads(body)["uuid"] for body in bodies)
    with running_receiver(home, limits=JournalLimits(segment_bytes=10_000)) as receiver:
        for body in bodies[:40]:
            assert receiver.push(body).status_code == 200
        assert len(journal_files(home)) > 2
        first = ingest(home)
        assert first.landed_event_count == 40
        assert len(journal_files(home)) <= 2
        again = ingest(home)
        assert again.landed_event_count == 0
        for body in bodies[40:]:
            assert receiver.push(body).status_code == 200
    assert ingest(home).landed_event_count == 20
    assert sorted(landed_uuids(home)) == uuids
    assert journal_files(home) == []


def test_a_segment_is_closed_by_age_without_another_event(home: Path) -> None:
    with running_receiver(home, limits=JournalLimits(segment_seconds=0.05)) as receiver:
        receiver.push(b'{"uuid":"event-1"}')
        removed_after = 0
        # Each look takes milliseconds; the segment is given up after fifty of them.
        while journal_files(home) and removed_after < 10_000:
            ingest(home)
            removed_after += 1
        assert journal_files(home) == []
        assert landed_uuids(home) == ["event-1"]
        assert receiver.push(b'{"uuid":"event-2"}').status_code == 200
    ingest(home)
    assert sorted(landed_uuids(home)) == ["event-1", "event-2"]


def test_a_journal_that_cannot_keep_up_refuses_and_stores_what_it_took(home: Path) -> None:
    with running_receiver(home, limits=JournalLimits(waiting_bytes=150)) as receiver:
        answers = [receiver.push(b'{"uuid":"event-%d","padding":"%b"}' % (n, b"x" * 100 * n)) for n in range(4)]
        assert [answer.status_code for answer in answers] == [200, 429, 429, 429]
        assert answers[-1].headers["retry-after"] == "2"
        assert receiver.metric("rejected_total", reason="overloaded") == 3
    ingest(home)
    assert landed_uuids(home) == ["event-0"]
