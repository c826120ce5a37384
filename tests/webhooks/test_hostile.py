"""Strangers: requests of any bytes, clients that are slow or leave, credentials that must not be kept."""

import gc
import logging
import random
import signal
import socket
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import orjson
import pytest
from pydantic import SecretStr

from pipelines.oneschema.tokens import TokenReader
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.simulation import Simulation
from pipelines.simulator.truth import Truth
from pipelines.webhooks.protocol import MAX_HEAD_BYTES, Patience
from tests.poll.sweeping import raw_events
from tests.proving import seeds
from tests.webhooks.receiving import (
    SECRET,
    ReceiverProcess,
    RunningReceiver,
    basic,
    full_events,
    ingest,
    landed_uuids,
    running_receiver,
    settings_of,
    until,
)

SAMPLE = (Path(__file__).parents[1] / "simulator" / "fixtures" / "webhook_event.json").read_bytes()


def request(body: bytes = SAMPLE, *headers: str, line: str = "POST /events HTTP/1.1") -> bytes:
    lines = [line, "host: x", f"authorization: {basic()}", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that a stranger sends is an error of ours: neither in the log nor as a lost exception of a task."""
    yield
    gc.collect()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def statuses(receiver: RunningReceiver, requests: list[bytes]) -> list[int | None]:
    """The first status that each of several simultaneous connections gets; None where it is only closed."""
    with ExitStack() as stack:
        connections = [stack.enter_context(receiver.connect()) for _ in requests]
        for connection, content in zip(connections, requests, strict=True):
            try:
                connection.sendall(content)
            except OSError:
                # Answered and closed before all of it was sent.
                continue
        return [first_status(connection) for connection in connections]


def first_status(connection: socket.socket) -> int | None:
    received = b""
    try:
        while b"\r\n" not in received and (more := connection.recv(65536)):
            received += more
    except ConnectionResetError:
        return None
    return int(received.split(b" ", 2)[1]) if received.startswith(b"HTTP/1.1 ") else None


def mutated(draw: random.Random, content: bytes) -> bytes:
    """A few bytes changed, cut, doubled, or replaced by what is special in HTTP and JSON."""
    changed = bytearray(content)
    special = [
        b"\0",
        b"\r\n",
        b"\r\n\r\n",
        b"\xff",
        b":",
        b" ",
        b"%",
        b"{" * 50,
        b"-1",
        b"99999999999999999999",
        b"chunked",
    ]
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(changed) + 1)
        match draw.randrange(4):
            case 0:
                changed[at : at + 1] = bytes([draw.randrange(256)])
            case 1:
                del changed[at : at + draw.randint(1, 20)]
            case 2:
                changed[at:at] = changed[at : at + draw.randint(1, 50)]
            case _:
                changed[at:at] = draw.choice(special)
    return bytes(changed)


@pytest.mark.slow
@pytest.mark.prove
@pytest.mark.parametrize("seed", seeds(1))
def test_no_request_of_any_bytes_makes_a_server_error(home: Path, seed: int) -> None:
    draw = random.Random(seed)
    odd = [
        request(line="POST /events HTTP/9.9"),
        request(line="POST /events"),
        request(line="POST http://[ HTTP/1.1"),
        request(line="CONNECT x:1 HTTP/1.1"),
        request(line="POST /%ff%00/../events HTTP/1.1"),
        request(line="POST /\xe9 HTTP/1.1"),
        request(line="OPTIONS * HTTP/1.1"),
        request(SAMPLE, "upgrade: websocket", "connection: upgrade"),
        request(SAMPLE, "upgrade: h2c", "connection: upgrade"),
        request(SAMPLE, "transfer-encoding: chunked"),
        request(SAMPLE, "expect: 100-continue"),
        request(SAMPLE, "expect: nonsense"),
        request(SAMPLE, "content-encoding: gzip"),
        request(SAMPLE, "authorization: Basic \xff\xfe"),
        request(SAMPLE, "content-length: 5"),
        request(zlib.compress(SAMPLE)),
        request() * 300,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"\r\n" * 1000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
    with running_receiver(home, patience=Patience(request_seconds=0.3)) as receiver:
        seen: set[int | None] = set()
        for _ in range(8):
            requests = odd + [mutated(draw, request()) for _ in range(100)]
            odd = []
            seen.update(statuses(receiver, requests))
        assert {status for status in seen if status is not None and status >= 500} == set()
        assert {200, 400, 401, 404, 408} <= seen
        assert receiver.push(SAMPLE).status_code == 200


@pytest.mark.prove
@pytest.mark.parametrize("seed", seeds(1))
def test_no_body_of_any_bytes_makes_a_server_error_and_every_200_is_landed(home: Path, seed: int) -> None:
    draw = random.Random(seed)
    bodies = [mutated(draw, SAMPLE) for _ in range(400)]
    bodies += [
        b'{"uuid":"\\ud800"}',
        b'{"uuid":"a","n":%s}' % (b"9" * 5000),
        b'{"uuid":"b","n":1e999,"created_at":-0.0}',
        b'{"uuid":"c","data":' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"uuid":"d","embed_jwt":{"uuid":[1]},"data":7,"embed_id":"x"}',
        b'{"uuid":"e","uuid":"f"}',
        b'{"uuid":"' + b"g" * 100_000 + b'"}',
    ]
    with running_receiver(home) as receiver:
        answers = [receiver.push(body).status_code for body in bodies]
    assert set(answers) == {200}
    report = ingest(home)
    assert report.delivered_event_count == len(bodies)
    assert report.unreadable_count > 50
    assert report.damaged_count == 0


def test_slow_and_half_open_clients_do_not_keep_others_waiting(home: Path) -> None:
    patience = Patience(max_connections=20, request_seconds=0.5)
    with running_receiver(home, patience=patience) as receiver, ExitStack() as stack:
        beginnings = [b"", b"\r\n", b"POST /ev", request()[:60], request()[:-1], request()[:-300]]
        slow = [stack.enter_context(receiver.connect()) for _ in range(60)]
        for number, connection in enumerate(slow):
            try:
                connection.sendall(beginnings[number % len(beginnings)])
            except OSError:
                # There were too many already.
                continue
        # Their time is over, whether by the clock or because room was needed, and each is told or closed.
        assert {first_status(connection) for connection in slow} <= {408, 429, None}
        assert receiver.push(SAMPLE).status_code == 200
        assert receiver.metric("rejected_total", reason="timeout") > 0
        assert len(receiver.server.server_state.connections) <= 20


def test_a_push_beside_half_open_clients_is_answered_at_once(home: Path) -> None:
    with running_receiver(home, patience=Patience(request_seconds=60)) as receiver, ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(receiver.connect()).sendall(request()[:-5])
        assert (
            receiver.client.post("/events", content=SAMPLE, headers={"authorization": basic()}, timeout=5).status_code
            == 200
        )


def test_what_is_refused_before_there_is_a_request_is_counted_too(home: Path) -> None:
    patience = Patience(max_connections=3, request_seconds=60)
    with running_receiver(home, patience=patience) as receiver, ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(receiver.connect()).sendall(b"POST /ev")

        def refused_count() -> float:
            # Which of them it is depends on how old the others are by then.
            return sum(receiver.metric("rejected_total", reason=reason) for reason in ("overloaded", "timeout"))

        until(lambda: refused_count() == 5)
    with running_receiver(home) as receiver:
        assert statuses(receiver, [b"no HTTP\r\n\r\n"]) == [400]
        assert receiver.metric("rejected_total", reason="malformed") == 1


def test_heads_and_bodies_without_end_are_cut_off(home: Path) -> None:
    with running_receiver(home) as receiver:
        head = b"POST /events HTTP/1.1\r\n" + b"x-padding: %b\r\n" % (b"x" * 1000) * (2 * MAX_HEAD_BYTES // 1000 + 600)
        assert statuses(receiver, [head]) in ([431], [None])
        assert receiver.metric("rejected_total", reason="too_large") == 1
        chunk = b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"
        start = request(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
        assert statuses(receiver, [start + chunk * 300]) in ([413], [None])
        assert receiver.metric("rejected_total", reason="too_large") == 2
        assert receiver.push(SAMPLE).status_code == 200


@pytest.mark.slow
def test_no_credential_is_kept_or_shown(home: Path, tmp_path: Path) -> None:
    simulation = Simulation(SimulatorOptions(embeds=60))
    bodies = list(full_events(simulation))
    # A customer's own copies of the token, where the API documents none.
    event = orjson.loads(bodies[0])
    event |= {"uuid": "event-copies", "data": {"note": f"token={event['embed_jwt']}", "Token": "tok-secret-1234567"}}
    with ReceiverProcess(home, tmp_path) as receiver:
        with httpx.Client(base_url=receiver.url, headers={"authorization": basic()}, trust_env=False) as client:
            for body in [*bodies, orjson.dumps(event)]:
                assert client.post("/events", content=body).status_code == 200
            client.post("/events", content=b"{" + bodies[0])
            client.post("/events", content=bodies[0], headers={"authorization": basic("wrong-secret-777")})
            shown = client.get("/metrics").content + client.get("/healthz").content
        receiver.end(signal.SIGTERM)
        shown += receiver.first_line.encode() + receiver.log.read_bytes()
    shown += b"".join(path.read_bytes() for path in (home / "webhooks").iterdir())
    credentials = Truth(simulation).credentials()
    secrets = [*credentials["jwts"], *credentials["jwt_signatures"], *credentials["embed_tokens"]]
    assert len(secrets) > 100
    for secret in [*secrets, "tok-secret-1234567", SECRET, "wrong-secret-777", basic().split()[1]]:
        assert secret.encode() not in shown
    assert b"user_id" in shown
    ingest(home)
    assert len([uuid for uuid in landed_uuids(home) if uuid]) == len(bodies) + 1


def test_the_claim_policy_holds_before_the_journal(home: Path) -> None:
    simulation = Simulation(SimulatorOptions(embeds=10))
    settings = settings_of(home, embed_analytics_claim_policy={"*": "drop", "iss": "keep"})
    with running_receiver(home, settings=settings) as receiver:
        for body in full_events(simulation):
            assert receiver.push(body).status_code == 200
    kept = b"".join(path.read_bytes() for path in (home / "webhooks").iterdir())
    assert b"iss" in kept
    assert b"user_id" not in kept


def test_a_policy_that_the_refresh_has_and_the_receiver_had_not_holds_in_raw(home: Path) -> None:
    simulation = Simulation(SimulatorOptions(embeds=10))
    hash_key = SecretStr("key-of-the-hashes")
    first = {"email": "hash", "name": "keep"}
    later = {"email": "hash", "name": "hash", "org.*": "drop"}
    bodies = list(full_events(simulation))
    received = settings_of(home, embed_analytics_claim_policy=first, embed_analytics_claim_hash_key=hash_key)
    with running_receiver(home, settings=received) as receiver:
        for body in bodies:
            assert receiver.push(body).status_code == 200
    refreshed = settings_of(home, embed_analytics_claim_policy=later, embed_analytics_claim_hash_key=hash_key)
    ingest(home, refreshed)
    # As if they had been read under the later policy at once: nothing in the clear, and nothing hashed twice.
    reader = TokenReader({}, later, hash_key)
    expected = {event["uuid"]: reader.read(event["embed_jwt"]).claims for event in map(orjson.loads, bodies)}
    landed = raw_events(home)
    assert dict(landed.select("event_uuid", "claims").iter_rows()) == expected
    assert landed["claims"].str.json_path_match("$.name").str.contains("^[0-9a-f]{64}$").any()


def test_what_waits_in_pieces_is_bounded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.webhooks.receiver.MAX_PARTIAL_BYTES", 1)
    # More than one read brings.
    body = b'{"uuid":"event-1","padding":"%b"}' % (b"x" * 500_000)
    with running_receiver(home) as receiver:
        assert receiver.push(body).status_code == 429
        assert receiver.metric("rejected_total", reason="overloaded") == 1
        assert receiver.push(SAMPLE).status_code == 200
