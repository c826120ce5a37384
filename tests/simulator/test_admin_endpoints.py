"""The simulator's own endpoints, and what they change in the vendor's."""

import base64
import json
from typing import Any

import httpx
import pytest

from pipelines.simulator import clock as clock_module
from pipelines.simulator.clock import Clock
from pipelines.simulator.options import DEFAULT_NOW, SimulatorOptions
from pipelines.simulator.server import RunningSimulator
from pipelines.simulator.simulation import Simulation


def test_the_index_names_every_endpoint(simulator: RunningSimulator) -> None:
    assert len(simulator.admin.get("").json()) == 11


def test_the_clock_is_read_set_and_advanced(start: Any) -> None:
    running, _ = start()
    assert running.admin.get("clock").json() == {"now": DEFAULT_NOW, "runs": False}
    assert running.admin.post("clock", json={"advance_seconds": 90.5}).json()["now"] == DEFAULT_NOW + 90.5
    assert running.admin.post("clock", json={"now": 1.7e9}).json()["now"] == 1.7e9
    assert running.simulation.clock.now() == 1.7e9


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"", b'{"now":"noon"}', b'{"now":true}', b'{"now":NaN}', b'{"now":1,"advance_seconds":1}']
)
def test_a_clock_request_that_cannot_be_used_changes_nothing(simulator: RunningSimulator, body: bytes) -> None:
    answer = simulator.admin.post("clock", content=body)
    assert answer.status_code == 422
    assert answer.json()["message"]
    assert simulator.simulation.clock.now() == DEFAULT_NOW


def test_a_running_clock_runs_from_where_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = [50.0]
    monkeypatch.setattr(clock_module.time, "monotonic", lambda: machine[0])
    clock = Clock(1000, runs=True)
    machine[0] += 2.5
    assert clock.now() == 1002.5
    clock.set(5000)
    machine[0] += 1
    clock.advance(100)
    assert clock.now() == 5101
    machine[0] += 1
    assert clock.now() == 5102


def test_no_time_given_takes_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.simulator.simulation.time.time", lambda: 1.8e9 + 0.25)
    assert Simulation(SimulatorOptions(embeds=1, now=None)).clock.now() == 1.8e9


def test_switches_are_read_and_thrown_in_part(start: Any) -> None:
    running, _ = start(paging="capped", page_cap=3)
    thrown = running.admin.post("switches", json={"list_order": "descending", "faults": "429=0.5,retry-after=2"}).json()
    assert (thrown["paging"], thrown["page_cap"], thrown["list_order"]) == ("capped", 3, "descending")
    assert thrown["faults"]["rates"] == {"429": 0.5}
    assert thrown == running.admin.get("switches").json()
    assert running.admin.post("switches", json={"faults": {}}).json()["faults"]["rates"] == {}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"paging": "sometimes"}, "paging"),
        ({"pagign": "capped"}, "pagign"),
        ({"faults": "quake=1"}, "quake"),
        ({"faults": {"rates": {"quake": 1}}}, "quake"),
        ({"latency_seconds": -1}, "latency_seconds"),
        ({"api_key": "new"}, "api_key"),
    ],
)
def test_a_switch_that_cannot_be_thrown_is_named(simulator: RunningSimulator, body: Any, named: str) -> None:
    before = simulator.admin.get("switches").json()
    answer = simulator.admin.post("switches", json=body)
    assert answer.status_code == 422
    assert named in answer.json()["message"]
    assert simulator.admin.get("switches").json() == before


def test_requests_are_counted_and_forgotten(start: Any) -> None:
    running, api = start()
    first, second = [embed["id"] for embed in api.get("/v1/embeds").json()[:2]]
    for path in (f"/v1/embeds/{first}/events", f"/v1/embeds/{first}/events", f"/v1/embeds/{second}/events"):
        api.get(path)
    api.get(f"/v1/embeds/{first}")
    api.get("/whoami", headers={"X-API-KEY": "wrong"})
    api.get("/nowhere")
    assert running.admin.get("requests").json() == {
        "total": 7,
        "by_kind": {"embeds": 1, "events": 3, "embed": 1, "whoami": 1, "unknown": 1},
        "by_status": {"200": 5, "401": 1, "404": 1},
        "faults": {},
        "events_by_embed": {str(first): 2, str(second): 1},
        "most_in_flight": 1,
    }
    running.admin.post("requests/reset")
    assert running.admin.get("requests").json()["total"] == 0


def test_a_deleted_embed_is_gone_but_for_the_truth(start: Any) -> None:
    running, api = start()
    before = running.truth()
    embed_id = before[0]["embed_id"]
    assert running.admin.delete(f"embeds/{embed_id}").status_code == 200
    assert running.admin.delete(f"embeds/{embed_id}").status_code == 404
    assert running.admin.delete("embeds/1").status_code == 404
    for path in ("", "/events", f"/events/{before[0]['id']}"):
        assert api.get(f"/v1/embeds/{embed_id}{path}").status_code == 404
    assert embed_id not in {embed["id"] for embed in api.get("/v1/embeds").json()}
    after = running.truth()
    assert [event["uuid"] for event in after] == [event["uuid"] for event in before]
    assert {event["deleted_at"] for event in after if event["embed_id"] == embed_id} == {DEFAULT_NOW}
    assert {event["is_visible"] for event in after if event["embed_id"] == embed_id} == {False}


def test_hand_made_events_join_an_embeds_own(start: Any) -> None:
    running, api = start()
    embed_id = running.truth()[0]["embed_id"]
    path = f"/v1/embeds/{embed_id}/events"
    own = api.get(path).json()
    hostile: list[Any] = [
        {"uuid": "event-1", "created_at": DEFAULT_NOW - 5, "id": 7, "data": {"\ud800": 10**30, "x": [None, {}]}},
        {"uuid": "event-2", "created_at": "yesterday"},
        "no object",
        17,
    ]
    ahead = {"uuid": "event-3", "created_at": DEFAULT_NOW + 60}
    answer = running.admin.post(
        "events", content=json.dumps({"embed_id": embed_id, "events": [*hostile, ahead]}).encode()
    )
    assert answer.status_code == 200
    events = api.get(path).json()
    assert len(events) == len(own) + len(hostile)
    assert all(event in events for event in [*own, *hostile])
    assert api.get(f"{path}/7").json() == hostile[0]
    planted = [event for event in running.truth(embed_id) if event["is_planted"]]
    assert [event["event"] for event in planted] == hostile
    assert [event["uuid"] for event in planted] == ["event-1", "event-2", None, None]
    running.advance(60)
    assert ahead in api.get(path).json()


def test_a_hand_made_embed_is_listed_and_answers(start: Any) -> None:
    running, api = start()
    running.simulation.plant(7, events=[{"uuid": "event-7", "created_at": DEFAULT_NOW}])
    running.simulation.plant(8, embed={"id": "8", "user_jwt": 12, "surprise": True})
    listed = api.get("/v1/embeds").json()
    assert len(listed) == 42
    assert listed[0]["id"] == 7
    assert listed[1] == {"id": "8", "user_jwt": 12, "surprise": True}
    assert api.get("/v1/embeds/7/events").json() == [{"uuid": "event-7", "created_at": DEFAULT_NOW}]
    assert api.get("/v1/embeds/8/events").json() == []
    generated = listed[5]["id"]
    running.simulation.plant(generated, embed={"id": generated, "status": "other"})
    assert [embed for embed in api.get("/v1/embeds").json() if embed["id"] == generated] == [
        {"id": generated, "status": "other"}
    ]


@pytest.mark.parametrize("body", [b"[{]", b"", b"\xff\xfe\x00", b'[{"uuid": "event-1", "id": 1e999}]'])
def test_a_planted_body_is_answered_byte_for_byte(start: Any, body: bytes) -> None:
    running, api = start(embeds=0)
    planted = {"embed_id": 5, "body_base64": base64.b64encode(body).decode()}
    assert running.admin.post("events", json=planted).status_code == 200
    assert api.get("/v1/embeds/5/events").content == body


@pytest.mark.parametrize("body", [{}, {"embed_id": "5"}, {"embed_id": 5, "events": {}}, {"embed_id": 5, "evnets": []}])
def test_planting_says_what_it_needs(simulator: RunningSimulator, body: Any) -> None:
    answer = simulator.admin.post("events", json=body)
    assert answer.status_code == 422
    assert "embed_id" in answer.json()["message"]


def test_credentials_are_those_that_the_api_gave_out(simulator: RunningSimulator, api: httpx.Client) -> None:
    credentials = simulator.admin.get("credentials").json()
    embeds = api.get("/v1/embeds").json()
    assert credentials["api_keys"] == [simulator.api_key]
    assert credentials["embed_tokens"] == [embed["token"] for embed in embeds]
    given = {embed["user_jwt"] for embed in embeds if embed.get("user_jwt")} - {"undefined"}
    assert given <= set(credentials["jwts"])
    assert {jwt.split(".")[2] for jwt in given if jwt.count(".") == 2} <= set(credentials["jwt_signatures"])
    assert min(len(text) for texts in credentials.values() for text in texts) > 20


def test_neither_options_nor_the_simulator_show_a_secret(simulator: RunningSimulator) -> None:
    shown = repr(simulator.simulation.options) + repr(simulator)
    assert simulator.api_key not in shown
    assert simulator.simulation.options.client_secret.get_secret_value() not in shown


def test_what_the_webhooks_would_send_is_every_event_once(start: Any) -> None:
    shapes = ["gzip", "deflate", "bom", "control", "upgrade", "malformed", "cut", "cut-gzip"]
    running, _ = start(embeds=80)
    plain = [json.loads(line) for line in running.admin.get("pushes").content.splitlines()]
    assert {push["shape"] for push in plain} == {None}
    running.admin.post("switches", json={"push_shapes": shapes}).raise_for_status()
    lines = running.admin.get("pushes").content.splitlines()
    assert running.admin.get("pushes").content.splitlines() == lines
    odd = [json.loads(line) for line in lines]
    truth = [event["uuid"] for event in running.truth()]
    assert [push["uuid"] for push in odd] == [push["uuid"] for push in plain] == truth
    assert {push["shape"] for push in odd} == {None, *shapes}
    for push, sent in zip(odd, plain, strict=True):
        body, event = base64.b64decode(push["body_base64"]), json.loads(base64.b64decode(sent["body_base64"]))
        if push["shape"] in ("malformed", "cut"):
            with pytest.raises(ValueError):
                json.loads(body)
        elif push["shape"] in (None, "upgrade"):
            assert json.loads(body) == event
    assert running.admin.post("switches", json={"push_shapes": ["zip"]}).status_code == 422


def test_answers_may_begin_with_a_byte_order_mark(start: Any) -> None:
    running, client = start(embeds=2, answers_with_bom=True)
    embed_id = running.simulation.world.ids[0]
    for path in ("/v1/embeds", f"/v1/embeds/{embed_id}/events"):
        assert client.get(path).content.startswith(b"\xef\xbb\xbf[")
