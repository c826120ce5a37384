"""The vendor's endpoints over HTTP, against docs/vendor-api.md and the vendor's samples."""

import base64
from itertools import chain
from typing import Any

import httpx
import pytest

from pipelines.simulator.journeys import DAY
from pipelines.simulator.options import DEFAULT_NOW
from pipelines.simulator.server import RunningSimulator
from tests.simulator.reading import payload_of, sample


def embeds_of(api: httpx.Client, **params: Any) -> list[dict[str, Any]]:
    return api.get("/v1/embeds", params=params).raise_for_status().json()


def ids_of(api: httpx.Client, **params: Any) -> list[int]:
    return [embed["id"] for embed in embeds_of(api, **params)]


def events_of(api: httpx.Client, embed_id: int) -> list[dict[str, Any]]:
    return api.get(f"/v1/embeds/{embed_id}/events").raise_for_status().json()


@pytest.mark.parametrize("path", ["/whoami", "/v1/embeds", "/v1/embeds/1/events", "/nowhere"])
@pytest.mark.parametrize("headers", [{}, {"X-API-KEY": "wrong"}, {"X-API-KEY": ""}, {"Authorization": "Basic ???"}])
def test_without_the_key_there_is_no_answer(simulator: RunningSimulator, path: str, headers: dict[str, str]) -> None:
    answer = httpx.get(simulator.url + path, headers=headers)
    assert answer.status_code == 401
    assert answer.json().keys() == {"code", "param", "message", "data"}
    assert simulator.api_key not in answer.text


def test_basic_authentication_takes_the_key_as_password_without_a_user_name(simulator: RunningSimulator) -> None:
    assert httpx.get(f"{simulator.url}/whoami", auth=("", simulator.api_key)).status_code == 200
    assert httpx.get(f"{simulator.url}/whoami", auth=("me", simulator.api_key)).status_code == 401
    assert httpx.get(f"{simulator.url}/whoami", auth=("", "wrong")).status_code == 401


def test_a_refused_key_can_be_forbidden(start: Any) -> None:
    running, _ = start(refused_status=403)
    assert httpx.get(f"{running.url}/whoami").status_code == 403


def test_whoami(api: httpx.Client) -> None:
    assert api.get("/whoami").json() == {"org": "Northwind Importers"}


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/v1",
        "/v1/embeds/1",
        "/v1/embeds/1/events",
        "/v1/embeds/abc/events",
        "/v1/embeds/-1/events",
        "/v1/embeds/99999999999999999999999/events",
        "/v1/embeds/٣/events",
        "/v1/embeds/1/events/1",
        "/v1/embeds/1/events/1/file-url",
    ],
)
def test_what_is_unknown_is_404_in_the_documented_form(api: httpx.Client, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code == 404
    assert answer.json().keys() == {"code", "param", "message", "data"}


def test_another_method_is_405(api: httpx.Client) -> None:
    assert api.post("/v1/embeds").status_code == 405


def test_the_list_has_the_fields_of_the_sample(api: httpx.Client) -> None:
    columns_mapped, imported = sample("api_embeds")
    found = {embed["status"]: embed for embed in embeds_of(api) if "user_jwt" in embed}
    assert found["columns_mapped"].keys() == columns_mapped.keys()
    assert found["imported"].keys() == imported.keys()
    for field, value in imported.items():
        assert type(found["imported"][field]) is type(value)
    assert payload_of(found["imported"]["user_jwt"]).keys() >= payload_of(imported["user_jwt"]).keys()


def test_one_embed_is_its_summary_with_columns(api: httpx.Client) -> None:
    summary = embeds_of(api)[0]
    detail = api.get(f"/v1/embeds/{summary['id']}").json()
    columns = detail.pop("columns")
    assert detail == summary
    assert all({"key", "label", "data_type"} == column.keys() for column in columns)


def test_an_event_has_the_fields_of_the_sample(api: httpx.Client) -> None:
    (expected,) = sample("api_embed_events")
    mapped = [
        event
        for embed_id in ids_of(api)
        for event in events_of(api, embed_id)
        if event["event_type"] == "columns_mapped"
    ]
    assert all(event.keys() == expected.keys() for event in mapped)
    for field, value in expected.items():
        assert {type(event[field]) for event in mapped} == {type(value)}
    assert {len(event["uuid"]) for event in mapped} == {len(expected["uuid"])}
    assert all(event["uuid"].startswith("event-") for event in mapped)


def test_the_fuller_shape_has_the_fields_of_the_webhook_too(start: Any) -> None:
    running, api = start(event_shape="full")
    embed = next(embed for embed in embeds_of(api) if embed.get("user_jwt", "").count(".") == 2)
    full = events_of(api, embed["id"])
    assert all(event.keys() >= sample("webhook_event").keys() for event in full)
    assert {event["embed_id"] for event in full} == {embed["id"]}
    assert {event["template_key"] for event in full} == {embed["template_key"]}
    assert {event["environment_name"] for event in full} == {"Production"}
    running.throw(event_shape="api")
    envelope = ("embed_id", "embed_jwt", "environment_name", "template_key")
    assert events_of(api, embed["id"]) == [
        {field: value for field, value in event.items() if field not in envelope} for event in full
    ]


def test_one_event_and_the_address_of_its_snapshot(api: httpx.Client) -> None:
    embed_id = next(embed["id"] for embed in embeds_of(api) if embed["status"] == "imported")
    events = events_of(api, embed_id)
    for event in events:
        path = f"/v1/embeds/{embed_id}/events/{event['id']}"
        assert api.get(path).json() == event
        answer = api.get(f"{path}/file-url", params={"file_format": "parquet"})
        assert answer.status_code == (200 if event["has_snapshot"] else 404)
        if event["has_snapshot"]:
            assert answer.json().keys() == {"url"}
            assert api.get(f"{path}/file-url", params={"file_format": "pdf"}).status_code == 422
    assert {event["has_snapshot"] for event in events} == {True, False}


def test_the_answers_and_the_truth_agree(simulator: RunningSimulator, api: httpx.Client) -> None:
    delivered = {
        event["uuid"]: (embed_id, event.get("data"), event["created_at"], event["trigger_type"])
        for embed_id in ids_of(api)
        for event in events_of(api, embed_id)
    }
    truth = simulator.truth()
    assert all(event["is_visible"] and not event["is_purged"] for event in truth)
    assert delivered == {
        event["uuid"]: (event["embed_id"], event["data"], event["created_at"], event["trigger_type"]) for event in truth
    }
    assert [row["embed_id"] for row in simulator.truth_embeds()] == ids_of(api)
    one = truth[0]["embed_id"]
    assert simulator.truth(one) == [event for event in truth if event["embed_id"] == one]


def test_paging_ignored_answers_everything_every_time(api: httpx.Client) -> None:
    assert ids_of(api) == ids_of(api, offset=10, count=5) == ids_of(api, count="many")
    assert len(ids_of(api)) == 300


def test_paging_honoured(start: Any) -> None:
    _, api = start(paging="honoured")
    everything = ids_of(api)
    assert len(everything) == 40
    assert ids_of(api, count=7) == everything[:7]
    assert ids_of(api, offset=7) == everything[7:]
    assert ids_of(api, offset=35, count=7) == everything[35:]
    assert ids_of(api, offset=40, count=7) == []
    assert ids_of(api, count=0) == []
    for name in ("offset", "count"):
        answer = api.get("/v1/embeds", params={name: "-1"})
        assert (answer.status_code, answer.json()["param"]) == (422, name)


def test_paging_capped(start: Any) -> None:
    running, api = start(paging="capped", embeds=230)
    assert len(ids_of(api)) == len(ids_of(api, count=1000)) == 100
    pages = [ids_of(api, offset=offset, count=1000) for offset in (0, 100, 200, 300)]
    assert [len(page) for page in pages] == [100, 100, 30, 0]
    running.throw(paging="ignored")
    assert [*chain(*pages)] == ids_of(api)
    running.throw(paging="capped", page_cap=9)
    assert len(ids_of(api)) == 9


def test_list_orders(start: Any) -> None:
    running, api = start()
    ascending = ids_of(api)
    assert ascending == sorted(ascending)
    running.throw(list_order="descending")
    assert ids_of(api) == ascending[::-1]
    running.throw(list_order="shuffled")
    shuffled = ids_of(api)
    assert shuffled == ids_of(api)
    assert sorted(shuffled) == ascending
    assert shuffled not in (ascending, ascending[::-1])
    running.throw(list_order="shuffled", paging="honoured")
    assert ids_of(api, count=20) + ids_of(api, offset=20) == shuffled


def test_event_orders(start: Any) -> None:
    running, api = start()
    embed_id = max(running.truth_embeds(), key=lambda embed: embed["event_count"])["embed_id"]
    ascending = events_of(api, embed_id)
    running.throw(event_order="descending")
    assert events_of(api, embed_id) == ascending[::-1]
    running.throw(event_order="shuffled")
    shuffled = events_of(api, embed_id)
    assert shuffled == events_of(api, embed_id)
    assert shuffled not in (ascending, ascending[::-1])
    assert sorted(shuffled, key=lambda event: event["id"]) == ascending


def test_events_and_embeds_appear_as_the_clock_passes_them(start: Any) -> None:
    running, api = start(days=10, days_ahead=5)
    before = {event["uuid"] for event in running.truth()}
    assert len(ids_of(api)) == 40
    running.advance(2.5 * DAY)
    assert 40 < len(ids_of(api)) < 60
    seen = {event["uuid"] for embed_id in ids_of(api) for event in events_of(api, embed_id)}
    assert before < seen == {event["uuid"] for event in running.truth()}
    assert all(event["created_at"] <= DEFAULT_NOW + 2.5 * DAY for event in running.truth())
    running.advance(2.5 * DAY)
    assert len(ids_of(api)) == 60
    running.advance(-5 * DAY)
    assert {event["uuid"] for event in running.truth()} == before
    assert {event["uuid"] for embed_id in ids_of(api) for event in events_of(api, embed_id)} == before


def test_an_embed_appears_with_its_first_event(start: Any) -> None:
    running, api = start()
    first = running.truth()[0]
    running.simulation.clock.set(first["created_at"] - 1e-6)
    assert ids_of(api) == []
    assert api.get(f"/v1/embeds/{first['embed_id']}").status_code == 404
    running.simulation.clock.set(first["created_at"])
    assert ids_of(api) == [first["embed_id"]]
    assert [event["uuid"] for event in events_of(api, first["embed_id"])] == [first["uuid"]]


def test_late_events_show_up_later_than_they_were_created(start: Any) -> None:
    running, api = start(embeds=200, late_visibility=True)
    late = [event for event in running.truth() if event["visible_at"] > event["created_at"]]
    assert 0.02 < len(late) / len(running.truth()) < 0.12
    event = late[0]

    def is_answered(at: float) -> bool:
        running.simulation.clock.set(at)
        answered = event["uuid"] in {each["uuid"] for each in events_of(api, event["embed_id"])}
        (row,) = [row for row in running.truth(event["embed_id"]) if row["uuid"] == event["uuid"]]
        assert row["is_visible"] == answered
        return answered

    assert not is_answered(event["created_at"])
    assert is_answered(event["visible_at"])
    running.throw(late_visibility=False)
    assert is_answered(event["created_at"])


def test_retention_purges_answers_and_not_the_truth(start: Any) -> None:
    running, api = start(retention_days=10)
    limit = DEFAULT_NOW - 10 * DAY
    truth = running.truth()
    seen = {event["uuid"] for embed_id in ids_of(api) for event in events_of(api, embed_id)}
    assert len(ids_of(api)) == 40
    assert seen == {event["uuid"] for event in truth if event["created_at"] >= limit}
    assert seen == {event["uuid"] for event in truth if event["is_visible"]}
    assert {event["uuid"] for event in truth if event["is_purged"]} == {event["uuid"] for event in truth} - seen
    assert seen != {event["uuid"] for event in truth} != set()
    purged = next(event for event in truth if event["is_purged"])
    assert api.get(f"/v1/embeds/{purged['embed_id']}/events/{purged['id']}").status_code == 404


def test_basic_header_of_the_documentation(simulator: RunningSimulator) -> None:
    credentials = base64.b64encode(f":{simulator.api_key}".encode()).decode()
    for scheme in ("Basic", "basic"):
        answer = httpx.get(f"{simulator.url}/whoami", headers={"Authorization": f"{scheme} {credentials}"})
        assert answer.status_code == 200
