"""The truth about a simulated account, for tests to compare with: every event ever, even purged and deleted ones."""

from collections.abc import Iterator
from typing import Any

import orjson

from pipelines.simulator.json_values import Json
from pipelines.simulator.simulation import Planted, Simulation


class Truth:
    """What happened up to the clock's time, whether or not the API would answer it."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._world = simulation.world

    def events(self, embed_id: int | None = None) -> Iterator[dict[str, Any]]:
        """Every event with created_at up to the clock, embed by embed; of one embed where an id is given.

        Keys: uuid, id, embed_id, event_type, trigger_type, data (None where it is null or missing), created_at,
        visible_at, has_snapshot, template_key, environment_name, claims (decoded payload of the token that the embed
        had then, None where there is none to read), claims_json (the payload's text), token_kind (valid,
        invalid_signature, malformed, missing, non_object), is_visible (an answer would have it now), is_purged
        (retention has deleted it), deleted_at (when its embed was deleted, else None), is_planted. A planted event has
        its JSON as `event` besides, what can be read of it in the other keys, and None elsewhere.
        """
        now = self._simulation.clock.now()
        for index in range(self._world.started_count(now)):
            if embed_id is None or self._world.ids[index] == embed_id:
                yield from self._events_of(index, now)
        for planted_id, planted in self._simulation.planted.items():
            if embed_id is None or planted_id == embed_id:
                yield from self._planted_events_of(planted_id, planted, now)

    def embeds(self) -> Iterator[dict[str, Any]]:
        """Every generated embed that has started, deleted ones too: its summary's fields without the credentials.

        Keys: embed_id, template_key, status, imported_row_count, started_at, user_id, claims (of the newest token),
        token_kind, token_count, silent_steps (types of events that the session passed and that were never sent, since
        their panes were skipped), event_count (created up to the clock), last_event_at, deleted_at.
        """
        now = self._simulation.clock.now()
        for index in range(self._world.started_count(now)):
            embed = self._world.embed(index)
            state = self._world.state(embed, now)
            text = self._world.token(embed, state.token_number).claims_json
            claims = None if text is None else orjson.loads(text)
            steps = zip(embed.journey.steps, embed.times, strict=True)
            passed = [(step, at) for step, at in steps if at <= now]
            created = [at for step, at in passed if step.is_sent]
            sent = {step.event_type for step, _ in passed if step.is_sent}
            yield {
                "embed_id": embed.id,
                "template_key": embed.template.key,
                "status": state.status,
                "imported_row_count": state.imported_row_count,
                "started_at": embed.started_at,
                "user_id": None if claims is None else claims["user_id"],
                "claims": claims,
                "token_kind": embed.token_kind,
                "token_count": state.token_number + 1,
                "silent_steps": sorted({step.event_type for step, _ in passed} - sent),
                "event_count": len(created),
                "last_event_at": created[-1],
                "deleted_at": self._simulation.deleted_at.get(embed.id),
            }

    def credentials(self) -> dict[str, list[str]]:
        """All that must never be at rest: `api_keys`, `embed_tokens`, `jwts`, `jwt_signatures`, up to the clock.

        Malformed tokens are among the jwts, except the word `undefined`: finding that would prove nothing.
        """
        now = self._simulation.clock.now()
        tokens: list[str] = []
        jwts: dict[str, None] = {}
        for index in range(self._world.started_count(now)):
            embed = self._world.embed(index)
            tokens.append(embed.token)
            for number in range(self._world.state(embed, now).token_number + 1):
                text = self._world.token(embed, number).text
                if text is not None and text != "undefined":
                    jwts[text] = None
        signatures = [parts[2] for jwt in jwts if len(parts := jwt.split(".")) == 3]
        return {
            "api_keys": [self._simulation.options.api_key.get_secret_value()],
            "embed_tokens": tokens,
            "jwts": list(jwts),
            "jwt_signatures": signatures,
        }

    def _events_of(self, index: int, now: float) -> Iterator[dict[str, Any]]:
        simulation = self._simulation
        embed = self._world.embed(index)
        deleted_at = simulation.deleted_at.get(embed.id)
        claims: dict[int, tuple[Json, str | None]] = {}
        for event in self._world.events(index):
            if event.created_at > now:
                break
            if event.token_number not in claims:
                text = self._world.token(embed, event.token_number).claims_json
                claims[event.token_number] = (None if text is None else orjson.loads(text), text)
            yield {
                "uuid": event.uuid,
                "id": event.id,
                "embed_id": event.embed_id,
                "event_type": event.event_type,
                "trigger_type": event.trigger_type,
                "data": event.data,
                "created_at": event.created_at,
                "visible_at": event.visible_at,
                "has_snapshot": event.has_snapshot,
                "template_key": embed.template.key,
                "environment_name": simulation.options.environment,
                "claims": claims[event.token_number][0],
                "claims_json": claims[event.token_number][1],
                "token_kind": embed.token_kind,
                "is_visible": deleted_at is None and simulation.is_visible(event, now),
                "is_purged": simulation.is_purged(event.created_at),
                "deleted_at": deleted_at,
                "is_planted": False,
            }

    def _planted_events_of(self, embed_id: int, planted: Planted, now: float) -> Iterator[dict[str, Any]]:
        deleted_at = self._simulation.deleted_at.get(embed_id)
        names = ("uuid", "id", "event_type", "trigger_type", "data", "created_at", "has_snapshot", "template_key")
        for at, event in planted.events:
            if at > now:
                continue
            fields: dict[str, Json] = event if isinstance(event, dict) else {}
            is_purged = self._simulation.is_purged(at)
            yield {
                **{name: fields.get(name) for name in names},
                "embed_id": embed_id,
                "visible_at": at,
                "environment_name": fields.get("environment_name"),
                "claims": None,
                "claims_json": None,
                "token_kind": None,
                "is_visible": deleted_at is None and planted.body is None and not is_purged,
                "is_purged": is_purged,
                "deleted_at": deleted_at,
                "is_planted": True,
                "event": event,
            }
