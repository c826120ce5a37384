"""One sweep of the API: list the embeds, ask the due ones, land the news, remember it.

The order of writing is always raw files, then the state, then the record of the sweep. If a sweep is killed at any
instant, the next one of its kind resumes it, and asks only for what had not landed.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_hex

from pipelines.errors import (
    ConfigurationError,
    CredentialRefusedError,
    EmbedAnalyticsError,
    HostUnreachableError,
    PermanentError,
    SourceError,
    TransientError,
    WrongHomeError,
)
from pipelines.home.layout import Home
from pipelines.home.times import moment
from pipelines.oneschema.client import (
    Connection,
    EmbedGoneError,
    EmbedRefusedError,
    OneSchemaClient,
    RequestRejectedError,
    open_client,
)
from pipelines.oneschema.credentials import text_without_credentials
from pipelines.oneschema.tokens import TokenReader
from pipelines.poll.batches import Answer, BatchLander
from pipelines.poll.frontier import FrontierRule
from pipelines.poll.interruptible import finished_in_thread, run_interruptibly
from pipelines.poll.listing import list_embeds
from pipelines.poll.poll_state import KnownEmbed, OpenSweep, PollState
from pipelines.poll.report import Failure, SweepProgress, SweepReport, SweepRequest
from pipelines.raw.landing import land_sweep, sweeps_begun_after

# A crashed sweep is resumed if it began no longer ago than this. An older one would leave fresh embeds unasked.
RESUME_WITHIN = {
    "refresh": timedelta(hours=1),
    "backfill": timedelta(hours=24),
    "reconcile": timedelta(hours=24),
}

# A batch lands when it reaches one of these bounds. Memory holds three batches: one that is landing, one that is
# waiting, and one that is being gathered.
BATCH_EVENTS = 25_000
BATCH_SECONDS = 5.0

# How often to try an embed that failed in the sweep before. Many such embeds must not hold up the rest.
ATTEMPTS_OF_FAILING = 2

# How many embeds' state is read ahead of the workers.
READ_AHEAD = 500


@dataclass(frozen=True)
class SweepContext:
    """What a sweep works with. `clock` gives naive UTC. The caller holds the home's writer lock.

    When the API, or the way to it, makes a sweep break off, `on_broken_off` gets its report before the error is raised.
    """

    home: Home
    connection: Connection
    tokens: TokenReader
    rule: FrontierRule
    environment_name: str | None
    concurrency: int
    clock: Callable[[], datetime]
    on_progress: Callable[[SweepProgress], None] = lambda _: None
    on_broken_off: Callable[[SweepReport], None] = lambda _: None
    check_organisation: Callable[[str], None] = lambda _: None


def run_sweep(context: SweepContext, state: PollState, request: SweepRequest) -> SweepReport:
    """Run one sweep and record it in raw/sweeps, even if it found nothing or broke off.

    Raises CredentialRefusedError, HostUnreachableError, WrongHomeError or SourceError when it had to break off, after
    landing what it had. Embeds that failed are in the report and raise nothing.
    """
    sweep = _Sweep(context, state, request)
    try:
        return run_interruptibly(sweep.run())
    except (ConfigurationError, WrongHomeError):
        # The sweep never began. It needs another setting, whatever the API does.
        raise
    except EmbedAnalyticsError:
        context.on_broken_off(sweep.report)
        raise


class _Sweep:
    def __init__(self, context: SweepContext, state: PollState, request: SweepRequest) -> None:
        self._context = context
        self._state = state
        self._request = request
        self._report = self._begin()
        self._failures_in_a_row = 0
        self._key_check = asyncio.Lock()
        self._key_accepted_at = float("-inf")
        self._abort: EmbedAnalyticsError | None = None
        self._has_begun = False
        self._done = 0

    @property
    def report(self) -> SweepReport:
        """What the sweep has done so far."""
        return self._report

    async def run(self) -> SweepReport:
        context, report = self._context, self._report
        try:
            async with AsyncExitStack() as stack:
                client = await stack.enter_async_context(open_client(context.connection))
                organisation = text_without_credentials(
                    (await client.whoami()).organisation, context.tokens.known_secrets
                )
                context.check_organisation(organisation)
                now = context.clock()
                if self._state.mend_clock(now):
                    ahead = [*(report.clock_ahead_sweeps or ()), *sweeps_begun_after(context.home, now)]
                    report.clock_ahead_sweeps = sorted(set(ahead)) or None
                # From here on the home belongs to this API, and the sweep leaves a record.
                self._state.begin_sweep(self._opened())
                self._state.commit()
                self._has_begun = True
                unlisted = await self._list(client)
                embed_ids = self._to_ask()
                report.due_count = len(embed_ids)
                clients = [client] + [
                    await stack.enter_async_context(open_client(context.connection))
                    for _ in range(min(context.concurrency, len(embed_ids)) - 1)
                ]
                await self._ask(clients, embed_ids)
            if error := self._abort or unlisted:
                raise error
            report.is_complete = True
        finally:
            if self._has_begun:
                self._record()
        return report

    def _begin(self) -> SweepReport:
        now, kind = self._context.clock(), self._request.kind
        environment = self._context.environment_name
        report = SweepReport(f"{now:%Y%m%dT%H%M%S%f}-{kind}-{token_hex(2)}", kind, now, environment_name=environment)
        for left in self._state.open_sweeps():
            left_at = datetime.fromisoformat(left.started_at)
            if not timedelta(0) <= now - left_at <= RESUME_WITHIN[left.kind]:
                # It crashed and is too old to be resumed, but it still gets its record.
                crashed = SweepReport(left.sweep_id, left.kind, left_at, clock_ahead_sweeps=left.clock_ahead_sweeps)
                land_sweep(self._context.home, crashed.row())
                self._state.end_sweep(left.sweep_id)
                self._state.commit()
            elif (left.kind, left.from_date, left.to_date) == (kind, *self._range()):
                report = SweepReport(
                    left.sweep_id,
                    kind,
                    left_at,
                    is_resumed=True,
                    environment_name=environment,
                    clock_ahead_sweeps=left.clock_ahead_sweeps,
                )
        return report

    def _opened(self) -> OpenSweep:
        report = self._report
        return OpenSweep(
            report.sweep_id,
            report.kind,
            report.started_at.isoformat(),
            *self._range(),
            clock_ahead_sweeps=report.clock_ahead_sweeps,
        )

    def _range(self) -> tuple[str | None, str | None]:
        first, last = self._request.from_date, self._request.to_date
        return (first.isoformat() if first else None, last.isoformat() if last else None)

    async def _list(self, client: OneSchemaClient) -> EmbedAnalyticsError | None:
        """List the embeds. Returns the error that kept the list from being taken in whole, if any. Known embeds are
        asked even then, because their events may be deleted before the list works again."""
        try:
            self._report.listing = await list_embeds(
                client,
                self._state,
                self._context.home,
                self._context.tokens,
                sweep_id=self._report.sweep_id,
                environment_name=self._context.environment_name,
                clock=self._context.clock,
                is_full=self._request.kind != "refresh",
            )
        except (CredentialRefusedError, EmbedGoneError, RequestRejectedError, SourceError) as error:
            return error
        if problem := self._report.listing.problem:
            self._report.failures.append(Failure(None, problem, is_transient=False))
        if count := self._report.listing.unreadable_count:
            problem = f"{count} embeds of GET /v1/embeds have no readable id, so their events cannot be fetched"
            self._report.failures.append(Failure(None, problem, is_transient=False))
        return None

    def _to_ask(self) -> list[int]:
        # The list has just made embeds due, as of the clock's present time and not as of the sweep's start.
        now = self._context.clock()
        answered_since = self._report.started_at if self._report.is_resumed else None
        if self._request.kind == "refresh":
            return self._state.due(now, answered_since, longest_interval=self._context.rule.longest_interval)
        if self._request.to_date is not None:
            return self._state.begun_by(self._request.to_date, now, answered_since)
        return self._state.not_polled_in(self._report.sweep_id)

    async def _ask(self, clients: list[OneSchemaClient], embed_ids: list[int]) -> None:
        lander = BatchLander(
            self._context.home,
            self._state,
            self._context.tokens,
            self._context.rule,
            sweep_id=self._report.sweep_id,
            started_at=self._report.started_at,
            environment_name=self._context.environment_name,
            counts_coverage=self._request.kind == "reconcile",
        )
        # The queue is bounded, so that workers wait for the disk rather than fill the memory.
        answers: asyncio.Queue[Answer | None] = asyncio.Queue(maxsize=4 * len(clients))
        batches: asyncio.Queue[list[Answer] | None] = asyncio.Queue(maxsize=1)
        todo = self._read_ahead(embed_ids)
        # The next batch is gathered while one lands.
        gathering = asyncio.create_task(self._gather(answers, batches, len(embed_ids)))
        landing = asyncio.create_task(self._land(batches, lander))
        workers = {asyncio.create_task(self._work(client, todo, answers)) for client in clients}
        tasks = {*workers, gathering, landing}
        try:
            await _until_done(workers, {gathering, landing}, lambda: self._abort is not None)
            tasks.add(closing := asyncio.create_task(answers.put(None)))
            await _until_done({closing, gathering}, {landing})
            await landing
        finally:
            await _end(tasks)
        self._report.coverage = lander.coverage()
        self._report.coverage_by_environment = lander.coverage_by_environment()

    def _read_ahead(self, embed_ids: list[int]) -> Iterator[KnownEmbed]:
        for start in range(0, len(embed_ids), READ_AHEAD):
            yield from self._state.embeds(embed_ids[start : start + READ_AHEAD])

    async def _work(
        self, client: OneSchemaClient, todo: Iterator[KnownEmbed], answers: asyncio.Queue[Answer | None]
    ) -> None:
        for embed in todo:
            await answers.put(await self._ask_one(client, embed))
            if self._abort:
                return

    async def _ask_one(self, client: OneSchemaClient, embed: KnownEmbed) -> Answer:
        asked_at = self._context.clock()
        # Coverage needs the uuids, so a reconcile decodes known bodies, too.
        known_digest = None if self._request.kind == "reconcile" else embed.body_digest
        attempts = ATTEMPTS_OF_FAILING if embed.failure_count else None
        began = asyncio.get_running_loop().time()
        try:
            try:
                events = await client.embed_events(embed.embed_id, known_digest, attempts=attempts)
            except EmbedRefusedError:
                await self._check_key(client, began)
                raise
        except EmbedGoneError:
            return self._answered(Answer(embed, asked_at, is_gone=True))
        except RequestRejectedError as error:
            return self._answered(Answer(embed, asked_at, error=error))
        except TransientError as error:
            # A long row of new failures means that the source is down. Embeds that also failed before do not count,
            # because they may fail for reasons of their own.
            if embed.failure_count == 0 or isinstance(error, HostUnreachableError):
                self._failures_in_a_row += 1
            if self._failures_in_a_row >= max(2 * self._context.concurrency, 20):
                self._abort = error if isinstance(error, HostUnreachableError) else self._abort or error
            return Answer(embed, asked_at, error=error)
        except PermanentError as error:
            self._abort = error
            return Answer(embed, asked_at, error=error)
        digest = None if events.problem else events.body_digest
        return self._answered(Answer(embed, asked_at, digest, events.events, problem=events.problem))

    async def _check_key(self, client: OneSchemaClient, began: float) -> None:
        """Raise CredentialRefusedError if the key itself is refused, rather than one embed. Asks GET /whoami, unless it
        has accepted the key since `began`."""
        async with self._key_check:
            if self._key_accepted_at < began:
                await client.whoami()
                self._key_accepted_at = asyncio.get_running_loop().time()

    def _answered(self, answer: Answer) -> Answer:
        self._failures_in_a_row = 0
        return answer

    async def _gather(
        self, answers: asyncio.Queue[Answer | None], batches: asyncio.Queue[list[Answer] | None], total: int
    ) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        batch: list[Answer] = []
        event_count = 0
        flush_at = started + BATCH_SECONDS
        is_open = True
        while is_open:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(flush_at):
                    answer = await answers.get()
                    is_open = answer is not None
                    if answer is not None:
                        batch.append(answer)
                        event_count += answer.event_count
                        self._count(answer)
            if not is_open or loop.time() >= flush_at or event_count >= BATCH_EVENTS:
                if batch:
                    await batches.put(batch)
                batch, event_count = [], 0
                flush_at = loop.time() + BATCH_SECONDS
            self._report_progress(total, loop.time() - started)
        await batches.put(None)

    async def _land(self, batches: asyncio.Queue[list[Answer] | None], lander: BatchLander) -> None:
        while (batch := await batches.get()) is not None:
            await finished_in_thread(self._land_batch, batch, lander)

    def _land_batch(self, batch: list[Answer], lander: BatchLander) -> None:
        landed = lander.land(batch)
        self._report.delivered_event_count += landed.delivered_count
        self._report.landed_event_count += landed.landed_count
        by_date = self._report.landed_by_date
        for event_date, count in landed.landed_by_date.items():
            by_date[event_date] = by_date.get(event_date, 0) + count

    def _report_progress(self, total: int, seconds: float) -> None:
        report = self._report
        self._context.on_progress(
            SweepProgress(self._done, len(report.failures), total, report.landed_event_count, seconds)
        )

    def _count(self, answer: Answer) -> None:
        self._done += 1
        self._report.gone_count += answer.is_gone
        if answer.error is not None:
            is_transient = isinstance(answer.error, TransientError)
            self._report.failures.append(Failure(answer.embed.embed_id, str(answer.error), is_transient))
        elif not answer.is_gone:
            self._report.fetched_count += 1
            if answer.problem:
                self._report.failures.append(Failure(answer.embed.embed_id, answer.problem, is_transient=False))

    def _record(self) -> None:
        self._report.finished_at = self._context.clock()
        self._report.request_count = self._context.connection.request_count
        if (retention := self._context.rule.retention) is not None:
            # The rule asks every quarter of the retention period, so half of it without an answer is a fault.
            count, first = self._state.unasked_since(self._report.finished_at - retention / 2)
            self._report.unasked_embed_count = count
            self._report.first_loss_at = first + retention if first else None
            unseen = self._state.unseen(self._report.sweep_id)
            self._report.unseen_embed_count = unseen.embed_count if unseen else 0
            if unseen:
                self._report.unseen_from, self._report.unseen_until = moment(unseen.since), moment(unseen.until)
        land_sweep(self._context.home, self._report.row())
        # A sweep that broke off stays open, and the next one of its kind resumes it.
        if self._report.is_complete:
            self._state.end_sweep(self._report.sweep_id)
            self._state.commit()


async def _until_done(
    tasks: set[asyncio.Task[None]],
    served_by: set[asyncio.Task[None]],
    is_off: Callable[[], bool] = lambda: False,
) -> None:
    """Return when the tasks are done, or at once when the sweep has to break off. Raises the error of a failed task."""
    left = set(tasks)
    while left and not is_off():
        # A task in `served_by` ends early only by failing. Then nothing would take what the other tasks produce.
        done, _ = await asyncio.wait({*left, *served_by}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        left -= done
    # Tasks that are waiting before another attempt would only ask in vain.
    await _end(left)


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
