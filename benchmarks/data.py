"""What the contestants work on: events of the simulator's world, made from a seed, once, and kept below CACHE.

A block is some days of the world. A long history is that block again and again, each time further in the past, with the
same sessions under other ids and uuids: its people come back, as customers do. Everything is made anew when the code
that makes it changed.
"""

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import polars as pl

from benchmarks.contest import CACHE, ROOT
from pipelines.chain import chain
from pipelines.chain.file_links import facts_of_file
from pipelines.flatten.days import FlattenOptions, flatten_days
from pipelines.home.files import fsync, write_parquet
from pipelines.home.layout import Home, partition_folder
from pipelines.oneschema.tokens import TokenReader
from pipelines.poll.report import SweepReport
from pipelines.raw.landing import land_sweep
from pipelines.raw.raw_rows import Envelope, to_raw
from pipelines.raw.raw_tables import RAW_EMBED_EVENTS, RAW_EMBEDS
from pipelines.settings import default_of
from pipelines.simulator.journeys import DAY
from pipelines.simulator.options import DEFAULT_NOW, SimulatorOptions
from pipelines.simulator.world import Embed, Event, World
from pipelines.warehouse import published_record
from pipelines.warehouse.build import BuildOptions, build
from pipelines.warehouse.publish import kept_folder
from pipelines.warehouse.published_record import PublishedFile
from pipelines.warehouse.spare import spare_file

BLOCK_EVENTS = 100_000
BLOCK_DAYS = 10

# What a refresh adds to a history, as a share of a block; one event in so many of it is late: it happened before.
NEWS_SHARE = 10
LATE_SHARE = 50

BUILD_OPTIONS = BuildOptions(code_version="benchmark")

# A spare has missed as many refreshes as there are kept files, and one more.
MISSED = default_of("embed_analytics_keep_warehouses") + 1

# A session of the world has more events than this on average, so that many sessions have enough of them.
_FEWEST_EVENTS_PER_EMBED = 6


def history(events: int, block_events: int = BLOCK_EVENTS, news_events: int | None = None) -> Path:
    """A folder with `home`: raw, lake and published warehouse of so many events, a whole number of blocks; and with
    `news`: raw files of the events that come next, a tenth of a block by default. `block_events` are those of
    BLOCK_DAYS days."""
    news_count = news_events or block_events // NEWS_SHARE

    def make(folder: Path) -> None:
        block = _Block(block_events, news_count)
        home = Home(folder / "home")
        copies = events // block_events
        for copy in range(copies):
            block.land(home, block.events, block.embeds, block.end, copy, copies)
        (news,) = block.landings([news_count])
        block.land(Home(folder / "news"), *news, 0, copies)
        flatten_days(home, FlattenOptions())
        build(home, BUILD_OPTIONS)

    return kept(f"history-{events}-{block_events}-{news_count}", make)


def steady(events: int, block_events: int = BLOCK_EVENTS, missed_events: int | None = None) -> Path:
    """As `history`, some refreshes later, so that `home` has a spare, as any has between two refreshes. It missed these
    refreshes (MISSED), each of `missed_events`: those of an hour by default."""
    missed_count = missed_events or block_events // BLOCK_DAYS // 24
    news_count = block_events // NEWS_SHARE

    def make(folder: Path) -> None:
        copies = events // block_events
        home = Home(linked(history(events, block_events) / "home", folder / "home"))
        block = _Block(block_events, news_count)
        *missed, news = block.landings([*[missed_count] * MISSED, news_count])
        for each in missed:
            block.land(home, *each, 0, copies)
            flatten_days(home, FlattenOptions())
            build(home, BUILD_OPTIONS)
        block.land(Home(folder / "news"), *news, 0, copies)
        shutil.rmtree(kept_folder(home))

    return kept(f"steady-{events}-{block_events}-{missed_count}", make)


def lines(events: int, block_events: int = BLOCK_EVENTS) -> Path:
    """The same events as `history` has, one JSON object a line in the fuller shape: what other tools read."""

    def make(folder: Path) -> None:
        block = _Block(block_events, block_events // NEWS_SHARE)
        copies = events // block_events
        with (folder / "lines.ndjson").open("wb") as file:
            for copy in range(copies):
                file.writelines(block.lines(copy, copies))

    return kept(f"lines-{events}-{block_events}", make) / "lines.ndjson"


def many_claims(events: int, block_events: int, path_count: int) -> Path:
    """A folder with `home`: the raw events of `history`, with a claim of its own name in the tokens of `path_count`
    embeds, or of all if there are fewer. Such are flags whose ids are their names."""

    def make(folder: Path) -> None:
        raw = Home(history(events, block_events) / "home").raw_embed_events
        files = sorted(raw.glob("event_date=*/*.parquet"))
        embed_ids = pl.read_parquet(files, columns=["embed_id"], hive_partitioning=False)["embed_id"].unique().sort()
        count = min(path_count, embed_ids.len())
        chosen = embed_ids.gather([number * embed_ids.len() // count for number in range(count)])
        # Names in a payload are sorted, and this one sorts before all others.
        named = pl.concat_str(
            pl.lit('{"a_flag_'), "embed_id", pl.lit('":true,'), pl.col("claims").str.strip_prefix("{")
        )
        is_named = pl.col("embed_id").is_in(chosen.implode()) & pl.col("claims").str.starts_with('{"')
        for path in files:
            rows = pl.read_parquet(path, hive_partitioning=False, glob=False)
            target = Home(folder / "home").raw_embed_events / path.relative_to(raw)
            write_parquet(rows.with_columns(claims=pl.when(is_named).then(named).otherwise("claims")), target)

    return kept(f"claims-{events}-{block_events}-{path_count}", make)


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` below CACHE, which `make` fills on the first call and again when the code has changed."""
    folder = CACHE / f"{name}-{_code_digest()}"
    if not (folder / "complete").exists():
        for outdated in CACHE.glob(f"{name}-*"):
            shutil.rmtree(outdated)
        folder.mkdir(parents=True)
        started = time.perf_counter()
        make(folder)
        (folder / "complete").touch()
        # Else the disk still writes it while the first contestants are timed.
        os.sync()
        print(f"made {name} in {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return folder


def linked(source: Path, target: Path) -> Path:
    """A copy of a home by hard links, in no room and no time: writers of a home replace files and change none."""
    return Path(shutil.copytree(source, target, copy_function=os.link, dirs_exist_ok=True))


def add_news(news: Path, home: Path) -> None:
    """The raw files of `news` come into a linked home. Its chain is its own, so they have no link in it."""
    chain = shutil.ignore_patterns(Home(news).raw_chain.name)
    shutil.copytree(news, home, copy_function=os.link, dirs_exist_ok=True, ignore=chain)


def with_own_files(home: Home) -> Home:
    """A linked home whose published file and spare have no other name: a refresh writes into the spare."""
    files = {path: published_record.find(home, path) for path in (home.warehouse, spare_file(home)) if path.exists()}
    found = list[PublishedFile]()
    for path, file in files.items():
        assert file is not None
        copied = Path(shutil.copyfile(path, path.with_suffix(".copied"))).replace(path)
        # Else the refresh waits until the copy is on the disk.
        fsync(copied)
        found.append(PublishedFile.of(copied, file.build_id, file.base_build_id))
    published_record.write(home, found)
    return home


def _code_digest() -> str:
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted([*ROOT.glob("pipelines/**/*.py"), *ROOT.glob("sql/**/*.sql"), Path(__file__)]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Delivered:
    event: Event
    embed: Embed
    token: str | None


class _Landing(NamedTuple):
    """What a sweep at `end` lands: RAW_EMBED_EVENTS and RAW_EMBEDS."""

    events: pl.DataFrame
    embeds: pl.DataFrame
    end: float


class _Block:
    """The first `count` events of BLOCK_DAYS days of the world, as raw has them. One in LATE_SHARE of the `news_count`
    last ones is late: it comes with what follows."""

    def __init__(self, count: int, news_count: int) -> None:
        self._options = SimulatorOptions(
            embeds=max(count, news_count) // _FEWEST_EVENTS_PER_EMBED + 100, days=BLOCK_DAYS, days_ahead=BLOCK_DAYS
        )
        self._tokens = TokenReader({self._options.client_id: self._options.client_secret}, {}, None)
        self._world = World(self._options, DEFAULT_NOW)
        found = sorted(self._all(), key=lambda each: each.event.created_at)
        late_count = news_count // LATE_SHARE
        happened, self._next = found[: count + late_count], found[count + late_count :]
        self._late = happened[-late_count * LATE_SHARE :: LATE_SHARE]
        late_ids = {each.event.id for each in self._late}
        self._delivered = [each for each in happened if each.event.id not in late_ids]
        self.end = happened[-1].event.created_at
        self.events = self._raw(self._delivered, self.end)
        self.embeds = self._embeds(range(self._world.started_count(self.end)), self.end)
        self._embed_stride = self._world.ids[-1] - self._world.ids[0] + 1
        self._event_stride = max(each.event.id for each in found) - min(each.event.id for each in found) + 1

    def landings(self, counts: Sequence[int]) -> list[_Landing]:
        """What comes next, in parts of so many events, each with its share of the late ones."""
        found = list[_Landing]()
        next_ones, late = iter(self._next), iter(self._late)
        for count in counts:
            late_count = len(self._late) * count // sum(counts)
            in_time = list(islice(next_ones, count - late_count))
            events, end = [*islice(late, late_count), *in_time], in_time[-1].event.created_at
            embeds = self._embeds(sorted({each.embed.index for each in events}), end)
            found.append(_Landing(self._raw(events, end), embeds, end))
        return found

    def land(self, home: Home, events: pl.DataFrame, embeds: pl.DataFrame, end: float, copy: int, copies: int) -> None:
        """Write events and embeds as a sweep at `end` does, `copy` blocks back, the oldest of `copies` with the
        smallest ids. A day has a file for every six hours. Each file gets its link."""
        back = timedelta(days=BLOCK_DAYS * copy)
        at = _utc(end) - back
        older = copies - 1 - copy
        landed = events.with_columns(
            pl.col("event_uuid").str.replace("event-.{8}", f"event-{copy:08x}"),
            pl.col("event_id") + older * self._event_stride,
            pl.col("embed_id") + older * self._embed_stride,
            pl.col("created_at") - copy * BLOCK_DAYS * DAY,
            pl.col("fetched_at") - back,
            sweep_id=pl.lit(f"{at:%Y%m%dT%H%M%S}"),
        )
        paths: list[Path] = []
        quarter = (pl.col("created_at") // (DAY / 4)).cast(pl.Int64)
        for (number,), rows in landed.group_by(quarter, maintain_order=True):
            folder = partition_folder(home.raw_embed_events, f"{_utc(int(number) * DAY / 4):%Y-%m-%d}")
            folder.mkdir(parents=True, exist_ok=True)
            # Sealed, as landing writes it: a file without a seal would be decoded once more to see that it is whole.
            paths.append(folder / f"{at:%Y%m%dT%H%M%S}-{int(number) % 4}.parquet")
            write_parquet(rows.select(RAW_EMBED_EVENTS.names), paths[-1])
        home.raw_embeds.mkdir(parents=True, exist_ok=True)
        paths.append(home.raw_embeds / f"{at:%Y%m%dT%H%M%S}.parquet")
        embeds.with_columns(pl.col("embed_id") + older * self._embed_stride, pl.col("fetched_at") - back).write_parquet(
            paths[-1], compression="zstd"
        )
        sweep = f"{at:%Y%m%dT%H%M%S}"
        chain.append(home, [("landed", {**facts_of_file(home, path), "sweep": sweep}) for path in paths])
        land_sweep(home, SweepReport(f"{at:%Y%m%dT%H%M%S}", "refresh", at, at, is_complete=True).row())

    def lines(self, copy: int, copies: int) -> Iterator[bytes]:
        """The block's events in the fuller shape, moved as `land` moves them."""
        older = copies - 1 - copy
        for each in self._delivered:
            event = orjson.loads(each.event.json)
            event["uuid"] = f"event-{copy:08x}{event['uuid'][14:]}"
            event["id"] += older * self._event_stride
            event["created_at"] -= copy * BLOCK_DAYS * DAY
            fuller = {
                "embed_id": each.embed.id + older * self._embed_stride,
                "embed_jwt": each.token,
                "environment_name": self._options.environment,
                "template_key": each.embed.template.key,
            }
            yield orjson.dumps(event | fuller) + b"\n"

    def _all(self) -> Iterator[_Delivered]:
        for index in range(len(self._world.starts)):
            embed = self._world.embed(index)
            events = self._world.events(index)
            tokens = {
                number: self._world.token(embed, number).text for number in {each.token_number for each in events}
            }
            yield from (_Delivered(event, embed, tokens[event.token_number]) for event in events)

    def _raw(self, delivered: list[_Delivered], end: float) -> pl.DataFrame:
        """RAW_EMBED_EVENTS; an embed's events stand together, as they are answered."""
        in_order = sorted(delivered, key=lambda each: each.embed.id)
        envelopes = ((orjson.loads(each.event.json), self._envelope(each, end)) for each in in_order)
        return to_raw(envelopes, self._tokens)

    def _envelope(self, delivered: _Delivered, end: float) -> Envelope:
        token = self._tokens.read(delivered.token)
        embed = delivered.embed
        return Envelope(embed.id, embed.template.key, self._options.environment, token, "api", _utc(end), "")

    def _embeds(self, indexes: Any, end: float) -> pl.DataFrame:
        """RAW_EMBEDS of these embeds, as the list has them at `end`."""
        rows: list[tuple[Any, ...]] = []
        for index in indexes:
            embed = self._world.embed(index)
            state = self._world.state(embed, end)
            token = self._tokens.read(self._world.token(embed, state.token_number).text)
            row_count = state.imported_row_count
            about = (embed.id, embed.template.key, state.status, row_count, self._options.environment)
            rows.append((*about, token.claims, token.jwt_status, token.fingerprint, _utc(end), ""))
        return pl.DataFrame(rows, schema=RAW_EMBEDS.polars_schema, orient="row")


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None)
