"""The world: every embed that will ever start, and, when asked, everything that happens in it.

Starts are drawn when the world is made. An embed's journey, tokens and events follow only from (seed, embed), and are
made when first needed. So a world of 200,000 embeds costs a second, and one of its embeds a fraction of a millisecond.
Nothing here knows a clock: `simulation.py` decides what can be seen, and when.
"""

import hashlib
from bisect import bisect, bisect_left
from collections import OrderedDict
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random
from typing import Any, TypeVar

import orjson

from pipelines.simulator.incidents import Incident, incidents_of
from pipelines.simulator.journeys import DAY, HOUR, Journey, data_of_steps, walk
from pipelines.simulator.json_values import Json
from pipelines.simulator.options import SimulatorOptions
from pipelines.simulator.people import (
    NON_OBJECT_PAYLOADS,
    TOKEN_KINDS,
    TokenKind,
    malformed_token,
    organisation_of,
    person_claims,
    sign,
)
from pipelines.simulator.templates import TEMPLATES, Template

# How much happens in each hour (UTC) of a working day, and on each weekday from Monday on.
_HOURS = (1, 1, 1, 1, 2, 3, 6, 11, 17, 20, 20, 17, 15, 18, 21, 22, 19, 15, 11, 8, 6, 4, 3, 2)
_WEEKDAYS = (1.0, 1.15, 1.1, 1.0, 0.85, 0.2, 0.16)
_TEMPLATE_SCALE = list(accumulate(template.weight for template in TEMPLATES))
# Types after which the sheet exists, so that there can be a snapshot of it.
_WITH_SNAPSHOT = frozenset({"file_uploaded", "header_selected", "columns_mapped", "sheet_operation_performed"})
_FIRST_EMBED_ID = 41_559
_FIRST_EVENT_ID = 417_836
# Room for the event numbers of one embed: more than any journey's steps.
_EVENT_IDS_PER_EMBED = 256
_CACHED_EMBEDS = 20_000
_CACHED_PEOPLE = 100_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Token:
    """An embed's token (`text` is None if it is missing), and its claims if they can be read."""

    kind: TokenKind
    text: str | None
    claims_json: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `data` is None where the event comes without (`has_data` False). Times are epoch seconds."""

    uuid: str
    id: int
    embed_id: int
    event_type: str
    trigger_type: str
    data: dict[str, Json] | None
    created_at: float
    visible_at: float
    has_snapshot: bool
    token_number: int
    json: bytes

    @property
    def has_data(self) -> bool:
        return self.data is not None


@dataclass(frozen=True, slots=True)
class Embed:
    """One embed: who, what, and its journey. `token` is the credential that resumes it."""

    index: int
    id: int
    started_at: float
    template: Template
    person: int
    token: str
    token_kind: TokenKind
    journey: Journey
    # Epoch seconds of each step, in microseconds as the vendor's doubles are.
    times: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class EmbedState:
    """An embed at one instant. It stays so from `since` until (not including) `until`."""

    status: str
    imported_row_count: int | None
    token_number: int
    since: float
    until: float


class World:
    """The generated embeds, by index in the order of their starts.

    Threads may share it: all that changes are caches of values that come out the same each time.
    """

    def __init__(self, options: SimulatorOptions, now: float) -> None:
        """A world whose history of `options.days` ends at `now`, and which goes on for `options.days_ahead`."""
        self._options = options
        self._client_secret = options.client_secret.get_secret_value().encode()
        past = _draw_starts(Random(f"{options.seed}/past"), now - options.days * DAY, now, options.embeds)
        ahead_count = round(options.embeds * options.days_ahead / options.days)
        ahead = _draw_starts(Random(f"{options.seed}/ahead"), now, now + options.days_ahead * DAY, ahead_count)
        self.starts = past + ahead
        # The numbers in between belong to the key's other environments and to other customers.
        gaps = Random(f"{options.seed}/ids").choices((1, 1, 1, 2, 3, 5), k=len(self.starts))
        self.ids = [_FIRST_EMBED_ID + number for number in accumulate(gaps)]
        self._people = max(1, options.embeds // 3)
        self.incidents: tuple[Incident, ...] = incidents_of(now, options.days) if options.history == "eventful" else ()
        self._embeds: OrderedDict[int, Embed] = OrderedDict()
        self._events: OrderedDict[int, tuple[Event, ...]] = OrderedDict()
        self._claims: OrderedDict[int, bytes] = OrderedDict()

    def started_count(self, now: float) -> int:
        """How many embeds have started by `now`: those with an index below it."""
        return bisect(self.starts, now)

    def index_of(self, embed_id: int) -> int | None:
        """The index of an embed id, None where the world has no such embed."""
        index = bisect_left(self.ids, embed_id)
        return index if index < len(self.ids) and self.ids[index] == embed_id else None

    def embed(self, index: int, *, is_kept: bool = True) -> Embed:
        """One embed. A walk over all of them keeps none, and leaves the cache to those whose events are requested."""
        found = self._embeds.get(index)
        if found is None:
            found = self._make_embed(index)
            if is_kept:
                _keep(self._embeds, index, found)
        return found

    def events(self, index: int) -> tuple[Event, ...]:
        """Every event that the embed will ever have, by created_at."""
        found = self._events.get(index)
        if found is None:
            found = tuple(self._make_events(self.embed(index)))
            _keep(self._events, index, found)
        return found

    def token(self, embed: Embed, number: int) -> Token:
        """The embed's token `number`: 0 at first, another after some resumes."""
        if embed.token_kind == "missing":
            return Token("missing", None, None)
        digest = self._digest(embed.index, f"token/{number}")
        variant = digest[0]
        if embed.token_kind == "non_object":
            return Token(
                "non_object", sign(NON_OBJECT_PAYLOADS[variant % len(NON_OBJECT_PAYLOADS)], self._client_secret), None
            )
        session = f',"iat":{int(embed.started_at) + 600 * number},"trace_id":"{digest.hex()}"}}'
        payload = self._person_json(embed.person)[:-1] + session.encode()
        if embed.token_kind == "malformed":
            return Token("malformed", malformed_token(variant, sign(payload, self._client_secret)), None)
        secret = self._client_secret if embed.token_kind == "valid" else b"not " + self._client_secret
        return Token(embed.token_kind, sign(payload, secret), payload.decode())

    def state(self, embed: Embed, now: float) -> EmbedState:
        """Status, row count and token of the embed at `now`, from the events created by then."""
        status, token_number, submitted_at = "initialized", 0, None
        since, until = float("-inf"), float("inf")
        for step, at in zip(embed.journey.steps, embed.times, strict=True):
            if not step.is_sent:
                continue
            if at > now:
                until = at
                break
            since, token_number = at, step.token
            status = _STATUS_AFTER.get(step.event_type, status)
            if step.event_type == "import_submitted":
                submitted_at = at
        if submitted_at is None:
            return EmbedState(status, None, token_number, since, until)
        imported_at = submitted_at + embed.journey.import_seconds
        if imported_at > now:
            # The vendor's pages spell it in two ways.
            status = "import_pending" if embed.index % 2 else "import-pending"
            return EmbedState(status, None, token_number, since, min(until, imported_at))
        since = max(since, imported_at)
        if embed.journey.import_fails:
            return EmbedState("import_failed", None, token_number, since, until)
        return EmbedState("imported", embed.journey.imported_row_count, token_number, since, until)

    def _make_embed(self, index: int) -> Embed:
        rng = self._rng(index, "embed")
        template = TEMPLATES[bisect(_TEMPLATE_SCALE, rng.random() * _TEMPLATE_SCALE[-1])]
        person = int(self._people * rng.random() ** 1.6)
        roll = rng.random()
        token_kind: TokenKind = "valid"
        for kind, share in TOKEN_KINDS:
            if roll < share:
                token_kind = kind
                break
            roll -= share
        token = _uuid4(rng.getrandbits(128))
        start = self.starts[index]
        for incident in self.incidents:
            if incident.concerns(template, organisation_of(self._options.seed, person), start):
                template = incident.worsened(template)
        journey = walk(rng, template, self._rng(index, "panes") if self._options.panes == "skipped" else None)
        times = tuple([round(start + step.offset, 6) for step in journey.steps])
        return Embed(index, self.ids[index], start, template, person, token, token_kind, journey, times)

    def _make_events(self, embed: Embed) -> list[Event]:
        rng = self._rng(embed.index, "events")
        events: list[Event] = []
        first_id = _FIRST_EVENT_ID + embed.index * _EVENT_IDS_PER_EMBED
        counts_everywhere = self._options.error_counts == "everywhere"
        datas = data_of_steps(rng, embed.template, embed.journey, counts_everywhere=counts_everywhere)
        has_file = False
        for number, (step, at, data) in enumerate(zip(embed.journey.steps, embed.times, datas, strict=True)):
            has_file = has_file or step.event_type == "file_uploaded"
            fields: dict[str, Any] = {
                "uuid": f"event-{_uuid4(rng.getrandbits(128))}",
                "id": first_id + number,
                "event_type": step.event_type,
                "trigger_type": step.trigger_type,
                "data": data,
                "created_at": at,
                "has_snapshot": has_file and step.event_type in _WITH_SNAPSHOT,
            }
            if data is None and rng.random() < 0.7:
                del fields["data"]
            # Most events are there at once; some take seconds to hours to get through the vendor's queues.
            lag = rng.lognormvariate(4.5, 1.6) if rng.random() < 0.06 else 0.0
            if not step.is_sent:
                continue
            events.append(
                Event(
                    uuid=fields["uuid"],
                    id=fields["id"],
                    embed_id=embed.id,
                    event_type=step.event_type,
                    trigger_type=step.trigger_type,
                    data=data,
                    created_at=at,
                    visible_at=at + lag,
                    has_snapshot=fields["has_snapshot"],
                    token_number=step.token,
                    json=compact(orjson.dumps(fields)),
                )
            )
        return events

    def _person_json(self, person: int) -> bytes:
        found = self._claims.get(person)
        if found is None:
            claims = {"iss": self._options.client_id, **person_claims(self._options.seed, person)}
            found = compact(orjson.dumps(claims))
            _keep(self._claims, person, found, _CACHED_PEOPLE)
        return found

    def _rng(self, index: int, purpose: str) -> Random:
        return Random(int.from_bytes(self._digest(index, purpose), "big"))

    def _digest(self, index: int, purpose: str) -> bytes:
        return hashlib.blake2b(f"{self._options.seed}/{index}/{purpose}".encode(), digest_size=8).digest()


_STATUS_AFTER = {
    "file_uploaded": "uploaded",
    "header_selected": "headers_set",
    "columns_mapped": "columns_mapped",
}


def _draw_starts(rng: Random, begin: float, end: float, count: int) -> list[float]:
    """`count` times in [begin, end), in order: busier by day and on working days (UTC)."""
    edges = [begin]
    while edges[-1] < end:
        edges.append(min(end, (edges[-1] // HOUR + 1) * HOUR))
    hours = list(pairwise(edges))
    if not hours:
        return []
    # The epoch began on a Thursday.
    weights = [
        (until - since) * _HOURS[int(since % DAY // HOUR)] * _WEEKDAYS[(int(since // DAY) + 3) % 7]
        for since, until in hours
    ]
    drawn = rng.choices(hours, weights, k=count)
    return sorted(round(min(since + rng.random() * (until - since), until - 1e-5), 6) for since, until in drawn)


def compact(body: bytes) -> bytes:
    """A copy without the spare room that orjson's bytes keep: several kilobytes each, which counts in a cache."""
    return bytes(memoryview(body))


def _uuid4(bits: int) -> str:
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[bits >> 126]}{text[17:20]}-{text[20:]}"


def _keep(cache: OrderedDict[int, T], key: int, value: T, limit: int = _CACHED_EMBEDS) -> None:
    """Keeps `value`, and lets the oldest go, so that a long-lived server's memory stays bounded."""
    if len(cache) >= limit:
        cache.popitem(last=False)
    cache[key] = value
