"""The world: the same for a seed, believable, and holding everything that readers of it must cope with."""

import json
from collections import Counter, defaultdict
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import jwt
import pytest

from pipelines.oneschema.vocabulary import EMBED_STATUSES, EVENT_TYPES, TRIGGER_TYPES
from pipelines.simulator.journeys import DAY, HOUR
from pipelines.simulator.options import DEFAULT_NOW, SimulatorOptions
from pipelines.simulator.simulation import Simulation
from pipelines.simulator.templates import TEMPLATES, UNKNOWN_EVENT_TYPES
from pipelines.simulator.truth import Truth

Events = dict[int, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation(SimulatorOptions(embeds=1500))


@pytest.fixture(scope="module")
def sessions(simulation: Simulation) -> Events:
    return sessions_of(simulation)


@pytest.fixture(scope="module")
def counted_everywhere(simulation: Simulation) -> Events:
    """The same world where import_submitted and embed_closed report errors as well."""
    return sessions_of(Simulation(simulation.options.model_copy(update={"error_counts": "everywhere"})))


def sessions_of(simulation: Simulation) -> Events:
    found: Events = defaultdict(list)
    for event in Truth(simulation).events():
        found[event["embed_id"]].append(event)
    return found


def types_of(events: list[dict[str, Any]]) -> list[str]:
    return [event["event_type"] for event in events]


def counts_of(event: dict[str, Any]) -> dict[str, dict[str, int]] | None:
    data: dict[str, Any] = event["data"] or {}
    return data.get("validation_error_counts")


def without_counts(event: dict[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] | None = event["data"]
    if data is None:
        return event
    return event | {"data": {key: value for key, value in data.items() if key != "validation_error_counts"}}


def test_the_same_seed_makes_the_same_world_whatever_is_asked_first() -> None:
    options = SimulatorOptions(embeds=60, days_ahead=3)
    first, second = Simulation(options), Simulation(options)
    second.clock.advance(3 * DAY)
    for embed_id in reversed(second.listed_ids()):
        second.events(embed_id)
    second.clock.set(DEFAULT_NOW)
    assert list(Truth(first).events()) == list(Truth(second).events())
    assert first.summaries(0, None) == second.summaries(0, None)
    other = Simulation(options.model_copy(update={"seed": 2}))
    assert {event["uuid"] for event in Truth(first).events()}.isdisjoint(
        event["uuid"] for event in Truth(other).events()
    )


def test_time_ahead_does_not_change_the_past() -> None:
    without = Simulation(SimulatorOptions(embeds=60))
    ahead = Simulation(SimulatorOptions(embeds=60, days_ahead=10))
    assert list(Truth(without).events()) == list(Truth(ahead).events())
    ahead.clock.advance(10 * DAY)
    assert len(ahead.listed_ids()) == 60 + 20


def test_every_type_and_trigger_of_the_vendor_and_some_unknown_types(sessions: Events) -> None:
    events = [event for session in sessions.values() for event in session]
    assert {event["event_type"] for event in events} == {*EVENT_TYPES, *UNKNOWN_EVENT_TYPES}
    assert {event["trigger_type"] for event in events} == set(TRIGGER_TYPES)
    assert {event["template_key"] for event in events} == {template.key for template in TEMPLATES}
    unknown_share = sum(event["event_type"] in UNKNOWN_EVENT_TYPES for event in events) / len(events)
    assert 0 < unknown_share < 0.02


def test_identities_are_unique_and_grow_with_time(sessions: Events) -> None:
    events = [event for session in sessions.values() for event in session]
    assert len({event["uuid"] for event in events}) == len({event["id"] for event in events}) == len(events)
    firsts = [session[0]["created_at"] for _, session in sorted(sessions.items())]
    assert firsts == sorted(firsts)
    for session in sessions.values():
        assert [event["id"] for event in session] == sorted(event["id"] for event in session)
        assert [event["created_at"] for event in session] == sorted(event["created_at"] for event in session)


def test_people_drop_at_each_step_and_close_or_leave(sessions: Events) -> None:
    reached = Counter(
        next(
            (
                step
                for step in ("import_submitted", "columns_mapped", "header_selected", "file_uploaded")
                if step in types
            ),
            "embed_initialized",
        )
        for types in map(types_of, sessions.values())
    )
    assert min(reached.values()) > 15
    assert len(reached) == 5
    unfinished = [types for types in map(types_of, sessions.values()) if "import_submitted" not in types]
    closed = sum(types[-1] == "embed_closed" for types in unfinished)
    assert 0.2 < closed / len(unfinished) < 0.8


def test_sessions_are_resumed_days_later_uploaded_twice_and_mapped_again(sessions: Events) -> None:
    gaps = [
        event["created_at"] - before["created_at"]
        for session in sessions.values()
        for before, event in pairwise(session)
        if event["event_type"] == "embed_resumed"
    ]
    assert min(gaps) < 3600
    assert max(gaps) > 5 * DAY
    counted = [Counter(types_of(session)) for session in sessions.values()]
    assert sum(counts["file_uploaded"] > 1 for counts in counted) > 50
    assert sum(counts["columns_mapped"] > 1 for counts in counted) > 50


def test_events_go_on_after_the_import_is_submitted(sessions: Events) -> None:
    submitted = [types for types in map(types_of, sessions.values()) if "import_submitted" in types]
    followed = Counter(types[types.index("import_submitted") + 1 :][-1:] == ["embed_closed"] for types in submitted)
    assert followed[True] > followed[False] > 0


def test_embeds_made_by_api_are_opened_by_people_or_finished_by_automation(sessions: Events) -> None:
    by_api = [session for session in sessions.values() if session[0]["trigger_type"] == "api"]
    assert 0.15 < len(by_api) / len(sessions) < 0.3
    assert any(len(session) == 1 for session in by_api)
    assert any(session[1:2] and session[1]["event_type"] == "embed_resumed" for session in by_api)
    submits = Counter(
        event["trigger_type"]
        for session in sessions.values()
        for event in session
        if event["event_type"] == "import_submitted"
    )
    assert set(submits) == set(TRIGGER_TYPES)


def test_counts_ride_on_columns_mapped_alone(sessions: Events) -> None:
    events = [event for session in sessions.values() for event in session]
    assert {event["event_type"] for event in events if counts_of(event) is not None} == {"columns_mapped"}
    mapped = [counts_of(event) for event in events if event["event_type"] == "columns_mapped"]
    assert None not in mapped
    assert {} in mapped
    assert all(
        isinstance(count, int) and count > 0
        for counts in mapped
        for codes in (counts or {}).values()
        for count in codes.values()
    )


def test_another_account_counts_on_other_events_at_times(sessions: Events, counted_everywhere: Events) -> None:
    events = [event for session in counted_everywhere.values() for event in session]
    for event_type in ("columns_mapped", "import_submitted", "embed_closed"):
        carried = [counts_of(event) for event in events if event["event_type"] == event_type]
        assert {} in carried
        assert any(carried)
        assert (None in carried) == (event_type != "columns_mapped")
    assert [without_counts(event) for event in events] == [
        without_counts(event) for session in sessions.values() for event in session
    ], "nothing else differs"


def test_operations_lower_the_error_counts(counted_everywhere: Events) -> None:
    totals: list[tuple[int, int]] = []
    for session in counted_everywhere.values():
        # From the last mapping of a file on: nothing but operations in between.
        mapped = [n for n, event in enumerate(session) if event["event_type"] == "columns_mapped"]
        if not mapped:
            continue
        later = [counts for event in session[mapped[-1] + 1 :] if (counts := counts_of(event)) is not None]
        first = counts_of(session[mapped[-1]])
        if later:
            totals.append(tuple(sum(sum(codes.values()) for codes in c.values()) for c in (first, later[-1])))  # type: ignore[arg-type]
    assert all(last <= first for first, last in totals)
    assert sum(last for _, last in totals) < 0.6 * sum(first for first, _ in totals)


def test_data_is_missing_or_null_for_a_few(simulation: Simulation) -> None:
    forms: Counter[str] = Counter()
    for embed_id in simulation.listed_ids():
        for event in json.loads(simulation.events(embed_id) or b""):
            data = event.get("data", "missing")
            forms["missing" if data == "missing" else "null" if data is None else "object"] += 1
    assert forms["missing"] > 5
    assert forms["null"] > 5
    assert (forms["missing"] + forms["null"]) / forms.total() < 0.03


def test_statuses_agree_with_the_events(simulation: Simulation, sessions: Events) -> None:
    after = {
        "file_uploaded": "uploaded",
        "header_selected": "headers_set",
        "columns_mapped": "columns_mapped",
        "import_submitted": "submitted",
    }
    summaries = json.loads(simulation.summaries(0, None))
    for summary in summaries:
        moves = [after[event_type] for event_type in types_of(sessions[summary["id"]]) if event_type in after]
        expected = moves[-1] if moves else "initialized"
        is_imported = summary["status"] == "imported"
        deliveries = {status.spelling: status.delivery for status in EMBED_STATUSES}
        assert ("submitted" if deliveries[summary["status"]] else summary["status"]) == expected
        assert ("imported_row_count" in summary) == is_imported
    assert {summary["status"] for summary in summaries} == {status.spelling for status in EMBED_STATUSES}


def test_a_world_that_skips_panes_lacks_their_events_and_nothing_else(simulation: Simulation) -> None:
    silent = Simulation(SimulatorOptions(embeds=1500, panes="skipped"))
    assert silent.listed_ids() == simulation.listed_ids()
    missing: Counter[str] = Counter()
    silent_steps: dict[int, set[str]] = {}
    for embed_id in simulation.listed_ids():
        shown = {event["uuid"]: event for event in json.loads(simulation.events(embed_id) or b"")}
        kept = {event["uuid"]: event for event in json.loads(silent.events(embed_id) or b"")}
        assert kept.items() <= shown.items()
        types = {uuid: event["event_type"] for uuid, event in shown.items()}
        missing.update(types[uuid] for uuid in shown.keys() - kept.keys())
        silent_steps[embed_id] = {*types.values()} - {types[uuid] for uuid in kept}
    assert missing.keys() == {"header_selected", "columns_mapped"}
    assert missing["header_selected"] > 2 * missing["columns_mapped"] > 100
    told = {embed["embed_id"]: {*embed["silent_steps"]} for embed in Truth(silent).embeds()}
    assert told == silent_steps
    statuses = {summary["id"]: summary["status"] for summary in json.loads(silent.summaries(0, None))}
    without_header = {embed_id for embed_id, steps in silent_steps.items() if "header_selected" in steps}
    assert "headers_set" not in {statuses[embed_id] for embed_id in without_header}


def test_a_status_moves_on_with_the_clock() -> None:
    simulation = Simulation(SimulatorOptions(embeds=200))
    seen: list[tuple[str, ...]] = []
    embeds = {row["embed_id"]: row for row in Truth(simulation).embeds() if row["status"] == "imported"}
    for embed_id, row in list(embeds.items())[:20]:
        times = [event.created_at for event in simulation.visible_events(embed_id)]
        statuses: list[str] = []
        for at in [*times, times[-1] + 90 * DAY]:
            simulation.clock.set(at)
            statuses.append(json.loads(simulation.summary(embed_id) or b"")["status"])
        seen.append(tuple(dict.fromkeys(statuses)))
        assert statuses[-1] == row["status"]
        simulation.clock.set(DEFAULT_NOW)
    for pending in ("import_pending", "import-pending"):
        assert ("initialized", "uploaded", "headers_set", "columns_mapped", pending, "imported") in seen


def test_an_import_by_webhook_may_come_late_or_fail_and_some_are_pending_for_ever() -> None:
    simulation = Simulation(SimulatorOptions(embeds=600))
    seen: Counter[tuple[str, str]] = Counter()
    embeds = list(Truth(simulation).embeds())
    for row in embeds:
        simulation.clock.set(DEFAULT_NOW)
        events = simulation.visible_events(row["embed_id"])
        if submitted := [event.created_at for event in events if event.event_type == "import_submitted"]:
            statuses: list[str] = []
            for at in (submitted[-1] + HOUR, submitted[-1] + 365 * DAY):
                simulation.clock.set(at)
                statuses.append(json.loads(simulation.summary(row["embed_id"]) or b"")["status"].replace("-", "_"))
            seen[statuses[0], statuses[1]] += 1
    assert seen.keys() == {
        ("imported", "imported"), ("import_failed", "import_failed"), ("import_pending", "imported"),
        ("import_pending", "import_pending"),
    }  # fmt: skip
    assert min(seen.values()) > 2, seen


def test_busier_on_working_days_and_by_day(sessions: Events) -> None:
    starts = [datetime.fromtimestamp(session[0]["created_at"], UTC) for session in sessions.values()]
    weekend = sum(at.weekday() >= 5 for at in starts) / len(starts)
    night = sum(at.hour < 5 for at in starts) / len(starts)
    assert weekend < 0.12
    assert night < 0.06
    assert all(DEFAULT_NOW - 30 * DAY <= at.timestamp() < DEFAULT_NOW for at in starts)


def test_created_at_has_microseconds(sessions: Events) -> None:
    times = [event["created_at"] for session in sessions.values() for event in session]
    assert all(at == round(at, 6) for at in times)
    assert sum(at == round(at, 3) for at in times) < len(times) / 100


def test_tokens_of_every_kind_and_claims_of_every_form(simulation: Simulation, sessions: Events) -> None:
    kinds = Counter(session[0]["token_kind"] for session in sessions.values())
    assert set(kinds) == {"valid", "invalid_signature", "malformed", "missing", "non_object"}
    assert kinds["valid"] > 0.94 * kinds.total()
    secret = simulation.options.client_secret.get_secret_value()
    embeds = {summary["id"]: summary for summary in json.loads(simulation.summaries(0, None))}
    for row in Truth(simulation).embeds():
        token = embeds[row["embed_id"]].get("user_jwt")
        match row["token_kind"]:
            case "valid":
                decoded = jwt.decode(token, secret, algorithms=["HS256"], options={"verify_iat": False})
                assert decoded == row["claims"]
            case "invalid_signature":
                with pytest.raises(jwt.InvalidSignatureError):
                    jwt.decode(token, secret, algorithms=["HS256"])
            case "missing":
                assert token is None
            case _:
                assert row["claims"] is None
                with pytest.raises(jwt.DecodeError):
                    jwt.decode(token, secret, algorithms=["HS256"])
    payloads = [str(embed["user_jwt"]).split(".")[1:2] for embed in embeds.values() if embed.get("user_jwt")]
    assert any("-" in part for parts in payloads for part in parts)
    assert any("_" in part for parts in payloads for part in parts)


def test_claims_hold_what_careless_readers_change(sessions: Events) -> None:
    texts = {text for session in sessions.values() if (text := session[0]["claims_json"])}
    everything = "\n".join(texts)
    for form in ('"quota":1e5', '"score":1.0', "9007199254740993", '"Plan Name":', '"Région"', '"roles":[', "株", "🚀"):
        assert form in everything
    claims = [json.loads(text) for text in texts]
    assert {type(each["user_id"]) for each in claims} == {str, int}
    assert any({"traceId", "traceid"} <= each.keys() for each in claims)
    per_user = Counter(str(session[0]["claims"]["user_id"]) for session in sessions.values() if session[0]["claims"])
    assert max(per_user.values()) > 3


def test_sessions_of_one_embed_may_carry_different_tokens(sessions: Events) -> None:
    different = [len({event["claims_json"] for event in session}) for session in sessions.values()]
    assert max(different) > 1
    users = [{str(event["claims"]["user_id"]) for event in session if event["claims"]} for session in sessions.values()]
    assert all(len(user) <= 1 for user in users)


def test_a_large_world_is_made_and_paged_without_making_its_events() -> None:
    simulation = Simulation(SimulatorOptions(embeds=200_000, days=60, paging="capped"))
    ids = simulation.listed_ids()
    assert len(set(ids)) == 200_000
    assert [row["id"] for row in json.loads(simulation.summaries(199_990, 100))] == ids[-10:]
    assert json.loads(simulation.events(ids[100_000]) or b"")[0]["event_type"] == "embed_initialized"
