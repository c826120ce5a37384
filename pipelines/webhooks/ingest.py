"""The journal becomes raw: each received event lands as a delivery of source `webhook`, and its segment goes.

A segment is removed only when its raw files are in place and remembered. After a kill before that, the next
refresh reads the segment again and lands what is still news. A damaged segment is named and stays, and each refresh
reads it again: what could be read of it has landed, and a person may still find the rest.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.chain import chain
from pipelines.chain.linked_paths import relative, sha256_of
from pipelines.home.layout import Home
from pipelines.home.sealed import Damage
from pipelines.home.times import micros, moment
from pipelines.oneschema.json_text import Json
from pipelines.oneschema.tokens import MISSING, TokenReader
from pipelines.oneschema.unreadable_text import keepable_text
from pipelines.raw import claim_patterns
from pipelines.raw.landing import EventLanding
from pipelines.raw.raw_rows import Envelope, to_raw
from pipelines.raw.unreadable import UnreadableBody, land_unreadable, may_keep_text
from pipelines.raw.webhook_gaps import WebhookGap, land_webhook_gaps
from pipelines.webhooks.records import Record, decode, is_torn
from pipelines.webhooks.segments import SUFFIX, Segment, SegmentError, began_at

# A batch lands when it reaches one of these bounds.
BATCH_EVENTS = 50_000
BATCH_BYTES = 64 * 1024 * 1024
BATCH_SEGMENTS = 200


@dataclass
class IngestReport:
    """What the journal held, and how much of it was news.

    `unreadable_count` is the number of bodies that could not be read, `damaged_count` that of damaged journal lines.
    Both go to quarantine.
    """

    delivered_event_count: int = 0
    landed_event_count: int = 0
    unreadable_count: int = 0
    damaged_count: int = 0
    damages: list[Damage] = field(default_factory=list[Damage])
    """Segments that cannot be read whole."""
    landed_by_date: dict[str, int] = field(default_factory=dict[str, int])


def ingest_journal(
    home: Home,
    connection: sqlite3.Connection,
    tokens: TokenReader,
    environment_name: str | None,
    fingerprint_of: Callable[[int], str | None],
    unreadable_from: datetime | None = None,
) -> IngestReport:
    """Land everything that the receiver has acknowledged, and remove the finished segments.

    `connection` is the state's. `environment_name` is for events that do not name theirs. `fingerprint_of` gives the
    token fingerprint of an embed, if known. Bodies that came before `unreadable_from` do not go to raw/unreadable.
    The caller holds the home's writer lock. The receiver may be running meanwhile.
    """
    ingest = _Ingest(home, connection, tokens, environment_name, fingerprint_of, unreadable_from)
    with closing(ingest):
        for path in sorted(home.webhook_journal.glob(f"*{SUFFIX}")):
            ingest.read(path)
        ingest.finish()
    return ingest.report


class _Ingest:
    """Reads segments, lands their deliveries in batches, and removes the segments that have landed completely."""

    def __init__(
        self,
        home: Home,
        connection: sqlite3.Connection,
        tokens: TokenReader,
        environment_name: str | None,
        fingerprint_of: Callable[[int], str | None],
        unreadable_from: datetime | None,
    ) -> None:
        self.report = IngestReport()
        self._home = home
        self._connection = connection
        self._tokens = tokens
        self._environment_name = environment_name
        self._fingerprint_of = fingerprint_of
        self._unreadable_from = unreadable_from
        self._landing = EventLanding(home, connection)
        self._batch: list[tuple[Any, Envelope]] = []
        self._batch_bytes = 0
        self._fingerprints: dict[int, str | None] = {}
        self._unreadable: dict[str, list[tuple[int, UnreadableBody]]] = {}
        self._gaps: dict[str, list[WebhookGap]] = {}
        # These stay open until they are removed; finished ones are also locked.
        self._segments: list[Segment] = []

    def read(self, path: Path) -> None:
        try:
            segment = Segment(path)
        except FileNotFoundError:
            # It was empty, and its own receiver has just removed it.
            return
        except OSError as error:
            self.report.damages.append(Damage(path, f"cannot be read ({error.strerror})"))
            self._note_gap(path, "damaged", began_at(path), "damaged", None)
            return
        self._segments.append(segment)
        before = self.report.damaged_count
        try:
            for number, line in enumerate(segment.lines()):
                record = decode(line)
                if record is not None and record.refusal is not None:
                    refusal, hour = record.refusal, moment(record.received_at)
                    self._note_gap(path, str(number), hour, refusal.reason, refusal.count)
                    continue
                self._batch.append(self._delivery(record, line, segment))
                self._batch_bytes += len(line)
                if len(self._batch) >= BATCH_EVENTS or self._batch_bytes >= BATCH_BYTES:
                    self._land_batch()
        except SegmentError as error:
            self._name(segment, f"cannot be read ({error})")
        if count := self.report.damaged_count - before:
            self._name(segment, f"has {count} damaged line{'s' * (count > 1)}")
        elif segment.is_finished and not is_torn(segment.unfinished):
            self._name(segment, "is damaged at its end")
        if len(self._segments) >= BATCH_SEGMENTS:
            self.finish()

    def _name(self, segment: Segment, reason: str) -> None:
        segment.is_damaged = True
        self._note_gap(segment.path, "damaged", segment.started_at, "damaged", None)
        self.report.damages.append(Damage(segment.path, reason))

    def finish(self) -> None:
        """Land what was read, and remove its segments."""
        if self._batch:
            self._land_batch()
        for name, bodies in self._unreadable.items():
            land_unreadable(self._home, name, bodies, self._unreadable_from)
        self._unreadable = {}
        for name, gaps in self._gaps.items():
            land_webhook_gaps(self._home, name, gaps)
        self._gaps = {}
        gone = [segment for segment in self._segments if segment.may_be_removed]
        chain.append(self._home, [("segment", self._facts(segment)) for segment in gone if segment.byte_count])
        for segment in gone:
            segment.remove()
        self.close()

    def close(self) -> None:
        for segment in self._segments:
            segment.close()
        self._segments = []

    def _facts(self, segment: Segment) -> dict[str, Any]:
        return {
            "path": relative(self._home, segment.path),
            "bytes": segment.byte_count,
            "sha256": sha256_of(segment.path),
        }

    def _land_batch(self) -> None:
        landed = self._landing.land(to_raw(self._batch, self._tokens), self._batch[0][1].sweep_id)
        claim_patterns.remember(self._connection, self._tokens.policy_matches)
        self._connection.commit()
        report = self.report
        report.delivered_event_count += landed.delivered_count
        report.landed_event_count += landed.landed_count
        for event_date, count in landed.landed_by_date.items():
            report.landed_by_date[event_date] = report.landed_by_date.get(event_date, 0) + count
        self._batch, self._batch_bytes = [], 0

    def _embed_token_fingerprint(self, event: Json) -> str | None:
        """The fingerprint of the embed's token, if the poll has listed the embed. A webhook does not hold the token."""
        embed_id = event.get("embed_id") if isinstance(event, dict) else None
        if type(embed_id) is not int:
            return None
        if embed_id not in self._fingerprints:
            self._fingerprints[embed_id] = self._fingerprint_of(embed_id)
        return self._fingerprints[embed_id]

    def _note_gap(self, path: Path, place: str, since: datetime, reason: str, count: int | None) -> None:
        segment = path.name.removesuffix(SUFFIX)
        self._gaps.setdefault(segment, []).append(WebhookGap(f"{segment}-{place}", since, reason, count, segment))

    def _delivery(self, record: Record | None, line: bytes, segment: Segment) -> tuple[Any, Envelope]:
        if record is None:
            self.report.damaged_count += 1
            # The receiver wrote no credential, but damage may have changed the line in any way.
            text = keepable_text(line.decode("utf-8", "backslashreplace"), self._tokens.known_secrets)
            record = Record(
                micros(segment.started_at),
                MISSING,
                {},
                None,
                UnreadableBody.of(
                    line, "journal", "damaged line of the journal", text, digest_key=self._tokens.digest_key
                ),
            )
        elif record.unreadable is not None:
            self.report.unreadable_count += 1
        fetched_at = moment(record.received_at)
        if record.unreadable is not None:
            body = record.unreadable
            if not may_keep_text(self._tokens.claim_policy):
                body = replace(body, text=None)
            self._unreadable.setdefault(segment.name, []).append((record.received_at, body))
            event, token = body.delivery(), MISSING
        else:
            event, token = record.event, self._tokens.read_again(record.token, record.claim_policy)
            if record.token.claims is not None:
                self._tokens.policy_matches.add(record.claim_policy, record.matched_patterns)
        return event, Envelope(
            embed_id=None,
            template_key=None,
            environment_name=self._environment_name,
            token=token,
            source="webhook",
            fetched_at=fetched_at,
            sweep_id=segment.name,
            embed_token_fingerprint=self._embed_token_fingerprint(event),
        )
