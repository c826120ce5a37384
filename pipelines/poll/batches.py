"""Turns answers into raw files, and then updates the frontier."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import polars as pl

from pipelines.errors import CredentialRefusedError, EmbedAnalyticsError, HostUnreachableError, TransientError
from pipelines.home.layout import Home
from pipelines.home.times import PLAUSIBLE_AHEAD, PLAUSIBLE_FROM, micros, moment
from pipelines.oneschema.tokens import ReadToken, TokenReader
from pipelines.poll.coverage import Coverage
from pipelines.poll.frontier import FrontierRule
from pipelines.poll.poll_state import KnownEmbed, Polled, PollState, batch_metadata
from pipelines.raw import claim_patterns, held
from pipelines.raw.landing import EventLanding, LandedBatch
from pipelines.raw.raw_rows import Envelope, to_raw


@dataclass(frozen=True)
class Answer:
    """The outcome of asking for one embed: events (None: the body is the known one), gone, or an error.

    `problem` says why there may be more events than came. If it is set, there is no digest.
    """

    embed: KnownEmbed
    asked_at: datetime
    body_digest: bytes | None = None
    events: list[Any] | None = None
    is_gone: bool = False
    error: EmbedAnalyticsError | None = None
    problem: str | None = None

    @property
    def event_count(self) -> int:
        return len(self.events) if self.events else 0


class BatchLander:
    """Lands batches of answers of one sweep and remembers them: raw first, then one transaction of the state."""

    def __init__(
        self,
        home: Home,
        state: PollState,
        tokens: TokenReader,
        rule: FrontierRule,
        *,
        sweep_id: str,
        started_at: datetime,
        environment_name: str | None,
        counts_coverage: bool,
    ) -> None:
        self._state = state
        self._tokens = tokens
        self._rule = rule
        self._sweep_id = sweep_id
        self._started_at = started_at
        self._environment_name = environment_name
        self._landing = EventLanding(home, state.connection)
        self._coverage = Coverage(state, sweep_id) if counts_coverage else None

    def land(self, answers: list[Answer]) -> LandedBatch:
        """Land one batch. When this returns, the batch is durable and remembered."""
        deliveries = to_raw(
            ((event, envelope) for answer in answers if answer.events for event, envelope in self._events(answer)),
            self._tokens,
        )
        spans = _spans(deliveries, self._started_at)
        outcomes = [self._outcome(answer, spans.get(answer.embed.embed_id)) for answer in answers]

        def metadata_of(whole: set[int], is_last: bool) -> dict[str, str]:
            return batch_metadata([o for o in outcomes if is_last or o.embed_id in whole], self._sweep_id)

        if self._coverage:
            polled_at = {answer.embed.embed_id: answer.embed.polled_at for answer in answers}
            self._coverage.add(held.classify(self._state.connection, deliveries), polled_at)
        landed = self._landing.land(deliveries, self._sweep_id, metadata_of)
        self._state.polled(outcomes, self._sweep_id)
        claim_patterns.remember(self._state.connection, self._tokens.policy_matches)
        self._state.commit()
        return landed

    def coverage(self) -> list[dict[str, Any]] | None:
        """raw/sweeps.coverage of a reconcile. Call it when everything has landed."""
        return self._coverage.rows() if self._coverage else None

    def coverage_by_environment(self) -> list[dict[str, Any]] | None:
        """raw/sweeps.coverage_by_environment of a reconcile, likewise."""
        return self._coverage.rows_by_environment() if self._coverage else None

    def _events(self, answer: Answer) -> list[tuple[Any, Envelope]]:
        embed = answer.embed
        envelope = Envelope(
            embed_id=embed.embed_id,
            template_key=embed.template_key,
            environment_name=self._environment_name,
            token=ReadToken(embed.claims, embed.jwt_status, embed.token_fingerprint),
            source="api",
            fetched_at=answer.asked_at,
            sweep_id=self._sweep_id,
            embed_token_fingerprint=embed.embed_token_fingerprint,
        )
        return [(event, envelope) for event in answer.events or []]

    def _outcome(self, answer: Answer, span: "_Span | None") -> Polled:
        embed, asked_at = answer.embed, micros(answer.asked_at)
        if answer.is_gone or answer.error is not None:
            # A refused key or an unreachable host says nothing about this embed.
            is_of_others = isinstance(answer.error, CredentialRefusedError | HostUnreachableError)
            failures = embed.failure_count + (not is_of_others)
            if is_of_others or isinstance(answer.error, TransientError):
                return Polled(embed.embed_id, None, asked_at, failure_count=failures)
            retry_at = micros(self._rule.next_try_at(answer.asked_at, failures))
            polled_at = asked_at if answer.is_gone else None
            return Polled(embed.embed_id, polled_at, retry_at, failure_count=failures, is_gone=answer.is_gone)
        first, last, has_future = span or _Span(None, None, has_future=False)
        due_at = self._rule.next_due_at(answer.asked_at, moment(self._active_at(embed, last, asked_at)))
        # A future event becomes plausible with time, so its body must be read again rather than taken as known.
        body_digest = None if has_future or answer.body_digest is None else answer.body_digest.hex()
        unseen_from, unseen_until = self._unseen(answer)
        return Polled(
            embed.embed_id,
            asked_at,
            micros(due_at) if due_at else None,
            first,
            last,
            body_digest,
            is_whole=answer.problem is None,
            unseen_from=unseen_from,
            unseen_until=unseen_until,
        )

    def _unseen(self, answer: Answer) -> tuple[int, int] | tuple[None, None]:
        """When the events happened that retention could delete between the embed's answer before and this one.

        An embed that was settled then was not to be asked, so nothing failed.
        """
        embed, retention = answer.embed, self._rule.retention
        since = embed.first_seen_at if embed.polled_at is None else embed.polled_at
        if retention is None or since >= (until := micros(answer.asked_at - retention)):
            return None, None
        was_active_at = moment(self._active_at(embed, None, since))
        if embed.polled_at is not None and self._rule.next_due_at(moment(since), was_active_at) is None:
            return None, None
        return since, until

    def _active_at(self, embed: KnownEmbed, last_event_at: int | None, asked_at: int) -> int:
        """The time of the embed's last plausible activity. An event dated after the poll counts as at the poll."""
        latest = micros(self._started_at + PLAUSIBLE_AHEAD)
        known = [at for at in (embed.last_event_at, last_event_at) if at is not None and at <= latest]
        if known:
            return min(max(known), asked_at)
        began_before = self._state.began_before(embed.embed_id)
        return embed.first_seen_at if began_before is None else min(embed.first_seen_at, began_before)


class _Span(NamedTuple):
    """The first and the last plausible time of one embed's events, in microseconds since 1970."""

    first: int | None
    last: int | None
    has_future: bool
    """Whether some event lies beyond what is plausible now."""


def _spans(deliveries: pl.DataFrame, started_at: datetime) -> dict[int, _Span]:
    """The span of each embed's events. An implausible time affects neither its own session nor any other."""
    at, latest = pl.col("occurred_at"), micros(started_at + PLAUSIBLE_AHEAD)
    plausible = at.filter(at.is_between(micros(PLAUSIBLE_FROM), latest))
    spans = deliveries.group_by("embed_id").agg(
        plausible.min().alias("first"), plausible.max().alias("last"), (at > latest).any().alias("has_future")
    )
    return {embed_id: _Span(*span) for embed_id, *span in spans.iter_rows()}
