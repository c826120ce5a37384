"""What the poll remembers between sweeps: `state/poll.sqlite`.

Everything here can be made again: the index of held events from the raw files, the frontier by asking the API. So
losing it costs only requests. A transaction is committed only after its raw files are in place.
"""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime, timedelta

import polars as pl

from pipelines.home.layout import Home
from pipelines.home.times import PLAUSIBLE_FROM, micros, moment
from pipelines.oneschema.embed_fields import EMBED_FIELDS
from pipelines.oneschema.tokens import ReadToken
from pipelines.raw import claim_patterns, held

_FIELDS = [field.name for field in EMBED_FIELDS]
# The fingerprint of the embed's own token finds repetitions of it (known_secrets.fingerprint_of_uuid).
_EMBED_TOKEN = "embed_token_fingerprint text"

SCHEMA = f"""
create table if not exists facts (name text primary key, value text not null) without rowid;
create table if not exists embeds (
    embed_id integer primary key,
    -- As last landed in raw/embeds.
    {", ".join(field.in_state for field in EMBED_FIELDS)},
    claims text, jwt_status text not null, token_fingerprint text,
    {_EMBED_TOKEN},
    summary_digest blob,
    -- The frontier. Times are microseconds since 1970; due_at is null for settled embeds.
    first_seen_at integer not null, first_event_at integer, last_event_at integer,
    polled_at integer, due_at integer,
    failure_count integer not null default 0, is_gone integer not null default 0,
    body_digest blob, polled_in_sweep text
);
create index if not exists embeds_due on embeds (due_at) where due_at is not null;
create index if not exists embeds_polled on embeds (polled_at);
create table if not exists open_sweeps (sweep_id text primary key, sweep text not null) without rowid;
"""

# Key in a raw file's Parquet metadata: the embeds whose answers are completely in raw once this file is.
BATCH_METADATA = "embed_analytics.polled"


@dataclass(frozen=True)
class KnownEmbed:
    """An embed as last landed in raw/embeds, and what its next poll needs. Times are microseconds since 1970."""

    embed_id: int
    template_key: str | None
    claims: str | None
    jwt_status: str
    token_fingerprint: str | None
    embed_token_fingerprint: str | None
    first_seen_at: int
    first_event_at: int | None
    last_event_at: int | None
    polled_at: int | None
    failure_count: int
    body_digest: bytes | None


@dataclass(frozen=True)
class Listed:
    """A new or changed embed of the list: its EMBED_FIELDS in order, and its JWT.

    `summary_digest` covers every field, credentials included.
    """

    embed_id: int
    values: tuple[object, ...]
    token: ReadToken
    embed_token_fingerprint: str | None
    summary_digest: bytes

    @property
    def landed(self) -> tuple[object, ...]:
        """The values whose change makes a new row in raw/embeds. A new token with the same payload does not."""
        return (*self.values, self.token.claims, self.token.jwt_status)


@dataclass(frozen=True)
class Polled:
    """The outcome of asking for one embed's events. Times are microseconds since 1970. No answer: polled_at is None.

    `is_whole` is false where there may be more events than came. Events between `unseen_from` and `unseen_until` could
    be deleted by retention between the answer before and this one. None: no event could be.
    """

    embed_id: int
    polled_at: int | None
    due_at: int | None
    first_event_at: int | None = None
    last_event_at: int | None = None
    body_digest: str | None = None
    failure_count: int = 0
    is_gone: bool = False
    is_whole: bool = True
    unseen_from: int | None = None
    unseen_until: int | None = None


@dataclass(frozen=True)
class Unseen:
    """Of how many embeds a sweep learnt that retention could delete events before it saw them, and from when to when
    these happened, in microseconds since 1970."""

    embed_count: int
    since: int
    until: int


@dataclass(frozen=True)
class OpenSweep:
    """A sweep that is under way, or was left unfinished by a crash."""

    sweep_id: str
    kind: str
    started_at: str
    from_date: str | None
    to_date: str | None
    clock_ahead_sweeps: list[str] | None = None


class PollState:
    """The open state database. Methods write into the open transaction, and `commit` ends it."""

    def __init__(self, home: Home, connection: sqlite3.Connection) -> None:
        self._home = home
        self.connection = connection

    def commit(self) -> None:
        self.connection.commit()

    # Facts

    def fact(self, name: str) -> str | None:
        row = self.connection.execute("select value from facts where name = ?", (name,)).fetchone()
        return row[0] if row else None

    def set_fact(self, name: str, value: str | None) -> None:
        if value is None:
            self.connection.execute("delete from facts where name = ?", (name,))
        else:
            self.connection.execute("insert or replace into facts values (?, ?)", (name, value))

    # Sweeps that have begun and not ended

    def open_sweeps(self) -> list[OpenSweep]:
        """The open sweeps, the oldest first."""
        rows = self.connection.execute("select sweep from open_sweeps order by sweep_id")
        return [OpenSweep(**json.loads(text)) for (text,) in rows]

    def begin_sweep(self, sweep: OpenSweep) -> None:
        text = json.dumps(asdict(sweep))
        self.connection.execute("insert or replace into open_sweeps values (?, ?)", (sweep.sweep_id, text))

    def end_sweep(self, sweep_id: str) -> None:
        self.connection.execute("delete from open_sweeps where sweep_id = ?", (sweep_id,))

    # Embeds

    def embed_count(self) -> int:
        return self.connection.execute("select count(*) from embeds").fetchone()[0]

    def due_count(self, now: datetime) -> int:
        query = "select count(*) from embeds where due_at <= ? and not is_gone"
        return self.connection.execute(query, (micros(now),)).fetchone()[0]

    def known_among(self, embed_ids: Iterable[int]) -> set[int]:
        """Those of the ids that were ever listed."""
        query = "select embed_id from embeds where embed_id in (select value from json_each(?))"
        return {embed_id for (embed_id,) in self.connection.execute(query, (json.dumps(list(embed_ids)),))}

    def summaries(self, embed_ids: Iterable[int]) -> dict[int, bytes | None]:
        """summary_digest of those embeds that are known and not gone."""
        rows = self.connection.execute(
            "select embed_id, summary_digest from embeds"
            " where not is_gone and embed_id in (select value from json_each(?))",
            (json.dumps(list(embed_ids)),),
        )
        return dict(rows.fetchall())

    def landed(self, embed_ids: Iterable[int]) -> dict[int, tuple[object, ...]]:
        """`Listed.landed` of those embeds that are known."""
        rows = self.connection.execute(
            f"select embed_id, {', '.join(_FIELDS)}, claims, jwt_status from embeds where"
            " embed_id in (select value from json_each(?))",
            (json.dumps(list(embed_ids)),),
        )
        return {row[0]: row[1:] for row in rows}

    def embed_token_fingerprint(self, embed_id: int) -> str | None:
        """The fingerprint of an embed's own token, as last listed. None if that is not known."""
        if not 0 <= embed_id < 2**63:
            return None
        select = "select embed_token_fingerprint from embeds where embed_id = ?"
        row = self.connection.execute(select, (embed_id,)).fetchone()
        return row[0] if row else None

    def list_embeds(self, listed: Iterable[Listed], now: datetime) -> None:
        """Take in new and changed embeds. Each becomes due at once, unless the list says what it said before."""
        names = ["embed_id", *_FIELDS, "claims", "jwt_status"]
        names += ["token_fingerprint", "embed_token_fingerprint", "summary_digest"]
        updates = ", ".join(f"{name} = excluded.{name}" for name in [*names[1:], "is_gone"])
        is_same = "embeds.summary_digest is excluded.summary_digest"
        updates += f", due_at = iif({is_same}, embeds.due_at, excluded.due_at)"
        self.connection.executemany(
            f"insert into embeds ({', '.join(names)}, first_seen_at, due_at, is_gone)"
            f" values ({', '.join('?' * len(names))}, ?, ?, 0) on conflict (embed_id) do update set {updates}",
            (
                (
                    *(embed.embed_id, *embed.landed),
                    *(embed.token.fingerprint, embed.embed_token_fingerprint, embed.summary_digest),
                    *(micros(now), micros(now)),
                )
                for embed in listed
            ),
        )

    def embeds(self, embed_ids: Iterable[int]) -> list[KnownEmbed]:
        """These embeds, in the order given."""
        names = ", ".join(field.name for field in fields(KnownEmbed))
        query = f"select {names} from json_each(?) join embeds on embed_id = value order by key"
        return [KnownEmbed(*row) for row in self.connection.execute(query, (json.dumps(list(embed_ids)),))]

    def began_before(self, embed_id: int) -> int | None:
        """An upper bound for when an embed began. Ids grow with time, so a later embed's first event is one."""
        row = self.connection.execute(
            "select first_event_at from embeds"
            " where embed_id > ? and first_event_at is not null order by embed_id limit 1",
            (embed_id,),
        ).fetchone()
        return row[0] if row else None

    def due(self, now: datetime, answered_since: datetime | None, *, longest_interval: timedelta) -> list[int]:
        """The embeds that a refresh asks: failed ones first, then the oldest, whose events the vendor deletes first.

        A resumed sweep gives its start as `answered_since`, and embeds that answered since then are left out. If a
        due_at is further ahead than the rule's longest interval, the clock was wrong or the rule has changed: such an
        embed is due now.
        """
        latest = micros(now + longest_interval)
        return self._ids("(due_at <= :now or due_at > :latest)", now, answered_since, latest=latest)

    def mend_clock(self, now: datetime) -> bool:
        """Undo what a sweep recorded while its clock was ahead. Such a sweep seems to have begun later than now.

        Every embed that it asked, saw first or could not ask becomes due now. Without such a sweep, nothing is done.
        Returns whether raw may record such a sweep: not only then, but also where this state has not seen any.
        """
        held = self.fact("latest_sweep_at")
        is_ahead = held is not None and int(held) > micros(now)
        if is_ahead:
            self.connection.execute(
                """
                update embeds set
                    due_at = :now, polled_at = min(polled_at, :now), first_seen_at = min(first_seen_at, :now)
                where polled_at > :now or first_seen_at > :now or (failure_count > 0 and due_at > :now)
                """,
                {"now": micros(now)},
            )
        self.set_fact("latest_sweep_at", str(micros(now)))
        return is_ahead or held is None

    def unasked_since(self, since: datetime) -> tuple[int, datetime | None]:
        """Embeds, neither settled nor gone, without an answer since then: (how many, the earliest last answer)."""
        count, first = self.connection.execute(
            "select count(*), min(coalesce(polled_at, first_seen_at)) from embeds"
            " where due_at is not null and not is_gone and coalesce(polled_at, first_seen_at) < ?",
            (micros(since),),
        ).fetchone()
        return count, moment(first) if count else None

    def begun_by(self, last_date: date, now: datetime, answered_since: datetime | None) -> list[int]:
        """The embeds that a backfill asks, in the same order: all except those known to begin after `last_date`."""
        end = micros(datetime.combine(last_date, datetime.min.time()) + timedelta(days=1))
        return self._ids("(first_event_at is null or first_event_at < :end)", now, answered_since, end=end)

    def not_polled_in(self, sweep_id: str) -> list[int]:
        """Every embed of which this sweep has no whole answer. A reconcile asks all, because it compares its own
        answers."""
        return self._ids("polled_in_sweep is not :sweep_id", None, None, sweep_id=sweep_id)

    def _ids(
        self, condition: str, now: datetime | None, answered_since: datetime | None, **values: object
    ) -> list[int]:
        # Not later than now: a clock that was ahead for a while must not keep an embed from being asked.
        query = f"""
            select embed_id from embeds
            where {condition} and not is_gone
                and (:since is null or polled_at is null or polled_at not between :since and :now)
            order by failure_count > 0 desc, embed_id
        """
        values |= {"now": micros(now) if now else None, "since": micros(answered_since) if answered_since else None}
        return [embed_id for (embed_id,) in self.connection.execute(query, values)]

    def polled(self, outcomes: Iterable[Polled], sweep_id: str) -> None:
        """Remember outcomes. A time of None keeps the known one. Without a whole answer, a resumed reconcile asks
        again."""
        outcomes = list(outcomes)
        self._remember_unseen(outcomes, sweep_id)
        self.connection.executemany(
            """
            update embeds set
                polled_at = coalesce(:polled_at, polled_at),
                due_at = :due_at,
                first_event_at = coalesce(min(first_event_at, :first_event_at), first_event_at, :first_event_at),
                last_event_at = coalesce(max(last_event_at, :last_event_at), last_event_at, :last_event_at),
                body_digest = coalesce(:body_digest, body_digest),
                failure_count = :failure_count,
                is_gone = :is_gone,
                polled_in_sweep = iif(:polled_at is null or not :is_whole, polled_in_sweep, :sweep_id)
            where embed_id = :embed_id
            """,
            (
                {
                    **vars(outcome),
                    "body_digest": bytes.fromhex(outcome.body_digest) if outcome.body_digest else None,
                    "sweep_id": sweep_id,
                }
                for outcome in outcomes
            ),
        )

    def unseen(self, sweep_id: str) -> Unseen | None:
        """What this sweep's outcomes say of events that nobody may have seen. None where they say of none."""
        saved = json.loads(self.fact("unseen") or "{}")
        return Unseen(**saved["unseen"]) if saved.get("sweep_id") == sweep_id else None

    def _remember_unseen(self, outcomes: list[Polled], sweep_id: str) -> None:
        found = [
            Unseen(1, outcome.unseen_from, outcome.unseen_until)
            for outcome in outcomes
            if outcome.unseen_from is not None and outcome.unseen_until is not None
        ]
        if not found:
            return
        if (before := self.unseen(sweep_id)) is not None:
            found.append(before)
        total = Unseen(
            sum(each.embed_count for each in found),
            min(each.since for each in found),
            max(each.until for each in found),
        )
        self.set_fact("unseen", json.dumps({"sweep_id": sweep_id, "unseen": asdict(total)}))

    def add_missing_fields(self) -> None:
        """Add the columns of fields that are newer than this state. The next listing reads them for every embed."""
        held_names = {row[1] for row in self.connection.execute("pragma table_info(embeds)")}
        for column in (*(field.in_state for field in EMBED_FIELDS), _EMBED_TOKEN):
            if column.partition(" ")[0] not in held_names:
                self.connection.execute(f"alter table embeds add column {column}")
                self.set_fact("token_reading", None)

    def add_claim_patterns(self) -> None:
        """Give a state from before the policy's matches were noted their table. The next listing reads every token."""
        if claim_patterns.create(self.connection):
            self.set_fact("token_reading", None)

    def forget_implausible_times(self) -> None:
        """Forget implausibly early times of first and last events, which former versions believed. Runs once."""
        if self.fact("plausible_from") is None:
            earliest = micros(PLAUSIBLE_FROM)
            self.connection.execute(
                """
                update embeds set
                    due_at = coalesce(due_at, polled_at, first_seen_at), body_digest = null,
                    first_event_at = iif(first_event_at < :earliest, null, first_event_at),
                    last_event_at = iif(last_event_at < :earliest, null, last_event_at)
                where first_event_at < :earliest or last_event_at < :earliest
                """,
                {"earliest": earliest},
            )
            self.set_fact("plausible_from", str(earliest))

    def recover(self) -> None:
        """Take in what landed in raw just before a crash, and was not yet remembered here."""
        sweep_ids = {sweep.sweep_id for sweep in self.open_sweeps()}
        files, has_lost_events = held.absorb_unknown_files(self.connection, self._home)
        for path in files:
            batch = pl.read_parquet_metadata(path).get(BATCH_METADATA)
            if batch and (manifest := json.loads(batch))["sweep_id"] in sweep_ids:
                self.polled((Polled(**outcome) for outcome in manifest["polled"]), manifest["sweep_id"])
        if has_lost_events:
            # Raw has lost answers, so every embed is asked as if it were new.
            self.connection.execute(
                "update embeds set due_at = first_seen_at, polled_at = null, polled_in_sweep = null, body_digest = null"
            )
        self.commit()


def batch_metadata(outcomes: list[Polled], sweep_id: str) -> dict[str, str]:
    """Parquet metadata for a raw file; see BATCH_METADATA."""
    return {BATCH_METADATA: json.dumps({"sweep_id": sweep_id, "polled": [vars(outcome) for outcome in outcomes]})}
