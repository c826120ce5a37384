"""Bodies of every shape that a sender, a proxy or an attacker makes of an event: each is kept, once, and counted."""

import gzip
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from pipelines import steps
from pipelines.oneschema.credentials import REMOVED
from pipelines.oneschema.known_secrets import NO_SECRETS, KnownSecrets
from pipelines.oneschema.tokens import TokenReader
from pipelines.oneschema.unreadable_text import keepable_text
from pipelines.raw import held
from pipelines.raw.unreadable import RAW_UNREADABLE, UnreadableBody
from pipelines.webhooks.bodies import BodyTooLargeError, CannotInflateError, inflate
from pipelines.webhooks.receiver import MAX_BODY_BYTES, MAX_EVENTS
from pipelines.webhooks.records import decode, encode, encode_unreadable
from pipelines.webhooks.segments import Segment, create_segment
from tests.linear_time import MOST, worst_ratio
from tests.poll.sweeping import raw_events
from tests.proving import examples
from tests.webhooks.receiving import SECRET, basic, ingest, journal_files, landed_uuids, running_receiver, settings_of

SAMPLE = (Path(__file__).parents[1] / "simulator" / "fixtures" / "webhook_event.json").read_bytes()
EVENT: dict[str, Any] = {key: value for key, value in json.loads(SAMPLE).items() if key != "embed_jwt"}
UUID = EVENT["uuid"]
JWT = json.loads(SAMPLE)["embed_jwt"]
BOM = b"\xef\xbb\xbf"
DEFLATE = zlib.compress(SAMPLE)
BARE_DEFLATE = DEFLATE[2:-4]


def raw_unreadable(home: Path) -> pl.DataFrame:
    files = sorted((home / "raw" / "unreadable").glob("*.parquet"))
    return pl.concat([pl.read_parquet(path) for path in files]) if files else RAW_UNREADABLE.polars_schema.to_frame()


READABLE: dict[str, tuple[bytes, dict[str, str]]] = {
    "plain": (SAMPLE, {}),
    "gzip": (gzip.compress(SAMPLE), {"content-encoding": "gzip"}),
    "GZIP, in two members": (gzip.compress(SAMPLE[:50]) + gzip.compress(SAMPLE[50:]), {"content-encoding": "X-GZip"}),
    "gzip without its header": (gzip.compress(SAMPLE), {}),
    "gzip twice": (gzip.compress(gzip.compress(SAMPLE)), {"content-encoding": "gzip, gzip"}),
    "deflate": (DEFLATE, {"content-encoding": "deflate"}),
    "bare deflate": (BARE_DEFLATE, {"content-encoding": "identity, deflate"}),
    "the header of a body that was unpacked": (SAMPLE, {"content-encoding": "gzip"}),
    "a BOM": (BOM + SAMPLE, {}),
    "a BOM in gzip": (gzip.compress(BOM + SAMPLE), {"content-encoding": "gzip"}),
    "UTF-16": (SAMPLE.decode().encode("utf-16"), {}),
    "a control character": (SAMPLE.replace(b'"data": {}', b'"data": {"note":"a\x02\x00\nb"}'), {}),
    "Upgrade: h2c": (SAMPLE, {"upgrade": "h2c", "connection": "upgrade, http2-settings"}),
    "Upgrade: websocket": (SAMPLE, {"upgrade": "websocket", "connection": "Upgrade"}),
    "an array": (b"[" + SAMPLE + b"]", {}),
}


@pytest.mark.parametrize("shape", READABLE)
def test_an_event_of_any_shape_lands_as_the_event_that_it_is(home: Path, shape: str) -> None:
    body, headers = READABLE[shape]
    with running_receiver(home) as receiver:
        # On one connection, so that the second is read by what is left of the first.
        for _ in range(3):
            assert receiver.push(body, **headers).json() == {"status": "stored"}
        assert receiver.push(SAMPLE.replace(UUID.encode(), b"event-after")).status_code == 200
    assert ingest(home).unreadable_count == 0
    landed = raw_events(home).sort("event_uuid")
    assert landed["event_uuid"].to_list() == sorted([UUID, "event-after"])
    assert landed["jwt_status"].to_list() == ["unverified"] * 2
    assert raw_unreadable(home).is_empty()


def test_a_request_with_upgrade_is_read_in_pieces_and_pipelined(home: Path) -> None:
    def request(uuid: str) -> bytes:
        body = SAMPLE.replace(UUID.encode(), uuid.encode())
        head = ["POST /events HTTP/1.1", "host: x", f"authorization: {basic()}", f"content-length: {len(body)}"]
        head += ["connection: upgrade", "upgrade: h2c, websocket"]
        return "\r\n".join(head).encode() + b"\r\n\r\n" + body

    with running_receiver(home) as receiver, receiver.connect() as connection:
        connection.sendall(b"".join(request(f"event-{number}") for number in range(5)))
        answers(connection, 5)
        for piece in range(0, len(request("event-5")), 97):
            connection.sendall(request("event-5")[piece : piece + 97])
        answers(connection, 1)
        connection.sendall(b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    ingest(home)
    assert sorted(landed_uuids(home)) == [f"event-{number}" for number in range(6)]


def answers(connection: Any, count: int) -> None:
    received = b""
    while received.count(b'{"status":"stored"}') < count:
        more = connection.recv(65536)
        assert more, received
        received += more
    assert received.count(b"HTTP/1.1 200 ") == count


UNREADABLE: dict[str, tuple[bytes, dict[str, str], str]] = {
    "nothing": (b"", {}, "json"),
    "a word": (b"nothing", {}, "json"),
    "cut": (SAMPLE[:-20], {}, "json"),
    "cut in its token": (SAMPLE[: SAMPLE.index(b"eyJ") + 60], {}, "json"),
    "too much": (SAMPLE + b"}", {}, "json"),
    "a form": (b"payload=" + quote(SAMPLE).encode(), {}, "json"),
    "bytes": (bytes(range(256)), {}, "json"),
    "brackets": (b'{"a":' * 100_000, {}, "json"),
    "escaped quotes": (b'{"uuid":"event-' + b'\\"' * 500_000, {}, "json"),
    "cut gzip": (gzip.compress(SAMPLE)[:-20], {"content-encoding": "gzip"}, "encoding"),
    "gzip that is not": (b"nothing", {"content-encoding": "gzip"}, "encoding"),
    "deflate that is not": (b"nothing", {"content-encoding": "deflate"}, "encoding"),
    "an encoding of no name": (b"nothing", {"content-encoding": "br"}, "encoding"),
    "packed too often": (gzip.compress(SAMPLE), {"content-encoding": "gzip, gzip, gzip"}, "encoding"),
}


@pytest.mark.parametrize("shape", UNREADABLE)
def test_what_cannot_be_read_is_kept_and_quarantined(home: Path, shape: str) -> None:
    body, headers, reason = UNREADABLE[shape]
    with running_receiver(home) as receiver:
        for _ in range(2):
            answer = receiver.push(body, **headers)
            assert answer.status_code == 200
            assert "warning" in answer.json()
        assert receiver.metric("unreadable_total", reason=reason) == 2
        assert receiver.push(SAMPLE).json() == {"status": "stored"}
    assert ingest(home).unreadable_count == 2
    rows = raw_unreadable(home)
    assert rows["byte_count"].to_list() == [len(body)] * 2
    assert rows["digest"].n_unique() == 1
    assert rows["source"].to_list() == ["webhook"] * 2
    text = rows["text"][0]
    assert (text is None) == (reason == "encoding" or shape == "bytes")
    assert not text or JWT.split(".")[2] not in text
    # The same body is one delivery, which is counted like every other.
    report = steps.flatten(settings_of(home), on_wait=pytest.fail)
    assert (report.delivery_count, report.event_count, report.quarantined_count) == (2, 1, 1)
    (file,) = (home / "quarantine").rglob("*.parquet")
    quarantined = pl.read_parquet(file).row(0, named=True)
    assert json.loads(quarantined["payload"])["unreadable"]["digest"] == rows["digest"][0]
    assert quarantined["level"] == "event"


@pytest.mark.parametrize(
    "body", [b"null", b"[]", b'"event-1"', b"{}", b'{"uuid": null}', b'{"uuid": 7}', b'{"uuid": " "}', b"[1,{}]"]
)
def test_json_that_is_not_an_event_is_a_delivery_like_the_apis(home: Path, body: bytes) -> None:
    with running_receiver(home) as receiver:
        assert "warning" in receiver.push(body).json()
        assert receiver.metric("unreadable_total", reason="no_uuid") == 1
    report = ingest(home)
    assert report.delivered_event_count == (2 if body == b"[1,{}]" else 1)
    assert report.unreadable_count == 0
    flattened = steps.flatten(settings_of(home), on_wait=pytest.fail)
    assert flattened.delivery_count == flattened.quarantined_count == report.delivered_event_count


def test_an_array_is_taken_apart_up_to_a_limit(home: Path) -> None:
    def array(prefix: str, count: int) -> bytes:
        return json.dumps([{"uuid": f"{prefix}-{number}"} for number in range(count)]).encode()

    with running_receiver(home) as receiver:
        assert receiver.push(array("a", MAX_EVENTS)).json() == {"status": "stored"}
        assert "warning" in receiver.push(array("b", MAX_EVENTS + 1)).json()
    ingest(home)
    landed = raw_events(home)
    assert landed["event_uuid"].drop_nulls().str.starts_with("a-").sum() == MAX_EVENTS
    assert landed.filter(landed["event_uuid"].is_null())["odd"].str.contains(f"b-{MAX_EVENTS}").to_list() == [True]


@pytest.mark.parametrize("policy", [{}, {"email": "keep"}, {"email": "drop"}, {"email": "hash"}])
def test_no_text_is_kept_where_a_policy_drops_or_hashes(home: Path, policy: dict[str, Any]) -> None:
    text = b'{"user":"ada@example.com",'
    hash_key = SecretStr("key-of-the-hashes")
    received = settings_of(home, embed_analytics_claim_policy=policy, embed_analytics_claim_hash_key=hash_key)
    with running_receiver(home, settings=received) as receiver:
        assert receiver.push(text).status_code == 200
    journal = b"".join(path.read_bytes() for path in journal_files(home))
    is_kept = policy in ({}, {"email": "keep"})
    assert (b"ada@" in journal) == is_kept
    # The refresh may be stricter than the receiver was.
    strict = settings_of(home, embed_analytics_claim_policy={"x": "drop"})
    ingest(home, strict)
    assert raw_unreadable(home).select("byte_count", "text").row(0) == (len(text), None)
    assert "ada@" not in str(raw_events(home).to_dicts())


def test_without_the_secret_nothing_is_kept(home: Path) -> None:
    with running_receiver(home) as receiver:
        for body, headers in [*READABLE.values(), (b"nothing", {})]:
            answer = receiver.push(body, **{**headers, "authorization": basic("wrong")})
            assert answer.status_code == 401
    report = ingest(home)
    assert report.delivered_event_count == 0
    assert raw_unreadable(home).is_empty()


def test_a_bomb_is_cut_off_at_the_limit(home: Path) -> None:
    bomb = gzip.compress(b" " * (200 * MAX_BODY_BYTES))
    bombs: list[tuple[bytes, str]] = [
        (bomb, "gzip"),
        (gzip.compress(bomb), "gzip, gzip"),
        (zlib.compress(b" " * (2 * MAX_BODY_BYTES)), "deflate"),
        (gzip.compress(b" " * MAX_BODY_BYTES) + gzip.compress(b"1"), "gzip"),
    ]
    with running_receiver(home) as receiver:
        for body, coding in bombs:
            assert receiver.push(body, **{"content-encoding": coding}).status_code == 413
        assert receiver.metric("rejected_total", reason="too_large") == len(bombs)
        whole = SAMPLE + b" " * (MAX_BODY_BYTES - len(SAMPLE))
        assert receiver.push(gzip.compress(whole), **{"content-encoding": "gzip"}).json() == {"status": "stored"}
    assert ingest(home).delivered_event_count == 1


@pytest.mark.prove
@settings(max_examples=examples(300))
@given(
    st.binary(max_size=300), st.sampled_from([None, b"gzip", b"deflate", b"gzip,deflate", b"br", b",,"]), st.booleans()
)
def test_bytes_of_any_kind_are_inflated_or_refused(body: bytes, coding: bytes | None, is_packed: bool) -> None:
    packed = gzip.compress(body)[: len(body)] if is_packed else body
    try:
        assert len(inflate(packed, coding, 200)) <= max(200, len(packed))
    except (BodyTooLargeError, CannotInflateError):
        return


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("moment", ["before remembering", "before the rows", "before removing"])
def test_an_ingest_that_dies_is_done_again_without_doubling(
    home: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    bodies = [b"nothing %d" % number for number in range(5)]
    with running_receiver(home) as receiver:
        for body in [*bodies, *bodies, SAMPLE]:
            assert receiver.push(body).status_code == 200

    def die(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        if moment == "before remembering":
            patch.setattr(held, "remember", die)
        elif moment == "before the rows":
            patch.setattr("pipelines.webhooks.ingest.land_unreadable", die)
        else:
            patch.setattr(Segment, "remove", die)
        for _ in range(2):
            with pytest.raises(KilledError):
                ingest(home)
    ingest(home)
    assert journal_files(home) == []
    rows = raw_unreadable(home)
    assert rows.height == rows.unique(["received_at", "digest", "sweep_id"]).height == 2 * len(bodies)
    report = steps.flatten(settings_of(home), on_wait=pytest.fail)
    assert (report.event_count, report.quarantined_count) == (1, len(bodies))


def test_a_segment_that_grows_is_landed_bit_by_bit(home: Path) -> None:
    with running_receiver(home) as receiver:
        for number in range(3):
            assert receiver.push(b"nothing %d" % number).status_code == 200
            ingest(home)
    ingest(home)
    assert raw_unreadable(home).height == 3


def test_segments_of_an_earlier_version_are_read(home: Path) -> None:
    tokens = TokenReader({}, {}, None)
    path, descriptor = create_segment(home / "webhooks")
    head = b'[1700000000000000,null,"missing",null,{}]'
    content = head + b"\t" + json.dumps(EVENT).encode()
    unreadable = UnreadableBody.of(b"nothing", "webhook", "not JSON", "nothing")
    path.write_bytes(b"%08x\t%b\n" % (zlib.crc32(content), content) + encode_unreadable(unreadable, 5, tokens))
    os.close(descriptor)
    assert ingest(home).landed_event_count == 2
    assert raw_unreadable(home)["text"].to_list() == ["nothing"]
    assert UUID in landed_uuids(home)


@pytest.mark.prove
@settings(max_examples=examples(200))
@given(st.text(max_size=30) | st.none(), st.text(max_size=10), st.binary(max_size=10))
def test_a_line_of_an_unreadable_body_is_read_back(text: str | None, reason: str, body: bytes) -> None:
    tokens = TokenReader({}, {}, None)
    unreadable = UnreadableBody.of(body, "webhook", reason, text)
    line = encode_unreadable(unreadable, 7, tokens)
    assert line.count(b"\n") == 1
    record = decode(line)
    assert record is not None
    assert (record.unreadable, record.event, record.received_at) == (unreadable, None, 7)
    event = decode(encode({"unreadable": reason}, 7, tokens))
    assert event is not None
    assert event.unreadable is None


# What may be done to an event on its way, so that it cannot be read.
def broken(draw: st.DrawFn) -> tuple[str, list[str]]:
    secret = draw(st.sampled_from(["whsec-5b1c7e-very-secret", "p+ss/w=rd %41"]))
    token = draw(st.sampled_from([JWT, "tok-Secret-123456789", "plain words as a token"]))
    field = draw(st.sampled_from(["embed_jwt", "token", "user_jwt", "Token", "EMBED_JWT"]))
    event = {"uuid": "event-1", "note": [token, f"Authorization: {basic(secret)}"], field: token, "key": secret}
    text = json.dumps(event, indent=draw(st.sampled_from([None, 1])))
    spelling: Callable[[str], str] = draw(
        st.sampled_from(
            [
                str,
                quote,
                lambda plain: json.dumps(plain),
                lambda plain: "".join(f"\\u{ord(c):04x}" if c.isalpha() else c for c in plain),
                lambda plain: plain.replace('"', "'"),
            ]
        )
    )
    text = spelling(text)
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(start + 5, len(text))))
    inserted = draw(st.sampled_from(["", '"', "\\", "}", "\x00", "é"]))
    kept = text[:start] + inserted + text[end:]
    return kept[: draw(st.integers(0, len(kept)))], [secret, quote(secret, safe=""), JWT.split(".")[2]]


@pytest.mark.slow
@pytest.mark.prove
@settings(max_examples=examples(1500))
@given(st.composite(broken)())
def test_no_credential_is_left_in_a_text_that_is_kept(case: tuple[str, list[str]]) -> None:
    text, secrets = case
    kept = keepable_text(text, KnownSecrets(secrets[:1]))
    if kept is not None:
        for secret in [*secrets, basic(secrets[0]).split()[1], "tok-Secret-123456789"]:
            assert secret not in kept


@pytest.mark.parametrize(
    "text",
    [
        '{"token":"open sesame',
        '{"Token" :\n"open sesame","x":"open sesame",,',
        '{"tok\\u0065n":"open sesame"',
        "%7B%22embed_jwt%22%3A%22open sesame%22%2C",
        "%257B%2522embed_jwt%2522%253A%2522open sesame",
        "{'user_jwt': 'open sesame'}",
        "token=open sesame&",
        '{\\"token\\":\\"open sesame\\"',
        '{"token":["open sesame"]',
        '{"token":{"a":"open sesame"}',
        '{"validation_hooks":[{"secret":"open sesame"}]',
        "%2525252574oken=open sesame",
    ],
)
def test_the_value_of_a_credential_field_goes_whatever_it_looks_like(text: str) -> None:
    assert "open sesame" not in (keepable_text(text, NO_SECRETS) or "")


def test_the_plain_cut_event_stays_legible() -> None:
    kept = keepable_text(SAMPLE.decode()[:-3], KnownSecrets([SECRET]))
    assert kept is not None
    assert UUID in kept
    assert "columns_mapped" in kept or EVENT["event_type"] in kept
    assert REMOVED in kept
    assert JWT.split(".")[1] not in kept


HOSTILE_TEXTS: dict[str, Callable[[int], str]] = {
    "names": lambda n: '"token" ' * (n // 8),
    "fields": lambda n: '"token":"abcdefgh",' * (n // 19),
    "different values": lambda n: "".join(f'"token":"{number:012d}",' for number in range(n // 23)),
    "spaces behind a name": lambda n: '"token"' + " " * n,
    "a field that does not end": lambda n: '"token":"' + '\\"' * (n // 2),
    "names in fields that do not end": lambda n: '"token":"\\' * (n // 10),
    "runs": lambda n: "eyJ" * (n // 3),
    "dots": lambda n: "." * n,
    "escapes": lambda n: "%41" * (n // 3),
    "backslashes": lambda n: "\\" * n,
    "digits of uuids": lambda n: "0123456789abcdef-" * (n // 17),
    "escapes of escapes": lambda n: "%25" * (n // 3) + "41",
    "a secret": lambda n: SECRET * (n // len(SECRET)),
    "half a secret": lambda n: SECRET[:-1] * (n // len(SECRET)),
}


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("family", HOSTILE_TEXTS)
def test_the_search_is_linear_in_the_text(family: str) -> None:
    known = KnownSecrets([SECRET, "another-secret"])
    worst, took = worst_ratio(lambda text: keepable_text(text, known), HOSTILE_TEXTS[family])
    assert worst <= MOST, took
