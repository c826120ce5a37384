"""Each fault as a real client meets it, and the text of `--faults`."""

import concurrent.futures
import email.utils
import time
from collections import Counter
from typing import Any

import httpx
import pytest

from pipelines.errors import ConfigurationError
from pipelines.simulator.faults import FAULTS, FaultDraws, Faults, parse_faults
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.server import running_simulator
from tests.simulator.reading import client_of

ALWAYS = 10**6


def test_faults_are_read_from_text() -> None:
    faults = parse_faults(" 429=0.2, 500=0.1,timeout=0.05,cut=0.1,retry-after=2,timeout-seconds=1.5,max-consecutive=5 ")
    assert faults == Faults(
        rates={"429": 0.2, "500": 0.1, "timeout": 0.05, "cut": 0.1},
        retry_after_seconds=2,
        timeout_seconds=1.5,
        max_consecutive=5,
    )
    assert parse_faults("") == Faults()
    everything = parse_faults("all=0.2").rates
    assert everything.keys() == FAULTS.keys() - {"5xx"}
    assert sum(everything.values()) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("quake=0.1", "'quake'.*429-seconds"),
        ("429", "'429'.*no value"),
        ("429=often", "'429'.*'often'"),
        ("429=1.5", "'429'.*1.5"),
        ("429=-1", "'429'.*-1"),
        ("429=nan", "'429'.*nan"),
        ("429=0.6,500=0.6", "1.2"),
        ("429=0.1,429=0.2", "'429'.*twice"),
        ("retry-after=1,retry-after=2", "'retry-after'.*twice"),
        ("timeout-seconds=0", "timeout-seconds"),
        ("max-consecutive=1.5", "max-consecutive"),
        ("=1", "''"),
    ],
)
def test_a_text_that_cannot_be_used_says_which_part(text: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        parse_faults(text)
    with pytest.raises(ConfigurationError, match=named):
        SimulatorOptions.model_validate({"faults": text})


def test_draws_follow_the_seed_and_the_path_and_not_the_order() -> None:
    faults = Faults(rates={"429": 0.3, "cut": 0.2})
    paths = [f"/v1/embeds/{number}/events" for number in range(50)]
    first, second, other = FaultDraws(1), FaultDraws(1), FaultDraws(2)
    once = {path: [first.draw(faults, path) for _ in range(20)] for path in paths}
    again: dict[str, list[str | None]] = {path: [] for path in paths}
    for _ in range(20):
        for path in reversed(paths):
            again[path].append(second.draw(faults, path))
    assert once == again
    assert once != {path: [other.draw(faults, path) for _ in range(20)] for path in paths}
    counted = Counter(fault for drawn in once.values() for fault in drawn)
    assert counted["429"] / 1000 == pytest.approx(0.3, abs=0.06)
    assert counted["cut"] / 1000 == pytest.approx(0.2, abs=0.06)


def test_a_path_answers_well_after_so_many_faults_in_a_row() -> None:
    draws = FaultDraws(1)
    faults = Faults(rates={"429": 1.0}, max_consecutive=2)
    assert [draws.draw(faults, "/whoami") for _ in range(6)] == ["429", "429", None] * 2


def always(name: str, **settings: Any) -> Faults:
    return Faults.model_validate({"rates": {name: 1.0}, "max_consecutive": ALWAYS, **settings})


@pytest.mark.parametrize("status", ["408", "425", "429", "500", "502", "503", "504"])
def test_statuses(start: Any, status: str) -> None:
    running, api = start(faults=always(status))
    answer = api.get("/v1/embeds")
    assert answer.status_code == int(status)
    assert "retry-after" not in answer.headers
    assert running.admin.get("requests").json()["faults"] == {status: 1}
    # A fault does not spoil the connection.
    running.throw(faults="")
    assert api.get("/whoami").status_code == 200


def test_5xx_is_each_server_error(start: Any) -> None:
    _, api = start(faults=always("5xx"))
    assert {api.get("/whoami").status_code for _ in range(40)} == {500, 502, 503, 504}


def test_retry_after_in_seconds_and_as_a_date(start: Any) -> None:
    running, api = start(faults=always("429-seconds", retry_after_seconds=7))
    answer = api.get("/whoami")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    running.throw(faults=always("429-date", retry_after_seconds=60))
    answer = api.get("/whoami")
    at = email.utils.parsedate_to_datetime(answer.headers["retry-after"])
    assert answer.status_code == 429
    assert 55 < at.timestamp() - time.time() <= 60


def test_a_dropped_connection(start: Any) -> None:
    running, api = start(faults=always("drop"))
    with pytest.raises(httpx.RemoteProtocolError, match="disconnected without sending"):
        api.get("/v1/embeds")
    assert running.admin.get("requests").json()["by_status"] == {"drop": 1}


@pytest.mark.parametrize("path", ["/v1/embeds", "/whoami"])
def test_a_cut_body_is_shorter_than_its_length(start: Any, path: str) -> None:
    running, api = start(faults=always("cut"))
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        api.get(path)
    received: list[bytes] = []
    with api.stream("GET", path) as answer, pytest.raises(httpx.RemoteProtocolError):
        received.extend(answer.iter_bytes())
    assert answer.status_code == 200
    running.throw(faults="")
    whole = api.get(path).content
    assert int(answer.headers["content-length"]) == len(whole)
    assert b"".join(received) == whole[: len(whole) // 2]


def test_a_truncated_body_is_whole_by_its_length_and_no_json(start: Any) -> None:
    _, api = start(faults=always("truncated"))
    answer = api.get("/v1/embeds")
    assert answer.status_code == 200
    with pytest.raises(ValueError):
        answer.json()


def test_a_page_of_html_instead_of_json(start: Any) -> None:
    _, api = start(faults=always("not-json"))
    answer = api.get("/v1/embeds")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.text.startswith("<!doctype html>")


def test_a_time_out_hangs_longer_than_the_client_waits(start: Any) -> None:
    running, _ = start(faults=always("timeout", timeout_seconds=3600))
    with client_of(running, timeout=0.2) as api, pytest.raises(httpx.ReadTimeout):
        api.get("/v1/embeds")


def test_a_time_out_closes_the_connection_at_last(start: Any) -> None:
    _, api = start(faults=always("timeout", timeout_seconds=0.05))
    with pytest.raises(httpx.RemoteProtocolError):
        api.get("/v1/embeds")


def test_the_server_stops_while_requests_hang() -> None:
    options = SimulatorOptions(embeds=1, faults=always("timeout", timeout_seconds=3600))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        with running_simulator(options) as running:
            clients = [client_of(running, timeout=60) for _ in range(4)]
            waiting = [pool.submit(client.get, "/whoami") for client in clients]
            while running.simulation.requests.in_flight < 4:
                assert not any(each.done() for each in waiting)
        assert all(isinstance(each.exception(30), httpx.RemoteProtocolError) for each in waiting)
    for client in clients:
        client.close()


def test_all_faults_together_end_in_the_truth_for_who_tries_again(start: Any) -> None:
    running, _ = start(embeds=60, faults="all=0.4,timeout-seconds=0.05,retry-after=0")
    with client_of(running, timeout=2) as api:

        def get(path: str) -> Any:
            for _ in range(4):
                try:
                    answer = api.get(path)
                    if answer.status_code == 200:
                        return answer.json()
                except (httpx.TransportError, ValueError):
                    continue
            raise AssertionError(f"{path} failed more often than max_consecutive allows")

        seen = [event["uuid"] for embed in get("/v1/embeds") for event in get(f"/v1/embeds/{embed['id']}/events")]
    assert sorted(seen) == sorted(event["uuid"] for event in running.truth())
    requests = running.admin.get("requests").json()
    assert len(requests["faults"]) > 8
    assert requests["total"] == sum(requests["by_status"].values())


def test_embeds_that_are_broken_for_good(start: Any) -> None:
    running, api = start()
    first, second, third, fourth, whole = [embed["id"] for embed in api.get("/v1/embeds").json()[:5]]
    running.throw(broken_embeds={first: "500", second: "422", third: "object", fourth: "scalars"})
    for _ in range(10):
        assert api.get(f"/v1/embeds/{first}/events").status_code == 500
    answer = api.get(f"/v1/embeds/{second}/events")
    assert (answer.status_code, answer.json().keys()) == (422, {"code", "param", "message", "data"})
    assert isinstance(api.get(f"/v1/embeds/{third}/events").json(), dict)
    assert not any(isinstance(each, dict) for each in api.get(f"/v1/embeds/{fourth}/events").json())
    assert api.get(f"/v1/embeds/{whole}/events").json()[0]["event_type"] == "embed_initialized"
    assert api.get(f"/v1/embeds/{first}").status_code == 200
    # JSON has no integer keys.
    assert running.admin.post("switches", json={"broken_embeds": {str(whole): "400"}}).status_code == 200
    assert api.get(f"/v1/embeds/{whole}/events").status_code == 400
    assert api.get(f"/v1/embeds/{first}/events").status_code == 200


def test_latency_delays_the_vendors_answers_and_not_the_admins(start: Any) -> None:
    running, _ = start(latency_seconds=3600)
    with client_of(running, timeout=0.1) as api, pytest.raises(httpx.ReadTimeout):
        api.get("/whoami")
    assert running.admin.get("clock").status_code == 200
