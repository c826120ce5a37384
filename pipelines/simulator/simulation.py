"""What can be seen of the world: the clock, the switches, deletions, and events and embeds planted by hand.

The vendor's endpoints, the admin's, and tests in the same process all use it.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import orjson

from pipelines.simulator.clock import Clock
from pipelines.simulator.echoes import echoes, error_echo
from pipelines.simulator.faults import FaultDraws
from pipelines.simulator.journeys import DAY
from pipelines.simulator.json_values import Json
from pipelines.simulator.odd_times import shown_time
from pipelines.simulator.options import SimulatorOptions, Switches
from pipelines.simulator.requests import RequestLog
from pipelines.simulator.world import Embed, EmbedState, Event, World, compact


@dataclass
class Planted:
    """What was added by hand to one embed id: events of any JSON, or a whole body in place of the events."""

    events: list[tuple[float, Json]] = field(default_factory=list[tuple[float, Json]])
    body: bytes | None = None
    # The embed itself, if the world has none with this id.
    embed: Json = None
    planted_at: float = 0.0


class Simulation:
    """One simulated account: what its API would answer at the clock's time, and the truth about it."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options
        now = float(int(time.time())) if options.now is None else options.now
        self.clock = Clock(now, runs=options.clock_runs)
        self.world = World(options, now)
        self.requests = RequestLog()
        self.fault_draws = FaultDraws(options.seed)
        self.deleted_at: dict[int, float] = {}
        self.planted: dict[int, Planted] = {}
        self.switches = options.switches()
        self._summaries: dict[int, tuple[float, float, bytes]] = {}
        self._listed: tuple[tuple[object, ...], list[int]] = ((), [])

    def throw(self, changes: Mapping[str, object]) -> Switches:
        """Changes some switches. Raises ValueError or ConfigurationError where a value cannot be used."""
        kept = {name: getattr(self.switches, name) for name in Switches.model_fields if name not in changes}
        self.switches = Switches.model_validate({**kept, **changes})
        return self.switches

    # What the vendor's endpoints answer

    def listed_ids(self) -> list[int]:
        """The ids of the embeds in the list now, in the list's order. Not to be changed by the caller."""
        now, order = self.clock.now(), self.switches.list_order
        started = self.world.started_count(now)
        by_hand = [
            embed_id
            for embed_id, planted in self.planted.items()
            if self.world.index_of(embed_id) is None and self._is_planted_embed(planted, now)
        ]
        key = (started, order, len(self.deleted_at), *by_hand)
        if key != self._listed[0]:
            ids = [embed_id for embed_id in [*self.world.ids[:started], *by_hand] if embed_id not in self.deleted_at]
            ids.sort(key=self._shuffle_key if order == "shuffled" else None, reverse=order == "descending")
            self._listed = (key, ids)
        return self._listed[1]

    def summary(self, embed_id: int) -> bytes | None:
        """An embed's summary in the list (JSON). None if there is no such embed now."""
        now = self.clock.now()
        if embed_id in self.deleted_at:
            return None
        planted = self.planted.get(embed_id)
        if planted is not None and self._is_planted_embed(planted, now):
            return _dumps(planted.embed)
        index = self.world.index_of(embed_id)
        if index is None or self.world.starts[index] > now:
            return None
        since, until, body = self._summaries.get(index, (0.0, 0.0, b""))
        if not since <= now < until:
            embed = self.world.embed(index, is_kept=False)
            state = self.world.state(embed, now)
            body = self._make_summary(embed, state)
            self._summaries[index] = (state.since, state.until, body)
        return body

    def summaries(self, offset: int, count: int | None) -> bytes:
        """A part of the list (JSON array). A `count` of None takes all that follows."""
        ids = self.listed_ids()[offset : None if count is None else offset + count]
        return b"[" + b",".join([body for embed_id in ids if (body := self.summary(embed_id))]) + b"]"

    def detail(self, embed_id: int) -> bytes | None:
        """One embed with its `columns` (JSON); None where there is none."""
        body = self.summary(embed_id)
        index = self.world.index_of(embed_id)
        if body is None or index is None or self.planted.get(embed_id, _NOTHING_PLANTED).embed is not None:
            return body
        columns = [
            {"key": key, "label": key.replace("_", " "), "data_type": data_type}
            for key, data_type in self.world.embed(index).template.columns
        ]
        return body[:-1] + b',"columns":' + orjson.dumps(columns) + b"}"

    def events(self, embed_id: int) -> bytes | None:
        """What the embed's events endpoint answers now (a JSON array, or what was planted); None for a 404."""
        if self.summary(embed_id) is None:
            return None
        planted = self.planted.get(embed_id, _NOTHING_PLANTED)
        if planted.body is not None:
            return planted.body
        now = self.clock.now()
        visible = [(event.created_at, self.event_json(event)) for event in self.visible_events(embed_id)]
        visible += [
            (at, _dumps(self._as_shown(at, event)))
            for at, event in planted.events
            if at <= now and not self.is_purged(at)
        ]
        order = self.switches.event_order
        if planted.events:
            visible.sort(key=lambda timed: timed[0])
        if order == "descending":
            visible.reverse()
        elif order == "shuffled":
            visible.sort(key=lambda timed: hashlib.blake2b(timed[1][:60]).digest())
        return b"[" + b",".join([body for _, body in visible]) + b"]"

    def event(self, embed_id: int, event_id: int | None) -> bytes | None:
        """One event of an embed by its `id`. None if the embed's answer does not have it."""
        if self.summary(embed_id) is None:
            return None
        for event in self.visible_events(embed_id):
            if event.id == event_id:
                return self.event_json(event)
        now = self.clock.now()
        for at, event in self.planted.get(embed_id, _NOTHING_PLANTED).events:
            if at <= now and not self.is_purged(at) and isinstance(event, dict) and event.get("id") == event_id:
                return _dumps(event)
        return None

    def file_signature(self, uuid: str) -> str:
        """The signature in a pre-signed address, made of the event and the minute of the request."""
        secret = self.options.client_secret.get_secret_value()
        text = f"{secret}/{uuid}/{int(self.clock.now() // 60)}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def visible_events(self, embed_id: int) -> list[Event]:
        """The generated events of one embed that an answer would have now."""
        index = self.world.index_of(embed_id)
        if index is None or embed_id in self.deleted_at:
            return []
        now = self.clock.now()
        return [event for event in self.world.events(index) if self.is_visible(event, now)]

    def _as_shown(self, at: float, event: Json) -> Json:
        """A planted event; one whose created_at is a number of seconds says it in the shape that is switched on."""
        shape = self.switches.created_at_shape
        if shape == "seconds" or not isinstance(event, dict) or event.get("created_at") != at:
            return event
        return {**event, "created_at": shown_time(at, "", shape, has_odd_dates=False)}

    def event_json(self, event: Event) -> bytes:
        """One event in the shape that is switched on."""
        switches = self.switches
        if switches.created_at_shape != "seconds" or switches.odd_dates:
            shown = shown_time(
                event.created_at, event.uuid, switches.created_at_shape, has_odd_dates=switches.odd_dates
            )
            event = replace(event, json=orjson.dumps({**orjson.loads(event.json), "created_at": shown}))
        text = event.json if switches.event_shape == "api" else self.full_json(event)
        return self._echoing(text, event) if switches.echoes else text

    def _echoing(self, text: bytes, event: Event) -> bytes:
        """The event with its embed's credentials and the key in `data` and beside it."""
        embed = self._embed_of(event)
        shown = orjson.loads(text)
        jwt = self.world.token(embed, event.token_number).text
        return orjson.dumps({**shown, **echoes(shown, self.options.api_key.get_secret_value(), embed.token, jwt)})

    def error_data(self) -> dict[str, Json]:
        """`data` of an error's body."""
        return error_echo(self.options.api_key.get_secret_value()) if self.switches.echoes else {}

    def full_json(self, event: Event) -> bytes:
        """One event with the fields that the webhook's payload has beside those of the API."""
        embed = self._embed_of(event)
        envelope = {
            "embed_id": event.embed_id,
            "embed_jwt": self.world.token(embed, event.token_number).text,
            "environment_name": self.options.environment,
            "template_key": embed.template.key,
        }
        return orjson.dumps(envelope)[:-1] + b"," + event.json[1:]

    def is_purged(self, created_at: float) -> bool:
        days = self.switches.retention_days
        return days is not None and created_at < self.clock.now() - days * DAY

    # What the admin does

    def delete(self, embed_id: int) -> bool:
        """Deletes an embed as the vendor does: 404 from now on. False where there is none to delete."""
        if self.summary(embed_id) is None:
            return False
        self.deleted_at[embed_id] = self.clock.now()
        return True

    def plant(
        self, embed_id: int, *, embed: Json = None, events: Iterable[Json] | None = None, body: bytes | None = None
    ) -> None:
        """Adds hand-made content: `events` join the embed's own, `body` replaces its events answer byte for byte.

        An embed id that the world does not have gets an embed: `embed` as given (any JSON), else a plain one. An event
        with a number as created_at appears when the clock passes it, any other is there at once.
        """
        planted = self.planted.setdefault(embed_id, Planted(planted_at=self.clock.now()))
        if embed is not None:
            planted.embed = embed
        elif planted.embed is None and self.world.index_of(embed_id) is None:
            planted.embed = {"id": embed_id, "template_key": "planted", "status": "initialized", "user_jwt": None}
        for event in events or []:
            at = event.get("created_at") if isinstance(event, dict) else None
            is_time = isinstance(at, int | float) and not isinstance(at, bool)
            appears_at = float(at) if isinstance(at, int | float) and is_time else planted.planted_at
            planted.events.append((appears_at, event))
        if body is not None:
            planted.body = body

    # What of it can be seen

    def is_visible(self, event: Event, now: float) -> bool:
        """Created and through the vendor's queues by now, and not purged yet."""
        at = event.visible_at if self.switches.late_visibility else event.created_at
        return at <= now and not self.is_purged(event.created_at)

    def _make_summary(self, embed: Embed, state: EmbedState) -> bytes:
        fields: dict[str, Json] = {
            "id": embed.id,
            "token": embed.token,
            "template_key": embed.template.key,
            "status": state.status,
        }
        jwt = self.world.token(embed, state.token_number).text
        # Of the embeds without a token, half have a null and half have no field.
        if jwt is not None or embed.index % 2:
            fields["user_jwt"] = jwt
        if state.imported_row_count is not None:
            fields["imported_row_count"] = state.imported_row_count
        return compact(orjson.dumps(fields))

    def _embed_of(self, event: Event) -> Embed:
        index = self.world.index_of(event.embed_id)
        assert index is not None, "an event of the world has an embed of the world"
        return self.world.embed(index)

    def _is_planted_embed(self, planted: Planted, now: float) -> bool:
        return planted.embed is not None and planted.planted_at <= now

    def _shuffle_key(self, embed_id: int) -> int:
        """Scatters neighbouring ids: Fibonacci hashing, turned by the seed."""
        return ((embed_id ^ self.options.seed * 0x5851F42D) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF) >> 7


_NOTHING_PLANTED = Planted()


def _dumps(value: Json) -> bytes:
    """JSON of anything that was planted: the standard library has numbers and surrogates that orjson refuses."""
    return json.dumps(value).encode()
