"""Takes in the list of embeds: a new or changed embed lands in raw/embeds and becomes due."""

import hashlib
import json
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pipelines.home.layout import Home
from pipelines.oneschema.client import OneSchemaClient
from pipelines.oneschema.credentials import without_credentials
from pipelines.oneschema.embed_fields import EMBED_FIELDS
from pipelines.oneschema.json_text import Json
from pipelines.oneschema.known_secrets import fingerprint_of_uuid
from pipelines.oneschema.paging import shortfall
from pipelines.oneschema.tokens import TokenReader
from pipelines.poll.discovery import PAGE_SIZE, ListShape, embed_id_of, one_ahead, walk_all, walk_recent
from pipelines.poll.interruptible import finished_in_thread
from pipelines.poll.poll_state import Listed, PollState
from pipelines.raw import claim_patterns
from pipelines.raw.landing import land_embeds

# A refresh spends at most this many requests on the list, plus a tenth of what it spends on events.
LIST_REQUESTS = 4
LIST_SHARE = 10


@dataclass
class ListingCounts:
    """What a listing found. `unreadable_count` is the number of embeds without a readable id.

    `total_count` is the server's own total. `problem` says why there may be more embeds than were listed.
    """

    listed_count: int = 0
    new_embed_count: int = 0
    unreadable_count: int = 0
    total_count: int | None = None
    problem: str | None = None


async def list_embeds(
    client: OneSchemaClient,
    state: PollState,
    home: Home,
    tokens: TokenReader,
    *,
    sweep_id: str,
    environment_name: str | None,
    clock: Callable[[], datetime],
    is_full: bool,
) -> ListingCounts:
    """Ask for the list and take it in, page by page: raw/embeds first, then the state.

    `is_full` walks everything. Otherwise, if the last walk found the list sorted by id, only its new end is requested,
    with as many of the embeds before it as the request budget allows, because their status may have changed.

    If the server's total is more than what came, everything is walked, and once more if that does not help. A
    difference that stays is a problem that each listing names until a whole walk finds it gone.

    If the claim policy or the client secrets have changed, everything is walked and each token is read again, so that
    nothing lands under the old policy. That makes no embed due.
    """
    counts = ListingCounts()
    rereads = state.fact("token_reading") != tokens.configuration
    listed: set[int] = set()

    def take_in(page: list[Json]) -> None:
        now = clock()
        changed, rows, new_count = _changed(page, state, tokens, now, sweep_id, environment_name, rereads=rereads)
        # Pages overlap, so an embed may come twice.
        listed.update(embed_id_of(summary) for summary in page)
        counts.listed_count = len(listed)
        counts.unreadable_count = sum(embed_id < 0 for embed_id in listed)
        counts.new_embed_count += new_count
        tokens.flush_keys()
        land_embeds(home, rows, sweep_id)
        state.list_embeds(changed, now)
        claim_patterns.remember(state.connection, tokens.policy_matches)
        state.commit()

    text = state.fact("list_shape")
    shape = ListShape(**json.loads(text)) if text else ListShape()
    if shape.allows_recent and not is_full and not rereads:
        budget = LIST_REQUESTS + state.due_count(clock()) // LIST_SHARE
        look_back = max((budget - 2) * (shape.page_length - 1), 1)
        async for page in walk_recent(client.embeds, shape, state.known_among, look_back=look_back):
            if page is None:
                break
            take_in(page)
        else:
            shape.listed_count += counts.new_embed_count
            if (shape.total_count or 0) - shape.listed_count <= shape.missing_count:
                return _concluded(counts, shape, state)

    async def walk_everything() -> ListShape:
        shape = ListShape()
        async with aclosing(one_ahead(walk_all(client.embeds, shape, page_size=PAGE_SIZE))) as pages:
            async for page in pages:
                await finished_in_thread(take_in, page)
        return shape

    shape = await walk_everything()
    if shortfall(shape.total_count, len(listed)):
        shape = await walk_everything()
    shape.missing_count = max((shape.total_count or 0) - len(listed), 0)
    state.set_fact("token_reading", tokens.configuration)
    return _concluded(counts, shape, state)


def _concluded(counts: ListingCounts, shape: ListShape, state: PollState) -> ListingCounts:
    counts.total_count = shape.total_count
    problem = shape.problem or (shortfall(shape.total_count, shape.listed_count) if shape.missing_count else None)
    counts.problem = problem and f"GET /v1/embeds {problem}"
    state.set_fact("list_shape", json.dumps(asdict(shape)))
    state.commit()
    return counts


def _changed(
    page: list[Json],
    state: PollState,
    tokens: TokenReader,
    now: datetime,
    sweep_id: str,
    environment_name: str | None,
    *,
    rereads: bool,
) -> tuple[list[Listed], list[dict[str, Any]], int]:
    """Returns (the embeds that are new, changed or to be read again; their rows for raw/embeds; how many are new)."""
    by_id = {
        embed_id: summary for summary in page if isinstance(summary, dict) and (embed_id := embed_id_of(summary)) >= 0
    }
    digests = {embed_id: _digest(summary) for embed_id, summary in by_id.items()}
    known = state.summaries(by_id)
    changed = [
        _listed(embed_id, by_id[embed_id], digest, tokens)
        for embed_id, digest in digests.items()
        if rereads or known.get(embed_id) != digest
    ]
    landed = state.landed(embed.embed_id for embed in changed)
    rows = [
        {
            "embed_id": embed.embed_id,
            **dict(zip((field.name for field in EMBED_FIELDS), embed.values, strict=True)),
            "claims": embed.token.claims,
            "jwt_status": embed.token.jwt_status,
            "token_fingerprint": embed.token.fingerprint,
            "environment_name": environment_name,
            "fetched_at": now,
            "sweep_id": sweep_id,
        }
        for embed in changed
        if landed.get(embed.embed_id) != embed.landed
    ]
    return changed, rows, len(changed) - len(landed)


def _digest(summary: dict[str, Json]) -> bytes:
    return hashlib.blake2b(
        json.dumps(summary, sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass"), digest_size=16
    ).digest()


def _listed(embed_id: int, summary: dict[str, Json], digest: bytes, tokens: TokenReader) -> Listed:
    fingerprint = fingerprint_of_uuid(summary.get("token"))
    values = tuple(
        field.read(without_credentials(summary.get(field.name), tokens.known_secrets, fingerprint))
        for field in EMBED_FIELDS
    )
    return Listed(embed_id, values, tokens.read(summary.get("user_jwt")), fingerprint, digest)
