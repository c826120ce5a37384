"""The benchmark's data: events of the simulator's world, as delivered lines and as landed raw. Made once, then cached.

`lines.ndjson` holds each event in its fuller shape (with embed, token, template and environment), one a line: what the
other contestants read. `home/` holds the same deliveries landed in raw, in several files a day: what ours reads.
"""

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from pipelines.files import write_parquet
from pipelines.home import Home, partition_folder
from pipelines.oneschema.tokens import TokenReader
from pipelines.raw.deliveries import Envelope, to_raw
from pipelines.raw.schema import RAW_EMBED_EVENTS
from pipelines.simulator.options import DEFAULT_NOW, SimulatorOptions
from pipelines.simulator.world import World

CACHE = Path(__file__).parent / ".cache"
DAYS = 30
SEED = 1
_FEWEST_EVENTS_PER_EMBED = 6
_LANDED_TOGETHER = 250_000


def data_folder(events: int) -> Path:
    """The folder with `events` events, made on the first call."""
    folder = CACHE / f"flatten-{events}"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        started = time.perf_counter()
        print(f"making {events:,} events in {folder} (once) ...", flush=True)
        _make(folder, events)
        (folder / "complete").touch()
        print(f"made in {time.perf_counter() - started:.0f} s", flush=True)
    return folder


def _make(folder: Path, events: int) -> None:
    options = SimulatorOptions(embeds=events // _FEWEST_EVENTS_PER_EMBED + 100, days=DAYS, seed=SEED)
    tokens = TokenReader({options.client_id: options.client_secret}, {}, None)
    home = Home(folder / "home")
    delivered = islice(_delivered(options), events)
    with (folder / "lines.ndjson").open("wb") as lines:
        for number in range(-(-events // _LANDED_TOGETHER)):
            deliveries: list[tuple[Any, Envelope]] = []
            for event, embed in islice(delivered, _LANDED_TOGETHER):
                lines.write(orjson.dumps(event | embed) + b"\n")
                deliveries.append((event, _envelope(embed, tokens, f"sweep-{number}")))
            for (event_date,), rows in to_raw(deliveries, tokens).group_by("event_date"):
                path = partition_folder(home.raw_embed_events, str(event_date)) / f"{number:03}.parquet"
                write_parquet(rows.select(RAW_EMBED_EVENTS.names), path)


def _delivered(options: SimulatorOptions) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each event as the API answers it, and the fields that the fuller shape has beside."""
    world = World(options, DEFAULT_NOW)
    for index in range(world.started_count(DEFAULT_NOW)):
        embed = world.embed(index)
        tokens = {number: world.token(embed, number).text for number in {e.token_number for e in world.events(index)}}
        for event in world.events(index):
            yield (
                orjson.loads(event.json),
                {
                    "embed_id": embed.id,
                    "embed_jwt": tokens[event.token_number],
                    "environment_name": options.environment,
                    "template_key": embed.template.key,
                },
            )


def _envelope(embed: dict[str, Any], tokens: TokenReader, sweep_id: str) -> Envelope:
    fetched_at = datetime.fromtimestamp(DEFAULT_NOW, UTC).replace(tzinfo=None)
    token = tokens.read(embed["embed_jwt"])
    return Envelope(
        embed["embed_id"], embed["template_key"], embed["environment_name"], token, "api", fetched_at, sweep_id
    )
