"""meta_completeness by its definition: day by day and reconcile by reconcile, without a set operation of SQL."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
PLAUSIBLE_FROM = datetime(2020, 1, 1)


class Verdict(NamedTuple):
    """What is compared of a row. `open_kinds` are the kinds of its open gaps."""

    verdict: str
    source_count: int | None
    unheld_count: int | None
    reconciled_at: datetime | None
    held_count: int
    agreed_count: int
    open_kinds: frozenset[str]
    closed_gap_count: int
    whole_until: datetime | None
    horizon_at: datetime | None
    proven_at: datetime | None


@dataclass(frozen=True)
class Found:
    """What a reconcile says of a day and environment."""

    source_count: int
    unheld_count: int


@dataclass
class Sweep:
    """A row of meta_sweeps. `found` is its coverage_by_environment, by date (None: unknown) and environment."""

    sweep_id: str
    kind: str
    started_at: datetime
    finished_at: datetime | None
    is_complete: bool
    failed_count: int
    environment_name: str | None = None
    found: dict[tuple[date | None, str | None], Found] | None = None
    unasked_embed_count: int | None = None
    first_loss_at: datetime | None = None
    unseen: tuple[int, datetime, datetime] | None = None
    clock_ahead_sweeps: list[str] | None = None


@dataclass
class World:
    """All that meta_completeness reads. `held` has the events and the agreed ones by date and environment, `pushed` the
    webhooks' gaps as (began_at, reason, count)."""

    built_at: datetime
    retention: timedelta | None
    sweeps: list[Sweep] = field(default_factory=list[Sweep])
    held: dict[tuple[date, str | None], tuple[int, int]] = field(default_factory=dict[Any, Any])
    quarantined: dict[date, int] = field(default_factory=dict[date, int])
    damaged: list[date | None] = field(default_factory=list[date | None])
    pushed: list[tuple[datetime, str, int | None]] = field(default_factory=list[Any])

    @property
    def seen_sweeps(self) -> list[Sweep]:
        sweeps = [sweep for sweep in self.sweeps if sweep.started_at <= self.built_at]
        return sorted(sweeps, key=lambda sweep: (sweep.started_at, sweep.sweep_id))

    @property
    def data_through(self) -> datetime | None:
        return max((sweep.started_at for sweep in self.seen_sweeps if sweep.is_complete), default=None)

    def is_clock_right(self, sweep: Sweep) -> bool:
        return (
            sweep.clock_ahead_sweeps is None
            and not any(sweep.sweep_id in (other.clock_ahead_sweeps or ()) for other in self.seen_sweeps)
            and end_of(sweep) >= sweep.started_at
        )


def end_of(sweep: Sweep) -> datetime:
    return sweep.finished_at or sweep.started_at


def start_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)


def days_between(first: datetime | date, last: datetime | date) -> Iterator[date]:
    day = date(first.year, first.month, first.day)
    while day <= date(last.year, last.month, last.day):
        yield day
        day += DAY


def sees(sweep: Sweep, environment: str | None) -> bool:
    if sweep.found is None:
        return False
    is_named = environment is not None and sweep.environment_name == environment
    return is_named or any(name == environment for _, name in sweep.found)


def proves(world: World, sweep: Sweep, day: date, environment: str | None) -> bool:
    if world.retention is None or sweep.kind != "reconcile" or not world.is_clock_right(sweep):
        return False
    begins, whole_until = start_of(day), start_of(day) + world.retention
    is_in_time = begins + DAY <= sweep.started_at < whole_until and end_of(sweep) <= whole_until
    is_whole = sweep.is_complete and sweep.failed_count == 0
    if not (is_in_time and is_whole and sees(sweep, environment)):
        return False
    assert sweep.found is not None
    return sweep.found.get((day, environment), Found(0, 0)).unheld_count == 0


class Gaps(defaultdict[date, dict[str, datetime | None]]):
    """By day, the kinds of gaps, each with the time after which a proof must begin to close it; None: none does."""

    def __init__(self, world: World) -> None:
        super().__init__(dict)
        self.world = world
        self.of_sweeps()
        self.of_clocks()
        self.of_times_without_sweeps()
        self.of_raw()
        for began_at, reason, _ in world.pushed:
            kind = "damaged journal" if reason == "damaged" else "refused webhooks"
            # Of a refusal the hour is known alone: from its beginning to just before its end, and what happened before.
            until = began_at + HOUR - timedelta(minutes=1)
            self.add(kind, began_at - HOUR, until, began_at + HOUR)

    def add(self, kind: str, first: datetime | date, last: datetime | date, closes_after: datetime | None) -> None:
        for day in days_between(first, last):
            if PLAUSIBLE_FROM <= start_of(day) <= self.world.built_at:
                before = self[day].get(kind, closes_after)
                both = None if before is None or closes_after is None else max(before, closes_after)
                self[day][kind] = both

    def of_sweeps(self) -> None:
        kind, retention, sweeps = "sessions without an answer", self.world.retention, self.world.seen_sweeps
        for sweep in sweeps:
            if sweep.unseen and sweep.unseen[0] > 0:
                self.add(kind, sweep.unseen[1], sweep.unseen[2], datetime.min)
            if retention is not None and sweep.unasked_embed_count and sweep.first_loss_at:
                until = max(end_of(sweep), self.world.built_at) if sweep is sweeps[-1] else end_of(sweep)
                if until > sweep.first_loss_at:
                    self.add(kind, sweep.first_loss_at - retention, until - retention, datetime.min)

    def of_clocks(self) -> None:
        right = [sweep.started_at for sweep in self.world.seen_sweeps if self.world.is_clock_right(sweep)]
        for sweep in self.world.seen_sweeps:
            if sweep.clock_ahead_sweeps is not None:
                since = max((at for at in right if at < sweep.started_at), default=sweep.started_at)
                self.add("clock", since, sweep.started_at, sweep.started_at)

    def of_times_without_sweeps(self) -> None:
        world = self.world
        complete = [
            sweep.started_at for sweep in world.seen_sweeps if sweep.is_complete and world.is_clock_right(sweep)
        ]
        for one, other in zip(complete, [*complete[1:], world.built_at], strict=False):
            if world.retention is not None and other - world.retention > one:
                self.add("no sweep", one, other - world.retention, datetime.min)

    def of_raw(self) -> None:
        for day in self.world.damaged:
            if day is not None:
                self.add("damaged files", day, day, None)
        for sweep in self.world.seen_sweeps:
            totals: defaultdict[date, int] = defaultdict(int)
            for (day, _), each in (sweep.found or {}).items():
                if day is not None:
                    totals[day] += each.source_count
            for day, count in totals.items():
                held = sum(counts[0] for (held_day, _), counts in self.world.held.items() if held_day == day)
                if count > held + self.world.quarantined.get(day, 0):
                    self.add("gone", day, day, None)


def verdicts(world: World) -> dict[tuple[date, str | None], Verdict]:
    """The rows of meta_completeness, without their sentences."""
    reconciles = [sweep for sweep in world.seen_sweeps if sweep.kind == "reconcile"]
    until = max(world.data_through, PLAUSIBLE_FROM) + DAY if world.data_through else datetime.max
    at_source = {
        (day, environment)
        for sweep in reconciles
        for day, environment in sweep.found or ()
        if day is not None and PLAUSIBLE_FROM.date() <= day <= until.date()
    }
    listed: set[tuple[date, str | None]] = set()
    for environment in {environment for _, environment in world.held.keys() | at_source}:
        of_it = [day for day, name in world.held.keys() | at_source if name == environment]
        listed |= {(day, environment) for day in days_between(min(of_it), max(*of_it, world.built_at.date()))}
    gaps = Gaps(world)
    return {(day, environment): _verdict(world, gaps, day, environment) for day, environment in listed}


def _proven_at(world: World, day: date, environment: str | None) -> datetime | None:
    reconciles = [sweep for sweep in world.seen_sweeps if sweep.kind == "reconcile"]
    proofs = [sweep.started_at for sweep in reconciles if proves(world, sweep, day, environment)]
    if not proofs:
        return None
    for sweep in reconciles:
        of_it = (sweep.found or {}).get((day, environment), Found(0, 0))
        if sweep.started_at >= proofs[-1] and of_it.unheld_count > 0:
            return None
    return proofs[-1]


def _verdict(world: World, gaps: Gaps, day: date, environment: str | None) -> Verdict:
    proven_at = _proven_at(world, day, environment)
    of_day = gaps.get(day, {})
    open_kinds = {
        kind
        for kind, closes_after in of_day.items()
        if proven_at is None or closes_after is None or proven_at < closes_after
    }
    latest = None
    for sweep in world.seen_sweeps:
        if sweep.is_complete and world.is_clock_right(sweep) and sees(sweep, environment):
            latest = sweep
    if latest is not None and latest.started_at < start_of(day):
        latest = None
    counted = None if latest is None else (latest.found or {}).get((day, environment), Found(0, 0))
    held, agreed = world.held.get((day, environment), (0, 0))
    whole_until = None if world.retention is None else start_of(day) + world.retention
    verdict = "complete" if proven_at is not None else "complete as far as the source can say"
    return Verdict(
        "incomplete" if open_kinds else verdict,
        None if counted is None else counted.source_count,
        None if counted is None else counted.unheld_count,
        None if latest is None else latest.started_at,
        held,
        agreed,
        frozenset(open_kinds),
        len(of_day) - len(open_kinds),
        whole_until,
        None if whole_until is None else whole_until + DAY,
        proven_at,
    )
